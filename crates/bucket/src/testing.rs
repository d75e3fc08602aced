//! A service that takes everything and keeps count.

use crate::bucket::{Bucket, Unfinished};
use crate::budget::Budget;
use crate::driver::Shared;
use crate::http::Line;
use crate::keys::Keys;
use futures_util::future::BoxFuture;
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    ClientOptions, ListResult, MultipartId, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutPayload, PutResult,
    Result,
};
use std::pin::Pin;
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

struct Service(Arc<Sink>);

/// A driver's inside over the sink.
pub(crate) fn shared(sink: &Arc<Sink>, budget: Arc<Budget>, part_bytes: u64) -> Arc<Shared> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let options = ClientOptions::new().with_no_system_certificates(true);
    let line = Line::new(ReqwestConnector::default().connect(&options).unwrap());
    let service = Box::new(Service(Arc::clone(sink)));
    let mut shared = Shared::new(service, Keys::new(""), Arc::clone(line.seen()), budget);
    shared.part_bytes = part_bytes;
    Arc::new(shared)
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl MultipartStore for Service {
    fn create_multipart<'a: 'c, 'b: 'c, 'c>(&'a self, _path: &'b Path) -> Answer<'c, MultipartId>
    where
        Self: 'c,
    {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok("upload".to_owned()) })
    }

    fn create_multipart_opts<'a: 'c, 'b: 'c, 'c>(
        &'a self,
        path: &'b Path,
        _options: PutMultipartOptions,
    ) -> Answer<'c, MultipartId>
    where
        Self: 'c,
    {
        self.create_multipart(path)
    }

    fn put_part<'a: 'd, 'b: 'd, 'c: 'd, 'd>(
        &'a self,
        _path: &'b Path,
        _id: &'c MultipartId,
        index: usize,
        data: PutPayload,
    ) -> Answer<'d, PartId>
    where
        Self: 'd,
    {
        Box::pin(async move {
            let size = data.content_length() as u64;
            let now = self.0.now.fetch_add(size, Ordering::SeqCst) + size;
            self.0.most.fetch_max(now, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.0.sizes.lock().unwrap().push((index, size));
            self.0.now.fetch_sub(size, Ordering::SeqCst);
            Ok(PartId { content_id: index.to_string() })
        })
    }

    fn complete_multipart<'a: 'd, 'b: 'd, 'c: 'd, 'd>(
        &'a self,
        _path: &'b Path,
        _id: &'c MultipartId,
        _parts: Vec<PartId>,
    ) -> Answer<'d, PutResult>
    where
        Self: 'd,
    {
        self.0.begun.fetch_sub(1, Ordering::SeqCst);
        Box::pin(async { Ok(PutResult { e_tag: None, version: None, extensions: http::Extensions::new() }) })
    }

    fn abort_multipart<'a: 'd, 'b: 'd, 'c: 'd, 'd>(&'a self, _path: &'b Path, _id: &'c MultipartId) -> Answer<'d, ()>
    where
        Self: 'd,
    {
        self.0.begun.fetch_sub(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

impl PaginatedListStore for Service {
    fn list_paginated<'a: 'c, 'b: 'c, 'c>(
        &'a self,
        _prefix: Option<&'b str>,
        _options: PaginatedListOptions,
    ) -> Answer<'c, PaginatedListResult>
    where
        Self: 'c,
    {
        let result =
            ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: http::Extensions::new() };
        Box::pin(async { Ok(PaginatedListResult { result, page_token: None }) })
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

    fn copy<'a>(&'a self, _from: &'a Path, _to: &'a Path, _size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn unfinished<'a>(&'a self, _prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn signed<'a>(&'a self, path: &'a Path, _ttl: Duration) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move { Ok(path.to_string()) })
    }

    fn storage_class(&self) -> Option<&str> {
        None
    }
}
