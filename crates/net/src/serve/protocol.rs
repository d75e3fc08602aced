//! hyper's settings, fixed here rather than left to its defaults.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::settings::ServeSettings;
use super::streams::Streams;

/// Bytes of a request head. Kubernetes tokens in `Authorization` take a few KiB, and proxies add more.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Streams of one connection at a time. Clients push and pull some ten layers in parallel.
const STREAMS_MAX: u32 = 128;

/// Flow control windows: 1 MiB per stream fills a link of 1 Gbit/s with 8 ms delay, and bounds what one connection can
/// make us hold to 4 MiB.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Response bytes buffered per stream.
const SEND_BUFFER: usize = 512 * 1024;

pub(super) fn http1(settings: &ServeSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        // Never flatten: the socket must see the slices of a body by address.
        .writev(true)
        .pipeline_flush(false);
    builder
}

pub(super) fn http2() -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(64 * 1024)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        // Rapid reset (CVE-2023-44487) and its sibling made of our own errors: close beyond these.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
