//! Pull secrets: a Secret that names a ServiceAccount in an annotation is given a token of it, and a new one in time.
//!
//! Invariants:
//! * Only Secrets that carry the annotation are read or changed, and a change applies only to the state that it was made for.
//! * A token is one of a ServiceAccount of the Secret's own namespace, and ends with the Secret.
//! * Data, end, hash and UID change in one step: never the UID of one ServiceAccount with the token of another.
//! * A Secret is deleted only when the API server itself says that the ServiceAccount is gone whose token we wrote into
//!   this very Secret.
//! * Of several operators in a cluster one fills a Secret: the one that its annotation names, or the first one that can.
//!   Others write nothing into it, however long that one is away.
//! * No token and no data of a Secret is kept, logged or shown.
//!
//! What is to be done is a function of what is there ([`plan::plan`]); `turn` reads and carries out, `runner` decides when.

mod claims;
mod document;
mod fill;
mod follow;
mod index;
mod metrics;
pub mod names;
pub mod plan;
mod runner;
mod settings;
mod status;
#[cfg(test)]
mod testing;
mod turn;
mod view;

use std::sync::Arc;

use access::SystemClock;
use cluster::{Connection, Events};
use tokio::sync::watch;

use turn::Worker;

pub use metrics::{Counts, Metrics};
pub use settings::Settings;
pub use status::Status;
pub use view::{Annotations, Data, Key, SecretView};

/// The Lease that says which process looks after Secrets.
pub const LEASE: &str = "homeport-operator";

/// Where Secrets are looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    #[default]
    Cluster,
    /// In one namespace, for an operator that has no rights elsewhere.
    Namespace(String),
}

/// Looks after pull secrets while `leader` says so; tells people what is wrong by `events`, which have to be run. Ends when
/// nobody can say so any more.
pub async fn run(
    connection: Connection,
    scope: Scope,
    events: Arc<Events>,
    mut settings: watch::Receiver<Arc<Settings>>,
    mut leader: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
) {
    let clock = Arc::new(SystemClock::new());
    let worker = Worker::new(connection, events, clock, Arc::clone(&metrics));
    while crate::leads(&mut leader, true).await {
        // A change that is on its way when the lead is lost is bound to the state that it was made for.
        tokio::select! {
            () = runner::lead(&worker, &scope, &mut settings) => {}
            _ = crate::leads(&mut leader, false) => {}
        }
        metrics.set_managed(0, 0, None);
    }
}
