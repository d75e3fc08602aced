//! The token that goes with every request, got anew in time.

use super::SwiftSettings;
use super::calls::STORE;
use super::identity::{Unusable, Version, answer, question};
use crate::answers::whole;
use crate::error::{Said, all_of, one_line};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use object_store::Error;
use object_store::client::{HttpClient, HttpRequestBody};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A token is renewed when this part of its life is left, though not earlier than that long before its end.
const LAST_PART: u32 = 4;
const BEFORE_END_MAX: Duration = Duration::from_secs(300);
/// After a renewal that failed nobody tries the next one before.
const NEXT_RENEWAL: Duration = Duration::from_secs(5);
/// No token is counted on for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Pauses between the attempts of who has no token.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];
/// Time for an answer of the identity service, all attempts together.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Longest answer that is read, in bytes: a catalogue of a large cloud.
const ANSWER_MAX: usize = 4 << 20;

/// What a request needs.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) token: HeaderValue,
    /// Address of the account.
    pub(super) url: String,
    pub(super) project: Option<String>,
    renew_at: Instant,
    ends_at: Instant,
}

/// No token was to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Unreachable(String),
    #[error("the identity service answers with {status}: {text}")]
    Status { status: u16, text: String },
    #[error("{0}")]
    Unusable(#[from] Unusable),
}

impl Refusal {
    /// Another attempt may end better.
    pub(super) fn may_help(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 498 | 500..),
            Self::Unusable(_) => false,
        }
    }

    pub(super) fn into_error(self) -> Error {
        let status = if let Self::Status { status, .. } = &self { *status } else { 503 };
        // Whatever it says, it says nothing of the object.
        let status = if matches!(status, 401 | 403) { status } else { 503 };
        Said { status, code: "", text: self.to_string() }.into_error("Swift")
    }
}

/// What the last renewal failed with, if that is not long ago.
fn lately(failed: &Option<(Instant, Refusal)>) -> Option<Refusal> {
    failed.as_ref().filter(|(at, _)| at.elapsed() < NEXT_RENEWAL).map(|(_, refusal)| refusal.clone())
}

/// One token for all, renewed by one at a time.
#[derive(Debug)]
pub(super) struct Session {
    client: HttpClient,
    settings: SwiftSettings,
    version: Version,
    current: Mutex<Option<Arc<Access>>>,
    /// Held by who gets a new token: when that failed last, and why.
    renewing: tokio::sync::Mutex<Option<(Instant, Refusal)>>,
}

impl Session {
    pub(super) fn new(client: HttpClient, settings: SwiftSettings, version: Version) -> Self {
        Self { client, settings, version, current: Mutex::new(None), renewing: tokio::sync::Mutex::new(None) }
    }

    fn current(&self) -> Option<Arc<Access>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A token that is good for a while.
    pub(super) async fn access(&self) -> Result<Arc<Access>, Refusal> {
        let fresh = |access: &Arc<Access>| Instant::now() < access.renew_at;
        if let Some(access) = self.current().filter(fresh) {
            return Ok(access);
        }
        let usable = || self.current().filter(|access| Instant::now() < access.ends_at);
        // Somebody else is at it; until then the old one will do.
        let mut failed = match (self.renewing.try_lock(), usable()) {
            (Ok(failed), _) => failed,
            (Err(_), Some(access)) => return Ok(access),
            (Err(_), None) => self.renewing.lock().await,
        };
        if let Some(access) = self.current().filter(fresh) {
            return Ok(access);
        }
        let refusal = match lately(&failed) {
            Some(refusal) => refusal,
            None => match self.authenticate(usable().is_none()).await {
                Ok(access) => {
                    *failed = None;
                    return Ok(self.keep(access));
                }
                Err(refusal) => {
                    tracing::warn!(error = %refusal, "no new token for Swift; an old one is used until it ends");
                    *failed = Some((Instant::now(), refusal.clone()));
                    refusal
                }
            },
        };
        usable().ok_or(refusal)
    }

    /// Another token than the one that was refused.
    pub(super) async fn renew(&self, refused: &Arc<Access>) -> Result<Arc<Access>, Refusal> {
        let mut failed = self.renewing.lock().await;
        if let Some(access) = self.current().filter(|access| !Arc::ptr_eq(access, refused)) {
            return Ok(access);
        }
        if let Some(refusal) = lately(&failed) {
            return Err(refusal);
        }
        match self.authenticate(true).await {
            Ok(access) => Ok(self.keep(access)),
            Err(refusal) => {
                *failed = Some((Instant::now(), refusal.clone()));
                Err(refusal)
            }
        }
    }

