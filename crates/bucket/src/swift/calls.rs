//! Requests, with a token, made again where that may help.

use super::info::Info;
use super::session::{Access, Session};
use crate::answers::whole;
use crate::attempts::{Failed, attempts};
use crate::error::{Said, all_of, one_line};
use crate::http::Seen;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use object_store::client::{HttpClient, HttpRequestBody, HttpResponse};
use object_store::{Error, PutPayload, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(super) const STORE: &str = "Swift";
pub(super) const COPY_FROM: &str = "x-copy-from";

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Longest error that is read, in bytes.
const ERROR_MAX: usize = 64 * 1024;

/// A container that has answered this lately is there.
const SERVED_LATELY: Duration = Duration::from_secs(3);

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Account,
    Container,
    Object(&'a str),
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: PutPayload,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, target: Target<'a>) -> Self {
        Self { method, target, query: Vec::new(), headers: HeaderMap::new(), body: PutPayload::new() }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let value = HeaderValue::from_str(value).map_err(|error| failed(error.to_string()))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(super) fn body(mut self, body: PutPayload) -> Self {
        self.body = body;
        self
    }

    /// Asks all copies for the latest: something hangs on the answer, and one that was out of reach may be late.
    pub(super) fn latest(self) -> Result<Self> {
        self.header("x-newest", "true")
    }
}

/// An answer that was read.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Text {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What makes them.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) client: HttpClient,
    pub(super) seen: Arc<Seen>,
    pub(super) session: Session,
    pub(super) container: String,
    /// Where segments are.
    pub(super) segments: String,
    /// What the service says of itself, once it was asked.
    pub(super) info: OnceLock<Info>,
}

pub(super) fn failed(text: String) -> Error {
    Error::Generic { store: STORE, source: text.into() }
}

/// The name as an address has it.
pub(super) fn quoted(name: &str) -> String {
    utf8_percent_encode(name, PATH).to_string()
}

impl Calls {
    pub(super) fn info(&self) -> &Info {
        self.info.get_or_init(Info::default)
    }

    fn url(&self, access: &Access, call: &Call<'_>) -> String {
        let mut url = access.url.clone();
        let container = || utf8_percent_encode(&self.container, QUERY);
        match call.target {
            Target::Account => {}
            Target::Container => url.extend(["/"].into_iter().chain(container())),
            Target::Object(name) => {
                url.extend(["/"].into_iter().chain(container()).chain(["/"]).chain(utf8_percent_encode(name, PATH)));
            }
        }
        for (index, (name, value)) in call.query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY));
        }
        url
    }

    async fn once(&self, access: &Access, call: &Call<'_>) -> Result<HttpResponse, Failed> {
        let mut request = Request::builder().method(call.method.clone()).uri(self.url(access, call));
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
            headers.insert(HeaderName::from_static("x-auth-token"), access.token.clone());
            if matches!(call.method, Method::PUT | Method::POST) {
                headers.insert(CONTENT_LENGTH, call.body.content_length().into());
            }
        }
        let body = match call.body.content_length() {
            0 => HttpRequestBody::empty(),
            _ => call.body.clone().into(),
        };
        let request = request.body(body).map_err(|error| Failed::last(failed(error.to_string())))?;
        let answer = self.client.execute(request).await;
        answer.map_err(|error| Failed::of(&error, failed(all_of(&error))))
    }

    /// One attempt; a token that has become bad is no failure of it.
    async fn attempt(&self, call: &Call<'_>) -> Result<HttpResponse, Failed> {
        let refused =
            |refusal: super::session::Refusal| Failed { may_help: refusal.may_help(), error: refusal.into_error() };
        let access = self.session.access().await.map_err(refused)?;
        let mut answer = self.once(&access, call).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let access = self.session.renew(&access).await.map_err(refused)?;
            answer = self.once(&access, call).await?;
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let body = whole(STORE, answer.into_body(), ERROR_MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        let (code, may_help) = meaning(call, status, &text);
        Err(Failed { error: Said { status, code, text: one_line(&text) }.into_error(STORE), may_help })
    }

    /// Sends it; the answer's body is not read yet.
    pub(super) async fn send(&self, call: Call<'_>) -> Result<HttpResponse> {
        let sent = attempts(|| self.attempt(&call)).await;
        self.judge(&call, sent).await
    }

    /// Sends it and reads the answer, if that has at most `max` bytes.
    pub(super) async fn send_and_read(&self, call: Call<'_>, max: usize) -> Result<Text> {
        let sent = attempts(async || {
            let (parts, body) = self.attempt(&call).await?.into_parts();
            let body = whole(STORE, body, max).await.map_err(Failed::again)?;
            Ok(Text { headers: parts.headers, body })
        });
        let sent = sent.await;
        self.judge(&call, sent).await
    }

    /// A missing object is only believed when the container is there.
    async fn judge<T>(&self, call: &Call<'_>, sent: Result<T>) -> Result<T> {
        match (sent, call.target) {
            (Err(error), Target::Object(_)) if is_absent(&error) && !self.seen.served_within(SERVED_LATELY) => {
                Box::pin(self.look()).await.and(Err(error))
            }
            (sent, _) => sent,
        }
    }

    /// Looks at the container.
    pub(super) async fn look(&self) -> Result<Text> {
        self.send_and_read(Call::new(Method::HEAD, Target::Container), 0).await
    }
}

/// What a status means in S3's words, and whether another attempt may end better.
fn meaning(call: &Call<'_>, status: u16, text: &str) -> (&'static str, bool) {
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    match (status, call.target) {
        (404, Target::Object(_)) if reads || call.method == Method::DELETE => ("NoSuchKey", false),
        // Nothing but the container can be missing where something is put.
        (404, Target::Object(_)) if call.headers.contains_key(COPY_FROM) => ("NoSuchKey", false),
        // Ceph's word for a segment that a manifest names, and that is not there, or not any more.
        (404, Target::Object(_)) if text.contains("NoSuchKey") => ("NoSuchUpload", false),
        (404, Target::Object(_) | Target::Container) => ("NoSuchBucket", false),
        (404, Target::Account) => ("NoSuchAccount", false),
        (413, _) if text.to_ascii_lowercase().contains("quota") => ("QuotaExceeded", false),
        (413, _) => ("EntityTooLarge", false),
        // The same in Swift's words.
        (400, _) if text.contains("404 Not Found") && !reads => ("NoSuchUpload", false),
        // A write with a later time was faster.
        (409, _) if !reads => ("OperationAborted", true),
        (408 | 422 | 429 | 498 | 499, _) => ("", true),
        (507, _) => ("", false),
        (500.., _) => ("", true),
        _ => ("", false),
    }
}

/// The service says that the object is not there.
pub(super) fn is_absent(error: &Error) -> bool {
    is(error, "NoSuchKey")
}

/// The service said it with this word.
pub(super) fn is(error: &Error, code: &str) -> bool {
    crate::error::code(&error.to_string()) == Some(code)
}

/// The service answered with this status.
pub(super) fn has_status(error: &Error, status: u16) -> bool {
    crate::error::status(&error.to_string()) == Some(status)
}
