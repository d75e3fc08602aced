//! What Azurite is not strict about: Azure lets no blob of another kind take the place of one that is appended to.

use crate::between;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Listens and forwards until the process ends, but for block blobs that would go to a key with `taken` in it. How many of
/// them there were.
pub(crate) fn start(to: SocketAddr, taken: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let address = between::start(to, move |head| {
        let head = head.to_ascii_lowercase();
        let target = head.lines().next().unwrap_or_default();
        if !target.starts_with("put ") || !target.contains(taken) || !head.contains("x-ms-blob-type: blockblob") {
            return None;
        }
        count.fetch_add(1, Ordering::SeqCst);
        let document = "<Error><Code>InvalidBlobType</Code></Error>";
        Some(format!(
            "HTTP/1.1 409 Conflict\r\nx-ms-request-id: 1\r\nx-ms-error-code: InvalidBlobType\r\nContent-Length: {}\r\n\r\n{document}",
            document.len()
        ))
    });
    (address, refused)
}
