//! What may stand between a registry and its service: lines that break, services that are busy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

/// Faults still to come.
#[derive(Default)]
pub(crate) struct Faults {
    /// After so many bytes to the service, all lines break once; 0: never.
    pub(crate) up: AtomicI64,
    /// The same for bytes from the service.
    pub(crate) down: AtomicI64,
    /// `down` begins anew with so many bytes when a line has broken.
    pub(crate) down_again: AtomicI64,
    /// So many requests are answered with 503 and the line is closed.
    pub(crate) busy: AtomicUsize,
    /// What would write is refused: the bucket is full.
    pub(crate) full: AtomicBool,
    /// So many faults have happened.
    pub(crate) done: AtomicUsize,
}

/// Listens and forwards until the process ends.
pub(crate) fn start(to: SocketAddr) -> (SocketAddr, Arc<Faults>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let faults = Arc::clone(&shared);
            std::thread::spawn(move || drop(serve(client, to, &faults)));
        }
    });
    (address, faults)
}

fn serve(client: TcpStream, to: SocketAddr, faults: &Arc<Faults>) -> std::io::Result<()> {
    let service = TcpStream::connect(to)?;
    let (client_again, service_again, again) = (client.try_clone()?, service.try_clone()?, Arc::clone(faults));
    let down = std::thread::spawn(move || forward(service_again, client_again, &again, false));
    forward(client, service, faults, true);
    drop(down.join());
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, faults: &Faults, up: bool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let take = |left: usize| left.checked_sub(1);
        if up
            && is_request(&buffer[..count])
            && faults.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
        {
            faults.done.fetch_add(1, Ordering::SeqCst);
            let document = "<Error><Code>SlowDown</Code></Error>";
            let answer = format!(
                "HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{document}",
                document.len()
            );
            drop(from.write_all(answer.as_bytes()));
            break;
        }
        if up
            && faults.full.load(Ordering::SeqCst)
            && [&b"PUT "[..], b"POST"].iter().any(|method| buffer.starts_with(method))
        {
            // As radosgw says it.
            let document = "<Error><Code>QuotaExceeded</Code></Error>";
            let length = document.len();
            let answer =
                format!("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{document}");
            drop(from.write_all(answer.as_bytes()));
            break;
        }
        let left = if up { &faults.up } else { &faults.down };
        let bytes = i64::try_from(count).unwrap();
        // Whichever line comes to zero breaks, and only that one: many count at the same time.
        let again = if up { 0 } else { faults.down_again.load(Ordering::SeqCst) };
        let less = |left: i64| (left > 0).then(|| if left > bytes { left - bytes } else { again });
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok_and(|before| before <= bytes) {
            faults.done.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

fn is_request(bytes: &[u8]) -> bool {
    [&b"GET "[..], b"PUT ", b"HEAD", b"POST", b"DELE"].iter().any(|method| bytes.starts_with(method))
}
