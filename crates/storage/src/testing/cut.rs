//! A driver whose process "dies" after a given number of changes: that change may be half done, all later calls fail.

use crate::{Batch, Buffer, Driver, Error, ErrorKind, Eventually, ListPage, Object, Result, Stat, Task, Writer};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// Wraps a driver; clones of the wrapped one see what was left behind.
pub struct CutDriver<D> {
    inner: D,
    left: Arc<AtomicUsize>,
}

impl<D> CutDriver<D> {
    /// Dies at change number `changes` (0: at the first).
    pub fn new(inner: D, changes: usize) -> Self {
        Self { inner, left: Arc::new(AtomicUsize::new(changes + 1)) }
    }

    /// True when it has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

fn dead() -> Error {
    Error::new(ErrorKind::Unavailable, "call", "driver", "cut off")
}

/// `Ok(true)`: go on; `Ok(false)`: this is the last change, do half of it.
fn step(left: &AtomicUsize) -> Result<bool> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(1) => Ok(false),
        Ok(_) => Ok(true),
        Err(_) => Err(dead()),
    }
}

impl<D: Driver> CutDriver<D> {
    fn alive(&self) -> Result<()> {
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }
}

impl<D: Driver> Driver for CutDriver<D> {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        self.alive().map_or_else(|error| Eventually::ready(Err(error)), |()| self.inner.stat(key))
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        self.alive().map_or_else(|error| Eventually::ready(Err(error)), |()| self.inner.get(key, max))
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        self.alive().map_or_else(|error| Eventually::ready(Err(error)), |()| self.inner.read(key, max))
    }

    fn oldest<'a>(
        &'a self,
        prefix: &'a str,
        likely: &'a str,
        max: usize,
    ) -> Eventually<'a, Result<Option<SystemTime>>> {
        self.alive().map_or_else(|error| Eventually::ready(Err(error)), |()| self.inner.oldest(prefix, likely, max))
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        self.alive().map_or_else(|error| Eventually::ready(Err(error)), |()| self.inner.open(key))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        self.alive().map_or_else(|error| Eventually::ready(Err(error)), |()| self.inner.list(prefix, after, limit))
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        Box::pin(async move {
            if step(&self.left)? {
                return self.inner.apply(batch).await;
            }
            let ops = batch.ops[..batch.ops.len() / 2].to_vec();
            let half = Batch { ops, locks: batch.locks, ..Batch::default() };
            drop(self.inner.apply(half).await);
            Err(dead())
        })
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        Box::pin(async move {
            self.alive()?;
            let inner = self.inner.writer(size_hint).await?;
            Ok(Box::new(CutWriter { inner, left: Arc::clone(&self.left) }) as Box<dyn Writer>)
        })
    }

    fn writer_at<'a>(&'a self, key: &'a str, size_hint: Option<u64>) -> Task<'a, Box<dyn Writer>> {
        Box::pin(async move {
            self.alive()?;
            let inner = self.inner.writer_at(key, size_hint).await?;
            Ok(Box::new(CutWriter { inner, left: Arc::clone(&self.left) }) as Box<dyn Writer>)
        })
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        Box::pin(async move {
            self.alive()?;
            let inner = self.inner.resume(handle, offset).await?;
            Ok(Box::new(CutWriter { inner, left: Arc::clone(&self.left) }) as Box<dyn Writer>)
        })
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        Box::pin(async move {
            step(&self.left)?;
            self.inner.discard(handle).await
        })
    }

    fn writes_apart(&self) -> Duration {
        self.inner.writes_apart()
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    fn lists_may_lag(&self) -> bool {
        self.inner.lists_may_lag()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn probe(&self) -> Task<'_, ()> {
        Box::pin(async move {
            self.alive()?;
            self.inner.probe().await
        })
    }

    fn close(&self) -> Task<'_, ()> {
        self.inner.close()
    }
}

struct CutWriter {
    inner: Box<dyn Writer>,
    left: Arc<AtomicUsize>,
}

impl Writer for CutWriter {
    fn append(&mut self, buffer: Arc<Buffer>) -> Task<'_, ()> {
        Box::pin(async move { if step(&self.left)? { self.inner.append(buffer).await } else { Err(dead()) } })
    }

    fn suspend(&mut self) -> Task<'_, String> {
        Box::pin(async move {
            let go_on = step(&self.left)?;
            let handle = self.inner.suspend().await?;
            if go_on { Ok(handle) } else { Err(dead()) }
        })
    }

    fn commit<'a>(self: Box<Self>, key: &'a str) -> Task<'a, ()> {
        Box::pin(async move {
            let go_on = step(&self.left)?;
            self.inner.commit(key).await?;
            if go_on { Ok(()) } else { Err(dead()) }
        })
    }

    fn abort(self: Box<Self>) -> Task<'static, ()> {
        self.inner.abort()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }
}
