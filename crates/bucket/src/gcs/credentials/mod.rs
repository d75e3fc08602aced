//! Who we are to the service: tokens that are good for a while, and signatures.

mod external;
mod key;
mod machine;
mod user;

use super::api::{failed, whole};
use crate::addresses::is_private;
use crate::attempts::{Failed, attempts};
use crate::error::{all_of, one_line};
use external::External;
use http::{Method, Request};
use key::Key;
use machine::Machine;
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::{Error, Result};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use user::User;

/// What tokens are asked for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// A token is renewed so long before it ends.
const EARLY: Duration = Duration::from_secs(225);
/// No token is counted on for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Time to get a token, all attempts together.
const RENEWAL_MAX: Duration = Duration::from_secs(20);
/// After a renewal that failed nobody tries again before.
const NEXT_RENEWAL: Duration = Duration::from_secs(5);
/// Longest file of credentials that is read, and longest answer, in bytes.
const FILE_MAX: u64 = 1 << 20;
const ANSWER_MAX: usize = 256 * 1024;
/// Google's service accounts, where something is signed in their names.
const ACCOUNTS: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";
/// Errors about tokens begin like this.
pub(super) const NO_TOKEN: &str = "no token";

/// A bearer token, which no log shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(pub(super) Arc<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Debug)]
struct Held {
    token: Token,
    until: Instant,
}

impl Held {
    fn new(token: &str, life: Duration) -> Self {
        Self { token: Token(token.into()), until: Instant::now() + life.min(LIFE_MAX) }
    }
}

/// Where tokens come from.
#[derive(Debug)]
enum Source {
    Key(Key),
    User(User),
    External(External),
    Machine(Machine),
}

/// Gives tokens and signatures.
#[derive(Debug)]
pub(super) struct Credentials {
    source: Source,
    client: HttpClient,
    held: Mutex<Option<Held>>,
    /// Held by who gets a new token: when that failed last, and why.
    renewing: tokio::sync::Mutex<Option<(Instant, String)>>,
}

/// What the service for tokens answers.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl Granted {
    fn held(self) -> Held {
        Held::new(self.access_token.trim_end_matches('.'), Duration::from_secs(self.expires_in))
    }
}

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("has no credentials in JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("has credentials of type {0}, of which nothing is known here")]
    Type(String),
    #[error("{0}")]
    Content(String),
}

/// Where secrets are sent must be encrypted, or this machine.
fn checked(member: &str, place: Option<&str>) -> Result<(), Unusable> {
    match place {
        Some(place) if !is_private(place) => {
            Err(Unusable::Content(format!("has a {member} that does not begin with https://")))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default, rename = "type")]
    kind: String,
}

/// A file of credentials, not longer than it should be.
pub(super) fn read_file(file: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut content = String::new();
    std::fs::File::open(file)?.take(FILE_MAX).read_to_string(&mut content)?;
    Ok(content)
}

impl Credentials {
    fn new(source: Source, client: HttpClient) -> Self {
        Self { source, client, held: Mutex::new(None), renewing: tokio::sync::Mutex::new(None) }
    }

    /// Credentials as Google's files have them.
    pub(super) fn from_json(text: &str, client: HttpClient) -> Result<Self, Unusable> {
        let Typed { kind } = serde_json::from_str(text)?;
        let source = match kind.as_str() {
            "service_account" => Source::Key(Key::from_json(text)?),
            "authorized_user" => Source::User(User::from_json(text)?),
            "external_account" => Source::External(External::from_json(text)?),
            _ => return Err(Unusable::Type(kind)),
        };
        Ok(Self::new(source, client))
    }

    /// Those of the machine, or of the container in it. `host`: the server for them, if it is not where it usually is.
    pub(super) fn of_machine(host: Option<&str>, client: HttpClient) -> Self {
        Self::new(Source::Machine(Machine::new(host)), client)
    }

