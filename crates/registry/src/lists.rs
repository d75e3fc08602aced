//! Tags, referrers, and what all lists share.

use crate::error::{Error, Result};
use crate::respond::{self, OCI_FILTERS};
use crate::service::Call;
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use net::Body;
use oci::{Digest, ErrorCode, Page, RepoName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A client that does not ask for pages gets all tags, since not every one follows `Link`; up to this many.
const TAGS_UNPAGED_MAX: usize = 100_000;

/// Largest page of referrers in entries; an answer is cut by its bytes long before.
const REFERRERS_MAX: usize = 100_000;

pub(crate) fn read_only_method(call: &Call<'_>) -> Result<()> {
    match *call.request.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Error::method("GET, HEAD")),
    }
}

pub(crate) fn page(call: &Call<'_>, limit_default: usize, limit_max: usize) -> Result<Page> {
    Page::parse(call.request.query, limit_default, limit_max)
        .map_err(|error| Error::new(ErrorCode::PaginationNumberInvalid, error.to_string()))
}

/// `Link` to the page after `last`.
pub(crate) fn set_next(call: &Call<'_>, response: &mut Response<Body>, page: &Page, last: &str, filter: Option<&str>) {
    if page.limit == 0 {
        return;
    }
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let filter = filter.map(|filter| format!("artifactType={}&", encode(filter))).unwrap_or_default();
    let path = format!("{}?{filter}last={}&n={}", call.request.path, encode(last), page.limit);
    respond::set(response, header::LINK, &format!("<{}>; rel=\"next\"", respond::location(call.live(), &path)));
}

/// `GET /v2/<name>/tags/list`
pub(crate) async fn tags(call: &Call<'_>, name: RepoName<'_>) -> Result<Response<Body>> {
    read_only_method(call)?;
    let page = page(call, TAGS_UNPAGED_MAX, call.live().tags_max)?;
    let found = call.registry.store.tags(name, &page).await?;
    let tag = found.stamp().map(|stamp| etag(&(stamp, &page.last, page.limit)));
    if let Some(tag) = tag.as_deref().filter(|tag| respond::is_not_modified(call.request.headers, tag)) {
        let mut response = respond::empty(StatusCode::NOT_MODIFIED);
        respond::set(&mut response, header::ETAG, &format!("\"{tag}\""));
        return Ok(response);
    }
    let mut body = String::with_capacity(64 + name.as_str().len() + found.iter().len() * 16);
    body.push_str("{\"name\":\"");
    body.push_str(name.as_str());
    body.push_str("\",\"tags\":[");
    push_list(&mut body, found.iter());
    body.push_str("]}\n");
    let tag = tag.unwrap_or_else(|| etag(&body));
    let not_modified = respond::is_not_modified(call.request.headers, &tag);
    let mut response =
        if not_modified { respond::empty(StatusCode::NOT_MODIFIED) } else { respond::full("application/json", body) };
    respond::set(&mut response, header::ETAG, &format!("\"{tag}\""));
    if let (true, Some(last)) = (found.more(), found.iter().last()) {
        set_next(call, &mut response, &page, last, None);
    }
    Ok(head_only(call, response))
}

/// `GET /v2/<name>/referrers/<digest>`
pub(crate) async fn referrers(call: &Call<'_>, name: RepoName<'_>, digest: Digest) -> Result<Response<Body>> {
    read_only_method(call)?;
    let page = page(call, REFERRERS_MAX, REFERRERS_MAX)?;
    let filter = call.request.query.get("artifactType").filter(|filter| !filter.is_empty());
    let found = call.registry.store.referrers(name, digest, filter.as_deref(), &page).await?;
    let mut body = Vec::with_capacity(128 + found.descriptors.iter().map(|json| json.len() + 1).sum::<usize>());
    body.extend_from_slice(
        b"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[",
    );
    for (index, json) in found.descriptors.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(json.as_bytes());
    }
    body.extend_from_slice(b"]}");
    let mut response = respond::full(oci::media_type::OCI_INDEX, Bytes::from(body));
    if filter.is_some() {
        respond::set(&mut response, OCI_FILTERS, "artifactType");
    }
    if let Some(last) = found.next {
        set_next(call, &mut response, &page, &last.to_string(), filter.as_deref());
    }
    Ok(head_only(call, response))
}

pub(crate) fn push_list<'a>(body: &mut String, list: impl Iterator<Item = &'a str>) {
    for (index, text) in list.enumerate() {
        if index > 0 {
            body.push(',');
        }
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/'));
        if plain {
            body.push('"');
            body.push_str(text);
            body.push('"');
        } else {
            // A directory that no registry made: still valid JSON.
            body.push_str(&serde_json::Value::from(text).to_string());
        }
    }
}

fn etag(value: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The same headers without the body.
pub(crate) fn head_only(call: &Call<'_>, response: Response<Body>) -> Response<Body> {
    if *call.request.method != Method::HEAD {
        return response;
    }
    let (parts, body) = response.into_parts();
    let length = body.length();
    let mut response = Response::from_parts(parts, Body::empty());
    if let Some(length) = length {
        respond::set_length(&mut response, length);
    }
    response
}
