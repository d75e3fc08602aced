//! Whole objects.

use super::Gcs;
use super::api::{Call, STORE, failed};
use super::list::Item;
use crate::error::{Said, all_of};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use http::{Extensions, HeaderMap, Method};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;
use uuid::Uuid;

/// Headers of metadata begin like this.
const METADATA: &str = "x-goog-meta-";

/// What is said of one object.
#[derive(Deserialize)]
struct Resource {
    #[serde(flatten)]
    item: Item,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

fn attributes(metadata: impl IntoIterator<Item = (String, String)>) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in metadata {
        attributes.insert(Attribute::Metadata(name.into()), value.into());
    }
    attributes
}

/// The document that goes before the content.
fn about(name: &str, attributes: &Attributes) -> serde_json::Value {
    let mut metadata = serde_json::Map::new();
    for (attribute, value) in attributes {
        if let Attribute::Metadata(name) = attribute {
            metadata.insert(name.to_string(), value.as_ref().into());
        }
    }
    serde_json::json!({"name": name, "contentType": "application/octet-stream", "metadata": metadata})
}

impl Gcs {
    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let name = self.api.name(path)?;
        let mut call = Call::new(Method::POST, self.api.upload_url())
            .query("uploadType", "multipart")
            .query("fields", "generation");
        call = match options.mode {
            PutMode::Overwrite => call,
            PutMode::Create => call.query("ifGenerationMatch", "0"),
            PutMode::Update(_) => return Err(unknown("updates")),
        };
        let boundary = Uuid::new_v4().simple().to_string();
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{}\r\n--{boundary}\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            about(name, &options.attributes)
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let body: PutPayload = std::iter::once(Bytes::from(head)).chain(payload).chain([Bytes::from(tail)]).collect();
        let call = call.header("content-type", &format!("multipart/related; boundary={boundary}"))?.body(body);
        let generation = Some(self.api.write(&call).await?);
        Ok(PutResult { e_tag: generation.clone(), version: generation, extensions: Extensions::new() })
    }

    async fn head(&self, path: &Path) -> Result<GetResult> {
        let call = Call::new(Method::GET, self.api.object_url(self.api.name(path)?));
        let call = call.query("fields", "name,size,updated,generation,metadata");
        let resource: Resource = match self.api.document(&call).await {
            Ok(resource) => resource,
            Err(error) => return Err(self.api.explained(error).await),
        };
        let meta = resource.item.meta(Some(path.clone()))?;
        Ok(GetResult {
            range: 0..meta.size,
            meta,
            payload: GetResultPayload::Stream(futures_util::stream::empty().boxed()),
            attributes: attributes(resource.metadata),
            extensions: Extensions::new(),
        })
    }

    async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let mut call = Call::new(Method::GET, self.api.content_url(self.api.name(path)?));
        if let Some(generation) = &options.if_match {
            call = call.header("x-goog-if-generation-match", generation)?;
        }
        if let Some(range) = &options.range {
            call = call.header("range", &range.to_string())?;
        }
        let answer = match self.api.content(&call).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.api.explained(error).await),
        };
        let (meta, range) = described(path, answer.headers(), answer.status().as_u16())?;
        // Whoever stands in for the service may not know conditions.
        if options.if_match.is_some() && options.if_match != meta.e_tag {
            return Err(Said { status: 412, code: "", text: "another generation".to_owned() }.into_error(STORE));
        }
        if options.range.is_some() && answer.status() != http::StatusCode::PARTIAL_CONTENT {
            return Err(failed("the service gives all of an object instead of a range".to_owned()));
        }
        let metadata = answer.headers().iter().filter_map(|(name, value)| {
            Some((name.as_str().strip_prefix(METADATA)?.to_owned(), value.to_str().ok()?.to_owned()))
        });
        let attributes = attributes(metadata);
        let stream = answer.into_body().bytes_stream().map(|bytes| bytes.map_err(|error| failed(all_of(&error))));
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream.boxed()),
            meta,
            range,
            attributes,
            extensions: Extensions::new(),
        })
    }
}

/// The object in the headers of its content, and which bytes come.
fn described(path: &Path, headers: &HeaderMap, status: u16) -> Result<(ObjectMeta, Range<u64>)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let broken = |what: &str| failed(format!("an object has no {what} in the service's answer"));
    let length = text("content-length").or_else(|| text("x-goog-stored-content-length"));
    let length: u64 = length.and_then(|text| text.parse().ok()).ok_or_else(|| broken("length"))?;
    let (range, size) = if status == 206 {
        text("content-range").and_then(content_range).ok_or_else(|| broken("range"))?
    } else {
        (0..length, length)
    };
    let written = text("last-modified").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
    let written = written.ok_or_else(|| broken("time"))?;
    let generation = text("x-goog-generation").map(str::to_owned);
    let meta = ObjectMeta {
        location: path.clone(),
        last_modified: SystemTime::from(written.timestamp()).into(),
        size,
        e_tag: generation.clone(),
        version: generation,
    };
    Ok((meta, range))
}

/// `bytes 1-3/10`.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first..last + 1, size))
}

fn unknown(what: &str) -> Error {
    Error::NotImplemented { operation: what.to_owned(), implementer: STORE.to_owned() }
}

impl std::fmt::Display for Gcs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gs://{}", self.api.bucket)
    }
}

/// What the driver needs of it, and no more.
#[async_trait]
impl ObjectStore for Gcs {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.put(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        _path: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(unknown("uploads of this kind"))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head { self.head(path).await } else { self.get(path, options).await }
    }

    /// The service has no such request; see [`super::Gcs`].
    fn delete_stream(&self, _paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures_util::stream::once(async { Err(unknown("deletions of many")) }).boxed()
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures_util::stream::once(async { Err(unknown("lists without pages")) }).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(unknown("lists without pages"))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _options: CopyOptions) -> Result<()> {
        self.rewrite(from, to).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 1-3/10"), Some((1..4, 10)));
        for bad in ["", "bytes 3-1/10", "bytes 1-10/10", "bytes */10", "bytes 1-3/*", "items 1-3/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_object_without_length_or_time_is_none() {
        let mut headers = HeaderMap::new();
        let path = Path::from("a/b");
        headers.insert("content-length", "3".parse().unwrap());
        assert!(described(&path, &headers, 200).is_err());
        headers.insert("last-modified", "Fri, 21 Nov 2025 10:00:00 GMT".parse().unwrap());
        headers.insert("x-goog-generation", "17".parse().unwrap());
        let (meta, range) = described(&path, &headers, 200).unwrap();
        assert_eq!((meta.size, range, meta.e_tag.as_deref()), (3, 0..3, Some("17")));
        assert!(described(&path, &headers, 206).is_err());
    }
}
