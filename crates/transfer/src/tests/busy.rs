//! A source that clients change while it is read.

use super::world::{Step, apply};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage::memory::MemoryDriver;
use storage::{Batch, Driver, Eventually, ListPage, Object, Result, Stat, Task, Writer};
use tokio::sync::Mutex;

/// One step of the clients before each so many calls.
#[derive(Clone)]
pub(super) struct Busy {
    inner: MemoryDriver,
    steps: Arc<Mutex<VecDeque<Step>>>,
    calls: Arc<AtomicUsize>,
    every: usize,
    /// Where the clients are, if not at the source.
    beside: Option<MemoryDriver>,
}

impl Busy {
    /// Clients at another place.
    pub(super) fn beside(inner: MemoryDriver, other: MemoryDriver, steps: VecDeque<Step>) -> Self {
        Self { beside: Some(other), ..Self::new(inner, steps, 1) }
    }

    pub(super) fn new(inner: MemoryDriver, steps: VecDeque<Step>, every: usize) -> Self {
        Self { inner, steps: Arc::new(Mutex::new(steps)), calls: Arc::default(), every, beside: None }
    }

    /// The clients do the rest of what they wanted.
    pub(super) async fn finish(&self) {
        let mut steps = self.steps.lock().await;
        while let Some(step) = steps.pop_front() {
            apply(self.beside.as_ref().unwrap_or(&self.inner), step).await;
        }
    }

    async fn tick(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            // Held until it is done: clients push in order.
            let mut steps = self.steps.lock().await;
            if let Some(step) = steps.pop_front() {
                apply(self.beside.as_ref().unwrap_or(&self.inner), step).await;
            }
        }
    }
}

impl Driver for Busy {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        Eventually::pending(async move {
            self.tick().await;
            self.inner.stat(key).await
        })
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        Eventually::pending(async move {
            self.tick().await;
            self.inner.get(key, max).await
        })
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        Eventually::pending(async move {
            self.tick().await;
            self.inner.read(key, max).await
        })
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        Eventually::pending(async move {
            self.tick().await;
            self.inner.open(key).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        Eventually::pending(async move {
            self.tick().await;
            self.inner.list(prefix, after, limit).await
        })
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        self.inner.apply(batch)
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        self.inner.writer(size_hint)
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        self.inner.resume(handle, offset)
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        self.inner.discard(handle)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn probe(&self) -> Task<'_, ()> {
        self.inner.probe()
    }

    fn close(&self) -> Task<'_, ()> {
        self.inner.close()
    }
}
