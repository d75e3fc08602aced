//! Everything that speaks to the Kubernetes API; the only user of kube in the data path.
//!
//! What is asked and watched here becomes values of `access`: reviewed tokens, rights, namespaces, reach. Decisions are
//! made there.
//!
//! Invariants:
//! * Every call ends by itself, its answer is bounded, and it is counted. A watch that is silent for too long is dead.
//! * A list that is read anew never shows an empty moment: what it lacks is removed when it is complete.
//! * Nothing is proof that something is gone but the API server's own words about it.
//! * No token appears in a log or an error.

mod call;
mod connect;
mod counters;
mod events;
mod lease;
mod memory;
mod namespaces;
mod object;
mod rbac;
mod reach;
mod reviews;
mod rights_review;
#[cfg(test)]
mod testing;
mod watch;

pub use call::{ApiError, get, merge_patch, post, put};
pub use connect::{ConnectError, ConnectSettings, Connection};
pub use counters::{ApiCounters, Call, Outcome};
pub use events::{EventKind, Events, Regarding, Report};
pub use lease::{LeaderElection, LeaseSettings};
pub use namespaces::{NamespaceSource, NoProof, Proof, Snapshot};
pub use object::{Lenient, Meta};
pub use rbac::RbacSource;
pub use reach::{ApiReach, Feed};
pub use reviews::TokenReviews;
pub use rights_review::RightsReview;
pub use watch::{Change, Kind, follow};
