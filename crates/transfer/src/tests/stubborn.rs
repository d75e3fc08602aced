//! A service that takes a large object whose key is taken for one that is there, if it is as long.

use bytes::Bytes;
use std::sync::Arc;
use storage::memory::MemoryDriver;
use storage::{Batch, Buffer, Driver, Eventually, ListPage, Object, Result, Stat, Task, Writer};

pub(super) struct Stubborn(pub(super) MemoryDriver);

struct StubbornWriter {
    inner: Box<dyn Writer>,
    place: MemoryDriver,
}

impl Writer for StubbornWriter {
    fn append(&mut self, buffer: Arc<Buffer>) -> Task<'_, ()> {
        self.inner.append(buffer)
    }

    fn suspend(&mut self) -> Task<'_, String> {
        self.inner.suspend()
    }

    fn commit<'a>(self: Box<Self>, key: &'a str) -> Task<'a, ()> {
        Box::pin(async move {
            match self.place.stat(key).await {
                Ok(there) if there.size == self.inner.len() => self.inner.abort().await,
                _ => self.inner.commit(key).await,
            }
        })
    }

    fn abort(self: Box<Self>) -> Task<'static, ()> {
        self.inner.abort()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }
}

impl Driver for Stubborn {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        self.0.stat(key)
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        self.0.get(key, max)
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        self.0.read(key, max)
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        self.0.open(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        self.0.list(prefix, after, limit)
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        self.0.apply(batch)
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        Box::pin(async move {
            let inner = self.0.writer(size_hint).await?;
            Ok(Box::new(StubbornWriter { inner, place: self.0.clone() }) as Box<dyn Writer>)
        })
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        self.0.resume(handle, offset)
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        self.0.discard(handle)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn probe(&self) -> Task<'_, ()> {
        self.0.probe()
    }

    fn close(&self) -> Task<'_, ()> {
        self.0.close()
    }
}
