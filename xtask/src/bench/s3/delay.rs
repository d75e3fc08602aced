//! A line to a storage service that is far away: every request is later by a fixed time, and its bytes are not slower.
//!
//! Clients of HTTP/1.1 send a request when the answer to the one before is there, so that what comes first after an answer
//! is the beginning of a request. What follows it, a body, passes at once.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Few calls for a large body.
const BUFFER: usize = 256 << 10;

/// Listens until the process ends.
pub(super) fn start(to: SocketAddr, delay: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().map_while(io::Result::ok) {
            // A client whose line breaks at once tries again, and fails the cell if that does not help.
            drop(connect(client, to, delay));
        }
    });
    Ok(address)
}

fn connect(client: TcpStream, to: SocketAddr, delay: Duration) -> io::Result<()> {
    let service = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    service.set_nodelay(true)?;
    let (client_again, service_again) = (client.try_clone()?, service.try_clone()?);
    let turn = Arc::new(Turn::default());
    let answers = Arc::clone(&turn);
    thread::spawn(move || {
        forward(client, service, |bytes| {
            if turn.begins_request(bytes) {
                thread::sleep(delay);
            }
        });
    });
    thread::spawn(move || forward(service_again, client_again, |_| answers.answer()));
    Ok(())
}

/// Whose turn it is to speak.
#[derive(Default)]
struct Turn {
    asked: AtomicBool,
}

impl Turn {
    /// Whether these bytes of the client are the first ones after an answer. A body that was asked for by `100 Continue`
    /// is no request of its own.
    fn begins_request(&self, bytes: &[u8]) -> bool {
        let methods = [&b"GET "[..], b"PUT ", b"HEAD ", b"POST ", b"DELETE "];
        methods.iter().any(|method| bytes.starts_with(method)) && !self.asked.swap(true, Ordering::SeqCst)
    }

    fn answer(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut before: impl FnMut(&[u8])) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        before(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The other direction ends with it.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Answers each line with two bytes, in two pieces.
    fn service() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut line, _) = listener.accept().unwrap();
            let mut byte = [0];
            while line.read_exact(&mut byte).is_ok() {
                if byte[0] == b'\n' {
                    line.write_all(b"o").unwrap();
                    line.write_all(b"k").unwrap();
                }
            }
        });
        address
    }

    #[test]
    fn every_request_waits() {
        const DELAY: Duration = Duration::from_millis(50);
        let mut line = TcpStream::connect(start(service(), DELAY).unwrap()).unwrap();
        line.set_nodelay(true).unwrap();
        let body = vec![b'x'; 4 << 20];
        let begun = Instant::now();
        for _ in 0..3 {
            line.write_all(b"PUT ").unwrap();
            line.write_all(&body).unwrap();
            line.write_all(b"\n").unwrap();
            line.read_exact(&mut [0; 2]).unwrap();
        }
        assert!(begun.elapsed() >= DELAY * 3);
    }

    #[test]
    fn a_request_is_late_once_and_its_body_is_not() {
        let turn = Turn::default();
        for _ in 0..2 {
            assert!(turn.begins_request(b"PUT /key HTTP/1.1\r\n"));
            assert!(!turn.begins_request(b"a body"));
            assert!(!turn.begins_request(b"PUT is how this piece of a body begins"));
            turn.answer();
            assert!(!turn.begins_request(b"what was asked for by 100 Continue"));
            turn.answer();
        }
    }
}
