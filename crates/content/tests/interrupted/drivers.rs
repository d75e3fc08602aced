//! A driver that makes trouble.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use storage::{Batch, Driver, Error, ErrorKind, Eventually, ListPage, Object, Result, Stat, Task, Writer};
use tokio::sync::Semaphore;

/// Wraps a driver.
pub(crate) struct Troubled<D> {
    inner: Arc<D>,
    one_by_one: bool,
    remote: bool,
    shared: bool,
    /// Somebody else has written everything.
    foreign: bool,
    /// Everything has been there for so much longer.
    aged: Duration,
    random: Option<Random>,
    switch: Arc<Switch>,
}

/// What a test does to a driver while it is used.
pub(crate) struct Switch {
    /// Records of changes cannot be read and written.
    pub(crate) is_out: AtomicBool,
    /// Who has this keeps all other changes from being applied.
    pub(crate) hold: Arc<Semaphore>,
    /// Who has this keeps records of changes from being looked for and written.
    pub(crate) hold_records: Arc<Semaphore>,
    /// Who has this keeps back what lists have found.
    pub(crate) hold_lists: Arc<Semaphore>,
    /// Lists so far, those of records left out.
    pub(crate) lists: AtomicUsize,
}

impl Default for Switch {
    fn default() -> Self {
        let [hold, hold_records, hold_lists] = [(); 3].map(|()| Arc::new(Semaphore::new(1)));
        Self { is_out: AtomicBool::new(false), hold, hold_records, hold_lists, lists: AtomicUsize::new(0) }
    }
}

impl Switch {
    async fn pass(&self, key: &str) -> Result<()> {
        if !key.starts_with("homeport/v1/changes") {
            drop(self.hold.acquire().await);
        } else if self.is_out.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "reach", key, "an outage"));
        } else {
            drop(self.hold_records.acquire().await);
        }
        Ok(())
    }
}

impl<D> Troubled<D> {
    /// Does what is switched.
    pub(crate) fn switched(inner: Arc<D>, switch: &Arc<Switch>) -> Self {
        Self {
            inner,
            one_by_one: false,
            remote: false,
            shared: false,
            foreign: false,
            aged: Duration::ZERO,
            random: None,
            switch: Arc::clone(switch),
        }
    }

    pub(crate) fn untouched(inner: Arc<D>) -> Self {
        Self::switched(inner, &Arc::default())
    }

    /// Hands on the changes of a batch one by one. A part of a batch is always a beginning of it; with a driver below that
    /// can be cut, every beginning is met.
    pub(crate) fn one_by_one(inner: Arc<D>) -> Self {
        Self { one_by_one: true, ..Self::untouched(inner) }
    }

    /// Says that it is a service, or not.
    pub(crate) fn remote(mut self, remote: bool) -> Self {
        self.remote = remote;
        self
    }

    /// Says that it is a service that others change, too.
    pub(crate) fn shared(mut self) -> Self {
        (self.remote, self.shared) = (true, true);
        self
    }

    /// Says that somebody else has written everything.
    pub(crate) fn foreign(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// Says that everything has been there for a long time.
    pub(crate) fn aged(mut self) -> Self {
        self.aged = Duration::from_secs(3600);
        self
    }

    /// Lets others run before and after each call, as chance has it.
    pub(crate) fn yielding(inner: Arc<D>, seed: u64) -> Self {
        Self { random: Some(Random::new(seed)), ..Self::untouched(inner) }
    }

    /// Like [`Self::one_by_one`], and lets others run between the changes as well.
    pub(crate) fn in_steps(mut self) -> Self {
        self.one_by_one = true;
        self
    }

    async fn pause(&self) {
        let count = self.random.as_ref().map_or(0, |random| random.below(5));
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    }
}

impl<D: Driver> Driver for Troubled<D> {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        self.inner.stat(key)
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        Eventually::pending(async move {
            self.pause().await;
            let answer = self.inner.get(key, max).await;
            self.pause().await;
            answer
        })
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        Eventually::pending(async move {
            self.pause().await;
            let mut answer = self.inner.read(key, max).await;
            self.pause().await;
            if let Ok((stat, _)) = &mut answer {
                stat.own &= !self.foreign;
                stat.modified -= self.aged;
            }
            answer
        })
    }

    fn oldest<'a>(
        &'a self,
        prefix: &'a str,
        likely: &'a str,
        max: usize,
    ) -> Eventually<'a, Result<Option<SystemTime>>> {
        Eventually::pending(async move {
            self.pause().await;
            self.inner.oldest(prefix, likely, max).await
        })
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        self.inner.open(key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        Eventually::pending(async move {
            self.pause().await;
            let of_records = prefix == "homeport/v1/changes";
            if of_records {
                self.switch.pass(prefix).await?;
            }
            let answer = self.inner.list(prefix, after, limit).await;
            if !of_records {
                self.switch.lists.fetch_add(1, Ordering::SeqCst);
                drop(self.switch.hold_lists.acquire().await);
            }
            self.pause().await;
            answer
        })
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        Box::pin(async move {
            self.pause().await;
            for op in &batch.ops {
                self.switch.pass(op.key()).await?;
            }
            if self.one_by_one {
                let locks = batch.locks.clone();
                for step in batch.steps() {
                    // Of what may go at once, what is last in the batch comes first: no order is to be relied on.
                    for op in step.into_iter().rev() {
                        self.pause().await;
                        self.inner.apply(Batch { ops: vec![op], locks: locks.clone(), ..Batch::default() }).await?;
                    }
                }
            } else {
                self.inner.apply(batch).await?;
            }
            self.pause().await;
            Ok(())
        })
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

    fn is_remote(&self) -> bool {
        self.remote || self.inner.is_remote()
    }

    fn is_shared(&self) -> bool {
        self.shared || self.inner.is_shared()
    }

    fn probe(&self) -> Task<'_, ()> {
        self.inner.probe()
    }

    fn close(&self) -> Task<'_, ()> {
        self.inner.close()
    }
}

/// Random numbers from a seed (splitmix64).
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn below(&self, bound: usize) -> usize {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or(0)
    }
}
