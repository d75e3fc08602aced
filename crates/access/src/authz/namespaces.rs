//! The namespaces of the cluster.

use std::sync::Arc;
use std::time::Duration;

use crate::reply::Reply;

/// When to come back if it is not known whether a namespace exists: a watch is set up in about this time.
pub(crate) const UNKNOWN_RETRY: Duration = Duration::from_secs(2);

/// Whether a Kubernetes namespace can take images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// It exists and is not being deleted.
    Exists(NamespaceUid),
    /// It exists and is being deleted.
    Terminating(NamespaceUid),
    /// It certainly does not exist.
    Absent,
    /// Not known now.
    Unknown,
}

/// What tells a namespace from another one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceUid(pub Arc<str>);

/// The namespaces of the cluster.
pub trait Namespaces: Send + Sync {
    /// The state of one. Answers from memory.
    fn state(&self, namespace: &str) -> NamespaceState;

    /// The same, but an answer other than `Exists` comes from the cluster's API itself: a namespace made a moment ago
    /// is found, and `Absent` is proof.
    fn confirm<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        Reply::Ready(self.state(namespace))
    }

    /// The same, and an answer `Exists` is not older than a second either: what is written for a namespace must not be
    /// taken for what its predecessor has left.
    fn confirm_now<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        self.confirm(namespace)
    }
}

/// The state that a write relies on: memory says yes at once, and no only with the cluster's word.
pub(crate) fn for_writing<'a>(namespaces: &'a dyn Namespaces, namespace: &'a str) -> Reply<'a, NamespaceState> {
    match namespaces.state(namespace) {
        exists @ NamespaceState::Exists(_) => Reply::Ready(exists),
        NamespaceState::Terminating(_) | NamespaceState::Absent | NamespaceState::Unknown => {
            namespaces.confirm(namespace)
        }
    }
}

/// Without a cluster: every name is a namespace, for ever the same.
#[derive(Clone, Debug)]
pub struct EveryNamespaceExists {
    uid: NamespaceUid,
}

impl EveryNamespaceExists {
    /// One value serves all.
    #[must_use]
    pub fn new() -> Self {
        Self { uid: NamespaceUid("".into()) }
    }
}

impl Default for EveryNamespaceExists {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespaces for EveryNamespaceExists {
    fn state(&self, _: &str) -> NamespaceState {
        NamespaceState::Exists(self.uid.clone())
    }
}
