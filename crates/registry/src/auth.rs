//! Who is asking, and may they.

use crate::context::{Identity, Live, Realm, Registry};
use crate::error::{Error, Result};
use crate::service::Request;
use access::{Action, AuthError, Caller, Credential, Decision, Source, Target};
use http::{Method, header};
use oci::{ErrorCode, Route};
use std::time::Duration;

/// Reads and checks the credentials of a request.
pub(crate) async fn authenticate(identity: &Identity, request: &Request<'_>) -> Result<Caller> {
    if identity.open {
        return Ok(Caller::anonymous());
    }
    let value = request.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let Ok(credential) = Credential::parse(value) else {
        return Err(unauthorized(identity, request, "credentials are malformed", None));
    };
    match identity.authenticator.authenticate(&credential).await {
        Ok(caller) => Ok(caller),
        Err(AuthError::Invalid) if matches!(credential, Credential::None) => {
            Err(unauthorized(identity, request, "authentication required", None))
        }
        Err(AuthError::Invalid) => {
            Err(unauthorized(identity, request, "user name, password or token is not valid", Some("invalid_token")))
        }
        Err(AuthError::Unavailable { retry_after }) => {
            Err(Error::unavailable("authentication is not available, try again later", retry_after))
        }
    }
}

/// What a request wants to do.
pub(crate) fn action(method: &Method, route: &Route<'_>) -> Option<Action> {
    match (route, method) {
        (Route::Base, _) => None,
        (Route::Catalog, _) => Some(Action::Catalog),
        (_, &Method::GET | &Method::HEAD) if !matches!(route, Route::Upload(..) | Route::Uploads(_)) => {
            Some(Action::Pull)
        }
        // An upload belongs to whoever may push, from its status to its cancellation.
        (Route::Upload(..) | Route::Uploads(_), _) => Some(Action::Push),
        (_, &Method::DELETE) => Some(Action::Delete),
        _ => Some(Action::Push),
    }
}

/// Lets the caller pass or tells why not.
pub(crate) async fn authorize(
    registry: &Registry,
    identity: &Identity,
    request: &Request<'_>,
    caller: &Caller,
    route: &Route<'_>,
) -> Result<()> {
    let Some(action) = action(request.method, route) else {
        // Everything begins with `/v2/`: whoever may do nothing without credentials is asked for them here, since some
        // clients never offer them otherwise.
        return if caller.is_anonymous() && identity.tokens.is_some() {
            Err(unauthorized(identity, request, "authentication required", None))
        } else {
            Ok(())
        };
    };
    let target = match route.repository() {
        Some(name) => Target::Repository(name.as_str()),
        None => Target::Catalog,
    };
    let decide = || identity.authorizer.decide(caller, action, target);
    match registry.metrics.decided(caller, decide).await {
        Decision::Allow => Ok(()),
        // Where nobody can sign in, asking for it would only confuse.
        Decision::Deny { .. } if caller.is_anonymous() && identity.tokens.is_some() => {
            Err(unauthorized(identity, request, "authentication required", None))
        }
        Decision::Deny { reason } => {
            let refusal = Error::new(ErrorCode::Denied, reason);
            // Others get their rights elsewhere.
            let missing = (caller.source() == Source::Cluster).then(|| missing(action, route)).flatten();
            Err(match missing {
                Some(detail) => refusal.detail(detail),
                None => refusal,
            })
        }
        Decision::Unavailable { retry_after } => Err(undecided(identity, action, retry_after)),
    }
}

/// The right that would do, for programs.
fn missing(action: Action, route: &Route<'_>) -> Option<serde_json::Value> {
    let (namespace, path) = route.repository()?.as_str().split_once('/')?;
    let verb = match action {
        Action::Pull => "get",
        Action::Push => "create",
        Action::Delete => "delete",
        _ => return None,
    };
    let resource = "payloadrepositoryaccesses.payload-registry.deckhouse.io";
    Some(serde_json::json!({ "verb": verb, "resource": resource, "namespace": namespace, "path": path }))
}

fn undecided(identity: &Identity, action: Action, retry_after: Duration) -> Error {
    if identity.cluster.is_none() {
        return Error::unavailable("rights cannot be checked now, try again later", retry_after);
    }
    away(action, retry_after)
}

/// What must wait for the cluster's API.
pub(crate) fn away(action: Action, retry_after: Duration) -> Error {
    let text = match action {
        Action::Push => "the cluster's API does not answer, nothing can be pushed until it does; try again later",
        Action::Delete => "the cluster's API does not answer, nothing can be deleted until it does; try again later",
        _ => "the cluster's API does not answer, rights cannot be checked until it does; try again later",
    };
    Error::unavailable(text, retry_after)
}

/// Whether the caller may read `repository`.
pub(crate) async fn can_pull(identity: &Identity, caller: &Caller, repository: &str) -> Result<bool> {
    match identity.authorizer.decide(caller, Action::Pull, Target::Repository(repository)).await {
        Decision::Allow => Ok(true),
        Decision::Deny { .. } => Ok(false),
        Decision::Unavailable { retry_after } => Err(undecided(identity, Action::Pull, retry_after)),
    }
}

/// What a caller shows as proof: a token, or the password that may be one.
pub(crate) fn token(credential: &Credential) -> Option<&[u8]> {
    match credential {
        Credential::None => None,
        Credential::Basic(basic) => Some(basic.password()),
        Credential::Bearer(token) => Some(token.expose()),
    }
}

/// 401 with the challenge that tells clients where to get a token, and for what.
pub(crate) fn unauthorized(identity: &Identity, request: &Request<'_>, message: &str, error: Option<&str>) -> Error {
    let refusal = Error::new(ErrorCode::Unauthorized, message);
    if identity.tokens.is_none() {
        return refusal.header(header::WWW_AUTHENTICATE, "Basic realm=\"homeport\"");
    }
    let mut challenge =
        format!("Bearer realm=\"{}\",service=\"{}\"", realm(request.live, request), service(request.live, request));
    if let Some(scope) = scope(request) {
        challenge.push_str(",scope=\"");
        challenge.push_str(&scope);
        challenge.push('"');
    }
    if let Some(error) = error {
        challenge.push_str(",error=\"");
        challenge.push_str(error);
        challenge.push('"');
    }
    refusal.header(header::WWW_AUTHENTICATE, &challenge)
}

fn scope(request: &Request<'_>) -> Option<String> {
    let route = Route::parse(request.path).ok()?;
    let name = match &route {
        Route::Catalog => return Some("registry:catalog:*".to_owned()),
        other => other.repository()?,
    };
    let actions = match action(request.method, &route)? {
        Action::Push => "pull,push",
        Action::Delete => "delete",
        _ => "pull",
    };
    Some(format!("repository:{name}:{actions}"))
}

/// The name of this service; the same in challenges and tokens.
pub(crate) fn service(live: &Live, request: &Request<'_>) -> String {
    live.service.clone().unwrap_or_else(|| clean(request.host()).to_owned())
}

fn realm(live: &Live, request: &Request<'_>) -> String {
    match &live.realm {
        Realm::Url(url) => url.clone(),
        Realm::Base(base) => format!("{base}{}/token", live.prefix),
        Realm::FromRequest => {
            format!("{}://{}{}/token", request.scheme(), clean(request.host()), live.prefix)
        }
    }
}

/// A host goes into a quoted string: what is no host is left out.
fn clean(host: &str) -> &str {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.len() <= 255 && host.chars().all(fine) { host } else { "localhost" }
}

/// Retry hint where nothing better is known.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
