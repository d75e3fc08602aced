//! Time as a value that is passed in. The only module here that reads the system's clocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Wall-clock time in seconds since the Unix epoch. May jump in both directions; used where a time is
    /// shared with others (the claims of a token).
    fn unix_seconds(&self) -> i64;

    /// Monotonic time since some fixed moment in this process; used for the life of cached entries, so that
    /// a corrected wall clock never makes a cached answer live longer.
    fn elapsed(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix_seconds(&self) -> i64 {
        // A clock before 1970 reads as 1970: every token then looks not yet valid, which is refused.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is moved. For tests of this and other crates.
#[derive(Debug)]
pub struct ManualClock {
    start_unix_seconds: i64,
    elapsed_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `unix_seconds` and has not moved yet.
    #[must_use]
    pub const fn new(unix_seconds: i64) -> Self {
        Self { start_unix_seconds: unix_seconds, elapsed_ms: AtomicU64::new(0) }
    }

    /// Moves both sides forward; parts of a millisecond are dropped.
    pub fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.elapsed_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_seconds(&self) -> i64 {
        let moved = i64::try_from(self.elapsed_ms.load(Ordering::SeqCst) / 1000).unwrap_or(i64::MAX);
        self.start_unix_seconds.saturating_add(moved)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms.load(Ordering::SeqCst))
    }
}
