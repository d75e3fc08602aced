//! The client library's traits over our requests.

use super::Swift;
use super::calls::{Call, Calls, STORE, Target, failed, has_status};
use super::large::{BYTES, mark};
use crate::error::Said;
use crate::read::Latest;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED};
use http::{Method, StatusCode};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartId, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// What metadata begins with.
const META: &str = "x-object-meta-";
/// Content up to this length is read as a part of its request, so that a broken answer is asked for again.
const AT_ONCE_MAX: u64 = 256 * 1024;
/// What a service answers beside content, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

impl fmt::Display for Swift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swift({})", self.calls.container)
    }
}

fn not_here<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() })
}

fn put_result(mark: Option<String>) -> PutResult {
    PutResult { e_tag: mark, version: None, extensions: http::Extensions::new() }
}

/// Seconds with a fraction where the service tells them, else whole ones.
fn modified(headers: &HeaderMap) -> SystemTime {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let exact = text("x-timestamp").and_then(|text| text.parse::<f64>().ok());
    // Not every number is a time: the client library's has an end.
    let exact = exact.and_then(|seconds| jiff::SignedDuration::try_from_secs_f64(seconds).ok());
    let exact = exact.and_then(|since| jiff::Timestamp::from_duration(since).ok());
    let whole = || {
        let text = text(LAST_MODIFIED.as_str())?;
        jiff::fmt::rfc2822::parse(text).ok().map(|time| SystemTime::from(time.timestamp()))
    };
    exact.map(SystemTime::from).or_else(whole).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Which bytes an answer has, and the length of the whole.
fn extent(headers: &HeaderMap, partial: bool) -> Option<(Range<u64>, u64)> {
    if partial {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
        let (range, size) = text.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        return Some((first..last.checked_add(1)?, size.parse().ok()?));
    }
    let size = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some((0..size, size))
}

fn attributes(headers: &HeaderMap) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in headers {
        if let (Some(name), Ok(value)) = (name.as_str().strip_prefix(META), value.to_str()) {
            attributes.insert(Attribute::Metadata(name.to_owned().into()), value.to_owned().into());
        }
    }
    attributes
}

fn range_header(range: &GetRange) -> String {
    match range {
        GetRange::Bounded(range) => format!("bytes={}-{}", range.start, range.end.saturating_sub(1)),
        GetRange::Offset(first) => format!("bytes={first}-"),
        GetRange::Suffix(count) => format!("bytes=-{count}"),
    }
}

async fn get(calls: &Calls, path: &Path, options: GetOptions) -> Result<GetResult> {
    let method = if options.head { Method::HEAD } else { Method::GET };
    let mut call = Call::new(method, Target::Object(path.as_ref()));
    if let Some(range) = &options.range {
        call = call.header("range", &range_header(range))?;
    }
    if options.extensions.get::<Latest>().is_some() {
        call = call.latest()?;
    }
    if let Some(mark) = &options.if_none_match {
        call = call.header("if-none-match", mark)?;
    }
    let (parts, body) = calls.send(call).await?.into_parts();
    let unclear = || failed(format!("{path}: the answer does not tell which bytes it has"));
    let (range, size) = extent(&parts.headers, parts.status == StatusCode::PARTIAL_CONTENT).ok_or_else(unclear)?;
    if let Some(GetRange::Bounded(wanted)) = &options.range
        && (range.start, range.end) != (wanted.start, wanted.end.min(size))
    {
        return Err(failed(format!("{path}: the answer has other bytes than were asked for")));
    }
    let quoted = |mark: &str| format!("\"{}\"", mark.trim_matches('"'));
    let mark = parts.headers.get(ETAG).and_then(|mark| mark.to_str().ok()).map(quoted);
    // Not left to the service: Ceph compares with the mark of a manifest, and tells that of its content.
    if options.if_match.is_some() && options.if_match != mark {
        return Err(Said { status: 412, code: "", text: format!("{path} has changed") }.into_error(STORE));
    }
    let payload = if options.head {
        futures_util::stream::empty().boxed()
    } else {
        let broken = |error: object_store::client::HttpError| failed(crate::error::all_of(&error));
        body.bytes_stream().map_err(broken).boxed()
    };
    Ok(GetResult {
        payload: GetResultPayload::Stream(payload),
        meta: ObjectMeta {
            location: path.clone(),
            last_modified: modified(&parts.headers).into(),
            size,
            e_tag: mark,
            version: None,
        },
        range,
        attributes: attributes(&parts.headers),
        extensions: http::Extensions::new(),
    })
}

/// Small content is there when this returns.
async fn get_at_once(calls: &Calls, path: &Path, options: GetOptions) -> Result<GetResult> {
    let mut tries = 0;
    loop {
        let mut found = get(calls, path, options.clone()).await?;
        let length = found.range.end - found.range.start;
        if options.head || length > AT_ONCE_MAX {
            return Ok(found);
        }
        let GetResultPayload::Stream(stream) = found.payload;
        let read: Result<Vec<Bytes>> = stream.try_collect().await;
        let got = read.as_ref().map_or(0, |chunks| chunks.iter().map(Bytes::len).sum()) as u64;
        match read {
            Ok(chunks) if got == length => {
                found.payload =
                    GetResultPayload::Stream(futures_util::stream::iter(chunks.into_iter().map(Ok)).boxed());
                return Ok(found);
            }
            _ if tries < 2 => tries += 1,
            Ok(_) => return Err(failed(format!("{path}: the answer ended early"))),
            Err(error) => return Err(error),
        }
    }
}

