//! One of the two places, with a bound on what is asked of it at once.

use crate::{Error, Result};
use bytes::Bytes;
use content::layout;
use oci::Digest;
use std::sync::Arc;
use storage::{Batch, Driver, ErrorKind, INLINE_MAX, Names, Object, Writer};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) struct Side {
    driver: Arc<dyn Driver>,
    name: &'static str,
    requests: Semaphore,
}

/// Names below which there is an object, and those below which it has no bytes.
pub(crate) struct Holders {
    pub(crate) whole: Vec<String>,
    pub(crate) empty: Vec<String>,
}

/// The content of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) text: Bytes,
    pub(crate) digest: Digest,
}

impl Side {
    pub(crate) fn source(driver: Arc<dyn Driver>, requests: usize) -> Self {
        Self { driver, name: "source", requests: Semaphore::new(requests) }
    }

    pub(crate) fn destination(driver: Arc<dyn Driver>, requests: usize) -> Self {
        Self { driver, name: "destination", requests: Semaphore::new(requests) }
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.driver.is_remote()
    }

    pub(crate) fn failed(&self, error: storage::Error) -> Error {
        Error::Storage { side: self.name, error }
    }

    /// `None` when there is no such key.
    fn found<T>(&self, result: storage::Result<T>) -> Result<Option<T>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The semaphore is never closed; without a permit the request would be one too many, and no more.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.acquire().await.ok()
    }

    /// All children of a prefix.
    pub(crate) async fn names(&self, prefix: &str) -> Result<Arc<Names>> {
        let _turn = self.turn().await;
        let page = self.driver.list(prefix, "", usize::MAX).await;
        page.map(|page| page.names).map_err(|error| self.failed(error))
    }

    /// A prefix has children.
    pub(crate) async fn is_prefix(&self, prefix: &str) -> Result<bool> {
        let _turn = self.turn().await;
        let page = self.driver.list(prefix, "", 1).await;
        page.map(|page| !page.range.is_empty()).map_err(|error| self.failed(error))
    }

    /// The children of a prefix below which there is the object `leaf`. In a bucket the list itself says so, since nothing
    /// is a prefix of nothing; a folder may be empty, or hold the empty file of a crash.
    pub(crate) async fn holders(&self, prefix: &str, leaf: &str) -> Result<Holders> {
        let names = self.names(prefix).await?;
        let mut holders = Holders { whole: Vec::with_capacity(names.len()), empty: Vec::new() };
        for name in names.iter().filter(|name| name.is_prefix) {
            let key = || [prefix, "/", name.text, "/", leaf].concat();
            let size = if self.driver.is_remote() { Some(1) } else { self.size(&key()).await? };
            match size {
                Some(0) => holders.empty.push(name.text.to_owned()),
                Some(_) => holders.whole.push(name.text.to_owned()),
                None => {}
            }
        }
        Ok(holders)
    }

    /// Length of an object.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>> {
        let _turn = self.turn().await;
        let stat = self.driver.stat(key).await;
        Ok(self.found(stat)?.map(|stat| stat.size))
    }

    pub(crate) async fn open(&self, key: &str) -> Result<Option<Object>> {
        let _turn = self.turn().await;
        let object = self.driver.open(key).await;
        self.found(object)
    }

    /// A record of our own.
    pub(crate) async fn record(&self, key: &str) -> Result<Option<Bytes>> {
        let _turn = self.turn().await;
        let record = self.driver.get(key, INLINE_MAX).await;
        self.found(record)
    }

    /// A link; `None`: it is not there. One that cannot be read as a link has no digest.
    pub(crate) async fn link(&self, key: &str) -> Result<Option<std::result::Result<Link, Damaged>>> {
        let _turn = self.turn().await;
        let text = match self.driver.get(key, layout::LINK_MAX).await {
            Err(error) if error.kind == ErrorKind::TooLarge => return Ok(Some(Err(Damaged))),
            other => self.found(other)?,
        };
        let parse = |text: Bytes| layout::parse_link(&text).map(|digest| Link { text, digest }).ok_or(Damaged);
        Ok(text.map(parse))
    }

    pub(crate) async fn apply(&self, batch: Batch) -> Result<()> {
        let _turn = self.turn().await;
        self.driver.apply(batch).await.map_err(|error| self.failed(error))
    }

    pub(crate) async fn writer(&self, key: &str, size: u64) -> Result<Box<dyn Writer>> {
        self.driver.writer_at(key, Some(size)).await.map_err(|error| self.failed(error))
    }
}

/// A link that is empty or has other content than a digest, as crashes of older registries leave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;
