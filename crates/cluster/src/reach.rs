//! Whether the API server is there, and whether what is remembered of it is kept up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use access::{Clock, Reach};
use serde::de::IgnoredAny;
use tokio::sync::{Notify, watch};

use crate::call::{ApiError, get};
use crate::connect::Connection;
use crate::counters::Call;

/// Between two probes while the API server is there.
const PROBE_PAUSE: Duration = Duration::from_secs(5);
/// Between two probes while it is not: recovery is seen within this time.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Between two probes at least, however often a probe is asked for.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(500);
/// One failed probe is an accident; failures over at least this time are not.
const FAILING_MIN: Duration = Duration::from_secs(1);
/// A watch that is interrupted for a shorter time than this is not missed.
const INTERRUPTION_MAX: Duration = Duration::from_secs(10);
/// Between two complaints about a watch that does not come back.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// Stands for "no" among times in milliseconds, which are kept one too high.
const NEVER: u64 = 0;

/// Whether the API server is there. Away is who did not answer two probes in a row; back is who answered anything.
pub struct ApiReach {
    clock: Arc<dyn Clock>,
    probes: Mutex<Probes>,
    /// The last answer before the API server went away, or `NEVER` while it is there.
    away_since: AtomicU64,
    feeds: RwLock<Vec<Arc<Feed>>>,
    suspicion: Notify,
    /// Counts how often it came back after it was away.
    returns: watch::Sender<u64>,
}

struct Probes {
    answered_at: Duration,
    failing_since: Option<Duration>,
}

