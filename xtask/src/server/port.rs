//! Addresses for programs that must be told where to listen.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the kernel gives to whoever wants any (`ip_local_port_range`), and below those of Kubernetes' nodes:
/// between our look and the start of the program, or while it is started again, none of those gets its port.
const FIRST: u32 = 11_000;
const COUNT: u32 = 19_000;
/// Processes that run at once begin at places apart from each other.
const APART: u32 = 61;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One on which nobody listens, and that this process has not given out before.
///
/// # Errors
/// All are taken, or the host is not of this machine.
pub fn free_address(host: IpAddr) -> io::Result<SocketAddr> {
    let begin = (std::process::id() % COUNT) * APART;
    let mut last = io::Error::other("no port is free");
    for _ in 0..COUNT {
        let port = FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let Ok(port) = u16::try_from(port) else { break };
        let address = SocketAddr::new(host, port);
        match look(address) {
            Ok(()) => return Ok(address),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Takes the address, and lets it go. Nothing listens meanwhile: a process that another thread is starting holds what we opened
/// until it is another program, and whoever waits for the program at this address would take that for its answer.
fn look(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(bind(&socket, &address)?)
}

/// One of 127.0.0.1.
///
/// # Errors
/// As [`free_address`].
pub fn free_local_address() -> io::Result<SocketAddr> {
    free_address(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_given_twice_or_while_it_is_taken() {
        let first = free_local_address().unwrap();
        let next = SocketAddr::new(first.ip(), first.port() + 1);
        let taken = std::net::TcpListener::bind(next);
        let second = free_local_address().unwrap();
        assert_ne!(first, second);
        assert!(taken.is_err() || second != next);
        assert!((11_000..30_000).contains(&second.port()));
        assert!(free_address("192.0.2.1".parse().unwrap()).is_err());
    }
}