    fn keep(&self, access: Access) -> Arc<Access> {
        let access = Arc::new(access);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&access));
        access
    }

    /// `patient`: there is no token to go on with, so that another attempt is worth its time.
    async fn authenticate(&self, patient: bool) -> Result<Access, Refusal> {
        let talk = tokio::time::timeout(ANSWER_TIME, async {
            for pause in PAUSES {
                match self.ask().await {
                    Err(refusal) if patient && refusal.may_help() => tokio::time::sleep(pause).await,
                    other => return other,
                }
            }
            self.ask().await
        });
        talk.await.unwrap_or_else(|_| Err(Refusal::Unreachable(format!("no answer within {ANSWER_TIME:?}"))))
    }

    async fn ask(&self) -> Result<Access, Refusal> {
        let question = question(self.version, &self.settings);
        let unclear = |text: String| Refusal::from(Unusable::Unclear(text));
        let method = if question.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(question.url);
        for (name, value) in question.headers {
            let value = HeaderValue::from_str(&value).map_err(|error| unclear(error.to_string()))?;
            request = request.header(HeaderName::from_static(name), value);
        }
        let body = match question.body {
            Some(document) => {
                request = request.header(http::header::CONTENT_TYPE, "application/json");
                HttpRequestBody::from(document.to_string())
            }
            None => HttpRequestBody::empty(),
        };
        let request = request.body(body).map_err(|error| unclear(error.to_string()))?;
        let broken = |error: object_store::client::HttpError| Refusal::Unreachable(all_of(&error));
        let (parts, body) = self.client.execute(request).await.map_err(broken)?.into_parts();
        let body = whole(STORE, body, ANSWER_MAX).await;
        let body: Bytes = body.map_err(|error| Refusal::Unreachable(error.to_string()))?;
        if !parts.status.is_success() || parts.status == http::StatusCode::MULTIPLE_CHOICES {
            let text = one_line(&String::from_utf8_lossy(&body));
            return Err(Refusal::Status { status: parts.status.as_u16(), text });
        }
        let answer = answer(self.version, &self.settings, &parts.headers, &body)?;
        let mut token = HeaderValue::from_str(&answer.token).map_err(|error| unclear(error.to_string()))?;
        token.set_sensitive(true);
        let now = Instant::now();
        let life = answer.life.min(LIFE_MAX);
        let early = (life / LAST_PART).min(BEFORE_END_MAX);
        Ok(Access {
            token,
            url: answer.url,
            project: answer.project,
            renew_at: now + life.saturating_sub(early),
            ends_at: now + life,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Gives tokens by number that are good for so many seconds; none when nobody is to get one.
    #[derive(Debug)]
    struct Gives(Arc<AtomicUsize>, Arc<Mutex<Option<u64>>>);

    #[async_trait]
    impl HttpService for Gives {
        async fn call(&self, _request: HttpRequest) -> Result<HttpResponse, HttpError> {
            tokio::task::yield_now().await;
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let Some(life) = *self.1.lock().unwrap() else {
                return Err(HttpError::new(HttpErrorKind::Connect, std::io::Error::other("down")));
            };
            let answer = http::Response::builder()
                .header("x-auth-token", number.to_string())
                .header("x-storage-url", "http://s/v1/A")
                .header("x-auth-token-expires", life.to_string());
            Ok(answer.body(Bytes::new().into()).unwrap())
        }
    }

    #[tokio::test]
    async fn one_at_a_time_gets_a_token() {
        let (asked, life) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Some(3600))));
        let client = HttpClient::new(Gives(Arc::clone(&asked), Arc::clone(&life)));
        let session = Session::new(client, SwiftSettings::new("http://s/v1", "c"), Version::V1);
        let many = || (0..20).map(|_| session.access());
        let first = futures_util::future::try_join_all(many()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let renewals = first.iter().map(|access| session.renew(access));
        let second = futures_util::future::try_join_all(renewals).await.unwrap();
        assert_eq!((asked.load(Ordering::SeqCst), second[19].token.to_str().unwrap()), (2, "1"));
        // One whose end is near is used while no other one is to be had.
        *life.lock().unwrap() = Some(0);
        assert!(session.renew(&second[0]).await.is_ok());
        *life.lock().unwrap() = None;
        let late = Access {
            token: HeaderValue::from_static("late"),
            url: String::new(),
            project: None,
            renew_at: Instant::now(),
            ends_at: Instant::now() + Duration::from_secs(60),
        };
        session.keep(late);
        let before = asked.load(Ordering::SeqCst);
        let kept = futures_util::future::try_join_all(many()).await.unwrap();
        assert!(kept.iter().all(|access| access.token == "late"));
        assert_eq!(asked.load(Ordering::SeqCst) - before, 1, "a service that is down is not asked by each");
        assert!(session.renew(&kept[0]).await.is_err_and(|refusal| refusal.may_help()));
        assert_eq!(asked.load(Ordering::SeqCst) - before, 1);
        // Without any token all share one failure.
        *session.current.lock().unwrap() = None;
        *session.renewing.lock().await = None;
        let refused = futures_util::future::join_all(many()).await;
        assert!(refused.iter().all(Result::is_err));
        assert_eq!(asked.load(Ordering::SeqCst) - before, 2 + PAUSES.len());
        *life.lock().unwrap() = Some(u64::MAX);
        *session.renewing.lock().await = None;
        assert!(session.access().await.is_ok(), "no time of any length is too long");
    }
}
