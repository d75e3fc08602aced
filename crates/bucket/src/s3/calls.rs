//! Requests that the client library does not know: copies in parts, unfinished uploads, deletions with a condition.

use crate::answers::whole;
use crate::attempts::{Failed, attempts};
use crate::bucket::Unfinished;
use crate::error::{Said, all_of, one_line};
use crate::xml;
use futures_util::stream::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpError, HttpRequestBody};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::SystemTime;

/// The name of the store in errors.
const STORE: &str = "S3";
/// Longest answer that is read, in bytes: a page of unfinished uploads with long names.
const ANSWER_MAX: usize = 16 << 20;
/// Pages of unfinished uploads that are looked at, of a thousand each.
const PAGES_MAX: usize = 100;
/// Parts of a copy at most.
const COPY_PARTS_MAX: u64 = 10_000;

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// How large objects are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copying {
    pub(super) threshold: u64,
    pub(super) part: u64,
    pub(super) at_once: usize,
}

/// What signs and sends them.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) client: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    pub(super) region: String,
    /// Address of the bucket.
    pub(super) endpoint: String,
    pub(super) bucket: String,
    pub(super) sign_content: bool,
    /// What goes with each new object: encryption and class.
    pub(super) new_object: HeaderMap,
    pub(super) copying: Copying,
}

struct Call<'a> {
    method: Method,
    path: Option<&'a Path>,
    query: Vec<(&'a str, String)>,
    headers: HeaderMap,
}

fn failed(text: String) -> Error {
    Error::Generic { store: STORE, source: text.into() }
}

fn header(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|error| failed(error.to_string()))
}

impl Calls {
    fn url(&self, call: &Call<'_>) -> String {
        let mut url = self.endpoint.clone();
        if let Some(path) = call.path {
            url.push('/');
            url.extend(utf8_percent_encode(path.as_ref(), PATH));
        }
        for (index, (name, value)) in call.query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY));
        }
        url
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<String, Failed> {
        let last = Failed::last;
        let mut request = Request::builder().method(call.method.clone()).uri(self.url(call));
        if let Some(headers) = request.headers_mut() {
            headers.extend(call.headers.clone());
            if call.method != Method::GET {
                headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        let request = request.body(HttpRequestBody::empty());
        let mut request = request.map_err(|error| last(failed(error.to_string())))?;
        let credential = self.credentials.get_credential().await.map_err(last)?;
        let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region).with_sign_payload(self.sign_content);
        authorizer.try_authorize(&mut request, None).map_err(last)?;
        let again = |error: HttpError| Failed::of(&error, failed(all_of(&error)));
        let answer = self.client.execute(request).await.map_err(again)?;
        let status = answer.status();
        let body = whole(STORE, answer.into_body(), ANSWER_MAX).await.map_err(Failed::again)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        // A long copy answers 200 before it knows how it ends.
        if status.is_success() && !text.contains("<Error>") {
            return Ok(text);
        }
        let may_help = status.is_success() || status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        let said = Said { status: status.as_u16(), code: "", text: one_line(&text) };
        Err(Failed { error: said.into_error(STORE), may_help })
    }

    async fn send(&self, call: Call<'_>) -> Result<String> {
        attempts(|| self.attempt(&call)).await
    }

    fn source(&self, from: &Path, mut headers: HeaderMap) -> Result<HeaderMap> {
        let source = format!("{}/{}", self.bucket, utf8_percent_encode(from.as_ref(), PATH));
        headers.insert(HeaderName::from_static("x-amz-copy-source"), header(&source)?);
        Ok(headers)
    }

    /// Removes an object while it is this one.
    pub(super) async fn delete_same(&self, path: &Path, mark: &str) -> Result<()> {
        let headers = HeaderMap::from_iter([(http::header::IF_MATCH, header(mark)?)]);
        self.send(Call { method: Method::DELETE, path: Some(path), query: Vec::new(), headers }).await.map(drop)
    }

    /// A copy in one piece.
    pub(super) async fn copy_small(&self, from: &Path, to: &Path) -> Result<()> {
        let headers = self.source(from, self.new_object.clone())?;
        self.send(Call { method: Method::PUT, path: Some(to), query: Vec::new(), headers }).await.map(drop)
    }

    /// The parts of a copy into an upload.
    pub(super) async fn copy_parts(&self, from: &Path, to: &Path, upload: &str, size: u64) -> Result<Vec<PartId>> {
        let ranges = copy_ranges(size, self.copying.part);
        let copies = ranges.into_iter().enumerate().map(|(index, (first, last))| async move {
            let mut headers = self.source(from, HeaderMap::new())?;
            let range = HeaderName::from_static("x-amz-copy-source-range");
            headers.insert(range, header(&format!("bytes={first}-{last}"))?);
            let query = vec![("partNumber", (index + 1).to_string()), ("uploadId", upload.to_owned())];
            let text = self.send(Call { method: Method::PUT, path: Some(to), query, headers }).await?;
            let mark = xml::texts(&text, "ETag").next();
            mark.map(|content_id| PartId { content_id }).ok_or_else(|| failed("a copied part has no mark".to_owned()))
        });
        futures_util::stream::iter(copies).buffered(self.copying.at_once.max(1)).try_collect().await
    }

    /// Uploads that were begun and not ended.
    pub(super) async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>> {
        let mut all = Vec::new();
        let mut markers: Option<(String, String)> = None;
        for _ in 0..PAGES_MAX {
            let mut query =
                vec![("max-uploads", "1000".to_owned()), ("prefix", prefix.to_owned()), ("uploads", String::new())];
            if let Some((key, id)) = markers.take() {
                query.extend([("key-marker", key), ("upload-id-marker", id)]);
            }
            let text = self.send(Call { method: Method::GET, path: None, query, headers: HeaderMap::new() }).await?;
            all.extend(xml::blocks(&text, "Upload").filter_map(upload));
            if xml::texts(&text, "IsTruncated").next().as_deref() != Some("true") {
                break;
            }
            let next = |name| xml::texts(&text, name).next().unwrap_or_default();
            markers = Some((next("NextKeyMarker"), next("NextUploadIdMarker")));
        }
        all.retain(|upload: &Unfinished| upload.path.as_ref().starts_with(prefix));
        Ok(all)
    }
}

