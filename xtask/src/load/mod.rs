//! A load generator for HTTP/1.1 on loopback that costs much less than the servers it measures.
//!
//! One thread, edge-triggered epoll, requests built beforehand, response bodies discarded in the
//! kernel. What it asks for is a [`Script`]: operations of one or more exchanges.

mod body;
mod chunked;
mod client;
mod connection;
mod engine;
mod head;
mod secure;

pub use body::{Body, Source, digest_text};
pub use client::{Client, Reply};
pub use engine::{Budget, Outcome, run};
pub use secure::{Secure, Trust};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when whoever started us is gone; every loop looks at it.
static STOP: AtomicBool = AtomicBool::new(false);

pub fn stop() {
    STOP.store(true, Ordering::Relaxed);
}

pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// One request and what its response must look like.
#[derive(Clone)]
pub struct Exchange {
    pub head: Arc<[u8]>,
    pub body: Option<Body>,
    pub status: u16,
    /// The exact length that the response's body must have.
    pub length: Option<u64>,
    /// The response has no body whatever its Content-Length says.
    pub is_head: bool,
}

impl Exchange {
    pub fn get(path: &str, headers: &str, status: u16, length: Option<u64>) -> Self {
        Self { head: request("GET", path, headers, None), body: None, status, length, is_head: false }
    }

    pub fn head(path: &str, headers: &str) -> Self {
        let head = request("HEAD", path, headers, None);
        Self { head, body: None, status: 200, length: None, is_head: true }
    }

    /// A request that sends `body`, or an empty one.
    pub fn send(method: &str, path: &str, headers: &str, body: Option<Body>, status: u16) -> Self {
        let size = body.as_ref().map_or(0, Body::len);
        let head = request(method, path, headers, Some(size));
        Self { head, body, status, length: None, is_head: false }
    }
}

/// The bytes of a request's head. `headers` are whole lines.
fn request(method: &str, path: &str, headers: &str, length: Option<u64>) -> Arc<[u8]> {
    let length = length.map(|size| format!("Content-Length: {size}\r\n")).unwrap_or_default();
    let text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}{headers}\r\n");
    Arc::from(text.into_bytes())
}

/// What the clients of a run do.
pub trait Script {
    /// The first exchange of the client's next operation.
    fn begin(&mut self, client: usize) -> Exchange;

    /// The exchange after `step` others of the same operation; none ends the operation.
    fn proceed(&mut self, _client: usize, _step: usize, _location: Option<&str>) -> Option<Exchange> {
        None
    }

    /// Latencies are kept per class: 0 is what the cell is about, 1 runs beside it.
    fn class(&self, _client: usize) -> usize {
        0
    }
}
