//! What others know of this process, and what it has under way.
//!
//! Whoever changes tags where others may look first lets them have a record of this process: if it dies, they miss it. The
//! last record says that nothing follows, so it waits for what is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};
use tokio::time::Instant;

/// Of a record that is younger nobody believes that its process is dead.
const YOUNG: Duration = Duration::from_secs(15);

/// What others know of this process.
#[derive(Default)]
pub(crate) struct Standing {
    /// When our record was written last, unless it says that nothing follows.
    told: Mutex<Option<Instant>>,
    under_way: Arc<RwLock<()>>,
}

/// To be held while tags are changed, and until that is noted.
pub(crate) type UnderWay = OwnedRwLockReadGuard<()>;

impl Standing {
    /// Others would miss us.
    pub(crate) fn is_known(&self) -> bool {
        self.told().is_some_and(|told| told.elapsed() < YOUNG)
    }

    /// Begins to change tags.
    pub(crate) async fn begin(&self) -> UnderWay {
        Arc::clone(&self.under_way).read_owned().await
    }

    pub(super) fn set(&self, told: Option<Instant>) {
        *self.told() = told;
    }

    /// Waits for what is under way; what comes later waits for the end of this.
    pub(super) async fn quiet(&self) -> RwLockWriteGuard<'_, ()> {
        self.under_way.write().await
    }

    /// The same if nothing is under way.
    pub(super) fn try_quiet(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.under_way.try_write().ok()
    }

    fn told(&self) -> MutexGuard<'_, Option<Instant>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
