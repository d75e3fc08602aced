//! The driver.

use crate::bucket::Bucket;
use crate::budget::Budget;
use crate::circuit::Circuit;
use crate::error::wrap;
use crate::http::Seen;
use crate::kept::Kept;
use crate::keys::Keys;
use crate::open::OpenError;
use crate::requests::Requests;
use crate::writer::BucketWriter;
use crate::{apply, children, leftovers, read, writer};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{PutMode, PutOptions};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use storage::{
    Batch, BufferPool, Driver, Error, ErrorKind, Eventually, KeyLocks, ListPage, Object, Result, Stat, Task, Writer,
};
use tokio::sync::Semaphore;

/// Object by which it is learnt whether the place can be written, and whether conditions are kept.
const PROBE: &str = "homeport/v1/probe";
/// How often the place is written to learn that.
const PROBE_WRITES: Duration = Duration::from_secs(60);

/// What a driver is made of, whichever the service.
pub(crate) struct Shared {
    pub(crate) bucket: Box<dyn Bucket>,
    pub(crate) keys: Keys,
    pub(crate) seen: Arc<Seen>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) locks: Arc<KeyLocks>,
    pub(crate) kept: Kept,
    /// Size of parts that is wanted.
    pub(crate) part_bytes: u64,
    /// Parts that a large object has at most.
    pub(crate) parts_max: usize,
    /// Whether the service keeps conditions on writes; not known while the bucket is full.
    pub(crate) conditions: OnceLock<bool>,
    pub(crate) read_only: bool,
    /// Batches that were acknowledged and are not at their end.
    pub(crate) soon: Arc<Semaphore>,
    written: Mutex<Option<Instant>>,
}

/// Everything in one bucket.
pub struct BucketDriver {
    pub(crate) shared: Arc<Shared>,
}

/// Batches at most that are acknowledged and not at their end.
const SOON_MAX: usize = 256;
/// How long a stop waits for those.
const SOON_WAIT: Duration = Duration::from_secs(10);

/// Unused buffers that are kept for the next upload.
const IDLE_BUFFERS: usize = 16;

impl Shared {
    pub(crate) fn new(bucket: Box<dyn Bucket>, keys: Keys, seen: Arc<Seen>, budget: Arc<Budget>) -> Self {
        Self {
            bucket,
            keys,
            seen,
            budget,
            pool: BufferPool::new(IDLE_BUFFERS),
            locks: KeyLocks::new(),
            kept: Kept::new(),
            part_bytes: 0,
            parts_max: crate::parts::PARTS_MAX,
            conditions: OnceLock::new(),
            read_only: false,
            soon: Arc::new(Semaphore::new(SOON_MAX)),
            written: Mutex::new(None),
        }
    }

    /// Looks into the bucket and, unless it is only read, writes to learn what the service keeps. `why` makes of a failure
    /// what to do: it gets whether that was a write, and what the service said.
    pub(crate) async fn open(
        self,
        why: impl Fn(bool, &str) -> OpenError,
    ) -> std::result::Result<BucketDriver, OpenError> {
        self.look().await.map_err(|error| why(false, &error.source.to_string()))?;
        if !self.read_only {
            match self.learn_conditions().await {
                // What is there can be read, and room can be made.
                Err(error) if error.kind == ErrorKind::NoSpace => {
                    tracing::error!(cause = %error.source, "storage is full: pushes are refused until there is room");
                }
                learnt => drop(learnt.map_err(|error| why(true, &error.source.to_string()))?),
            }
        }
        Ok(BucketDriver { shared: Arc::new(self) })
    }

