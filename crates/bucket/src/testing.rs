//! Services that are made up: one that takes everything and keeps count, and one that answers what it is told to.

use crate::bucket::{Bucket, Unfinished};
use crate::budget::Budget;
use crate::driver::Shared;
use crate::http::{Dialect, Line};
use crate::keys::Keys;
use crate::requests::Request;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    ClientOptions, ListResult, MultipartId, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutPayload, PutResult,
    Result,
};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Counts what is on its way.
#[derive(Default)]
pub(crate) struct Sink {
    objects: InMemory,
    now: AtomicU64,
    most: AtomicU64,
    begun: AtomicU64,
    sizes: Mutex<Vec<(usize, u64)>>,
}

impl Sink {
    /// Most bytes that were on their way at once.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    /// Uploads that were begun and not ended.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Sizes of parts by their number.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let mut sizes = self.sizes.lock().unwrap().clone();
        sizes.sort_unstable();
        sizes.into_iter().map(|(_, size)| size).collect()
    }
}

/// Checks what requests of this method to this target are.
pub(crate) fn told_apart(classify: fn(&HttpRequest) -> Request, cases: &[(&str, &str, Request)]) {
    for (method, target, expected) in cases {
        let request = http::Request::builder().method(*method).uri(format!("http://host{target}"));
        assert_eq!(classify(&request.body(HttpRequestBody::empty()).unwrap()), *expected, "{method} {target}");
    }
}

struct Service(Arc<Sink>);

/// A driver's inside over the sink.
pub(crate) fn shared(sink: &Arc<Sink>, budget: Arc<Budget>, part_bytes: u64) -> Arc<Shared> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = ClientOptions::new().with_no_system_certificates(true);
    let dialect = Dialect { mark: "x-none", classify: |_| Request::Get };
    let line = Line::new(ReqwestConnector::default().connect(&options).unwrap(), dialect);
    let service = Box::new(Service(Arc::clone(sink)));
    let mut shared = Shared::new(service, Keys::new(""), Arc::clone(line.seen()), budget);
    shared.part_bytes = part_bytes;
    Arc::new(shared)
}

#[async_trait]
impl MultipartStore for Service {
    async fn create_multipart(&self, _path: &Path) -> Result<MultipartId> {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Ok("upload".to_owned())
    }

    async fn create_multipart_opts(&self, path: &Path, _options: PutMultipartOptions) -> Result<MultipartId> {
        self.create_multipart(path).await
    }

    async fn put_part(&self, _path: &Path, _id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        let size = data.content_length() as u64;
        let now = self.0.now.fetch_add(size, Ordering::SeqCst) + size;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.0.sizes.lock().unwrap().push((index, size));
        self.0.now.fetch_sub(size, Ordering::SeqCst);
        Ok(PartId { content_id: index.to_string() })
    }

    async fn complete_multipart(&self, _path: &Path, _id: &MultipartId, _parts: Vec<PartId>) -> Result<PutResult> {
        self.0.begun.fetch_sub(1, Ordering::SeqCst);
        Ok(PutResult { e_tag: None, version: None, extensions: http::Extensions::new() })
    }

    async fn abort_multipart(&self, _path: &Path, _id: &MultipartId) -> Result<()> {
        self.0.begun.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

#[async_trait]
impl PaginatedListStore for Service {
    async fn list_paginated(
        &self,
        _prefix: Option<&str>,
        _options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let result =
            ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: http::Extensions::new() };
        Ok(PaginatedListResult { result, page_token: None })
    }
}

impl Bucket for Service {
    fn objects(&self) -> &dyn ObjectStore {
        &self.0.objects
    }

    fn parts(&self) -> &dyn MultipartStore {
        self
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        self
    }

    fn delete<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.0.objects.delete(path))
    }

    fn delete_same<'a>(&'a self, path: &'a Path, _mark: &'a str) -> BoxFuture<'a, Result<()>> {
        self.delete(path)
    }

    fn copy<'a>(&'a self, _from: &'a Path, _to: &'a Path, _size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn unfinished<'a>(&'a self, _prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn signed<'a>(&'a self, path: &'a Path, _ttl: Duration) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move { Ok(Some(path.to_string())) })
    }

    fn storage_class(&self) -> Option<&str> {
        None
    }
}

/// Status and content of an answer.
pub(crate) type Says = (u16, String);

struct Scripted<F>(F);

impl<F> fmt::Debug for Scripted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

#[async_trait]
impl<F: Fn(&HttpRequest) -> Says + Send + Sync + 'static> HttpService for Scripted<F> {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (status, content) = (self.0)(&request);
        Ok(http::Response::builder().status(status).body(content.into()).unwrap())
    }
}

/// What reaches a service that answers each request by `says`.
pub(crate) fn service(says: impl Fn(&HttpRequest) -> Says + Send + Sync + 'static) -> HttpClient {
    HttpClient::new(Scripted(says))
}
