//! Slow, silent and oversized clients.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::ServeSettings;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::support::{Client, DEADLINE, Routes, Server, until, within};

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

/// The body is asked for one piece, and never again.
#[tokio::test]
async fn a_stream_that_is_not_taken_is_reset_and_its_connection_goes_on() {
    let routes = Routes::new(300_000);
    let settings = ServeSettings { h2c: true, ..ServeSettings::new() };
    let server = Server::start(&routes, None, settings).await;
    let socket = TcpStream::connect(&server.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let opened = builder.initial_stream_window_size(0).handshake(TokioIo::new(socket)).await;
    let (mut client, connection) = opened.unwrap();
    tokio::spawn(connection);
    let mut ask = |path: &str| {
        let request = Request::get(format!("http://x{path}")).body(Empty::<Bytes>::new()).unwrap();
        within(client.send_request(request))
    };
    for path in ["/within/300/1", "/within/300/300000"] {
        let answer = ask(path).await.unwrap();
        assert_eq!(answer.status(), 200);
        let error = within(answer.into_body().collect()).await.unwrap_err();
        assert!(format!("{error:?}").contains("CANCEL"), "{error:?}");
    }
    let ends = routes.ends.lock().unwrap().clone();
    assert_eq!(
        ends.iter().map(|sent| sent.bytes).collect::<Vec<_>>(),
        [1, 64 * 1024],
        "one piece of each, and no more"
    );
    assert_eq!(ask("/").await.unwrap().status(), 200, "the connection is as it was");
}

/// The answer is in the connection as a whole, and its stream takes one byte of it.
#[tokio::test]
async fn a_connection_is_not_kept_for_the_end_of_an_answer() {
    let routes = Routes::new(300);
    let limit = Duration::from_millis(200);
    let settings = ServeSettings { h2c: true, http2_idle_timeout: limit, ..ServeSettings::new() };
    let server = Server::start(&routes, None, settings).await;
    let socket = TcpStream::connect(&server.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let opened = builder.initial_stream_window_size(1).handshake(TokioIo::new(socket)).await;
    let (mut client, connection) = opened.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/within/20000/300").body(Empty::<Bytes>::new()).unwrap();
    let answer = within(client.send_request(request)).await.unwrap();
    until(|| routes.ends.lock().unwrap().len() == 1).await;
    let _ended = within(connection).await.unwrap();
    assert!(within(answer.into_body().collect()).await.is_err(), "it was cut");
}

#[tokio::test]
async fn a_connection_whose_answer_is_not_taken_is_cut() {
    let routes = Routes::new(32 << 20);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut client = Client::new(socket.connect(server.address.parse().unwrap()).await.unwrap());
    client.send("/within/300/33554432").await;
    until(|| routes.ends.lock().unwrap().len() == 1).await;
    assert!(!routes.ends.lock().unwrap()[0].complete);
    // Who reads gets the whole, and keeps the connection beyond the time of the answer.
    let mut client = server.connect().await;
    assert_eq!(client.get("/within/15000/33554432").await, routes.content);
    assert_eq!(client.get("/within/0/1").await.len(), 1);
    assert_eq!(client.get("/").await.len(), 0);
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
