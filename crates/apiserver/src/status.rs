//! Failures as Kubernetes tells them; the only place where an outcome becomes an HTTP status.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use net::Body;
use serde::Serialize;
use serde_json::{Value, json};

use crate::respond::{self, Encoding};
use crate::tags::{GROUP, RESOURCE};

/// Result of whatever may end in a [`Failure`].
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// When to come back if storage does not answer.
const STORAGE_RETRY: Duration = Duration::from_secs(5);
/// When to come back for what is newer than anything here, as kube-apiserver says it.
const VERSION_RETRY: Duration = Duration::from_secs(1);

/// A refusal. Its JSON form is the `Status` object that Kubernetes' clients expect.
#[derive(Debug)]
pub(crate) struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Details>,
    proceed: Option<String>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    /// For the log only.
    cause: Option<String>,
}

/// What a failure is about. Empty fields are left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    retry_after_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Cause {
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Whole seconds, at least one: zero would mean "at once" to some clients and "not said" to others.
fn seconds(retry_after: Duration) -> u64 {
    retry_after.as_secs().max(1)
}

impl Details {
    /// About the tag of this name, or about tags when it is empty.
    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), group: GROUP, kind: RESOURCE, ..Self::default() }
    }
}

/// `payloadrepositorytags.payload-registry.deckhouse.io "name"`
fn subject(name: &str) -> String {
    if name.is_empty() { format!("{RESOURCE}.{GROUP}") } else { format!("{RESOURCE}.{GROUP} {name:?}") }
}

impl Failure {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            reason,
            message: message.into(),
            details: None,
            proceed: None,
            retry_after: None,
            allow: None,
            cause: None,
        }))
    }

    fn details(mut self, details: Details) -> Self {
        self.0.details = Some(details);
        self
    }

    fn retry(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self.0.details.get_or_insert_default().retry_after_seconds = seconds(retry_after);
        self
    }

    /// The same with what the log should know beyond the message.
    pub(crate) fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// 400: the request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403 about tags, with this message as it is.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).details(Details::of(""))
    }

    /// 403 about one tag, worded as Kubernetes does.
    pub(crate) fn forbidden_tag(name: &str, why: &str) -> Self {
        let message = format!("{} is forbidden: {why}", subject(name));
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).details(Details::of(name))
    }

    /// 403 about a path that is no resource.
    pub(crate) fn forbidden_path(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("forbidden: {why}")).details(Details::default())
    }

    /// 404: no such tag.
    pub(crate) fn not_found(name: &str) -> Self {
        let message = format!("{} not found", subject(name));
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).details(Details::of(name))
    }

    /// 404: nothing is served under this path.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).details(Details::default())
    }

    /// 405 about tags, with this message as it is.
    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).details(Details::of(""))
    }

    /// 405 about a path that is no resource.
    pub(crate) fn no_such_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .details(Details::default())
        .allow("GET, HEAD")
    }

    /// The methods that would do, for the header `Allow`.
    pub(crate) fn allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// 406.
    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 415.
    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 409: the tag is not as the caller requires it to be.
    pub(crate) fn conflict(name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {}: {why}", subject(name));
        Self::new(StatusCode::CONFLICT, "Conflict", message).details(Details::of(name))
    }

    /// 410: too old to be continued. `proceed` is a token with which the list may go on nevertheless, inconsistently.
    pub(crate) fn expired(message: impl Into<String>, proceed: Option<String>) -> Self {
        let mut failure = Self::new(StatusCode::GONE, "Expired", message);
        failure.0.proceed = proceed;
        failure
    }

    /// 422: a field has a value that it cannot have.
    pub(crate) fn invalid(name: &str, field: &str, message: &str) -> Self {
        let text = format!("{} is invalid: {field}: {message}", subject(name));
        let cause = Cause { reason: "FieldValueInvalid", message: message.to_owned(), field: field.to_owned() };
        let details = Details { causes: vec![cause], ..Details::of(name) };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", text).details(details)
    }

    /// 413.
    pub(crate) fn too_large(message: &str) -> Self {
        let message = format!("Request entity too large: {message}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 429.
    pub(crate) fn too_many(retry_after: Duration) -> Self {
        let message = "too many requests at once, please try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry(retry_after)
    }

    /// 503.
    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).retry(retry_after)
    }

    /// 503 until somebody changes the configuration; see [`Failure::at_once`].
    pub(crate) fn closed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The same for who has to hear of it now, without a word on when to come back. Clients of Kubernetes wait as long as
    /// `Retry-After` says, ten times, and tell nobody meanwhile: a controller that ends namespaces would end no other one,
    /// either.
    pub(crate) fn at_once(mut self) -> Self {
        self.0.retry_after = None;
        if let Some(details) = &mut self.0.details {
            details.retry_after_seconds = 0;
        }
        self
    }

    /// 504: not finished in time.
    pub(crate) fn timeout(message: &str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", format!("Timeout: {message}")).details(Details::default())
    }

    /// 504: the version that is asked for is later than the one that is here.
    pub(crate) fn version_too_large(wanted: &dyn Display, here: &dyn Display) -> Self {
        let text = "Too large resource version";
        let cause = Cause { reason: "ResourceVersionTooLarge", message: text.to_owned(), field: String::new() };
        let details = Details { causes: vec![cause], ..Details::default() };
        Self::timeout(&format!("{text}: {wanted}, current: {here}")).details(details).retry(VERSION_RETRY)
    }

    /// 500; the cause goes into the log, the client is told that there is one.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let message = "Internal error occurred: the cause is in the log of the registry";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message).caused_by(cause)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// What the log should know beyond the message.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub(crate) fn into_response(self, encoding: Encoding) -> Response<Body> {
        let mut response = respond::json(self.0.status, &self, encoding);
        let headers = response.headers_mut();
        if let Some(retry_after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(retry_after)));
        }
        if let Some(allow) = self.0.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata<'a>,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    proceed: Option<&'a str>,
}

impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let status = Status {
            kind: "Status",
            api_version: "v1",
            metadata: Metadata { proceed: self.0.proceed.as_deref() },
            status: "Failure",
            message: &self.0.message,
            reason: self.0.reason,
            details: self.0.details.as_ref(),
            code: self.0.status.as_u16(),
        };
        status.serialize(serializer)
    }
}

/// The `Status` of a deletion that was carried out; the name and UID of what was deleted, none for a collection.
pub(crate) fn success(name: Option<&str>, uid: Option<&str>) -> Value {
    let mut details = json!({ "group": GROUP, "kind": RESOURCE });
    for (key, value) in [("name", name), ("uid", uid)] {
        if let Some(value) = value {
            details[key] = value.into();
        }
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

impl From<content::Error> for Failure {
    fn from(error: content::Error) -> Self {
        use content::Error as E;
        let text = match &error {
            E::OwnerDamaged(_) => "whose content this is cannot be told; tell the registry's administrator",
            E::Storage(_) => "the registry's storage does not answer, try again later",
            // None of these is the outcome of a question that is asked here.
            _ => return Self::internal(error.to_string()),
        };
        Self::unavailable(text, STORAGE_RETRY).caused_by(chain(&error))
    }
}

/// The error and what has caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
