//! What one caller may have at a time, so that one alone cannot take the places of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::{Gate, GateLimits, Permit, RefusalReason, Refused};

/// For requests that are no watches.
pub(super) const REQUESTS: GateLimits =
    GateLimits { max_running: 16, max_in_queue: 64, max_wait_in_queue: Duration::from_secs(5) };
pub(super) const WATCHES_MAX: usize = 200;
const RETRY: Duration = Duration::from_secs(1);

/// The callers that have requests here now.
#[derive(Clone, Default)]
pub(super) struct Callers(Arc<Mutex<HashMap<Arc<str>, Present>>>);

/// A caller of whom there is something.
struct Present {
    gate: Gate,
    watches: usize,
    /// Requests that run or wait, and watches.
    all: usize,
}

impl Callers {
    /// Waits until the caller may have one more.
    ///
    /// # Errors
    /// When that is not so in time; for a watch at once.
    pub(super) async fn enter(&self, name: &str, is_watch: bool) -> Result<Turn, Refused> {
        let visit = self.visit(name, is_watch)?;
        let permit = if is_watch { None } else { Some(visit.gate.enter(name).await?) };
        Ok(Turn { _permit: permit, _visit: visit })
    }

    /// Requests that wait now.
    pub(super) fn queued(&self) -> usize {
        self.lock().values().map(|present| present.gate.queued()).sum()
    }

    fn visit(&self, name: &str, is_watch: bool) -> Result<Visit, Refused> {
        let mut callers = self.lock();
        let name = callers.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let present = callers.entry(Arc::clone(&name)).or_insert_with(Present::new);
        if is_watch && present.watches >= WATCHES_MAX {
            return Err(Refused { reason: RefusalReason::QueueFull, retry_after: RETRY });
        }
        present.all += 1;
        present.watches += usize::from(is_watch);
        let gate = present.gate.clone();
        Ok(Visit { callers: self.clone(), gate, name, is_watch })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Present>> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    fn new() -> Self {
        Self { gate: Gate::new(REQUESTS), watches: 0, all: 0 }
    }
}

/// The right of a caller to one more request, until it is dropped.
pub(crate) struct Turn {
    _permit: Option<Permit>,
    _visit: Visit,
}

/// Counts one request of a caller.
struct Visit {
    callers: Callers,
    gate: Gate,
    name: Arc<str>,
    is_watch: bool,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut callers = self.callers.lock();
        let Some(present) = callers.get_mut(&self.name) else { return };
        present.all = present.all.saturating_sub(1);
        present.watches = present.watches.saturating_sub(usize::from(self.is_watch));
        if present.all == 0 {
            callers.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_so_much_and_others_have_theirs() {
        let callers = Callers::default();
        let mut turns = Vec::new();
        for _ in 0..REQUESTS.max_running {
            turns.push(callers.enter("alice", false).await.unwrap());
        }
        let refused = callers.enter("alice", false).await.err().unwrap();
        assert_eq!(refused.reason, RefusalReason::WaitedTooLong);
        turns.push(callers.enter("bob", false).await.unwrap());
        for _ in 0..WATCHES_MAX {
            turns.push(callers.enter("alice", true).await.unwrap());
        }
        assert!(callers.enter("alice", true).await.is_err());
        turns.push(callers.enter("bob", true).await.unwrap());
        // One that ends makes room for the one that waits.
        let waiting = callers.enter("alice", false);
        let ending = async { drop(turns.remove(0)) };
        let (entered, ()) = tokio::join!(waiting, ending);
        turns.push(entered.unwrap());
        turns.clear();
        assert!(callers.lock().is_empty(), "nobody is remembered for nothing");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing() {
        let callers = Callers::default();
        let mut turns = Vec::new();
        for _ in 0..REQUESTS.max_running {
            turns.push(callers.enter("alice", false).await.unwrap());
        }
        let mut waiting: Vec<_> = Vec::new();
        for _ in 0..REQUESTS.max_in_queue {
            let mut entering = Box::pin(callers.enter("alice", false));
            assert!(futures_util::poll!(&mut entering).is_pending());
            waiting.push(entering);
        }
        assert_eq!(callers.queued(), 64);
        let refused = callers.enter("alice", false).await.err().unwrap();
        assert_eq!(refused.reason, RefusalReason::QueueFull);
        drop(waiting);
        assert_eq!(callers.queued(), 0);
        drop(turns);
        assert!(callers.lock().is_empty());
    }
}
