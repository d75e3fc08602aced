//! What can be set about serving, and what can be read about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

/// Limits of one [`crate::serve`] call. [`ServeSettings::new`] has the usual ones.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Connections at a time, at least 1; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Time for a TLS handshake, and for the first bytes where HTTP/2 without TLS is possible.
    pub handshake_timeout: Duration,
    /// Time for the complete head of an HTTP/1 request. It also limits how long a connection may be idle between
    /// two requests.
    pub header_timeout: Duration,
    /// A client that takes none of the bytes waiting for it for so long is cut.
    pub write_stall_timeout: Duration,
    /// How long an HTTP/2 connection may be without a request before it is closed.
    pub http2_idle_timeout: Duration,
    /// Accept HTTP/2 with prior knowledge on connections without TLS.
    pub h2c: bool,
    /// How long running requests may take after the shutdown signal.
    pub drain_timeout: Duration,
    /// Updated while serving. Several `serve` calls may share one value.
    pub counters: Arc<Counters>,
}

impl ServeSettings {
    /// Settings that suit a registry in front of strangers: 8,192 connections, 30 s for a head, 60 s for a stalled
    /// client, HTTP/2 without TLS off, 25 s to drain (Kubernetes kills after 30).
    #[must_use]
    pub fn new() -> ServeSettings {
        ServeSettings {
            max_connections: 8_192,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_secs(60),
            http2_idle_timeout: Duration::from_secs(120),
            h2c: false,
            drain_timeout: Duration::from_secs(25),
            counters: Arc::default(),
        }
    }
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings::new()
    }
}

/// Figures for metrics; all relaxed.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicUsize,
    /// TLS handshakes that failed or took too long.
    pub handshake_failures: AtomicU64,
    /// Bytes that left through `sendfile`, added when a connection ends.
    pub sendfile_bytes: AtomicU64,
}

/// What a [`crate::serve`] call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Connections accepted in total.
    pub accepted: u64,
    /// Connections open at the shutdown signal that ended by themselves.
    pub drained: usize,
    /// Connections cut because the drain time was over.
    pub cut: usize,
}