impl ApiReach {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let probes = Mutex::new(Probes { answered_at: clock.elapsed(), failing_since: None });
        let away_since = AtomicU64::new(NEVER);
        Self {
            clock,
            probes,
            away_since,
            feeds: RwLock::default(),
            suspicion: Notify::new(),
            returns: watch::Sender::new(0),
        }
    }

    /// Probes for ever.
    pub async fn run(self: Arc<Self>, connection: Connection) {
        loop {
            let failing = !self.probe(&connection).await;
            tokio::time::sleep(if failing { RETRY_PAUSE } else { PROBE_PAUSE_MIN }).await;
            if !failing {
                tokio::select! {
                    () = tokio::time::sleep(PROBE_PAUSE.saturating_sub(PROBE_PAUSE_MIN)) => {}
                    () = self.suspicion.notified() => {}
                }
            }
        }
    }

    async fn probe(&self, connection: &Connection) -> bool {
        let Ok(request) = get("/version") else { return true };
        match connection.call::<IgnoredAny>(Call::Probe, request).await {
            // Who refuses is there.
            Ok(_) | Err(ApiError::Refused(_)) => {
                self.answered();
                true
            }
            Err(error) => {
                self.failed(&error.to_string());
                false
            }
        }
    }

    /// Somebody got an answer.
    pub(crate) fn answered(&self) {
        let mut probes = self.probes();
        probes.answered_at = self.clock.elapsed();
        probes.failing_since = None;
        if self.away_since.swap(NEVER, Ordering::Relaxed) != NEVER {
            self.returns.send_modify(|count| *count += 1);
            tracing::info!("API server answers again");
        }
    }

    /// A probe got no answer.
    pub(crate) fn failed(&self, reason: &str) {
        let now = self.clock.elapsed();
        let mut probes = self.probes();
        let since = *probes.failing_since.get_or_insert(now);
        if now.saturating_sub(since) >= FAILING_MIN
            && self.away_since.swap(mark(probes.answered_at), Ordering::Relaxed) == NEVER
        {
            tracing::warn!(reason, "API server is away; what is known of the cluster stays good for a time");
        }
    }

    /// Somebody got no answer: look now.
    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Changes when the API server is back after it was away: nobody need wait any longer for it.
    pub(crate) fn returns(&self) -> watch::Receiver<u64> {
        self.returns.subscribe()
    }

    /// A new source of what is remembered; interrupted until it says otherwise.
    pub(crate) fn feed(&self, name: &'static str) -> Arc<Feed> {
        let feed = Arc::new(self.feed_aside(name));
        self.feeds.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&feed));
        feed
    }

    /// A source that no decision about content rests on: its interruption is told, and nothing else follows from it.
    pub(crate) fn feed_aside(&self, name: &'static str) -> Feed {
        Feed {
            name,
            clock: Arc::clone(&self.clock),
            interrupted_since: AtomicU64::new(mark(self.clock.elapsed())),
            read: AtomicBool::new(false),
            complaints: Rarely::new(COMPLAINT_PAUSE),
        }
    }

    /// Whether probes fail; what the watches do is not asked.
    pub(crate) fn is_away(&self) -> bool {
        self.away_since.load(Ordering::Relaxed) != NEVER
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reach for ApiReach {
    fn away_for(&self) -> Option<Duration> {
        let now = self.clock.elapsed();
        let away = since(now, self.away_since.load(Ordering::Relaxed));
        let feeds = self.feeds.read().unwrap_or_else(PoisonError::into_inner);
        let interrupted = feeds.iter().filter_map(|feed| feed.interrupted_for(now)).max();
        away.max(interrupted.filter(|time| *time >= INTERRUPTION_MAX))
    }
}

/// A watch that keeps something up to date.
pub(crate) struct Feed {
    name: &'static str,
    clock: Arc<dyn Clock>,
    interrupted_since: AtomicU64,
    /// What it follows has been read once.
    read: AtomicBool,
    complaints: Rarely,
}

impl Feed {
    /// Everything was read, and is to be followed from here on. The first time that is as good as a watch that has ended at
    /// this moment; later it would hide one that does not come back.
    pub(crate) fn read(&self) {
        if !self.read.swap(true, Ordering::Relaxed) {
            self.interrupted_since.store(mark(self.clock.elapsed()), Ordering::Relaxed);
        }
    }

    /// It runs.
    pub(crate) fn runs(&self) {
        if self.interrupted_since.swap(NEVER, Ordering::Relaxed) != NEVER {
            tracing::debug!(feed = self.name, "watch runs");
        }
    }

    /// It does not.
    pub(crate) fn interrupted(&self, reason: &str) {
        let now = self.clock.elapsed();
        let _ = self.interrupted_since.compare_exchange(NEVER, mark(now), Ordering::Relaxed, Ordering::Relaxed);
        let long = self.interrupted_for(now).is_some_and(|time| time >= INTERRUPTION_MAX);
        if long && self.complaints.now(now) {
            tracing::warn!(feed = self.name, reason, "watch cannot go on; what it should show may be outdated");
        } else {
            tracing::debug!(feed = self.name, reason, "watch is interrupted");
        }
    }

    pub(crate) fn interrupted_for(&self, now: Duration) -> Option<Duration> {
        since(now, self.interrupted_since.load(Ordering::Relaxed))
    }
}

/// Says yes now and then: for log lines that would come with every request.
pub(crate) struct Rarely {
    pause: Duration,
    last: AtomicU64,
}

impl Rarely {
    pub(crate) fn new(pause: Duration) -> Self {
        Self { pause, last: AtomicU64::new(NEVER) }
    }

    pub(crate) fn now(&self, now: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let due = since(now, last).is_none_or(|time| time >= self.pause);
        due && self.last.compare_exchange(last, mark(now), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn mark(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn since(now: Duration, mark: u64) -> Option<Duration> {
    let then = mark.checked_sub(1)?;
    Some(now.saturating_sub(Duration::from_millis(then)))
}

#[cfg(test)]
mod tests {
    use access::ManualClock;

    use super::*;

    fn world() -> (Arc<ManualClock>, ApiReach) {
        let clock = Arc::new(ManualClock::new(0));
        (Arc::clone(&clock), ApiReach::new(clock))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn away_after_two_failures_and_back_after_one_answer() {
        let (clock, reach) = world();
        assert_eq!(reach.away_for(), None);
        clock.advance(3 * SECOND);
        reach.failed("refused");
        assert_eq!(reach.away_for(), None, "one is an accident");
        reach.failed("refused");
        assert_eq!(reach.away_for(), None, "and so are two at the same time");
        clock.advance(SECOND);
        reach.failed("refused");
        assert_eq!(reach.away_for(), Some(4 * SECOND), "since the last answer");
        clock.advance(SECOND);
        assert_eq!(reach.away_for(), Some(5 * SECOND));
        reach.answered();
        assert_eq!((reach.away_for(), reach.is_away()), (None, false));
        clock.advance(60 * SECOND);
        reach.failed("refused");
        assert_eq!(reach.away_for(), None, "failures before do not count");
    }

    #[test]
    fn a_return_is_told_once() {
        let (clock, reach) = world();
        let returns = reach.returns();
        let answer = |failures: u32| {
            for _ in 0..failures {
                reach.failed("refused");
                clock.advance(SECOND);
            }
            reach.answered();
            *returns.borrow()
        };
        // One failure is an accident, or a server that is asked too much.
        assert_eq!([0, 1, 1, 2, 0, 3].map(answer), [0, 0, 0, 1, 1, 2]);
    }

    #[test]
    fn rarely_is_not_each_time() {
        let rarely = Rarely::new(60 * SECOND);
        let said: Vec<_> = [5, 6, 64, 65, 66, 200].into_iter().map(|at| rarely.now(at * SECOND)).collect();
        assert_eq!(said, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_watch_that_does_not_come_back_is_like_an_absent_server() {
        let (clock, reach) = world();
        let (first, second) = (reach.feed("roles"), reach.feed("namespaces"));
        assert_eq!(reach.away_for(), None, "a start takes a moment");
        clock.advance(10 * SECOND);
        assert_eq!(reach.away_for(), Some(10 * SECOND), "never read");
        first.read();
        second.read();
        assert_eq!(reach.away_for(), None, "what was read now is not outdated");
        clock.advance(10 * SECOND);
        first.read();
        second.read();
        assert_eq!(reach.away_for(), Some(10 * SECOND), "never watched");
        first.runs();
        second.runs();
        assert_eq!(reach.away_for(), None);
        second.interrupted("ended");
        clock.advance(9 * SECOND);
        second.interrupted("refused");
        assert_eq!(reach.away_for(), None);
        clock.advance(SECOND);
        reach.answered();
        assert_eq!((reach.away_for(), reach.is_away()), (Some(10 * SECOND), false));
        second.runs();
        assert_eq!(reach.away_for(), None);
    }
}