    fn writable(&self, key: &str) -> Result<()> {
        if self.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "write", key, "storage was opened read-only"));
        }
        Ok(())
    }

    async fn look(&self) -> Result<()> {
        children::exists_below(self, &self.keys.below("")?).await.map(drop)
    }

    /// The service keeps conditions on writes.
    pub(crate) async fn keeps_conditions(&self) -> Result<bool> {
        match self.conditions.get() {
            Some(keeps) => Ok(*keeps),
            None => self.learn_conditions().await,
        }
    }

    async fn learn_conditions(&self) -> Result<bool> {
        let tried = self.try_conditions().await?;
        let keeps = *self.conditions.get_or_init(|| tried);
        if !keeps {
            tracing::warn!("the service does not keep conditions on writes: use one replica, or another service");
        }
        Ok(keeps)
    }

    /// Writes into the bucket, and says whether a condition on a write is kept.
    async fn try_conditions(&self) -> Result<bool> {
        let path = self.keys.path(PROBE)?;
        for _ in 0..2 {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = self.bucket.objects().put_opts(&path, Bytes::from_static(b"homeport\n").into(), options).await;
            match put {
                Ok(_) => {}
                Err(error) if crate::error::kind_of(&error) == ErrorKind::Conflict => return Ok(true),
                Err(error) if crate::error::is_collision(&error) => return Ok(true),
                Err(error) if crate::error::is_unsupported(&error) => break,
                Err(error) => return Err(wrap("write", PROBE, &error)),
            }
        }
        self.write_probe(&path).await.map(|()| false)
    }

    async fn write_probe(&self, path: &Path) -> Result<()> {
        let put = self.bucket.objects().put_opts(path, Bytes::from_static(b"homeport\n").into(), PutOptions::default());
        put.await.map(drop).map_err(|error| wrap("write", PROBE, &error))
    }

    async fn probe(&self) -> Result<()> {
        self.look().await?;
        let fresh = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < PROBE_WRITES);
        if self.read_only || self.written.lock().is_ok_and(|written| fresh(&written)) {
            return Ok(());
        }
        match self.conditions.get() {
            Some(_) => self.write_probe(&self.keys.path(PROBE)?).await?,
            None => drop(self.learn_conditions().await?),
        }
        if let Ok(mut written) = self.written.lock() {
            *written = Some(Instant::now());
        }
        Ok(())
    }
}

impl BucketDriver {
    /// What the service was asked for.
    #[must_use]
    pub fn requests(&self) -> Arc<Requests> {
        Arc::clone(&self.shared.seen.requests)
    }

    /// Whether the service answers.
    #[must_use]
    pub fn circuit(&self) -> Arc<Circuit> {
        Arc::clone(&self.shared.seen.circuit)
    }

    /// The memory that uploads share.
    #[must_use]
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.shared.budget)
    }

    /// Removes what broken uploads left longer than `age` ago: parts of large objects below `prefixes`, and everything in
    /// the place of unfinished uploads.
    #[must_use]
    pub fn remove_leftovers<'a>(&'a self, prefixes: &'a [&'a str], age: Duration) -> Task<'a, leftovers::Leftovers> {
        Box::pin(leftovers::remove(&self.shared, prefixes, age))
    }
}

impl Driver for BucketDriver {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        Eventually::pending(read::stat(&self.shared, key))
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        Eventually::pending(async move { read::read(&self.shared, key, max).await.map(|(_, data)| data) })
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        Eventually::pending(read::read(&self.shared, key, max))
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        Eventually::pending(read::open(&self.shared, key))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        Eventually::pending(children::list(&self.shared, prefix, after, limit))
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if let Some(op) = batch.ops.first() {
                shared.writable(op.key())?;
            }
            // A caller that goes away must not free the locks of a request that is still under way.
            let applied = tokio::spawn(async move { apply::apply(&shared, batch).await });
            applied.await.unwrap_or_else(|error| Err(Error::io("apply", "batch", std::io::Error::other(error))))
        })
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        Box::pin(async move {
            self.shared.writable("upload")?;
            Ok(Box::new(BucketWriter::create(&self.shared, None, size_hint)) as Box<dyn Writer>)
        })
    }

    fn writer_at<'a>(&'a self, key: &'a str, size_hint: Option<u64>) -> Task<'a, Box<dyn Writer>> {
        Box::pin(async move {
            self.shared.writable(key)?;
            self.shared.keys.path(key)?;
            Ok(Box::new(BucketWriter::create(&self.shared, Some(key), size_hint)) as Box<dyn Writer>)
        })
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        Box::pin(async move {
            self.shared.writable("upload")?;
            let writer = BucketWriter::resume(&self.shared, handle, offset).await?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        Box::pin(async move {
            self.shared.writable("upload")?;
            writer::discard(&self.shared, handle).await
        })
    }

    fn presign<'a>(&'a self, key: &'a str, ttl: Duration) -> Task<'a, Option<String>> {
        Box::pin(read::presign(&self.shared, key, ttl))
    }

    fn writes_apart(&self) -> Duration {
        self.shared.bucket.writes_apart()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn lists_may_lag(&self) -> bool {
        self.shared.bucket.lists_may_lag()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn probe(&self) -> Task<'_, ()> {
        Box::pin(self.shared.probe())
    }

    fn close(&self) -> Task<'_, ()> {
        Box::pin(async {
            let all = self.shared.soon.acquire_many(u32::try_from(SOON_MAX).unwrap_or(u32::MAX));
            if tokio::time::timeout(SOON_WAIT, all).await.is_err() {
                tracing::warn!("what belongs to the last changes takes too long to be written, and may be missing");
            }
            Ok(())
        })
    }
}
