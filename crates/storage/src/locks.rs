//! Locks by name, so that changes of one thing reach journal and tree in the same order.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

const SHARDS: usize = 64;

type Shard = Mutex<HashMap<u64, Arc<AsyncMutex<()>>>>;

/// All locks of a driver. Only held or awaited names take memory.
pub struct KeyLocks {
    shards: [Shard; SHARDS],
    hasher: RandomState,
}

/// Some names, locked until dropped.
pub struct Held {
    locks: Arc<KeyLocks>,
    guards: Vec<(u64, OwnedMutexGuard<()>)>,
}

impl KeyLocks {
    /// Nothing is locked.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() })
    }

    /// Locks all names; hashes are taken in order, so two callers never wait for each other.
    pub async fn acquire(self: &Arc<Self>, names: &[&str]) -> Held {
        let mut hashes: Vec<u64> = names.iter().map(|name| self.hasher.hash_one(name)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut held = Held { locks: Arc::clone(self), guards: Vec::with_capacity(hashes.len()) };
        for hash in hashes {
            let lock = Arc::clone(self.shard(hash).entry(hash).or_default());
            held.guards.push((hash, lock.lock_owned().await));
        }
        held
    }

    fn shard(&self, hash: u64) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<AsyncMutex<()>>>> {
        let index = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (hash, guard) in self.guards.drain(..) {
            drop(guard);
            let mut shard = self.locks.shard(hash);
            if shard.get(&hash).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                shard.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn excludes_and_forgets() {
        let locks = KeyLocks::new();
        let held = locks.acquire(&["b", "a", "a"]).await;
        assert_eq!(held.guards.len(), 2);
        let waiting = tokio::spawn({
            let locks = Arc::clone(&locks);
            async move { drop(locks.acquire(&["a"]).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
        assert!(locks.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
