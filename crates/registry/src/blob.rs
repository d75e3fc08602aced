//! Blobs: GET, HEAD, DELETE.

use crate::error::{Error, Result};
use crate::log::Record;
use crate::range;
use crate::respond;
use crate::service::{Call, detached};
use http::{HeaderValue, Response, StatusCode, header};
use net::{Body, FileRange, Part};
use oci::{Digest, ErrorCode, RangeOutcome, RepoName, parse_range};
use std::sync::Arc;
use storage::{Object, ObjectBody};

/// A digest never changes its content, so a copy is good for ever; whose it is may change, so only private copies.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

fn set_common(response: &mut Response<Body>, digest: &Digest) {
    respond::set_digest(response, digest);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
}

/// 304, when the client has the blob. Few ask, so the digest becomes text only for them.
fn not_modified(call: &Call<'_>, digest: &Digest) -> Option<Response<Body>> {
    let headers = call.request.headers;
    if !headers.contains_key(header::IF_NONE_MATCH) || !respond::is_not_modified(headers, &digest.to_string()) {
        return None;
    }
    let mut response = respond::empty(StatusCode::NOT_MODIFIED);
    set_common(&mut response, digest);
    Some(response)
}

/// `HEAD /v2/<name>/blobs/<digest>`
pub(crate) async fn head(
    call: &Call<'_>,
    name: RepoName<'_>,
    digest: Digest,
    record: &mut Record,
) -> Result<Response<Body>> {
    record.digest(&digest);
    let info = call.registry.store.blob_stat(name, digest).await?;
    if let Some(response) = not_modified(call, &digest) {
        return Ok(response);
    }
    let mut response = respond::empty(StatusCode::OK);
    set_common(&mut response, &digest);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    respond::set_length(&mut response, info.size);
    Ok(response)
}

/// True for a whole blob and for one range of it: other answers only we can give.
fn may_redirect(call: &Call<'_>) -> bool {
    let headers = call.request.headers;
    call.live().redirects.allow(call.request.address())
        && ![header::IF_NONE_MATCH, header::IF_RANGE].iter().any(|name| headers.contains_key(name))
        && !call.request.header(header::RANGE).is_some_and(|ranges| ranges.contains(','))
}

/// Sends the client to storage, which needs no bytes to pass through here.
async fn redirect(call: &Call<'_>, name: RepoName<'_>, digest: Digest) -> Result<Option<Response<Body>>> {
    if !may_redirect(call) {
        return Ok(None);
    }
    let address = call.registry.store.blob_address(name, digest, call.live().redirects.life).await?;
    let Some(location) = address.and_then(|address| HeaderValue::try_from(address).ok()) else { return Ok(None) };
    let mut response = respond::empty(StatusCode::TEMPORARY_REDIRECT);
    respond::set(&mut response, respond::CONTENT_DIGEST, &digest.to_string());
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    // Whoever has the address may read the blob, and only for a while.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Some(response))
}

/// `GET /v2/<name>/blobs/<digest>`
pub(crate) async fn get(
    call: &Call<'_>,
    name: RepoName<'_>,
    digest: Digest,
    record: &mut Record,
) -> Result<Response<Body>> {
    record.digest(&digest);
    if let Some(response) = redirect(call, name, digest).await? {
        return Ok(response);
    }
    let object = call.registry.store.blob_open(name, digest).await?.object;
    if let Some(response) = not_modified(call, &digest) {
        return Ok(response);
    }
    let outcome = match call.request.header(header::RANGE) {
        // A range of another content than the client has is no use to it: then it gets everything.
        Some(text) if if_range_matches(call, &digest) => parse_range(text, object.size),
        _ => RangeOutcome::Full,
    };
    let mut response = match outcome {
        RangeOutcome::Full => {
            let mut response = Response::new(slice(&object, 0, object.size));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            response
        }
        RangeOutcome::Partial(ranges) if ranges.len() == 1 => range::single(&object, ranges[0]),
        RangeOutcome::Partial(ranges) => range::multiple(&object, &ranges),
        RangeOutcome::Unsatisfiable => {
            return Err(Error::new(ErrorCode::RangeInvalid, format!("the blob has {} bytes", object.size))
                .header(header::CONTENT_RANGE, &format!("bytes */{}", object.size)));
        }
        RangeOutcome::TooMany => {
            return Err(Error::new(
                ErrorCode::RangeInvalid,
                format!("at most {} ranges in one request", oci::RANGES_MAX),
            )
            .status(StatusCode::BAD_REQUEST));
        }
    };
    set_common(&mut response, &digest);
    Ok(response)
}

fn if_range_matches(call: &Call<'_>, digest: &Digest) -> bool {
    let Some(condition) = call.request.header(header::IF_RANGE) else { return true };
    condition.trim().trim_matches('"') == digest.to_string()
}

/// A part of an object as a body.
pub(crate) fn slice(object: &Object, offset: u64, length: u64) -> Body {
    match part(object, offset, length) {
        Part::Bytes(bytes) => Body::full(bytes),
        Part::File(range) => Body::file(range),
        Part::Stream(stream, length) => Body::stream(stream, Some(length)),
    }
}

pub(crate) fn part(object: &Object, offset: u64, length: u64) -> Part {
    match &object.body {
        ObjectBody::File(file) => Part::File(FileRange { file: file.clone(), offset, length }),
        ObjectBody::Bytes(bytes) => {
            let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            Part::Bytes(bytes.slice(bound(offset)..bound(offset.saturating_add(length))))
        }
        ObjectBody::Remote(remote) => Part::Stream(remote.clone().read(offset..offset.saturating_add(length)), length),
    }
}

/// `DELETE /v2/<name>/blobs/<digest>`
pub(crate) async fn delete(
    call: &Call<'_>,
    name: RepoName<'_>,
    digest: Digest,
    record: &mut Record,
) -> Result<Response<Body>> {
    record.digest(&digest);
    call.deletable()?;
    let store = Arc::clone(&call.registry.store);
    detached(name, |repo| async move { store.blob_delete(repo.name()?, digest).await }).await?;
    record.audit("blob.delete");
    let mut response = respond::empty(StatusCode::ACCEPTED);
    respond::set(&mut response, respond::CONTENT_DIGEST, &digest.to_string());
    Ok(response)
}
