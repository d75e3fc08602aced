//! The content of namespaces that are gone is removed.
//!
//! Invariants:
//! * Nothing is removed but the content of a namespace with an owner record, whose owner the API server itself has said to
//!   be gone, a drain time after it was first missed: the answer is asked for right before the removal. An empty list, a lost
//!   watch, an API server that is away or that says something else are no reason.
//! * Nothing is removed while the API server is that of another cluster than the one that the records are of. A cluster is
//!   known by the UID of its namespace `kube-system`.
//! * When most namespaces seem to be gone at once, people get time to object: a restored backup of a cluster looks like that.
//! * Content without a record is adopted by the namespace of its name that is there now, or left alone.
//!
//! What is to be done is decided by functions over values (`decide`); `pass` asks and carries out, [`run`] says when.

mod content;
mod decide;
mod metrics;
mod pass;
mod runner;
#[cfg(test)]
mod tests;

pub use content::{Cluster, ContentError, NamespaceContent, Owned, Standing};
pub use decide::{Removal, Settings};
pub use metrics::{Counts, Metrics};
pub use runner::run;

/// The Lease that says which process cleans up.
pub const LEASE: &str = "homeport-namespaces";
