//! How the service is asked.

use super::answer::{ERROR_MAX, may_help, names_no_bucket, said};
use super::credentials::Credentials;
use crate::attempts::{Failed, attempts};
use crate::error::{Said, all_of, claims_absence};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request};
use object_store::client::{HttpClient, HttpRequestBody, HttpResponse, HttpResponseBody};
use object_store::path::Path;
use object_store::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The name of this kind of store in errors.
pub(super) const STORE: &str = "GCS";

/// Longest answer that is no object, in bytes: a list of long names.
const ANSWER_MAX: usize = 16 << 20;
/// Up to here an object's content is read at once, in bytes.
const SMALL_MAX: u64 = 256 * 1024;
/// Longest name of an object, in bytes.
const NAME_MAX: usize = 1024;

/// One segment of a path, or a value of a query.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// A path with its slashes.
pub(super) const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// What sends requests.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) client: HttpClient,
    pub(super) credentials: Option<Arc<Credentials>>,
    /// Scheme and host.
    pub(super) service: String,
    pub(super) bucket: String,
    pub(super) slots: Semaphore,
}

/// A request that can be made again.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: HttpRequestBody,
}

impl Call {
    pub(super) fn new(method: Method, url: String) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: HttpRequestBody::empty() }
    }

    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        self.url.push_str(name);
        self.url.push('=');
        self.url.push_str(&segment(value));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Result<Self> {
        let value = HeaderValue::from_str(value).map_err(|error| failed(error.to_string()))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(super) fn body(mut self, body: impl Into<HttpRequestBody>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn json(self, document: &serde_json::Value) -> Result<Self> {
        Ok(self.header("content-type", "application/json")?.body(document.to_string()))
    }
}

/// An error of ours.
pub(super) fn failed(text: String) -> Error {
    Error::Generic { store: STORE, source: text.into() }
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The whole of an answer that is not an object.
pub(super) async fn whole(body: HttpResponseBody, max: usize) -> Result<Bytes> {
    crate::answers::whole(STORE, body, max).await
}

impl Api {
    /// Objects by the JSON API.
    pub(super) fn list_url(&self) -> String {
        format!("{}/storage/v1/b/{}/o", self.service, segment(&self.bucket))
    }

    /// One object by the JSON API.
    pub(super) fn object_url(&self, name: &str) -> String {
        format!("{}/{}", self.list_url(), segment(name))
    }

    /// What new objects are sent to.
    pub(super) fn upload_url(&self) -> String {
        format!("{}/upload/storage/v1/b/{}/o", self.service, segment(&self.bucket))
    }

    /// An object's content. Only this way is its metadata in the answer as well.
    pub(super) fn content_url(&self, name: &str) -> String {
        format!("{}/{}/{}", self.service, segment(&self.bucket), utf8_percent_encode(name, PATH))
    }

    async fn attempt(&self, call: &Call) -> Result<HttpResponse, Failed> {
        let mut request = Request::builder().method(call.method.clone()).uri(&call.url);
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
            if call.method != Method::GET {
                headers.insert(http::header::CONTENT_LENGTH, call.body.content_length().into());
            }
        }
        let request = request.body(call.body.clone());
        let mut request = request.map_err(|error| Failed::last(failed(error.to_string())))?;
        let token = match &self.credentials {
            Some(credentials) => Some(credentials.token().await.map_err(Failed::last)?),
            None => None,
        };
        if let Some(token) = &token {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.0))
                .map_err(|_| Failed::last(failed("the credentials are no text for a header".to_owned())))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let answer = {
            let _slot = self.slots.acquire().await;
            self.client.execute(request).await
        };
        let answer = answer.map_err(|error| Failed::of(&error, failed(all_of(&error))))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if let (401, Some(credentials), Some(token)) = (status.as_u16(), &self.credentials, &token) {
            credentials.forget(token);
        }
        let body = whole(answer.into_body(), ERROR_MAX).await.unwrap_or_default();
        let said = said(status.as_u16(), &String::from_utf8_lossy(&body));
        Err(Failed { may_help: may_help(&said), error: said.into_error(STORE) })
    }

    /// Asks for an object's content. A small one is here when this ends, so that a broken line is taken up again.
    pub(super) async fn content(&self, call: &Call) -> Result<HttpResponse> {
        let once = || async {
            let answer = self.attempt(call).await?;
            let length = answer.headers().get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            let length: Option<u64> = length.and_then(|text| text.parse().ok());
            if length.is_none_or(|length| length > SMALL_MAX) {
                return Ok(answer);
            }
            let (parts, body) = answer.into_parts();
            let bytes = whole(body, ANSWER_MAX).await.map_err(Failed::again)?;
            Ok(HttpResponse::from_parts(parts, bytes.into()))
        };
        attempts(once).await
    }

    /// Sends a request whose answer is small, and reads it.
    pub(super) async fn bytes(&self, call: &Call) -> Result<Bytes> {
        let once = || async {
            let answer = self.attempt(call).await?;
            whole(answer.into_body(), ANSWER_MAX).await.map_err(Failed::again)
        };
        attempts(once).await
    }

    /// The same for a document.
    pub(super) async fn document<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let bytes = self.bytes(call).await?;
        serde_json::from_slice(&bytes).map_err(|error| failed(format!("the answer cannot be read: {error}")))
    }

    /// Sends a request that writes an object, and says which generation that is. Whoever answers without one has not
    /// written it.
    pub(super) async fn write(&self, call: &Call) -> Result<String> {
        let document: serde_json::Value = self.document(call).await?;
        let generation = document["generation"].as_str().map(str::to_owned);
        generation.ok_or_else(|| failed("the answer to a write does not tell the object's generation".to_owned()))
    }

    /// A page of objects of the bucket. Here a 404 is the bucket's.
    pub(super) async fn list<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.document(call).await.map_err(|error| match told(&error) {
            Some(told) if names_no_bucket(told) => {
                Said { status: 404, code: "NoSuchBucket", text: told.text.clone() }.into_error(STORE)
            }
            _ => error,
        })
    }

    /// A 404 that does not say what is missing is the object's when the bucket is there.
    pub(super) async fn explained(&self, error: Error) -> Error {
        if !claims_absence(&error) {
            return error;
        }
        let look = Call::new(Method::GET, self.list_url()).query("maxResults", "1").query("fields", "kind");
        match self.list::<serde_json::Value>(&look).await {
            Ok(_) => Said { status: 404, code: "NoSuchKey", text: String::new() }.into_error(STORE),
            Err(error) => error,
        }
    }

    /// An object's name, if the service takes it.
    pub(super) fn name<'a>(&self, path: &'a Path) -> Result<&'a str> {
        let name = path.as_ref();
        if name.len() > NAME_MAX {
            let text = format!("the name has more than {NAME_MAX} bytes");
            return Err(Said { status: 400, code: "KeyTooLong", text }.into_error(STORE));
        }
        Ok(name)
    }
}

/// What the service said, if it is its words that the error holds.
fn told(error: &Error) -> Option<&Said> {
    match error {
        Error::Generic { source, .. } => source.downcast_ref(),
        _ => None,
    }
}
