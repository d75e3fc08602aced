//! Answers: JSON, whole or in pieces, compressed where the client takes it.

mod gzip;

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use net::Body;
use serde::Serialize;

use crate::status::Failure;

/// Smaller bodies are not compressed: it would cost more than it saves.
const GZIP_BYTES_MIN: usize = 1024;

/// What an answer depends on beside its address.
pub(crate) const VARY: &str = "Accept, Accept-Encoding";

/// How an answer is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// The client takes gzip.
    pub(crate) gzip: bool,
}

impl Encoding {
    /// What the header `Accept-Encoding` allows.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let gzip = lines.flat_map(|line| line.split(',')).any(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        });
        Self { gzip }
    }
}

/// A whole document.
pub(crate) fn json(status: StatusCode, value: &impl Serialize, encoding: Encoding) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            // As kube-apiserver ends its documents, for people with curl.
            text.push(b'\n');
            document(status, "application/json", text, encoding)
        }
        // Only a type that cannot be JSON comes here; a `Failure` is not one.
        Err(error) => document(
            StatusCode::INTERNAL_SERVER_ERROR,
            "application/json",
            serde_json::to_vec(&Failure::internal(error.to_string())).unwrap_or_default(),
            encoding,
        ),
    }
}

/// Bytes of any type.
pub(crate) fn document(
    status: StatusCode,
    media_type: &'static str,
    bytes: impl Into<Bytes>,
    encoding: Encoding,
) -> Response<Body> {
    let bytes = bytes.into();
    let packed = if encoding.gzip { packed(&bytes) } else { None };
    let is_packed = packed.is_some();
    head(status, media_type, Body::full(packed.unwrap_or(bytes)), is_packed)
}

/// Pieces of JSON as they come. Each is on its way before the next is waited for, compressed or not.
pub(crate) fn stream(
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    encoding: Encoding,
) -> Response<Body> {
    let body = if encoding.gzip { Body::stream(gzip::Packed::new(chunks), None) } else { Body::stream(chunks, None) };
    head(StatusCode::OK, "application/json", body, encoding.gzip)
}

/// The bytes packed; `None` where that is not worth it.
pub(crate) fn packed(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() > GZIP_BYTES_MIN { gzip::pack(bytes) } else { None }
}

pub(crate) fn head(status: StatusCode, media_type: &'static str, body: Body, is_packed: bool) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::VARY, HeaderValue::from_static(VARY));
    if is_packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests;
