//! Partial answers: one range, or several as `multipart/byteranges` (RFC 9110, section 14.6).

use crate::blob::{part, slice};
use crate::respond;
use http::{HeaderValue, Response, StatusCode, header};
use net::{Body, Part};
use oci::ByteRange;
use std::fmt::Write;
use storage::Object;

pub(crate) fn single(object: &Object, range: ByteRange) -> Response<Body> {
    let mut response = Response::new(slice(object, range.start, range.len()));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    respond::set(&mut response, header::CONTENT_RANGE, &content_range(range, object.size));
    response
}

pub(crate) fn multiple(object: &Object, ranges: &[ByteRange]) -> Response<Body> {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
    for (index, range) in ranges.iter().enumerate() {
        let mut head = String::with_capacity(160);
        let lead = if index == 0 { "" } else { "\r\n" };
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            "{lead}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            content_range(*range, object.size)
        );
        parts.push(Part::Bytes(head.into()));
        parts.push(part(object, range.start, range.len()));
    }
    parts.push(Part::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let mut response = Response::new(Body::parts(parts));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    respond::set(&mut response, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    response
}

fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end)
}
