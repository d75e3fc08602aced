//! Controllers. Each is a function from what is there to what is to be done, and a thin runner that asks and carries out.

mod api;
pub mod api_certificate;
pub mod manifests;
pub mod namespaces;
pub mod pull_secrets;
mod schedule;

use tokio::sync::watch;

/// Waits until this process leads, or does not; `false` when nobody will say any more.
async fn leads(leader: &mut watch::Receiver<bool>, wanted: bool) -> bool {
    leader.wait_for(|leads| *leads == wanted).await.is_ok()
}
