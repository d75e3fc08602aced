//! The token endpoint: Docker's flow by GET and OAuth2's by POST.

use crate::auth;
use crate::context::{Cluster, Identity};
use crate::error::{Error, Result};
use crate::respond;
use crate::service::Request;
use crate::upload::body_error;
use access::{Basic, Caller, Credential, IssueError, Scope, Source, TokenAuthority, TokenKind};
use http::{Method, Response, StatusCode, header};
use net::{Body, RequestBody};
use oci::{ErrorCode, Query};

/// Longest form of a POST: a refresh token, a Kubernetes token and some scopes.
const FORM_MAX: usize = 64 * 1024;
/// Clients take anything shorter as this, in seconds.
const EXPIRES_IN_MIN: u64 = 60;

struct Wish {
    credential: Credential,
    refresh: bool,
    account: Option<String>,
    scopes: Vec<String>,
}

/// `GET`, `POST /token`
pub(crate) async fn answer(
    identity: &Identity,
    request: &Request<'_>,
    body: &mut RequestBody,
) -> Result<Response<Body>> {
    let Some(tokens) = &identity.tokens else {
        return Err(Error::new(ErrorCode::Unsupported, "this registry is open to everybody, it issues no tokens")
            .status(StatusCode::NOT_FOUND));
    };
    let wish = match *request.method {
        Method::GET => from_query(identity, request)?,
        Method::POST => from_form(body).await?,
        _ => return Err(Error::method("GET, POST")),
    };
    Scope::parse_all(wish.scopes.iter().map(String::as_str))
        .map_err(|error| Error::new(ErrorCode::Unsupported, error.to_string()).status(StatusCode::BAD_REQUEST))?;
    let caller = identify(identity, tokens, request, &wish).await?;
    if let (Some(account), Some(name)) = (&wish.account, caller.name())
        && account != name
        && !is_user_name(&caller, &wish.credential, account)
    {
        // A token for somebody else than the one who proved who they are: a mistake, or an attempt.
        return Err(Error::new(ErrorCode::Unauthorized, "account is not the user who signed in")
            .status(StatusCode::BAD_REQUEST));
    }
    let issued = match &identity.cluster {
        Some(cluster) if caller.source() == Source::Cluster => hand_back(cluster, &wish.credential),
        _ => issue(tokens, &caller, wish.refresh)?,
    };
    let mut response = respond::full("application/json", issued.to_string());
    respond::set(&mut response, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// With a token of the cluster any user name works, so `account` may be that one too.
fn is_user_name(caller: &Caller, credential: &Credential, account: &str) -> bool {
    let Credential::Basic(basic) = credential else { return false };
    caller.source() == Source::Cluster && basic.user() == account
}

fn from_query(identity: &Identity, request: &Request<'_>) -> Result<Wish> {
    let value = request.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let credential = Credential::parse(value)
        .map_err(|_| auth::unauthorized(identity, request, "credentials are malformed", None))?;
    let query = request.query;
    Ok(Wish {
        credential,
        refresh: query.get("offline_token").is_some_and(|value| value == "true"),
        account: query.get("account").map(Into::into),
        scopes: query.all("scope").map(Into::into).collect(),
    })
}

async fn from_form(body: &mut RequestBody) -> Result<Wish> {
    let mut form = Vec::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(|error| body_error(&error))?;
        if form.len() + chunk.len() > FORM_MAX {
            return Err(bad_form("form is too large").status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        form.extend_from_slice(&chunk);
    }
    let form = String::from_utf8(form).map_err(|_| bad_form("form is not text"))?;
    let form = Query::new(Some(&form));
    let credential = match form.get("grant_type").as_deref() {
        Some("password") => {
            let (user, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
            let basic =
                Basic::new(&user, password.as_bytes()).ok_or_else(|| bad_form("username or password is malformed"))?;
            Credential::Basic(basic)
        }
        Some("refresh_token") => {
            let token = form.get("refresh_token").unwrap_or_default();
            Credential::bearer(token.as_bytes()).ok_or_else(|| bad_form("refresh_token is malformed"))?
        }
        _ => return Err(bad_form("grant_type must be password or refresh_token")),
    };
    Ok(Wish {
        credential,
        refresh: form.get("access_type").is_some_and(|value| value == "offline"),
        account: None,
        scopes: form.all("scope").map(Into::into).collect(),
    })
}

fn bad_form(message: &str) -> Error {
    Error::new(ErrorCode::Unsupported, message).status(StatusCode::BAD_REQUEST)
}

async fn identify(identity: &Identity, tokens: &TokenAuthority, request: &Request<'_>, wish: &Wish) -> Result<Caller> {
    let refused = || auth::unauthorized(identity, request, "user name, password or token is not valid", None);
    let (refresh, elsewhere) = match &wish.credential {
        Credential::None if identity.anonymous => return Ok(Caller::anonymous()),
        Credential::None => return Err(auth::unauthorized(identity, request, "authentication required", None)),
        // `docker login` with an identity token sends it as the password of nobody or of `<token>`.
        Credential::Basic(basic) if matches!(basic.user(), "" | "<token>") => {
            (Some(basic.password()), identity.cluster.is_some())
        }
        Credential::Bearer(token) => (Some(token.expose()), identity.cluster.is_some()),
        Credential::Basic(_) => (None, true),
    };
    if let Some(caller) = refresh.and_then(|token| tokens.verify(token, TokenKind::Refresh).ok()) {
        return Ok(caller);
    }
    if !elsewhere {
        return Err(refused());
    }
    match identity.authenticator.authenticate(&wish.credential).await {
        // In place of a refresh token only one of the cluster will do: an access token of ours must not renew itself.
        Ok(caller) if refresh.is_none() || caller.source() == Source::Cluster => Ok(caller),
        Ok(_) | Err(access::AuthError::Invalid) => Err(refused()),
        Err(access::AuthError::Unavailable { retry_after }) => {
            Err(Error::unavailable("authentication is not available, try again later", retry_after))
        }
    }
}

/// The very token that the caller showed: when the cluster does not know it any more, no replica of ours does.
fn hand_back(cluster: &Cluster, credential: &Credential) -> serde_json::Value {
    let token = auth::token(credential).unwrap_or_default();
    let expires_in = cluster.tokens.expires_in(token).unwrap_or(EXPIRES_IN_MIN);
    answer_with(&String::from_utf8_lossy(token), expires_in, jiff::Timestamp::now())
}

fn issue(tokens: &TokenAuthority, caller: &Caller, refresh: bool) -> Result<serde_json::Value> {
    let unavailable = |error: &IssueError| {
        Error::unavailable("no token can be issued now", auth::RETRY_AFTER).cause(error.to_string())
    };
    let issued = tokens.issue(caller, TokenKind::Access).map_err(|error| unavailable(&error))?;
    let issued_at = jiff::Timestamp::from_second(issued.issued_at).unwrap_or_default();
    let mut answer = answer_with(&issued.token, issued.life.as_secs(), issued_at);
    if refresh {
        match tokens.issue(caller, TokenKind::Refresh) {
            Ok(issued) => answer["refresh_token"] = issued.token.into(),
            // Not everybody has something that a later visit could be checked against.
            Err(IssueError::NotRefreshable) => {}
            Err(error) => return Err(unavailable(&error)),
        }
    }
    Ok(answer)
}

fn answer_with(token: &str, expires_in: u64, issued_at: jiff::Timestamp) -> serde_json::Value {
    serde_json::json!({
        "token": token,
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": expires_in,
        "issued_at": issued_at.to_string(),
    })
}
