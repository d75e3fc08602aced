//! Figures of the clean-up.

use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of the clean-up; whoever shows them reads [`Metrics::counts`].
#[derive(Debug, Default)]
pub struct Metrics {
    owned: AtomicU64,
    missed: AtomicU64,
    held: AtomicU64,
    removed: AtomicU64,
    adopted: AtomicU64,
    errors: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Namespaces with an owner record; 0 while another process leads.
    pub owned: u64,
    /// Those of them whose owner seems to be gone.
    pub missed: u64,
    /// Those of them that are kept because so many are gone at once, or because the cluster is another one.
    pub held: u64,
    /// Namespaces whose content was removed since the start.
    pub removed: u64,
    /// Namespaces that were given the content that was there before them.
    pub adopted: u64,
    /// What failed.
    pub errors: u64,
}

impl Metrics {
    /// The figures now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Counts {
            owned: read(&self.owned),
            missed: read(&self.missed),
            held: read(&self.held),
            removed: read(&self.removed),
            adopted: read(&self.adopted),
            errors: read(&self.errors),
        }
    }

    pub(super) fn set(&self, owned: usize, missed: usize, held: usize) {
        self.owned.store(owned as u64, Ordering::Relaxed);
        self.missed.store(missed as u64, Ordering::Relaxed);
        self.held.store(held as u64, Ordering::Relaxed);
    }

    pub(super) fn count_removed(&self) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_adopted(&self) {
        self.adopted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}
