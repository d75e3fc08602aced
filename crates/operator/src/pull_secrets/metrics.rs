//! Figures of the controller.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// Figures of the controller; whoever shows them reads [`Metrics::counts`].
#[derive(Debug, Default)]
pub struct Metrics {
    managed: AtomicU64,
    elsewhere: AtomicU64,
    soonest_end: AtomicI64,
    filled: AtomicU64,
    refused: AtomicU64,
    deleted: AtomicU64,
    errors: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Annotated Secrets that are looked after; 0 while another process leads.
    pub managed: u64,
    /// Annotated Secrets that other operators of the cluster look after; 0 while another process leads.
    pub elsewhere: u64,
    /// When the first of their tokens ends, in seconds since the Unix epoch.
    pub soonest_end: Option<i64>,
    /// Tokens written since the start.
    pub filled: u64,
    /// Looks at Secrets that ask for something they cannot have.
    pub refused: u64,
    /// Secrets deleted with their ServiceAccounts.
    pub deleted: u64,
    /// Looks that failed.
    pub errors: u64,
}

impl Metrics {
    /// The figures now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let soonest_end = self.soonest_end.load(Ordering::Relaxed);
        Counts {
            managed: self.managed.load(Ordering::Relaxed),
            elsewhere: self.elsewhere.load(Ordering::Relaxed),
            soonest_end: (soonest_end != 0).then_some(soonest_end),
            filled: self.filled.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            deleted: self.deleted.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    pub(super) fn set_managed(&self, managed: usize, elsewhere: usize, soonest_end: Option<Timestamp>) {
        self.managed.store(managed as u64, Ordering::Relaxed);
        self.elsewhere.store(elsewhere as u64, Ordering::Relaxed);
        self.soonest_end.store(soonest_end.map_or(0, Timestamp::as_second), Ordering::Relaxed);
    }

    pub(super) fn count_filled(&self) {
        self.filled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}
