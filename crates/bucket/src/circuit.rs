//! A service that does not answer is left alone: requests fail at once instead of each waiting for it, and one a second
//! finds out whether it is back. And what fails is tried again only as long as most requests do not fail.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// So many failures in a row, and for so long: connections that break together are no outage.
const FAILURES: u32 = 8;
const FAILING_MIN: Duration = Duration::from_secs(1);
/// A request that waited in vain says more than one that was refused.
const SILENCE_WEIGHT: u32 = 4;
/// How often a request goes to a service that does not answer.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// Further attempts that may be made when nothing was answered meanwhile; each answer allows one more.
const RETRIES: i64 = 64;

/// How a request failed that the service should have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It waited in vain.
    Silence,
    /// No connection, a broken one, or an answer that is none.
    Error,
}

/// Whether a request goes to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Go,
    /// It goes, and finds out whether the service is back.
    Probe,
    Refused,
}

/// What is known of how the service answers.
#[derive(Debug)]
pub struct Circuit {
    row: Mutex<Row>,
    /// There is something in the row, so that an answer changes it.
    troubled: AtomicBool,
    open: watch::Sender<bool>,
    refused: AtomicU64,
    answers: AtomicU64,
    retries: AtomicI64,
    retries_refused: AtomicU64,
}

/// Failures without an answer between them.
#[derive(Debug, Default)]
struct Row {
    failures: u32,
    since: Option<Instant>,
    /// The circuit is open since then.
    opened: Option<Instant>,
    next_probe: Option<Instant>,
}

impl Default for Circuit {
    fn default() -> Self {
        Self {
            row: Mutex::default(),
            troubled: AtomicBool::new(false),
            open: watch::Sender::new(false),
            refused: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            retries: AtomicI64::new(RETRIES),
            retries_refused: AtomicU64::new(0),
        }
    }
}

impl Circuit {
    /// Requests fail at once, since the service does not answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Tells when it opens and closes.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Requests that were not sent.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Failed requests that were not tried again, although that might have helped.
    pub fn retries_refused(&self) -> u64 {
        self.retries_refused.load(Ordering::Relaxed)
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests were answered so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Acquire)
    }

    /// Before a request; one that may not `probe` is not sent while the service does not answer.
    pub(crate) fn enter(&self, probe: bool) -> Entry {
        if !self.troubled.load(Ordering::Acquire) {
            return Entry::Go;
        }
        let mut row = self.row();
        if row.opened.is_none() {
            return Entry::Go;
        }
        let now = Instant::now();
        if probe && row.next_probe.is_none_or(|at| at <= now) {
            row.next_probe = Some(now + PROBE_PAUSE);
            return Entry::Probe;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Entry::Refused
    }

    /// The service has answered, whatever it said.
    pub(crate) fn answered(&self) {
        self.answers.fetch_add(1, Ordering::AcqRel);
        let one_more = |left: i64| (left < RETRIES).then_some(left + 1);
        // At the most there is nothing to add.
        let _ = self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut row = self.row();
        let opened = std::mem::take(&mut *row).opened;
        self.troubled.store(false, Ordering::Release);
        if let Some(opened) = opened {
            self.open.send_replace(false);
            let seconds = opened.elapsed().as_secs_f64();
            tracing::info!(after_seconds = seconds, "the storage service answers again");
        }
    }

    /// It has not; `answers` is what [`Self::answers`] said when the request was sent.
    pub(crate) fn failed(&self, failure: Failure, answers: u64, text: &str) {
        if failure == Failure::Silence && answers != self.answers() {
            // Others were answered meanwhile: it is this request, not the service.
            return;
        }
        let weight = if failure == Failure::Silence { SILENCE_WEIGHT } else { 1 };
        let mut row = self.row();
        row.failures = row.failures.saturating_add(weight);
        self.troubled.store(true, Ordering::Release);
        let now = Instant::now();
        let since = *row.since.get_or_insert(now);
        let begun = failure == Failure::Silence || now - since >= FAILING_MIN;
        if row.opened.is_some() || row.failures < FAILURES || !begun {
            return;
        }
        row.opened = Some(now);
        row.next_probe = Some(now + PROBE_PAUSE);
        self.open.send_replace(true);
        tracing::error!(
            failures = row.failures,
            last = text,
            "the storage service does not answer: requests fail at once until it does"
        );
    }

    /// Whether a request that failed may be tried again; each yes counts.
    pub(crate) fn may_retry(&self) -> bool {
        let one_less = |left: i64| (left > 0).then_some(left - 1);
        let may = self.retries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if !may {
            self.retries_refused.fetch_add(1, Ordering::Relaxed);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failing(circuit: &Circuit, count: u32) {
        for _ in 0..count {
            circuit.failed(Failure::Error, circuit.answers(), "500");
            tokio::time::advance(FAILING_MIN / 4).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_closes_with_one_answer() {
        let circuit = Circuit::default();
        failing(&circuit, FAILURES - 1).await;
        circuit.answered();
        failing(&circuit, FAILURES - 1).await;
        assert_eq!(circuit.enter(true), Entry::Go);
        failing(&circuit, 1).await;
        assert!(circuit.is_open());
        assert_eq!((circuit.enter(true), circuit.refused()), (Entry::Refused, 1));
        tokio::time::advance(PROBE_PAUSE).await;
        assert_eq!(circuit.enter(false), Entry::Refused);
        assert_eq!([circuit.enter(true), circuit.enter(true)], [Entry::Probe, Entry::Refused]);
        circuit.failed(Failure::Error, circuit.answers(), "500");
        assert_eq!(circuit.enter(true), Entry::Refused);
        tokio::time::advance(PROBE_PAUSE).await;
        assert_eq!(circuit.enter(true), Entry::Probe);
        circuit.answered();
        assert!(!circuit.is_open());
        assert_eq!(circuit.enter(true), Entry::Go);
        failing(&circuit, FAILURES - 1).await;
        assert_eq!(circuit.enter(true), Entry::Go, "it counts from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_at_one_moment_is_no_outage_and_silence_is() {
        let circuit = Circuit::default();
        for _ in 0..100 {
            circuit.failed(Failure::Error, circuit.answers(), "reset");
        }
        assert!(!circuit.is_open());
        let sent = circuit.answers();
        circuit.answered();
        for _ in 0..FAILURES {
            circuit.failed(Failure::Silence, sent, "no answer");
        }
        assert!(!circuit.is_open(), "something was answered since they were sent");
        for _ in 0..FAILURES / SILENCE_WEIGHT {
            assert!(!circuit.is_open());
            circuit.failed(Failure::Silence, circuit.answers(), "no answer");
        }
        assert!(circuit.is_open());
    }

    #[test]
    fn retries_are_bounded_by_answers() {
        let circuit = Circuit::default();
        let most = usize::try_from(RETRIES).unwrap();
        assert_eq!((0..1000).filter(|_| circuit.may_retry()).count(), most);
        assert_eq!(circuit.retries_refused(), 1000 - u64::try_from(RETRIES).unwrap());
        (0..3).for_each(|_| circuit.answered());
        assert_eq!((0..1000).filter(|_| circuit.may_retry()).count(), 3);
        (0..1000).for_each(|_| circuit.answered());
        assert_eq!((0..1000).filter(|_| circuit.may_retry()).count(), most);
    }
}
