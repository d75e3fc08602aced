//! What others know of this process, and what it has under way.
//!
//! Whoever changes tags where others may look first lets them have a record of this process that names the namespace: if it
//! dies, they miss it, and until it is done they do not trust lists that they have kept. The last record says that nothing
//! follows, so it waits for what is under way.

use crate::Namespace;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard};
use tokio::time::{Instant, timeout};

/// Of a record that is younger nobody believes that its process is dead.
const YOUNG: Duration = Duration::from_secs(15);

/// So long after its last change a namespace is named, at least. Longer than [`super::LOOKS_APART_MAX`], so that nobody
/// misses it.
const NAMED_MIN: Duration = Duration::from_secs(10);

/// Namespaces that are known of, before those are forgotten that do not count any more.
const CHANGING_MAX: usize = 1000;

/// How long the last record waits for changes that are under way. What takes longer is told by nobody.
const LAST_CHANGES_WAIT: Duration = Duration::from_secs(1);

/// What others know of this process.
#[derive(Default)]
pub(crate) struct Standing {
    known: Mutex<Known>,
    under_way: Arc<RwLock<()>>,
}

#[derive(Default)]
struct Known {
    /// When our record was written last, unless it says that nothing follows.
    told: Option<Instant>,
    changing: HashMap<Box<str>, Changing>,
}

/// A namespace in which something changes, or did a moment ago.
struct Changing {
    under_way: usize,
    /// When the last change began or ended.
    last: Instant,
    /// Since when a stored record names it.
    named: Option<Instant>,
}

impl Changing {
    fn counts(&self) -> bool {
        self.under_way > 0 || self.last.elapsed() < NAMED_MIN
    }
}

/// To be held while tags are changed, and until that is noted.
pub(crate) struct UnderWay {
    standing: Arc<Standing>,
    namespace: Box<str>,
    _under_way: OwnedRwLockReadGuard<()>,
}

impl UnderWay {
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut known = self.standing.known();
        if let Some(changing) = known.changing.get_mut(&self.namespace) {
            changing.under_way = changing.under_way.saturating_sub(1);
            changing.last = Instant::now();
        }
    }
}

impl Standing {
    /// Others would miss us.
    pub(crate) fn is_known(&self) -> bool {
        self.known().is_young()
    }

    /// Others would miss us, and know that something changes there: since when.
    pub(crate) fn known_in(&self, namespace: &str) -> Option<Instant> {
        let known = self.known();
        known.changing.get(namespace).filter(|_| known.is_young())?.named
    }

    /// Begins to change tags of a namespace. The next record names it.
    pub(crate) async fn begin(self: &Arc<Self>, namespace: Namespace<'_>) -> UnderWay {
        let under_way = Arc::clone(&self.under_way).read_owned().await;
        let namespace: Box<str> = namespace.as_str().into();
        self.known().entry(&namespace).under_way += 1;
        UnderWay { standing: Arc::clone(self), namespace, _under_way: under_way }
    }

    /// The next record names the namespace.
    pub(super) fn name(&self, namespace: &str) {
        self.known().entry(namespace);
    }

    /// Something changes in the namespace, or did a moment ago; with `None`, in any.
    pub(crate) fn is_changing(&self, namespace: Option<&str>) -> bool {
        let known = self.known();
        match namespace {
            Some(namespace) => known.changing.get(namespace).is_some_and(Changing::counts),
            None => known.changing.values().any(Changing::counts),
        }
    }

    /// The namespaces that the next record has to name. Those that it need not name any more are forgotten.
    pub(super) fn to_name(&self) -> Vec<Box<str>> {
        let mut known = self.known();
        known.changing.retain(|_, changing| changing.counts());
        known.changing.keys().cloned().collect()
    }

    /// A record is stored. `told`: when, unless it says that nothing follows.
    pub(super) fn set(&self, told: Option<Instant>, named: &[Box<str>]) {
        let now = Instant::now();
        let mut known = self.known();
        if !known.is_young() {
            // Others may have removed the last one.
            known.changing.values_mut().for_each(|changing| changing.named = None);
        }
        known.told = told;
        for namespace in named {
            let new = Changing { under_way: 0, last: now, named: None };
            known.changing.entry(namespace.clone()).or_insert(new).named.get_or_insert(now);
        }
    }

    /// There is no record any more.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.told = None;
        known.changing.values_mut().for_each(|changing| changing.named = None);
        known.changing.retain(|_, changing| changing.under_way > 0);
    }

    /// Waits for what is under way, not for long; what comes later waits for the end of this.
    pub(super) async fn quiet_soon(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        timeout(LAST_CHANGES_WAIT, self.under_way.write()).await.ok()
    }

    /// The same if nothing is under way.
    pub(super) fn try_quiet(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.under_way.try_write().ok()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn entry(&mut self, namespace: &str) -> &mut Changing {
        let now = Instant::now();
        if self.changing.len() >= CHANGING_MAX {
            // No record is written that would do it.
            self.changing.retain(|_, changing| changing.counts());
        }
        let changing =
            self.changing.entry(namespace.into()).or_insert(Changing { under_way: 0, last: now, named: None });
        changing.last = now;
        changing
    }

    fn is_young(&self) -> bool {
        self.told.is_some_and(|told| told.elapsed() < YOUNG)
    }
}
