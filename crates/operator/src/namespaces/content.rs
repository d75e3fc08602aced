//! What the clean-up needs of the store and of the cluster.

use std::future::Future;

use access::{NamespaceState, NamespaceUid, Namespaces};
use cluster::{NamespaceSource, NoProof};
use tokio::sync::watch;

use super::decide::Removal;

/// What the store said.
pub type ContentError = Box<dyn std::error::Error + Send + Sync>;

/// A namespace with an owner record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owned {
    /// Its name.
    pub namespace: String,
    /// The UID in the record.
    pub uid: String,
}

/// The store's side of namespaces. Every method tells what is stored, not what is remembered.
pub trait NamespaceContent: Send + Sync {
    /// All namespaces with an owner record. A record that cannot be read is left out.
    fn owned(&self) -> impl Future<Output = Result<Vec<Owned>, ContentError>> + Send;

    /// All namespaces with content, with or without a record.
    fn with_content(&self) -> impl Future<Output = Result<Vec<String>, ContentError>> + Send;

    /// Makes the namespace with this UID the owner, unless there is one; returns the UID of the owner now.
    fn claim(&self, namespace: &str, uid: &str) -> impl Future<Output = Result<String, ContentError>> + Send;

    /// Removes the content, and then the record or puts the successor into it. Does nothing if the record does not have the
    /// UID of the removal. May be repeated after a failure at any point. False when somebody else has made the namespace
    /// theirs meanwhile.
    fn remove(&self, removal: &Removal) -> impl Future<Output = Result<bool, ContentError>> + Send;

    /// The cluster that the records are of.
    fn cluster(&self) -> impl Future<Output = Result<Option<String>, ContentError>> + Send;

    /// Remembers the cluster that the records are of, unless that is known; returns which it is now.
    fn claim_cluster(&self, uid: &str) -> impl Future<Output = Result<String, ContentError>> + Send;
}

/// How the namespace with a UID stands, by the API server's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, perhaps on its way out.
    Present,
    /// It is gone for ever.
    Gone {
        /// The UID of the namespace that has its name now.
        successor: Option<String>,
    },
    /// Nobody can tell. The reason is for the log.
    Unknown(String),
}

/// The cluster's side of namespaces.
pub trait Cluster: Send + Sync {
    /// From memory; `Unknown` before everything was read once.
    fn state(&self, namespace: &str) -> NamespaceState;

    /// Asks the API server itself.
    fn standing(&self, namespace: &str, uid: &str) -> impl Future<Output = Standing> + Send;

    /// Changes its value with every change of the namespaces.
    fn changes(&self) -> watch::Receiver<u64>;
}

impl Cluster for NamespaceSource {
    fn state(&self, namespace: &str) -> NamespaceState {
        Namespaces::state(self, namespace)
    }

    async fn standing(&self, namespace: &str, uid: &str) -> Standing {
        match self.proof_gone(namespace, &NamespaceUid(uid.into())).await {
            Ok(proof) => Standing::Gone { successor: proof.successor().map(|uid| uid.0.to_string()) },
            Err(NoProof::Present) => Standing::Present,
            Err(NoProof::Unknown(reason)) => Standing::Unknown(reason),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        NamespaceSource::changes(self)
    }
}
