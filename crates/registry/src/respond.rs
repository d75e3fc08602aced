//! Small helpers for answers.

use crate::context::Live;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use net::Body;
use oci::Digest;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(crate) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(crate) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer with a body of a type.
pub(crate) fn full(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Sets a header whose text we made ourselves; a text that is no header value is left out.
pub(crate) fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

pub(crate) fn set_length(response: &mut Response<Body>, length: u64) {
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
}

/// `Docker-Content-Digest`, and the same in quotes as `ETag`.
pub(crate) fn set_digest(response: &mut Response<Body>, digest: &Digest) {
    let text = format!("\"{digest}\"");
    set(response, CONTENT_DIGEST, &text[1..text.len() - 1]);
    set(response, header::ETAG, &text);
}

/// `path` below the prefix, absolute when an address of the registry is configured.
pub(crate) fn location(live: &Live, path: &str) -> String {
    format!("{}{}{path}", live.base_url.as_deref().unwrap_or_default(), live.prefix)
}

/// True when `If-None-Match` names the tag, in quotes or as some clients do without.
pub(crate) fn is_not_modified(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|candidate| {
            let candidate = candidate.trim();
            let candidate = candidate.strip_prefix("W/").unwrap_or(candidate);
            candidate == "*" || candidate.trim_matches('"') == tag
        })
    })
}

/// A header as text; `None` when it is missing or not visible ASCII.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
