//! When the rights of a caller changed.
//!
//! A watch tells of tags that change. Tags that a caller may see only since a moment ago, or not any more, do not change: who
//! follows has to list again.

use std::hash::{BuildHasher, RandomState};

use quick_cache::sync::Cache;

use super::view::View;

/// Callers and namespaces that are remembered.
const KNOWN: usize = 8_192;

/// What a caller may do in a namespace, or anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Another one means other rights.
    pub(crate) stamp: u64,
    /// Position in the changes when it was seen to be another one; zero when that was never seen.
    pub(crate) since: u64,
}

/// The rights of callers as they were when last looked at.
pub(crate) struct Grants {
    known: Cache<u64, Granted>,
    hasher: RandomState,
}

impl Grants {
    pub(crate) fn new() -> Self {
        Self { known: Cache::new(KNOWN), hasher: RandomState::new() }
    }

    /// Looks at the rights now.
    pub(crate) fn look(&self, view: &View, namespace: Option<&str>) -> Granted {
        let stamp = stamp(view, namespace);
        let caller = &view.caller;
        // Not what else is known of it: some of that is another one for each token, and a new token changes no rights.
        let key = self.hasher.hash_one((caller.name(), caller.uid(), caller.groups(), namespace));
        let since = match self.known.get(&key) {
            Some(known) if known.stamp == stamp => return known,
            Some(_) => view.store().changes().here(),
            None => 0,
        };
        let granted = Granted { stamp, since };
        self.known.insert(key, granted);
        granted
    }
}

/// Changes with the rights of the caller in the namespace, or anywhere.
pub(crate) fn stamp(view: &View, namespace: Option<&str>) -> u64 {
    view.server.parts.authorizer.grants_stamp(&view.caller, namespace)
}
