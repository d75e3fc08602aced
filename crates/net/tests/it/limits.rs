//! Slow, silent and oversized clients.

use std::time::{Duration, Instant};

use net::ServeSettings;
use tokio::net::{TcpSocket, UnixStream};

use crate::support::{Client, DEADLINE, Routes, Server, until};

#[tokio::test]
async fn an_unfinished_head_is_cut() {
    let routes = Routes::new(1);
    for h2c in [false, true] {
        let limit = Duration::from_millis(100);
        let settings = ServeSettings { header_timeout: limit, handshake_timeout: limit, h2c, ..ServeSettings::new() };
        let server = Server::start(&routes, None, settings).await;
        for text in ["", "G", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost:"] {
            let begun = Instant::now();
            let mut client = server.connect().await;
            client.raw(text).await;
            // Nothing, or an error page: both must come soon.
            let _ = client.answer().await;
            assert!(begun.elapsed() < DEADLINE / 2, "{text:?}");
        }
    }
}

#[tokio::test]
async fn heads_of_20_kib_pass_and_of_100_kib_do_not() {
    let routes = Routes::new(1);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    for (size, expected) in [(20 * 1024, 200), (100 * 1024, 431)] {
        let mut client = server.connect().await;
        client.raw(&format!("GET / HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n", "a".repeat(size))).await;
        assert_eq!(client.answer().await.unwrap().0, expected, "{size}");
    }
}

#[tokio::test]
async fn malformed_requests_get_400() {
    let routes = Routes::new(1);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    for text in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\na b: c\r\n\r\n"] {
        let mut client = server.connect().await;
        client.raw(text).await;
        assert_eq!(client.answer().await.unwrap().0, 400, "{text:?}");
    }
}

#[tokio::test]
async fn a_silent_upload_is_reported_as_stalled() {
    let routes = Routes::new(1);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    let mut client = server.connect().await;
    client.raw("PUT /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nabcde").await;
    assert_eq!(client.answer().await.unwrap(), (200, b"5".to_vec()));
    client.raw("PUT /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nabc").await;
    assert_eq!(client.answer().await.unwrap().0, 408);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let routes = Routes::new(32 << 20);
    let settings = ServeSettings { write_stall_timeout: Duration::from_millis(500), ..ServeSettings::new() };
    let server = Server::start(&routes, None, settings.clone()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut tcp = Client::new(socket.connect(server.address.parse().unwrap()).await.unwrap());
    tcp.send(&format!("/range/0/{}", routes.content.len())).await;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _server = Server::start_unix(&path, &routes, settings);
    let mut unix = Client::new(UnixStream::connect(&path).await.unwrap());
    unix.send(&format!("/range/0/{}", routes.content.len())).await;

    until(|| routes.ends.lock().unwrap().len() == 2).await;
    assert!(routes.ends.lock().unwrap().iter().all(|sent| !sent.complete));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let routes = Routes::new(1);
    let settings = ServeSettings { max_connections: 1, ..ServeSettings::new() };
    let counters = settings.counters.clone();
    let server = Server::start(&routes, None, settings).await;
    let mut first = server.connect().await;
    first.get("/").await;
    let mut second = server.connect().await;
    second.send("/").await;
    first.get("/").await;
    assert_eq!(counters.open.load(std::sync::atomic::Ordering::Relaxed), 1);
    drop(first);
    assert_eq!(second.answer().await.unwrap().0, 200);
}
