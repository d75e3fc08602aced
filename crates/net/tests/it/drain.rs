//! What happens to open connections when the server is told to stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use net::{ServeSettings, Served};
use tokio::net::TcpStream;

use crate::support::{Routes, Server, until};

#[tokio::test]
async fn idle_connections_close_and_running_requests_finish() {
    let routes = Routes::new(1);
    let mut server = Server::start(&routes, None, ServeSettings::new()).await;
    let mut silent = server.connect().await;
    let mut idle = server.connect().await;
    idle.get("/").await;
    let mut busy = server.connect().await;
    busy.send("/slow").await;
    until(|| routes.slow_began.load(Ordering::SeqCst)).await;

    server.stop();
    assert!(idle.is_closed().await);
    assert!(silent.is_closed().await);
    let address = server.address.clone();
    assert!(TcpStream::connect(address).await.is_err());
    routes.release.notify_one();
    assert_eq!(busy.answer().await.unwrap(), (200, b"slow".to_vec()));
    assert!(busy.is_closed().await);
    assert_eq!(server.end().await, Served { accepted: 3, drained: 3, cut: 0 });
}

#[tokio::test]
async fn what_takes_too_long_is_cut() {
    let routes = Routes::new(1);
    let settings = ServeSettings { drain_timeout: Duration::from_millis(50), ..ServeSettings::new() };
    let counters = settings.counters.clone();
    let server = Server::start(&routes, None, settings).await;
    let mut busy = server.connect().await;
    busy.send("/slow").await;
    until(|| routes.slow_began.load(Ordering::SeqCst)).await;
    assert_eq!(server.end().await, Served { accepted: 1, drained: 0, cut: 1 });
    assert!(busy.is_closed().await);
    assert_eq!(counters.open.load(Ordering::Relaxed), 0);
}
