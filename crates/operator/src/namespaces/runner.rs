//! When to look.

use std::sync::Arc;
use std::time::Duration;

use access::SystemClock;
use tokio::sync::watch;
use tokio::time::Instant;

use super::content::{Cluster, NamespaceContent};
use super::decide::Settings;
use super::metrics::Metrics;
use super::pass::Cleaner;

/// Changes of namespaces within this time are one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// A look that takes long is followed by a pause that is so many times as long.
const PAUSE_SHARE: u32 = 5;

/// Removes the content of namespaces that are gone while `leader` says so. Ends when nobody can say so any more.
pub async fn run<C: Cluster, S: NamespaceContent>(
    cluster: Arc<C>,
    content: Arc<S>,
    settings: Settings,
    mut leader: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
) {
    while crate::leads(&mut leader, true).await {
        // What is dropped halfway is repeated by the next leader, after a drain time of its own.
        tokio::select! {
            () = lead(&cluster, &content, settings, &metrics) => {}
            _ = crate::leads(&mut leader, false) => {}
        }
        metrics.set(0, 0, 0);
    }
}

async fn lead<C: Cluster, S: NamespaceContent>(
    cluster: &Arc<C>,
    content: &Arc<S>,
    settings: Settings,
    metrics: &Arc<Metrics>,
) {
    let clock = Arc::new(SystemClock::new());
    let mut cleaner = Cleaner::new(Arc::clone(cluster), Arc::clone(content), settings, clock, Arc::clone(metrics));
    let mut changes = cluster.changes();
    loop {
        changes.mark_unchanged();
        let start = Instant::now();
        let again = cleaner.pass().await;
        let pause = (start.elapsed() * PAUSE_SHARE).clamp(PAUSE_MIN, settings.interval.max(PAUSE_MIN));
        tokio::time::sleep(pause).await;
        tokio::select! {
            () = tokio::time::sleep_until(Instant::now() + again.saturating_sub(pause)) => {}
            Ok(()) = changes.changed() => {}
        }
    }
}