fn upload(block: &str) -> Option<Unfinished> {
    let text = |name| xml::texts(block, name).next();
    let begun: jiff::Timestamp = text("Initiated")?.parse().ok()?;
    Some(Unfinished { path: Path::parse(text("Key")?).ok()?, id: text("UploadId")?, begun: SystemTime::from(begun) })
}

/// First and last byte of each part; parts grow so that they are not too many.
fn copy_ranges(size: u64, part: u64) -> Vec<(u64, u64)> {
    let part = part.max(size.div_ceil(COPY_PARTS_MAX)).max(crate::parts::MIN_PART as u64);
    let count = size.div_ceil(part);
    (0..count).map(|index| (index * part, ((index + 1) * part).min(size) - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn ranges_cover_all_bytes_once(size in 1..(1_u64 << 42), part in 0..(1_u64 << 31)) {
            let ranges = copy_ranges(size, part);
            prop_assert!(ranges.len() as u64 <= COPY_PARTS_MAX);
            prop_assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, size - 1));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
            let (_, all_but_last) = ranges.split_last().unwrap();
            prop_assert!(all_but_last.iter().all(|(first, last)| last - first + 1 >= crate::parts::MIN_PART as u64));
        }
    }

    #[test]
    fn uploads_are_read() {
        let block = "<Key>a/b</Key><UploadId>x==</UploadId><Initiated>2026-11-21T17:22:38.000Z</Initiated>";
        let upload = upload(block).unwrap();
        assert_eq!((upload.path.as_ref(), upload.id.as_str()), ("a/b", "x=="));
        assert_eq!(upload.begun, SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_281_758));
        assert!(super::upload("<Key>a</Key><UploadId>x</UploadId><Initiated>yesterday</Initiated>").is_none());
    }
}
