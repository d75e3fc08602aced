//! The only place where an outcome becomes a status, a code and a message.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use net::Body;
use oci::ErrorCode;
use std::time::Duration;

/// Result of a handler.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A refusal, ready to be rendered.
#[derive(Debug)]
pub(crate) struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: ErrorCode,
    status: u16,
    message: String,
    detail: Option<serde_json::Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<String>,
}

impl Error {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            status: code.status(),
            message: message.into(),
            detail: None,
            headers: Vec::new(),
            cause: None,
        }))
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }

    pub(crate) fn detail(mut self, detail: serde_json::Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    pub(crate) fn cause(mut self, cause: String) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// What the log should know beyond the message.
    pub(crate) fn take_cause(&mut self) -> Option<String> {
        self.0.cause.take()
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.0.code
    }

    pub(crate) fn unavailable(message: &str, retry_after: Duration) -> Self {
        Self::new(ErrorCode::Unavailable, message)
            .header(header::RETRY_AFTER, &retry_after.as_secs().max(1).to_string())
    }

    /// For methods that an endpoint does not have.
    pub(crate) fn method(allow: &str) -> Self {
        Self::new(ErrorCode::Unsupported, format!("this endpoint takes {allow}")).header(header::ALLOW, allow)
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        #[derive(serde::Serialize)]
        struct One<'a> {
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<serde_json::Value>,
        }
        #[derive(serde::Serialize)]
        struct All<'a> {
            errors: [One<'a>; 1],
        }
        let parts = *self.0;
        let one = One { code: parts.code.as_str(), message: &parts.message, detail: parts.detail };
        // Strings always have a JSON form.
        let body = serde_json::to_vec(&All { errors: [one] }).unwrap_or_default();
        let mut response = Response::new(Body::full(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(parts.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in parts.headers {
            headers.append(name, value);
        }
        response
    }
}

impl From<content::Error> for Error {
    fn from(error: content::Error) -> Self {
        use content::Error as E;
        let message = error.to_string();
        match error {
            E::BlobUnknown => Self::new(ErrorCode::BlobUnknown, message),
            E::ManifestUnknown => Self::new(ErrorCode::ManifestUnknown, message),
            E::NameUnknown => Self::new(ErrorCode::NameUnknown, message),
            E::UploadUnknown => Self::new(ErrorCode::BlobUploadUnknown, message),
            E::OutOfOrder { .. } => Self::new(ErrorCode::RangeInvalid, message),
            E::DigestMismatch { .. } => Self::new(ErrorCode::DigestInvalid, message),
            E::ManifestInvalid(_) | E::UrlNotAllowed(_) => Self::new(ErrorCode::ManifestInvalid, message),
            E::ReferencesUnknown(missing) => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                let message = format!("{message}: {}", missing.join(", "));
                Self::new(ErrorCode::ManifestBlobUnknown, message).detail(serde_json::json!({ "missing": missing }))
            }
            // Clients take this code for final, and show the text.
            E::TagImmutable { .. } => Self::new(ErrorCode::Denied, message),
            E::OwnerDamaged(_) => {
                let text = "whose content this is cannot be told; tell the registry's administrator";
                Self::new(ErrorCode::Unavailable, text).cause(message)
            }
            // The tags of a manifest that is to go are pushed again and again.
            E::Changed => Self::unavailable("it changes all the time, try again later", Duration::from_secs(5)),
            E::Storage(error) => Self::storage(&error),
        }
    }
}

impl Error {
    fn storage(error: &storage::Error) -> Self {
        use storage::ErrorKind as K;
        let cause = format!("{error}: {}", error.source);
        match error.kind {
            K::NoSpace => Self::new(
                ErrorCode::InsufficientStorage,
                "no space left in the registry's storage; tell its administrator",
            )
            .cause(cause),
            K::ReadOnly => {
                Self::new(ErrorCode::Unavailable, "the registry's storage is not writable; tell its administrator")
                    .cause(cause)
            }
            K::InvalidKey => {
                Self::new(ErrorCode::NameInvalid, "name is too long for the registry's storage").cause(cause)
            }
            K::NotFound | K::Conflict | K::TooLarge | K::Unavailable => {
                Self::unavailable("the registry's storage does not answer, try again later", Duration::from_secs(5))
                    .cause(cause)
            }
        }
    }
}