    /// Where Google's tools keep the credentials of whoever runs them.
    pub(super) fn well_known(home: &str) -> PathBuf {
        Path::new(home).join(".config/gcloud/application_default_credentials.json")
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token, if it is good for so long yet.
    fn good_for(&self, time: Duration) -> Option<Token> {
        self.held().as_ref().filter(|held| held.until > Instant::now() + time).map(|held| held.token.clone())
    }

    /// A token that is good for a while yet.
    pub(super) async fn token(&self) -> Result<Token> {
        if let Some(token) = self.good_for(EARLY) {
            return Ok(token);
        }
        // Somebody else is at it; until then the old one will do.
        let mut failed = match (self.renewing.try_lock(), self.good_for(Duration::ZERO)) {
            (Ok(failed), _) => failed,
            (Err(_), Some(token)) => return Ok(token),
            (Err(_), None) => self.renewing.lock().await,
        };
        if let Some(token) = self.good_for(EARLY) {
            return Ok(token);
        }
        let lately = failed.as_ref().filter(|(at, _)| at.elapsed() < NEXT_RENEWAL).map(|(_, why)| why.clone());
        let why = match lately {
            Some(why) => why,
            None => match self.fetch().await {
                Ok(new) => {
                    *failed = None;
                    return Ok(self.held().insert(new).token.clone());
                }
                Err(error) => {
                    let why = cause(error);
                    tracing::warn!(error = why, "no new token; an old one is used until it ends");
                    *failed = Some((Instant::now(), why.clone()));
                    why
                }
            },
        };
        self.good_for(Duration::ZERO).ok_or_else(|| super::api::failed(why))
    }

    async fn fetch(&self) -> Result<Held> {
        let fetched = async {
            match &self.source {
                Source::Key(key) => key.fetch(&self.client).await,
                Source::User(user) => user.fetch(&self.client).await,
                Source::External(external) => external.fetch(&self.client).await,
                Source::Machine(machine) => machine.fetch(&self.client).await,
            }
        };
        let silent = |_| Err(no_token(format!("no answer within {RENEWAL_MAX:?}")));
        tokio::time::timeout(RENEWAL_MAX, fetched).await.unwrap_or_else(silent)
    }

    /// The service does not take this token any more.
    pub(super) fn forget(&self, token: &Token) {
        let mut held = self.held();
        if held.as_ref().is_some_and(|held| held.token == *token) {
            *held = None;
        }
    }

    /// The name that signatures are checked with; `None`: nothing can be signed.
    pub(super) async fn signer(&self) -> Result<Option<String>> {
        Ok(match &self.source {
            Source::Key(key) => Some(key.email().to_owned()),
            Source::User(_) => None,
            Source::External(external) => external.email().map(str::to_owned),
            Source::Machine(machine) => Some(machine.email(&self.client).await?),
        })
    }

    /// A signature of `email` over `text`.
    pub(super) async fn sign(&self, email: &str, text: &[u8]) -> Result<Vec<u8>> {
        let own = match &self.source {
            Source::Key(key) => return key.sign(text),
            Source::External(external) => external.signer(),
            Source::User(_) | Source::Machine(_) => None,
        };
        let place = own.unwrap_or_else(|| format!("{ACCOUNTS}/{email}:signBlob"));
        external::sign_by_service(&self.client, &place, &self.token().await?.0, text).await
    }
}

/// What an error of ours says, without the name of the store.
fn cause(error: Error) -> String {
    match error {
        Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

fn no_token(text: impl fmt::Display) -> Error {
    failed(format!("{NO_TOKEN}: {text}"))
}

/// Asks something that is not the storage service.
async fn ask(
    client: &HttpClient,
    what: impl Fn() -> http::request::Builder,
    body: HttpRequestBody,
) -> Result<bytes::Bytes> {
    let once = || async {
        let request = what().header("content-length", body.content_length()).body(body.clone());
        let request = request.map_err(|error| Failed::last(no_token(error)))?;
        let place = request.uri().clone();
        let answer = client.execute(request).await;
        let answer = answer.map_err(|error| Failed::again(no_token(format!("{place}: {}", all_of(&error)))))?;
        let status = answer.status();
        let body = whole(answer.into_body(), ANSWER_MAX).await.map_err(Failed::again)?;
        if status.is_success() {
            return Ok(body);
        }
        let text = one_line(&String::from_utf8_lossy(&body));
        let may_help = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        Err(Failed { error: no_token(format!("{place} says {}: {text}", status.as_u16())), may_help })
    };
    attempts(once).await
}

/// Asks for a token by a form.
async fn ask_by_form(client: &HttpClient, place: &str, form: &[(&str, &str)]) -> Result<Granted> {
    let pairs = form.iter().map(|(name, value)| format!("{name}={}", super::api::segment(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let what = || {
        let request = Request::builder().method(Method::POST).uri(place);
        request.header("content-type", "application/x-www-form-urlencoded")
    };
    let answer = ask(client, what, body.into()).await?;
    serde_json::from_slice(&answer).map_err(no_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use http::Response;
    use object_store::client::{HttpError, HttpRequest, HttpResponse, HttpService};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A metadata server that gives tokens good for so many seconds; without any it refuses.
    #[derive(Debug)]
    struct Gives(Arc<AtomicUsize>, Arc<Mutex<Option<u64>>>);

    #[async_trait]
    impl HttpService for Gives {
        async fn call(&self, _request: HttpRequest) -> Result<HttpResponse, HttpError> {
            tokio::task::yield_now().await;
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let life = *self.1.lock().unwrap();
            let (status, text) = match life {
                Some(life) => (200, format!(r#"{{"access_token": "t{number}", "expires_in": {life}}}"#)),
                None => (403, "no".to_owned()),
            };
            Ok(Response::builder().status(status).body(text.into()).unwrap())
        }
    }

    #[tokio::test]
    async fn a_server_that_gives_no_tokens_is_not_asked_by_each() {
        let (asked, life) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let credentials = Credentials::of_machine(None, HttpClient::new(Gives(Arc::clone(&asked), Arc::clone(&life))));
        let many = || futures_util::future::join_all((0..20).map(|_| credentials.token()));
        let refused = many().await;
        assert!(refused.iter().all(|token| token.as_ref().is_err_and(|error| error.to_string().contains(NO_TOKEN))));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // No time of any length is too long, and one that ends soon is used while there is no other.
        for (now, expected) in [(Some(u64::MAX), 2), (Some(60), 3), (None, 4)] {
            *credentials.renewing.lock().await = None;
            if now == Some(60) {
                *credentials.held() = None;
            }
            *life.lock().unwrap() = now;
            assert!(credentials.token().await.is_ok());
            assert_eq!(asked.load(Ordering::SeqCst), expected);
        }
        assert!(many().await.iter().all(|token| token.as_ref().is_ok_and(|token| &*token.0 == "t2")));
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}
