//! Numbers that tell one loaded state from the next.

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number larger than every one given out before in this process. Since each state's number only ever
/// grows, the sum over several states changes whenever one of them is replaced.
pub(crate) fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::SeqCst)
}
