//! Everything that speaks to the Kubernetes API; the only user of kube in the data path.
//!
//! What is asked and watched here becomes values of `access`: reviewed tokens, rights, namespaces, reach, and the
//! callers that the cluster's front proxy names. Decisions are made there.
//!
//! Invariants:
//! * Every call ends by itself, its answer is bounded, and it is counted. A watch that is silent for too long is dead.
//! * A list that is read anew never shows an empty moment: what it lacks is removed when it is complete.
//! * Nothing is proof that something is gone but the API server's own words about it.
//! * Headers name a caller only from whom the cluster's own authority for its front proxy vouches for.
//! * No token appears in a log or an error.

mod call;
mod connect;
mod counters;
mod events;
mod lease;
mod memory;
mod namespaces;
mod object;
mod path_reviews;
mod rbac;
mod reach;
mod request_headers;
mod reviews;
mod rights_review;
mod subject;
mod subject_access;
#[cfg(test)]
mod testing;
mod watch;

pub use call::{ApiError, get, merge_patch, post, put};
pub use connect::{ConnectError, ConnectSettings, Connection};
pub use counters::{ApiCounters, Call, Outcome};
pub use events::{EventKind, Events, Regarding, Report};
pub use lease::{LeaderElection, LeaseSettings};
pub use namespaces::{NamespaceSource, NoProof, Proof, Snapshot};
pub use object::Meta;
pub use path_reviews::{PathReviews, Unavailable};
pub use rbac::RbacSource;
pub use reach::ApiReach;
pub use request_headers::{Forged, RequestHeaders, Trust};
pub use reviews::TokenReviews;
pub use rights_review::RightsReview;
