//! Answers that are believed for a moment, each asked for once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use access::{Clock, Flights, Joined, Reply};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// What an entry takes beside its key and answer.
const ENTRY_BYTES: usize = 128;
/// Questions under way at the same time.
pub(crate) const AT_ONCE: usize = 32;
/// How long a question waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(2);

type Answers<V> = Cache<Box<str>, (Duration, V), Weight<V>>;

/// What an answer weighs beside its key.
struct Weight<V>(fn(&V) -> usize);

impl<V> Clone for Weight<V> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<V> Weighter<Box<str>, (Duration, V)> for Weight<V> {
    fn weight(&self, key: &Box<str>, (_, answer): &(Duration, V)) -> u64 {
        (key.len() + ENTRY_BYTES).saturating_add((self.0)(answer)) as u64
    }
}

/// The bounds of a memory.
pub(crate) struct Size<V> {
    /// About how many answers there will be.
    pub(crate) entries: usize,
    /// How many bytes they take together.
    pub(crate) bytes: usize,
    /// The bytes of an answer.
    pub(crate) weigh: fn(&V) -> usize,
}

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
    pub(crate) fn new(clock: Arc<dyn Clock>, ttl: Duration, size: Size<V>, keep: fn(&V) -> bool) -> Self {
        let Size { entries, bytes, weigh } = size;
        let answers = Arc::new(Cache::with_weighter(entries, bytes as u64, Weight(weigh)));
        Self { clock, ttl, keep, answers, questions: Flights::default() }
    }

    /// The answer that was remembered last, however old it is up to `age`.
    pub(crate) fn last(&self, key: &str, age: Duration) -> Option<V> {
        let (at, answer) = self.answers.get(key)?;
        (self.clock.elapsed().saturating_sub(at) < age).then_some(answer)
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

    fn size<V>() -> Size<V> {
        Size { entries: 10, bytes: 10_000, weigh: |_| 0 }
    }

    #[tokio::test]
    async fn memory_is_bounded_in_bytes_and_the_last_answer_outlives_its_time() {
        let clock = Arc::new(ManualClock::new(0));
        let size = Size { entries: 10, bytes: 100_000, weigh: Vec::len };
        let memory = Memory::new(clock.clone(), Duration::from_secs(5), size, |answer: &Vec<u8>| !answer.is_empty());
        for number in 0..1_000 {
            memory.ask(&format!("{number}"), || async { vec![1; 1_000] }).await;
        }
        assert!((1..=100).contains(&memory.answers.len()), "{}", memory.answers.len());
        memory.ask("small", || async { vec![7] }).await;
        clock.advance(Duration::from_secs(60));
        assert_eq!(memory.ask("small", || async { Vec::new() }).await, Vec::<u8>::new());
        assert_eq!(memory.last("small", Duration::from_secs(61)), Some(vec![7]), "what is not kept replaces nothing");
        assert_eq!(memory.last("small", Duration::from_secs(60)), None);
    }

    #[tokio::test]
    async fn answers_are_believed_for_their_time() {
        let clock = Arc::new(ManualClock::new(0));
        let memory =
            Memory::new(clock.clone(), Duration::from_secs(5), size(), |answer: &Option<u32>| answer.is_some());
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