/// Puts an object. Over a large blob, whose segments nobody would have then, goes a note first.
async fn put(calls: &Calls, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
    if options.mode != PutMode::Overwrite || !is_blob(path) {
        return put_once(calls, path, payload, options).await;
    }
    // Ceph would write over what is there.
    if !calls.info().is_ceph() {
        let first = PutOptions { mode: PutMode::Create, ..options.clone() };
        match put_once(calls, path, payload.clone(), first).await {
            Err(Error::AlreadyExists { .. }) => {}
            other => return other,
        }
    }
    calls.note_displaced(path.as_ref()).await?;
    put_once(calls, path, payload, options).await
}

/// The bytes of a blob, which old registries store in segments whatever its length.
fn is_blob(path: &Path) -> bool {
    path.as_ref().contains("/blobs/") && path.as_ref().ends_with("/data")
}

async fn put_once(calls: &Calls, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
    let mut call = Call::new(Method::PUT, Target::Object(path.as_ref())).header("content-type", BYTES)?;
    match options.mode {
        PutMode::Overwrite => {}
        PutMode::Create => call = call.header("if-none-match", "*")?,
        PutMode::Update(_) => return not_here("conditional update"),
    }
    for (attribute, value) in &options.attributes {
        if let Attribute::Metadata(name) = attribute {
            call = call.header(&format!("{META}{name}"), value)?;
        }
    }
    let stored = calls.send_and_read(call.body(payload), ANSWER_MAX).await;
    match stored {
        Ok(text) => Ok(put_result(Some(mark(&text)?))),
        Err(error) if has_status(&error, 412) => {
            Err(Error::AlreadyExists { path: path.to_string(), source: Box::new(error) })
        }
        Err(error) => Err(error),
    }
}

#[async_trait]
impl ObjectStore for Swift {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        put(&self.calls, path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        _path: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        not_here("put_multipart")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        get_at_once(&self.calls, path, options).await
    }

    /// All of them are removed before the first is answered for.
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let calls = Arc::clone(&self.calls);
        let removed = async move {
            let paths: Vec<Path> = paths.try_collect().await?;
            let names: Vec<String> = paths.iter().map(Path::to_string).collect();
            calls.delete_many(&names).await?;
            Ok::<_, Error>(futures_util::stream::iter(paths.into_iter().map(Ok)))
        };
        futures_util::stream::once(removed).try_flatten().boxed()
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures_util::stream::once(async { not_here("list") }).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        not_here("list_with_delimiter")
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _options: CopyOptions) -> Result<()> {
        self.calls.copy(from.as_ref(), to.as_ref()).await
    }
}

#[async_trait]
impl MultipartStore for Swift {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.calls.begin(path.as_ref()).await
    }

    async fn create_multipart_opts(&self, path: &Path, _options: PutMultipartOptions) -> Result<MultipartId> {
        self.create_multipart(path).await
    }

    async fn put_part(&self, _path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        self.calls.put_segment(id, index, data).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        Ok(put_result(Some(self.calls.end(path.as_ref(), id, &parts).await?)))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.calls.give_up(path.as_ref(), id).await
    }
}

#[async_trait]
impl PaginatedListStore for Swift {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        self.calls.page(prefix.unwrap_or_default(), options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn answers_tell_what_they_have() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 10.into());
        headers.insert(LAST_MODIFIED, "Sat, 21 Nov 2026 17:22:38 GMT".parse().unwrap());
        headers.insert("x-object-meta-homeport-time", "1.000000002".parse().unwrap());
        assert_eq!(extent(&headers, false), Some((0..10, 10)));
        assert_eq!(extent(&headers, true), None);
        assert_eq!(modified(&headers), SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_281_758));
        headers.insert("x-timestamp", "1795281757.50000".parse().unwrap());
        assert_eq!(modified(&headers), SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_281_757_500));
        for bad in ["1e13", "1e19", "-1e19", "inf", "NaN", ""] {
            headers.insert("x-timestamp", bad.parse().unwrap());
            assert_eq!(modified(&headers), SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_281_758), "{bad}");
        }
        headers.insert(CONTENT_RANGE, "bytes 5-9/100".parse().unwrap());
        assert_eq!(extent(&headers, true), Some((5..10, 100)));
        headers.insert(CONTENT_RANGE, "bytes */100".parse().unwrap());
        assert_eq!(extent(&headers, true), None);
        let name = Attribute::Metadata("homeport-time".into());
        assert_eq!(attributes(&headers).get(&name).map(AsRef::as_ref), Some("1.000000002"));
    }
}
