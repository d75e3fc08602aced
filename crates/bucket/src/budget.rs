//! The memory of all uploads together.
//!
//! Whoever fills a part has first what a smallest part needs, at once and in the order of asking; it can then send that
//! part and get its memory back without asking for more. So nobody waits for memory while holding some that only more
//! memory would free. More than a smallest part is taken only while it lies about.

use std::sync::Arc;
use std::time::Duration;
use storage::{BUFFER_BYTES, Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for memory of an upload that brings more than it has announced: it holds some, and others may wait for that.
const OVERFLOW_WAIT: Duration = Duration::from_secs(5);

/// Memory in units of [`BUFFER_BYTES`].
#[derive(Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    total: usize,
}

/// Some units, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// How many units.
    pub(crate) fn units(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "wait for memory of", "upload", "no memory for uploads is free")
}

impl Budget {
    /// Enough for 64 uploads at once.
    pub const DEFAULT_BYTES: u64 = 320 << 20;

    /// As many whole units as `bytes` has, at least those of one smallest part.
    #[must_use]
    pub fn new(bytes: u64) -> Arc<Self> {
        let units = usize::try_from(bytes / BUFFER_BYTES as u64).unwrap_or(usize::MAX);
        let total = units.clamp(crate::parts::MIN_UNITS, Semaphore::MAX_PERMITS);
        Arc::new(Self { units: Arc::new(Semaphore::new(total)), total })
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        ((self.total - self.units.available_permits()) * BUFFER_BYTES) as u64
    }

    /// Waits for what a part needs at least. The caller must not hold a share that only this one would free.
    pub(crate) async fn reserve(&self, units: usize) -> Result<Share> {
        let units = u32::try_from(units.min(self.total)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.map_err(|_| closed())?;
        Ok(Share { permit: Some(permit) })
    }

    /// One more unit, if it is free.
    pub(crate) fn try_more(&self, share: &mut Share) -> bool {
        match Arc::clone(&self.units).try_acquire_owned() {
            Ok(permit) => {
                share.add(permit);
                true
            }
            Err(_) => false,
        }
    }

    /// What a part needs at least, for somebody who had announced less and has some of it.
    pub(crate) async fn overflow(&self, share: &mut Share, units: usize) -> Result<()> {
        let missing = units.min(self.total).saturating_sub(share.units()).max(1);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let wait = tokio::time::timeout(OVERFLOW_WAIT, Arc::clone(&self.units).acquire_many_owned(missing));
        share.add(wait.await.map_err(|_| closed())?.map_err(|_| closed())?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shares_come_back() {
        let budget = Budget::new(6 << 20);
        let mut first = budget.reserve(5).await.unwrap();
        assert!(budget.try_more(&mut first));
        assert!(!budget.try_more(&mut first));
        assert_eq!((first.units(), budget.used()), (6, 6 << 20));
        let mut none = Share::default();
        assert!(budget.overflow(&mut none, 1).await.is_err(), "waits for ever");
        drop(first);
        assert_eq!(budget.used(), 0);
        let all = budget.reserve(1000).await.unwrap();
        assert_eq!(all.units(), 6, "more than there is would never come");
    }
}
