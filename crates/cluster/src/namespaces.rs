//! The namespaces of the cluster: from memory, and proven.

mod live;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use access::{NamespaceState, NamespaceUid, Namespaces, Reply, is_label};
use serde::Deserialize;
use tokio::sync::watch;

pub use live::{NoProof, Proof};

use crate::connect::Connection;
use crate::memory::{Memory, Size};
use crate::object::Meta;
use crate::reach::Feed;
use crate::watch::{Change, Kind, follow};

/// For how long an answer of the API server is believed: requests for a namespace cost it one question a second.
const ANSWER_TTL: Duration = Duration::from_secs(1);
/// Answers that are remembered.
const ANSWERS_MAX: usize = 1_000;
/// About what one takes.
const ANSWER_BYTES: usize = 256;
/// Of a UID.
const UID_BYTES: usize = 36;

/// A namespace as the watch shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: NamespaceUid,
    /// Whether it is being deleted.
    pub terminating: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Namespace {
    metadata: Meta,
}

impl Kind for Namespace {
    const PATH: &'static str = "/api/v1/namespaces";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// Follows the namespaces. What it remembers is good for "yes"; a "no" is asked for anew.
pub struct NamespaceSource {
    connection: Connection,
    feed: Arc<Feed>,
    known: Known,
    answers: Memory<NamespaceState>,
}

impl NamespaceSource {
    /// Nothing is known before [`NamespaceSource::run`] has read the first list.
    #[must_use]
    pub fn new(connection: &Connection) -> Arc<Self> {
        let size = Size { entries: ANSWERS_MAX, bytes: ANSWERS_MAX * ANSWER_BYTES, weigh: |_| UID_BYTES };
        Arc::new(Self {
            connection: connection.clone(),
            feed: connection.reach().feed("namespaces"),
            known: Known::default(),
            answers: Memory::new(Arc::clone(connection.clock()), ANSWER_TTL, size, |_| true),
        })
    }

    /// Follows the cluster for ever.
    pub async fn run(self: Arc<Self>) {
        let mut seen = HashSet::new();
        follow::<Namespace>(&self.connection, &self.feed, |change| self.known.apply(&mut seen, change)).await;
    }

    /// Whether the first list is complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.known.read().ready
    }

    /// Changes its value with every change of the namespaces.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.known.changes.subscribe()
    }

    /// All namespaces as the watch shows them, sorted by name; `None` before the first list is complete. That one is
    /// missing here proves nothing, see [`NamespaceSource::proof_gone`].
    #[must_use]
    pub fn list(&self) -> Option<Vec<Snapshot>> {
        let table = self.known.read();
        let snapshots = table.entries.iter().map(|(name, entry)| Snapshot {
            name: name.clone(),
            uid: entry.uid.clone(),
            terminating: entry.terminating,
        });
        let mut list: Vec<_> = table.ready.then(|| snapshots.collect())?;
        list.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Some(list)
    }

    /// Asks the API server whether the namespace that had this UID is gone for ever.
    ///
    /// # Errors
    /// See [`NoProof`]; whatever is not certain is no proof.
    pub async fn proof_gone(&self, namespace: &str, uid: &NamespaceUid) -> Result<Proof, NoProof> {
        live::proof_gone(&self.connection, namespace, uid).await
    }
}

impl Namespaces for NamespaceSource {
    fn state(&self, namespace: &str) -> NamespaceState {
        self.known.state(namespace)
    }

    fn confirm<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        let known = self.known.state(namespace);
        if matches!(known, NamespaceState::Exists(_)) {
            return Reply::Ready(known);
        }
        self.confirm_now(namespace)
    }

    fn confirm_now<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        if !is_label(namespace) {
            return Reply::Ready(NamespaceState::Absent);
        }
        // What the watch has learnt since the last answer is a new question: a namespace that was just made is there.
        let question = match self.known.state(namespace) {
            NamespaceState::Exists(uid) => format!("{namespace} {}", uid.0),
            NamespaceState::Terminating(uid) => format!("{namespace} -{}", uid.0),
            NamespaceState::Absent | NamespaceState::Unknown => namespace.to_owned(),
        };
        self.answers.ask(&question, || {
            let (connection, namespace) = (self.connection.clone(), namespace.to_owned());
            async move { live::state(&connection, &namespace).await }
        })
    }
}

/// What the watch has shown so far.
struct Known {
    table: RwLock<Table>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    ready: bool,
    entries: HashMap<Box<str>, Entry>,
}

#[derive(PartialEq, Eq)]
struct Entry {
    uid: NamespaceUid,
    terminating: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { table: RwLock::default(), changes: watch::Sender::new(0) }
    }
}

impl Known {
    fn state(&self, namespace: &str) -> NamespaceState {
        let table = self.read();
        match table.entries.get(namespace) {
            Some(entry) if entry.terminating => NamespaceState::Terminating(entry.uid.clone()),
            Some(entry) => NamespaceState::Exists(entry.uid.clone()),
            None if table.ready => NamespaceState::Absent,
            None => NamespaceState::Unknown,
        }
    }

    /// `seen` is what a list has contained so far.
    fn apply(&self, seen: &mut HashSet<Box<str>>, change: Change<Namespace>) {
        let changed = match change {
            Change::Start => {
                seen.clear();
                false
            }
            Change::Listed(namespace) => {
                seen.insert(namespace.metadata.name.as_str().into());
                self.write().put(namespace.metadata)
            }
            Change::Applied(namespace) => self.write().put(namespace.metadata),
            Change::Deleted(namespace) => self.write().remove(&namespace.metadata),
            Change::Complete => {
                let mut table = self.write();
                let before = (table.ready, table.entries.len());
                table.entries.retain(|name, _| seen.contains(name));
                table.ready = true;
                *seen = HashSet::new();
                before != (true, table.entries.len())
            }
        };
        if changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn put(&mut self, meta: Meta) -> bool {
        let entry = Entry { uid: NamespaceUid(meta.uid.into()), terminating: meta.deleting };
        if self.entries.get(meta.name.as_str()) == Some(&entry) {
            return false;
        }
        self.entries.insert(meta.name.into(), entry);
        true
    }

    fn remove(&mut self, meta: &Meta) -> bool {
        // The name may have been taken again.
        let same = self.entries.get(meta.name.as_str()).is_some_and(|entry| *entry.uid.0 == *meta.uid);
        same && self.entries.remove(meta.name.as_str()).is_some()
    }
}
