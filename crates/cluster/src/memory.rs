//! Answers that are believed for a moment, each asked for once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use access::{Clock, Flights, Joined, Reply};
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Questions under way at the same time.
const AT_ONCE: usize = 32;
/// How long a question waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(2);

type Answers<V> = Cache<Box<str>, (Duration, V)>;

/// Bounded memory of answers. Those who ask the same at the same time share one question.
pub(crate) struct Memory<V> {
    clock: Arc<dyn Clock>,
    ttl: Duration,
    keep: fn(&V) -> bool,
    answers: Arc<Answers<V>>,
    questions: Flights<Box<str>, V>,
}

impl<V: Clone + Send + Sync + 'static> Memory<V> {
    /// Answers that are not worth to `keep` are given to those who wait, and forgotten.
    pub(crate) fn new(clock: Arc<dyn Clock>, ttl: Duration, entries: usize, keep: fn(&V) -> bool) -> Self {
        Self { clock, ttl, keep, answers: Arc::new(Cache::new(entries)), questions: Flights::default() }
    }

    /// The remembered answer, or the one of `question`.
    pub(crate) fn ask<W>(&self, key: &str, question: impl FnOnce() -> W) -> Reply<'static, V>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let key: Box<str> = key.into();
        let known = || {
            let (at, answer) = self.answers.get(&key)?;
            (self.clock.elapsed().saturating_sub(at) < self.ttl).then_some(answer)
        };
        if let Some(answer) = known() {
            return Reply::Ready(answer);
        }
        let start = || {
            let (answers, clock, keep, key) =
                (Arc::clone(&self.answers), Arc::clone(&self.clock), self.keep, key.clone());
            let question = question();
            async move {
                let answer = question.await;
                if keep(&answer) {
                    answers.insert(key, (clock.elapsed(), answer.clone()));
                }
                answer
            }
        };
        match self.questions.join(&key, known, start) {
            Joined::Known(answer) => Reply::Ready(answer),
            Joined::Flight(flight) => Reply::pending(flight),
        }
    }
}

/// Keeps strangers from asking the API server too much at once.
pub(crate) struct Turns(Semaphore);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }

    /// Waits a little for a turn; `None` if there is none.
    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        timeout(TURN_MAX, self.0.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use access::ManualClock;

    use super::*;

    #[tokio::test]
    async fn answers_are_believed_for_their_time() {
        let clock = Arc::new(ManualClock::new(0));
        let memory = Memory::new(clock.clone(), Duration::from_secs(5), 10, |answer: &Option<u32>| answer.is_some());
        let asked = Arc::new(AtomicU32::new(0));
        let ask = |answer: fn(u32) -> Option<u32>| {
            memory.ask("key", || {
                let asked = Arc::clone(&asked);
                async move { answer(asked.fetch_add(1, Ordering::SeqCst)) }
            })
        };
        assert_eq!(ask(|_| None).await, None, "not kept");
        assert_eq!(ask(Some).await, Some(1));
        clock.advance(Duration::from_secs(4));
        assert!(matches!(ask(Some), Reply::Ready(Some(1))));
        clock.advance(Duration::from_secs(1));
        let (first, second) = (ask(Some), ask(Some));
        assert_eq!((first.await, second.await), (Some(2), Some(2)));
    }
}
