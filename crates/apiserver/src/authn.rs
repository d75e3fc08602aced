//! Who is asking: named by the cluster's front proxy, or by a token of its own.

use std::time::Duration;

use access::{AuthError, Caller, Credential};
use http::{HeaderMap, header};
use net::Connection;

use crate::call::Server;
use crate::status::{Failure, Result};

/// The header that names a caller in every cluster that nobody has set up otherwise.
const REMOTE_USER: &str = "x-remote-user";
const IMPERSONATE: &str = "impersonate-";
/// When to come back while the front proxy is not known yet.
const UNKNOWN_RETRY: Duration = Duration::from_secs(1);

/// The caller of a request, and whether somebody has vouched for it.
pub(crate) struct Authenticated {
    pub(crate) caller: Caller,
    /// False when there were neither headers of the front proxy nor a token.
    pub(crate) asserted: bool,
}

/// # Errors
/// 401 for what proves nothing, never "anonymous" in its place; 503 while nobody can tell.
pub(crate) async fn authenticate(
    server: &Server,
    headers: &HeaderMap,
    connection: &Connection,
) -> Result<Authenticated> {
    if let Some(caller) = front_proxy(server, headers, connection)? {
        return Ok(Authenticated { caller, asserted: true });
    }
    // The API server has carried this out, and taken the headers away, before it forwards a request.
    if headers.keys().any(|name| name.as_str().starts_with(IMPERSONATE)) {
        return Err(Failure::bad_request("impersonation is not possible here, ask through the API server"));
    }
    let value = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let credential = match Credential::parse(value) {
        Ok(Credential::None) => return Ok(Authenticated { caller: Caller::anonymous(), asserted: false }),
        Ok(bearer @ Credential::Bearer(_)) => bearer,
        Ok(Credential::Basic(_)) | Err(_) => return Err(Failure::unauthorized("Unauthorized")),
    };
    match server.parts.tokens.authenticate(&credential).await {
        Ok(caller) => Ok(Authenticated { caller, asserted: true }),
        Err(AuthError::Invalid) => Err(Failure::unauthorized("Unauthorized")),
        Err(AuthError::Unavailable { retry_after }) => {
            Err(Failure::unavailable("tokens cannot be reviewed now, try again later", retry_after))
        }
    }
}

fn front_proxy(server: &Server, headers: &HeaderMap, connection: &Connection) -> Result<Option<Caller>> {
    let trust = server.parts.trust.current();
    let Some(trust) = trust.as_ref() else {
        return if headers.contains_key(REMOTE_USER) {
            Err(Failure::unavailable("the front proxy of the cluster is not known yet", UNKNOWN_RETRY))
        } else {
            Ok(None)
        };
    };
    trust.caller(connection.client_certificate.as_ref(), headers).map_err(|forged| {
        tracing::warn!(target: "security", reason = %forged, "headers that name a user were refused");
        Failure::unauthorized("Unauthorized")
    })
}
