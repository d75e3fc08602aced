//! The memory of all uploads together.
//!
//! Whoever fills a part says how much it needs at most until the part can be sent, its claim, and takes that piece by piece
//! while its bytes arrive. A piece is given only while all claims could still be met one after the other, so nobody waits
//! for memory that only they themselves would free. More than the claim is taken only while it lies about.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::{BUFFER_BYTES, Error, ErrorKind, Result};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// Longest wait for memory of an upload that brings more than it has announced: it holds some, and others may wait for that.
const OVERFLOW_WAIT: Duration = Duration::from_secs(5);

/// Tails in memory beside the budget: each is as long as the smallest part.
const TAILS_MAX: usize = 8;

/// Longest wait for the first piece.
const BEGIN_WAIT: Duration = Duration::from_secs(60);

/// Memory in units of [`BUFFER_BYTES`].
#[derive(Debug)]
pub struct Budget {
    total: usize,
    state: Mutex<State>,
    /// Something was given back, or a claim became smaller.
    freed: Notify,
    /// Those who hold nothing yet, in the order of asking.
    line: tokio::sync::Mutex<()>,
    /// Those who read back what an earlier request has left.
    tails: Semaphore,
}

#[derive(Debug)]
struct State {
    free: usize,
    shares: BTreeMap<u64, Held>,
    next: u64,
    /// How many wait who hold some: they go first.
    waiting: usize,
}

/// What one share holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    units: usize,
    claim: usize,
}

impl Held {
    fn needs(self) -> usize {
        self.claim.saturating_sub(self.units)
    }
}

impl State {
    /// Gives one more unit to a share with this claim, if all can be met after that.
    fn give(&mut self, id: u64, claim: usize) -> bool {
        let Some(free) = self.free.checked_sub(1) else { return false };
        let before = self.shares.get(&id).copied();
        let units = before.map_or(0, |held| held.units) + 1;
        self.shares.insert(id, Held { units, claim: claim.max(units) });
        let given = self.is_safe(free);
        if given {
            self.free = free;
        } else {
            match before {
                Some(before) => self.shares.insert(id, before),
                None => self.shares.remove(&id),
            };
        }
        given
    }

    /// All claims can be met one after the other, those that need least first.
    fn is_safe(&self, mut free: usize) -> bool {
        if self.shares.values().all(|held| held.needs() <= free) {
            return true;
        }
        let mut all: Vec<Held> = self.shares.values().copied().collect();
        all.sort_unstable_by_key(|held| held.needs());
        all.into_iter().all(|held| {
            let met = held.needs() <= free;
            free += held.units;
            met
        })
    }
}

/// Some units, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    of: Option<(Arc<Budget>, u64)>,
    units: usize,
    claim: usize,
}

impl Share {
    /// How many units.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    /// More of what was claimed is to come.
    pub(crate) fn is_short(&self) -> bool {
        self.units < self.claim
    }

    /// It needs no more than it has.
    pub(crate) fn settle(&mut self) {
        let Some((budget, id)) = &self.of else { return };
        self.claim = self.units;
        if let Some(held) = budget.state().shares.get_mut(id) {
            held.claim = held.units;
        }
        budget.freed.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((budget, id)) = &self.of else { return };
        let mut state = budget.state();
        state.shares.remove(id);
        state.free += self.units;
        drop(state);
        budget.freed.notify_waiters();
    }
}

fn no_memory() -> Error {
    Error::new(ErrorKind::Unavailable, "wait for memory of", "upload", "no memory for uploads is free")
}

/// Counts somebody who waits and holds some.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn new(budget: &'a Budget) -> Self {
        budget.state().waiting += 1;
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
        self.0.freed.notify_waiters();
    }
}

impl Budget {
    /// With what lies between a client and here, 64 uploads at once stay below 400 MiB.
    pub const DEFAULT_BYTES: u64 = 192 << 20;

    /// As many whole units as `bytes` has, at least those of one smallest part.
    #[must_use]
    pub fn new(bytes: u64) -> Arc<Self> {
        let units = usize::try_from(bytes / BUFFER_BYTES as u64).unwrap_or(usize::MAX);
        let total = units.clamp(crate::parts::MIN_UNITS, usize::MAX / BUFFER_BYTES);
        let state = State { free: total, shares: BTreeMap::new(), next: 0, waiting: 0 };
        Arc::new(Self {
            total,
            state: Mutex::new(state),
            freed: Notify::new(),
            line: tokio::sync::Mutex::new(()),
            tails: Semaphore::new(TAILS_MAX),
        })
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        ((self.total - self.state().free) * BUFFER_BYTES) as u64
    }

    /// The first unit of a part that needs `claim` units. The caller must not hold a share that only this one would free.
    pub(crate) async fn begin(self: &Arc<Self>, claim: usize) -> Result<Share> {
        let claim = claim.clamp(1, self.total);
        let first = async {
            let _first = self.line.lock().await;
            let given = self.until(|state| {
                let id = state.next;
                let given = state.waiting == 0 && state.give(id, claim);
                state.next += u64::from(given);
                // Made at once, so that it comes back when nobody waits for it any more.
                given.then(|| Share { of: Some((Arc::clone(self), id)), units: 1, claim })
            });
            given.await
        };
        tokio::time::timeout(BEGIN_WAIT, first).await.map_err(|_| no_memory())
    }

