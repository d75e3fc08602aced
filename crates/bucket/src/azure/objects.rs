//! Blobs as the client library has them, and what it leaves to us: deletions one by one, and blobs of another kind in the
//! way.
//!
//! distribution writes blobs that are appended to. Such a blob is read like any other, but the service lets no blob of
//! another kind take its place. A small one is replaced by a copy of one of its own kind, in one step; where a large one
//! is, a key that names its content is taken already, unless the length says that it is broken.

use super::calls::{Calls, STORE, is_code};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue};
use object_store::azure::MicrosoftAzure;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Where blobs are while they wait for their place, below the root.
const BESIDE: &str = "homeport/v1/uploads";
const WRONG_KIND: &str = "InvalidBlobType";

/// A container.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) store: MicrosoftAzure,
    pub(super) calls: Arc<Calls>,
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

fn whole(payload: &PutPayload) -> Bytes {
    let mut all = BytesMut::with_capacity(payload.content_length());
    payload.iter().for_each(|bytes| all.extend_from_slice(bytes));
    all.freeze()
}

fn metadata(attributes: &Attributes) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (attribute, value) in attributes {
        let Attribute::Metadata(name) = attribute else { continue };
        let name = HeaderName::try_from(format!("x-ms-meta-{name}"));
        let value = HeaderValue::from_str(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Error::Generic { store: STORE, source: "metadata that cannot be sent".into() });
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

impl Objects {
    /// A place of its own for something that is on its way.
    fn beside(&self) -> String {
        format!("{}{BESIDE}/{}", self.calls.place.root, Uuid::new_v4())
    }

    /// The place of all parts that cannot go where another kind of blob is.
    fn parts_beside(&self, path: &Path) -> Path {
        Path::from(format!("{}{BESIDE}/{}", self.calls.place.root, path.as_ref().replace('/', ".")))
    }

    async fn put(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (overwrites, attributes) = (options.mode == PutMode::Overwrite, options.attributes.clone());
        match self.store.put_opts(path, payload.clone(), options).await {
            Err(error) if overwrites && is_code(&error, WRONG_KIND) => {
                let (beside, headers) = (self.beside(), metadata(&attributes)?);
                self.calls.replace_appended(path.as_ref(), &beside, whole(&payload), headers).await?;
                Ok(PutResult { e_tag: None, version: None, extensions: http::Extensions::new() })
            }
            other => other,
        }
    }

    /// Makes one blob of the parts that wait beside its place.
    async fn complete_beside(&self, path: &Path, parts: Vec<PartId>) -> Result<PutResult> {
        let beside = self.parts_beside(path);
        let done = self.store.complete_multipart(&beside, &String::new(), parts).await?;
        let size = self.calls.length(beside.as_ref()).await?;
        self.copy(beside.as_ref(), path.as_ref(), size).await?;
        self.calls.delete(beside.as_ref()).await?;
        Ok(done)
    }

    /// Copies a blob, over what may be there.
    pub(super) async fn copy(&self, from: &str, to: &str, size: u64) -> Result<()> {
        match self.calls.copy(from, to, size).await {
            Err(error) if is_code(&error, WRONG_KIND) => {
                let (length, mark) = self.calls.look(to).await?;
                if length == size {
                    return Ok(());
                }
                self.calls.delete_same(to, &mark).await?;
                self.calls.copy(from, to, size).await
            }
            other => other,
        }
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.put(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(path, options).await
    }

    /// Many at once would need a signature for each inside of one request; they are sent one by one instead.
    fn delete_stream(&self, _paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        futures_util::stream::once(async { Err(Error::NotSupported { source: "one by one".into() }) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Objects {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.store.create_multipart(path).await
    }

    async fn create_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<MultipartId> {
        self.store.create_multipart_opts(path, options).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        match self.store.put_part(path, id, index, data.clone()).await {
            Err(error) if is_code(&error, WRONG_KIND) => {
                self.store.put_part(&self.parts_beside(path), id, index, data).await
            }
            other => other,
        }
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        match self.store.complete_multipart(path, id, parts.clone()).await {
            Err(error) if is_code(&error, WRONG_KIND) => self.complete_beside(path, parts).await,
            other => other,
        }
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.store.abort_multipart(path, id).await
    }
}
