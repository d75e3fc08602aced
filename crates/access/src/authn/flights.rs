//! One piece of work for all who want the same thing at the same time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{FutureExt, Shared, WeakShared};

/// The wait for a piece of work that others may be waiting for, too.
pub type Flight<V> = Shared<Work<V>>;

type Work<V> = Pin<Box<dyn Future<Output = V> + Send>>;

/// Work under way, by what it is about. All who wait drive the work, none leads: whoever gives up changes nothing for the
/// others, and work that nobody waits for any more is dropped. There are never more entries than waiters.
pub struct Flights<K, V>(Arc<Mutex<Table<K, V>>>);

struct Table<K, V> {
    next: u64,
    under_way: HashMap<K, (u64, WeakShared<Work<V>>)>,
}

/// What [`Flights::join`] found.
pub enum Joined<V> {
    /// The answer became known meanwhile.
    Known(V),
    /// Work under way.
    Flight(Flight<V>),
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { next: 0, under_way: HashMap::new() })))
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the work on `key`; if there is none, takes what is `known`, and else starts it. Work must write down its
    /// result where `known` looks before it ends: then nothing is done twice. Both closures must be short and may not call
    /// back.
    pub fn join<W>(&self, key: &K, known: impl FnOnce() -> Option<V>, start: impl FnOnce() -> W) -> Joined<V>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let mut table = lock(&self.0);
        if let Some(flight) = table.under_way.get(key).and_then(|(_, weak)| weak.upgrade()) {
            return Joined::Flight(flight);
        }
        if let Some(value) = known() {
            return Joined::Known(value);
        }
        let id = table.next;
        table.next += 1;
        let landing = Landing { table: Arc::clone(&self.0), key: key.clone(), id };
        let work = start();
        let work: Work<V> = Box::pin(async move {
            let _landing = landing;
            work.await
        });
        let flight = work.shared();
        if let Some(weak) = flight.downgrade() {
            table.under_way.insert(key.clone(), (id, weak));
        }
        Joined::Flight(flight)
    }

    /// How many pieces of work are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).under_way.len()
    }

    /// Whether there is no work under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Takes the entry away when the work has ended or was given up by all.
struct Landing<K: Clone + Eq + Hash, V> {
    table: Arc<Mutex<Table<K, V>>>,
    key: K,
    id: u64,
}

impl<K: Clone + Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        // A later flight may have taken the place of one that was given up.
        if let Entry::Occupied(entry) = table.under_way.entry(self.key.clone())
            && entry.get().0 == self.id
        {
            entry.remove();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    fn flight<V>(joined: Joined<V>) -> Flight<V> {
        match joined {
            Joined::Flight(flight) => flight,
            Joined::Known(_) => panic!("nothing was known"),
        }
    }

    #[tokio::test]
    async fn all_share_one_and_who_gives_up_disturbs_nobody() {
        let flights = Flights::<u8, u8>::default();
        let (send, receive) = oneshot::channel::<u8>();
        let started = AtomicUsize::new(0);
        let mut receive = Some(receive);
        let mut join = || {
            flight(flights.join(
                &1,
                || None,
                || {
                    started.fetch_add(1, Ordering::SeqCst);
                    let receive = receive.take().unwrap();
                    async move { receive.await.unwrap() }
                },
            ))
        };
        let (first, second, third) = (join(), join(), join());
        assert_eq!((flights.len(), started.load(Ordering::SeqCst)), (1, 1));
        let first = tokio::spawn(first);
        tokio::task::yield_now().await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        drop(second);
        send.send(7).unwrap();
        assert_eq!(third.await, 7);
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_dropped_and_can_be_started_again() {
        let flights = Flights::<u8, u8>::default();
        let forgotten = flight(flights.join(&1, || None, std::future::pending));
        assert_eq!(flights.len(), 1);
        drop(forgotten);
        assert!(flights.is_empty());
        assert_eq!(flight(flights.join(&1, || None, || async { 3 })).await, 3);
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn what_is_known_is_not_asked_again() {
        let flights = Flights::<u8, u8>::default();
        let joined = flights.join(&1, || Some(5), || async { 6 });
        assert!(matches!(joined, Joined::Known(5)));
        assert!(flights.is_empty());
    }
}
