//! Somebody between a registry and its service who sees each request before the service does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Listens and forwards until the process ends. `look` gets the head of each request, may take its time to do something,
/// and may give the whole answer.
pub(crate) fn start(to: SocketAddr, look: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let look = Arc::new(look);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let look = Arc::clone(&look);
            std::thread::spawn(move || drop(serve(&client, to, &*look)));
        }
    });
    address
}

fn serve(mut client: &TcpStream, to: SocketAddr, look: &impl Fn(&str) -> Option<String>) -> std::io::Result<()> {
    let mut service = TcpStream::connect(to)?;
    let (mut from, mut back) = (service.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut back));
        drop(back.shutdown(Shutdown::Both));
    });
    let (mut pending, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4) else {
            match client.read(&mut buffer)? {
                0 => return service.shutdown(Shutdown::Write),
                count => pending.extend_from_slice(&buffer[..count]),
            }
            continue;
        };
        let head = String::from_utf8_lossy(&pending[..end]).into_owned();
        let named = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
        let length = end + head.lines().find_map(named).unwrap_or(0);
        while pending.len() < length {
            let count @ 1.. = client.read(&mut buffer)? else { return Ok(()) };
            pending.extend_from_slice(&buffer[..count]);
        }
        match look(&head) {
            Some(answer) => client.write_all(answer.as_bytes())?,
            None => service.write_all(&pending[..length])?,
        }
        pending.drain(..length);
    }
}
