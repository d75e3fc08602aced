//! Figures of the controller.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// Figures of the controller; whoever shows them reads [`Metrics::counts`].
#[derive(Debug, Default)]
pub struct Metrics {
    end: AtomicI64,
    renewed: AtomicU64,
    errors: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// When the certificate ends, in seconds since the Unix epoch; `None` while another process leads or nobody knows.
    pub end: Option<i64>,
    /// Certificates made since the start.
    pub renewed: u64,
    /// Looks that failed.
    pub errors: u64,
}

impl Metrics {
    /// The figures now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let end = self.end.load(Ordering::Relaxed);
        Counts {
            end: (end != 0).then_some(end),
            renewed: self.renewed.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_end(&self, end: Option<Timestamp>) {
        self.end.store(end.map_or(0, Timestamp::as_second), Ordering::Relaxed);
    }

    pub(super) fn count_renewed(&self) {
        self.renewed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}
