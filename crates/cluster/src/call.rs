//! One question to the API server, with a bound on everything.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use kube::core::Status;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::connect::Connection;
use crate::counters::{Call, Outcome};

/// When to come back if the API server does not say so.
pub(crate) const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// What the API server may ask for at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why there is no answer to use.
#[derive(Clone, Debug, Error)]
pub enum ApiError {
    /// The API server said no: a status from 400 to 499 other than 429.
    #[error("API server refuses with {} {}: {}", .0.code, .0.reason, .0.message)]
    Refused(Box<Status>),
    /// No answer in time, an overloaded or failing API server, or an answer that cannot be read.
    #[error("API server does not answer: {reason}")]
    Unavailable {
        /// What happened; for the log.
        reason: String,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The API server is there and says that it is asked too much: status 429.
    #[error("API server is asked too much: {reason}")]
    Busy {
        /// Its words; for the log.
        reason: String,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The answer is longer than it may be.
    #[error("answer is longer than {bytes_max} bytes")]
    TooLong {
        /// What it may be long.
        bytes_max: usize,
    },
}

impl ApiError {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: RETRY_AFTER_DEFAULT }
    }

    pub(crate) fn refused(code: u16, message: &str) -> Self {
        Self::Refused(Status::failure(message, "").with_code(code).boxed())
    }

    /// The status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            Self::Unavailable { .. } | Self::Busy { .. } | Self::TooLong { .. } => None,
        }
    }

    /// When another try makes sense.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Unavailable { retry_after, .. } | Self::Busy { retry_after, .. } => *retry_after,
            Self::Refused(_) | Self::TooLong { .. } => RETRY_AFTER_DEFAULT,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Refused(_) => Outcome::Refused,
            Self::Unavailable { .. } | Self::Busy { .. } | Self::TooLong { .. } => Outcome::Unavailable,
        }
    }
}

/// A request for one object or list.
///
/// # Errors
/// When the path is no path.
pub fn get(path: &str) -> Result<Request<Vec<u8>>, ApiError> {
    with_body(Method::GET, path, Vec::new())
}

/// A request that makes an object.
///
/// # Errors
/// When the path is no path, or the object cannot be written as JSON.
pub fn post(path: &str, body: &impl Serialize) -> Result<Request<Vec<u8>>, ApiError> {
    with_body(Method::POST, path, json(body)?)
}

/// A request that replaces an object.
///
/// # Errors
/// When the path is no path, or the object cannot be written as JSON.
pub fn put(path: &str, body: &impl Serialize) -> Result<Request<Vec<u8>>, ApiError> {
    with_body(Method::PUT, path, json(body)?)
}

/// A request that changes parts of an object.
///
/// # Errors
/// When the path is no path, or the change cannot be written as JSON.
pub fn merge_patch(path: &str, change: &impl Serialize) -> Result<Request<Vec<u8>>, ApiError> {
    let mut request = with_body(Method::PATCH, path, json(change)?)?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/merge-patch+json"));
    Ok(request)
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(body).map_err(|error| ApiError::unavailable(format!("request cannot be written: {error}")))
}

pub(crate) fn with_body(method: Method, path: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, ApiError> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json").body(body);
    request.map_err(|error| ApiError::unavailable(format!("request cannot be made: {error}")))
}

impl Connection {
    /// Asks, and reads the answer. Ends by itself within seconds; nothing is tried twice.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn call<T: DeserializeOwned>(&self, call: Call, request: Request<Vec<u8>>) -> Result<T, ApiError> {
        let exchange = Box::pin(self.exchange(call, request));
        let answer = match tokio::time::timeout(call.time_max(), exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                self.suspect(call);
                Err(ApiError::unavailable(format!("no answer within {} s", call.time_max().as_secs())))
            }
        };
        // What cannot be read is not shown: answers may hold tokens.
        let value = answer.and_then(|bytes| {
            let read = serde_json::from_slice(&bytes);
            read.map_err(|error| ApiError::unavailable(format!("answer cannot be read ({:?})", error.classify())))
        });
        self.counters().count(call, value.as_ref().map_or_else(ApiError::outcome, |_| Outcome::Ok));
        value
    }

    async fn exchange(&self, call: Call, request: Request<Vec<u8>>) -> Result<Vec<u8>, ApiError> {
        let response = self.client().send(request.map(Body::from)).await.map_err(|error| {
            self.suspect(call);
            ApiError::unavailable(chain(&error))
        })?;
        let status = response.status();
        match status {
            // Not from an API server but from something on the way to it.
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                self.suspect(call);
            }
            _ => self.reach().answered(),
        }
        let retry_after = retry_after(&response);
        let body = Limited::new(response.into_body(), call.bytes_max()).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return ApiError::TooLong { bytes_max: call.bytes_max() };
            }
            self.suspect(call);
            ApiError::unavailable(format!("answer breaks off: {error}"))
        })?;
        let bytes = body.to_bytes();
        if status.is_success() {
            return Ok(bytes.into());
        }
        Err(refusal(status, retry_after, &bytes))
    }

    /// A failed call lets the probe look at once; by itself it proves nothing, since what a stranger sends may make the
    /// API server slow.
    fn suspect(&self, call: Call) {
        if call != Call::Probe {
            self.reach().suspect();
        }
    }
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> ApiError {
    let mut told: Status = serde_json::from_slice(body).unwrap_or_default();
    told.code = status.as_u16();
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return ApiError::Refused(told.boxed());
    }
    let reason = format!("{status}: {}", told.message.chars().take(500).collect::<String>());
    let retry_after = retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
    match status {
        StatusCode::TOO_MANY_REQUESTS => ApiError::Busy { reason, retry_after },
        _ => ApiError::Unavailable { reason, retry_after },
    }
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER).map(HeaderValue::to_str)?.ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, body: &str) -> ApiError {
        refusal(StatusCode::from_u16(code).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn refusals_and_not_now() {
        let told = r#"{"kind":"Status","reason":"NotFound","message":"gone","code":404}"#;
        match status(404, told) {
            ApiError::Refused(status) => assert_eq!((status.reason.as_str(), status.code), ("NotFound", 404)),
            other => panic!("{other}"),
        }
        for code in [400, 401, 403, 404, 409, 410, 422] {
            assert_eq!(status(code, "<html>").code(), Some(code));
        }
        assert!(matches!(status(429, told), ApiError::Busy { .. }));
        for code in [500, 502, 503, 504, 302] {
            assert!(matches!(status(code, told), ApiError::Unavailable { .. }), "{code}");
        }
    }

    #[test]
    fn the_time_to_wait_is_bounded() {
        let with = |value: &str| retry_after(&Response::builder().header("Retry-After", value).body(()).unwrap());
        assert_eq!(with("7"), Some(Duration::from_secs(7)));
        assert_eq!(with("0"), Some(Duration::from_secs(1)));
        assert_eq!(with("99999999"), Some(RETRY_AFTER_MAX));
        for odd in ["", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(with(odd), None, "{odd}");
        }
    }
}