    /// To be held while a tail is read back and taken over.
    pub(crate) async fn tail(&self) -> Result<SemaphorePermit<'_>> {
        let permit = tokio::time::timeout(BEGIN_WAIT, self.tails.acquire()).await;
        // It is never closed.
        permit.ok().and_then(|permit| permit.ok()).ok_or_else(no_memory)
    }

    /// One more unit of what was claimed.
    pub(crate) async fn more(&self, share: &mut Share) {
        let Some((_, id)) = share.of else { return };
        let claim = share.claim;
        if !self.state().give(id, claim) {
            let _waiting = Waiting::new(self);
            self.until(|state| state.give(id, claim).then_some(())).await;
        }
        share.units += 1;
    }

    /// One unit more than was claimed, if nobody needs it.
    pub(crate) fn try_more(&self, share: &mut Share) -> bool {
        let Some((_, id)) = share.of else { return false };
        let given = self.state().give(id, share.units + 1);
        if given {
            (share.units, share.claim) = (share.units + 1, share.units + 1);
        }
        given
    }

    /// One more unit and a larger claim, for somebody who had announced less.
    pub(crate) async fn overflow(&self, share: &mut Share, claim: usize) -> Result<()> {
        let Some((_, id)) = share.of else { return Ok(()) };
        let claim = claim.max(share.units + 1);
        let _waiting = Waiting::new(self);
        let given = self.until(|state| state.give(id, claim).then_some(()));
        tokio::time::timeout(OVERFLOW_WAIT, given).await.map_err(|_| no_memory())?;
        (share.units, share.claim) = (share.units + 1, claim);
        Ok(())
    }

    /// Waits until `attempt` succeeds.
    async fn until<T>(&self, mut attempt: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut freed = pin!(self.freed.notified());
            // From now on nothing is missed.
            freed.as_mut().enable();
            let found = attempt(&mut self.state());
            if let Some(found) = found {
                return found;
            }
            freed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn shares_come_back() {
        let budget = Budget::new(6 << 20);
        let mut first = budget.begin(5).await.unwrap();
        assert_eq!((first.units(), budget.used()), (1, 1 << 20), "only what is filled is held");
        for _ in 0..4 {
            assert!(first.is_short());
            budget.more(&mut first).await;
        }
        assert!(!first.is_short() && budget.try_more(&mut first));
        assert!(!budget.try_more(&mut first));
        assert_eq!((first.units(), budget.used()), (6, 6 << 20));
        assert!(budget.overflow(&mut first, 7).await.is_err(), "waits for ever");
        drop(first);
        assert_eq!(budget.used(), 0);
        let all = budget.begin(1000).await.unwrap();
        assert_eq!(all.claim, 6, "more than there is would never come");
    }

    /// Many have begun, and each can still get what it needs: the last piece is kept for one who can finish with it.
    #[tokio::test(start_paused = true)]
    async fn slow_ones_hold_what_they_have_and_block_nobody_for_ever() {
        let budget = Budget::new(10 << 20);
        let mut slow = Vec::new();
        while let Some(Ok(share)) = budget.begin(5).now_or_never() {
            slow.push(share);
        }
        assert_eq!(slow.len(), 6, "four are left for the first who goes on");
        for _ in 0..4 {
            budget.more(&mut slow[3]).now_or_never().unwrap();
        }
        assert!(budget.more(&mut slow[0]).now_or_never().is_none());
        assert!(budget.begin(1).now_or_never().is_none(), "nothing is left");
        assert_eq!(budget.begin(1).await.unwrap_err().kind, ErrorKind::Unavailable, "waits for ever");
        drop(slow.remove(3));
        budget.more(&mut slow[0]).now_or_never().unwrap();
        // One that is being sent needs no more, and comes back by itself.
        slow[1].settle();
        drop(slow);
        assert_eq!((budget.used(), budget.state().waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn few_tails_are_in_memory_at_once() {
        let budget = Budget::new(6 << 20);
        let mut tails = Vec::new();
        while let Some(Ok(tail)) = budget.tail().now_or_never() {
            tails.push(tail);
        }
        assert_eq!(tails.len(), TAILS_MAX);
        assert_eq!(budget.tail().await.unwrap_err().kind, ErrorKind::Unavailable, "waits for ever");
        tails.pop();
        assert!(budget.tail().now_or_never().unwrap().is_ok());
    }

    /// The line is no excuse: whoever stands in it is refused after the same time, and leaves it in order.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_bound() {
        const MOMENT: Duration = Duration::from_secs(1);
        let budget = Budget::new(6 << 20);
        let mut all = budget.begin(6).await.unwrap();
        while all.is_short() {
            budget.more(&mut all).await;
        }
        let asks = (1..=5).map(|claim| tokio::time::timeout(BEGIN_WAIT + MOMENT, budget.begin(claim)));
        for refused in futures_util::future::join_all(asks).await {
            assert_eq!(refused.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
        }
        let more = tokio::time::timeout(OVERFLOW_WAIT + MOMENT, budget.overflow(&mut all, 7)).await;
        assert_eq!(more.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
        drop(all);
        assert_eq!((budget.used(), budget.state().waiting), (0, 0));
        assert!(budget.begin(6).now_or_never().is_some_and(|share| share.is_ok()), "nobody stands in the line");
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_finishes_whatever_the_order() {
        let budget = Budget::new(12 << 20);
        let tasks = (0..200_usize).map(|number| {
            let budget = Arc::clone(&budget);
            tokio::spawn(async move {
                for round in 0..3 {
                    let claim = 1 + (number + round) % 12;
                    let mut share = budget.begin(claim).await.unwrap();
                    while share.is_short() {
                        tokio::task::yield_now().await;
                        budget.more(&mut share).await;
                        assert!(budget.used() <= 12 << 20);
                    }
                    if number.is_multiple_of(3) {
                        budget.try_more(&mut share);
                    }
                    share.settle();
                    tokio::task::yield_now().await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
        }
        assert_eq!(budget.used(), 0);
    }
}
