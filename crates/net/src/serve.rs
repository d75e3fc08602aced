//! The accept loop, from a socket to a running connection and to the end of all of them.

mod drive;
mod protocol;
mod settings;
mod streams;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};

use crate::body::Body;
use crate::connection::Connection;
use crate::listener::Listener;
use crate::tls::ReloadingTls;
use drive::{Acceptor, Phase};

pub use settings::{Counters, ServeSettings, Served};

/// How long `serve` waits for connections that it has cut.
const CUT_PATIENCE: Duration = Duration::from_secs(5);

/// What a [`Handler`] returns.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers requests. One value serves all connections.
pub trait Handler: Send + Sync + 'static {
    /// Called once per request; must return quickly, the work belongs into the future. The future is dropped when the
    /// client goes away. A panic closes this connection only.
    fn call(&self, req: Request<Incoming>, conn: &Arc<Connection>) -> HandlerFuture;
}

/// Serves connections until `shutdown` completes, then drains: no new connections, idle ones close, running requests
/// finish. What still runs after [`ServeSettings::drain_timeout`] is cut. Must run inside a tokio runtime.
pub async fn serve(
    mut listener: Listener,
    tls: Option<Arc<ReloadingTls>>,
    handler: Arc<dyn Handler>,
    settings: ServeSettings,
    shutdown: impl Future<Output = ()> + Send,
) -> Served {
    let limit = settings.max_connections.clamp(1, u32::MAX as usize);
    // A connection holds a permit while it lives, so "all permits are back" means "all connections are gone".
    let slots = Arc::new(Semaphore::new(limit));
    let (phase, phases) = watch::channel(Phase::Running);
    let counters = Arc::clone(&settings.counters);
    let drain_timeout = settings.drain_timeout;
    let acceptor = Arc::new(Acceptor::new(tls, handler, settings));
    let mut accepted = 0u64;

    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            // The semaphore is never closed. Taking the slot first leaves excess connections in the kernel's backlog.
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            Some((slot, listener.accept().await))
        };
        let (slot, (stream, peer, local)) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        accepted += 1;
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        let (acceptor, phases) = (Arc::clone(&acceptor), phases.clone());
        tokio::spawn(async move {
            acceptor.run(stream, peer, local, phases).await;
            drop(slot);
        });
    }

    // Closing the sockets first lets a load balancer see the refusal and try another replica.
    drop(listener);
    let draining = limit - slots.available_permits();
    let _ = phase.send(Phase::Draining);
    let all = u32::try_from(limit).unwrap_or(u32::MAX);
    let cut = match tokio::time::timeout(drain_timeout, slots.acquire_many(all)).await {
        Ok(_) => 0,
        Err(_) => {
            let cut = limit - slots.available_permits();
            let _ = phase.send(Phase::Cut);
            // Connections react to the cut at their next poll, which the signal itself causes; only a handler that
            // blocks its thread does not.
            let _ = tokio::time::timeout(CUT_PATIENCE, slots.acquire_many(all)).await;
            cut
        }
    };
    Served { accepted, drained: draining.saturating_sub(cut), cut }
}
