//! File bodies: the right bytes by every way, and `sendfile` where it is promised.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use net::ServeSettings;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::support::{Client, Routes, Server, until, within};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// From here on a range is sent with `sendfile`.
const SENDFILE_FROM: usize = 64 * KIB + 1;

fn ranges() -> Vec<(usize, usize)> {
    let lengths = [
        0,
        1,
        4_095,
        4_096,
        64 * KIB - 1,
        64 * KIB,
        64 * KIB + 1,
        64 * KIB + 4_097,
        MIB - 1,
        MIB,
        MIB + 1,
        5 * MIB + 3,
    ];
    lengths.into_iter().flat_map(|length| [(0, length), (1, length), (4_097, length), (MIB + 7, length)]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_and_pipelined_requests_get_the_right_bytes_by_sendfile() {
    let routes = Routes::new(8 * MIB);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    let mut client = server.connect().await;
    let mut by_sendfile = 0;
    for (offset, length) in ranges() {
        let body = client.get(&format!("/range/{offset}/{length}")).await;
        assert!(body == routes.content[offset..offset + length], "{offset} {length}");
        by_sendfile += if length >= SENDFILE_FROM { length } else { 0 };
    }
    // Pages that are not in the cache, or a file system without RWF_NOWAIT, would show here as copied bytes.
    assert_eq!(client.get("/sent").await, by_sendfile.to_string().as_bytes());

    let all: String = ranges()
        .iter()
        .map(|(offset, length)| format!("GET /range/{offset}/{length} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .collect();
    client.raw(&all).await;
    for (offset, length) in ranges() {
        let (_, body) = client.answer().await.unwrap();
        assert!(body == routes.content[offset..offset + length], "pipelined {offset} {length}");
    }
    assert_eq!(client.get("/sent").await, (2 * by_sendfile).to_string().as_bytes());
    drop(client);
    assert_eq!(server.end().await.cut, 0);
    assert!(routes.ends.lock().unwrap().iter().all(|sent| sent.complete));
}

#[tokio::test]
async fn multipart_bodies_mix_memory_and_sendfile() {
    let routes = Routes::new(3 * MIB);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    let mut client = server.connect().await;
    for length in [0, 1, 100 * KIB, 2 * MIB] {
        let body = client.get(&format!("/parts/{length}")).await;
        let expected = [b"<", &routes.content[..length], b"|", &routes.content[7..7 + length], b">"].concat();
        assert!(body == expected, "{length}");
    }
    let by_sendfile = 2 * (100 * KIB + 2 * MIB);
    assert_eq!(client.get("/sent").await, by_sendfile.to_string().as_bytes());
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let routes = Routes::new(9 * MIB + 5);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * KIB as u32).unwrap();
    let mut client = Client::new(socket.connect(server.address.parse().unwrap()).await.unwrap());
    client.send(&format!("/range/0/{}", routes.content.len())).await;
    let (_, length) = client.head().await.unwrap();
    let mut body = Vec::new();
    while body.len() < length {
        let mut piece = [0; 3_001];
        let count = within(client.stream.read(&mut piece)).await.unwrap();
        body.extend_from_slice(&piece[..count]);
        tokio::task::yield_now().await;
    }
    assert!(body == routes.content);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_body() {
    let routes = Routes::new(32 * MIB);
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send(&format!("/range/0/{}", routes.content.len())).await;
        client.head().await.unwrap();
    }
    until(|| routes.ends.lock().unwrap().len() == 20).await;
    assert!(routes.ends.lock().unwrap().iter().all(|sent| !sent.complete && sent.bytes > 0));
    let mut client = server.connect().await;
    assert_eq!(client.get("/range/0/3").await, routes.content[..3]);
}

#[tokio::test]
async fn a_truncated_file_closes_the_connection() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![7; 3 * MIB]).unwrap();
    let routes = Routes::over(file, Vec::new());
    let server = Server::start(&routes, None, ServeSettings::new()).await;
    // 50 KiB are copied, 2.5 MiB end inside a window, 16 MiB lose whole windows.
    for promised in [3 * MIB + 50 * KIB, 5 * MIB + MIB / 2, 16 * MIB] {
        let mut client = server.connect().await;
        client.send(&format!("/range/0/{promised}")).await;
        let error = client.answer().await.unwrap_err();
        assert!(matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset));
    }
}

#[tokio::test]
async fn unix_sockets_and_http2_copy() {
    let routes = Routes::new(8 * MIB);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _server = Server::start_unix(&path, &routes, ServeSettings::new());
    let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
    for (offset, length) in ranges() {
        assert!(client.get(&format!("/range/{offset}/{length}")).await == routes.content[offset..offset + length]);
    }
    assert_eq!(client.get("/sent").await, b"0");

    let settings = ServeSettings { h2c: true, ..ServeSettings::new() };
    let server = Server::start(&routes, None, settings).await;
    let stream = TokioIo::new(TcpStream::connect(&server.address).await.unwrap());
    let (mut h2, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for (offset, length) in ranges() {
        let uri = format!("http://x/range/{offset}/{length}");
        let answer = within(h2.send_request(Request::get(uri).body(Empty::new()).unwrap())).await.unwrap();
        let body = within(answer.into_body().collect()).await.unwrap().to_bytes();
        assert!(body == routes.content[offset..offset + length], "{offset} {length}");
    }
    // HTTP/1 on the same port still has sendfile.
    let mut h1 = server.connect().await;
    assert!(h1.get(&format!("/range/3/{MIB}")).await == routes.content[3..3 + MIB]);
    assert_eq!(h1.get("/sent").await, MIB.to_string().as_bytes());
}

/// Resident memory of this process in bytes, of which the tests' own buffers are a part.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * KIB
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mappings_cost_no_memory() {
    const SIZE: usize = 1024 * MIB;
    // Two clients read a quarter of a sparse file of 1 GiB and then stop, with everything still mapped.
    let file = tempfile::tempfile().unwrap();
    file.set_len(SIZE as u64).unwrap();
    let routes = Routes::over(file, Vec::new());
    let settings = ServeSettings { drain_timeout: Duration::ZERO, ..ServeSettings::new() };
    let server = Server::start(&routes, None, settings).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.connect().await);
    }
    let before = resident();
    for client in &mut clients {
        client.send(&format!("/range/0/{SIZE}")).await;
        client.head().await.unwrap();
    }
    let mut piece = vec![0; 256 * KIB];
    for client in &mut clients[..2] {
        for _ in 0..SIZE / 4 / piece.len() {
            within(client.stream.read_exact(&mut piece)).await.unwrap();
        }
    }
    let grown = resident().saturating_sub(before);
    // Other tests run beside this one in the same process and hold tens of MiB themselves.
    assert!(grown < 256 * MIB, "{grown}");
    assert!(server.end().await.cut == 8);
}
