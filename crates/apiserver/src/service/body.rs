//! The body of a request, read whole.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;

use crate::limits::{BODY_BYTES_MAX, BODY_TIME_MAX};
use crate::status::{Failure, Result};

/// After a refusal this much is still read.
const DRAIN_BYTES_MAX: usize = 8 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// Reads it; empty is fine.
///
/// # Errors
/// 413 and 415, 400 when the client does not end it, or not in time.
pub(super) async fn read<B>(body: Pin<&mut B>, headers: &HeaderMap) -> Result<Bytes>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display + Send,
{
    let late = || Err(Failure::bad_request(format!("the body did not arrive within {BODY_TIME_MAX:?}")));
    let read = tokio::time::timeout(BODY_TIME_MAX, collect(body)).await.unwrap_or_else(|_| late())?;
    if !read.is_empty() && !is_json(headers) {
        return Err(Failure::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json",
        ));
    }
    Ok(read)
}

async fn collect<B>(mut body: Pin<&mut B>) -> Result<Bytes>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: std::fmt::Display + Send,
{
    let too_large = || Failure::too_large(&format!("limit is {BODY_BYTES_MAX}"));
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::bad_request(format!("the body cannot be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

/// Reads on and forgets: closing a connection with unread data would take the answer away from the client.
pub(super) async fn drain<B>(mut body: Pin<&mut B>)
where
    B: hyper::body::Body<Data = Bytes> + Send,
{
    let mut left = DRAIN_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    drop(tokio::time::timeout(DRAIN_TIME_MAX, reading).await);
}

/// No type at all counts as JSON, as in kube-apiserver.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    media.is_empty() || media.eq_ignore_ascii_case("application/json")
}
