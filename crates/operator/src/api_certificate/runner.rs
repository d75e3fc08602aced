//! When to look.

use std::sync::Arc;
use std::time::Duration;

use access::Clock;
use cluster::Connection;
use tokio::sync::watch;

use super::Settings;
use super::look::Keeper;
use super::memory::Memory;
use super::metrics::Metrics;

/// After a change of somebody else that came between.
const CONFLICT_PAUSE: Duration = Duration::from_secs(1);

/// Looks after the certificate of the API while `leader` says so. Ends when nobody can say so any more.
pub async fn run(
    connection: Connection,
    settings: Settings,
    clock: Arc<dyn Clock>,
    mut leader: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
) {
    let keeper = Keeper { connection, settings, clock, metrics };
    while crate::leads(&mut leader, true).await {
        // A change that is on its way when the lead is lost is bound to the state that it was made for.
        tokio::select! {
            () = lead(&keeper) => {}
            _ = crate::leads(&mut leader, false) => {}
        }
        keeper.metrics.set_end(None);
    }
}

async fn lead(keeper: &Keeper) {
    let (mut told, mut memory) = (String::new(), Memory::default());
    loop {
        let pause = match keeper.look(&mut memory).await {
            Ok(()) => {
                told.clear();
                keeper.settings.interval
            }
            Err(error) if error.is_conflict() => CONFLICT_PAUSE,
            Err(error) => {
                keeper.metrics.count_error();
                let error = error.to_string();
                // The same trouble is told once.
                if error == told {
                    tracing::debug!(error, "certificate of the API cannot be looked after");
                } else {
                    tracing::warn!(error, "certificate of the API cannot be looked after");
                }
                told = error;
                keeper.settings.interval
            }
        };
        tokio::time::sleep(pause).await;
    }
}
