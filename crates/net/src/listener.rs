//! Where connections come from: TCP addresses or a Unix socket.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, lookup_host};

use crate::connection::Peer;
use crate::socket::Stream;

/// Pause after an error that means "no resources": long enough not to spin, short enough not to be noticed.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// An address cannot be listened on.
#[derive(Debug, Error)]
pub enum BindError {
    #[error("`{0}` is not an address of the form host:port or :port")]
    Address(String),
    #[error("the host of `{address}` cannot be resolved")]
    Resolve { address: String, source: io::Error },
    #[error("cannot listen on {address}")]
    Bind { address: String, source: io::Error },
}

/// Bound sockets, ready for [`crate::serve`]. Connections wait in the kernel from the moment of binding.
#[derive(Debug)]
pub struct Listener {
    tcp: Vec<TcpListener>,
    unix: Option<UnixSocketFile>,
    /// The socket asked first at the next accept, so that a busy one does not starve the others.
    first: usize,
}

/// Removes its path when it is dropped.
#[derive(Debug)]
struct UnixSocketFile {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listener {
    /// Listens on `host:port`, with every address of the host, or on `:port`, which means all interfaces, IPv6 and
    /// IPv4. Port 0 takes a free one. `backlog` is the number of connections that the kernel keeps for us.
    ///
    /// # Errors
    /// When the text is no address, the host is unknown, or one of its addresses cannot be bound.
    pub async fn bind_tcp(address: &str, backlog: u32) -> Result<Listener, BindError> {
        let bind_error = |source| BindError::Bind { address: address.to_owned(), source };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| BindError::Address(address.to_owned()))?;
        let mut port: u16 = port.parse().map_err(|_| BindError::Address(address.to_owned()))?;
        if host.is_empty() {
            let dual = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), backlog, false);
            // A kernel without IPv6.
            let socket = dual
                .or_else(|_| bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), backlog, false))
                .map_err(bind_error)?;
            return Ok(Listener { tcp: vec![socket], unix: None, first: 0 });
        }
        let found =
            lookup_host(address).await.map_err(|source| BindError::Resolve { address: address.to_owned(), source })?;
        let mut tcp: Vec<TcpListener> = Vec::new();
        for mut socket_address in found {
            socket_address.set_port(port);
            let socket = bind(socket_address, backlog, true).map_err(bind_error)?;
            // With port 0 the second address gets the port that the first one was given.
            port = socket.local_addr().map_err(bind_error)?.port();
            tcp.push(socket);
        }
        if tcp.is_empty() {
            return Err(BindError::Address(address.to_owned()));
        }
        Ok(Listener { tcp, unix: None, first: 0 })
    }

    /// Listens on a Unix socket. A socket file that a dead process left behind is replaced; the file is removed when
    /// the listener is dropped. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the path is taken by something else or by a living server, or cannot be created.
    pub fn bind_unix(path: &Path, backlog: u32) -> Result<Listener, BindError> {
        let bind_error = |source| BindError::Bind { address: path.display().to_string(), source };
        remove_stale(path).map_err(bind_error)?;
        let socket = UnixSocket::new_stream().map_err(bind_error)?;
        socket.bind(path).map_err(bind_error)?;
        let listener = socket.listen(backlog).map_err(bind_error)?;
        let unix = UnixSocketFile { listener, path: path.to_owned() };
        Ok(Listener { tcp: Vec::new(), unix: Some(unix), first: 0 })
    }

    /// The bound TCP addresses, with real ports; empty for a Unix socket.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// The next connection. Failed attempts are not reported: one that the client took back is skipped, and when the
    /// process is out of descriptors or memory, accepting pauses while the kernel keeps the connections.
    pub(crate) async fn accept(&mut self) -> (Stream, Peer, Option<SocketAddr>) {
        loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(accepted) => return accepted,
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(%error, "cannot accept connections for lack of resources, will try again");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                Err(error) => tracing::debug!(%error, "a connection failed before it was accepted"),
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer, Option<SocketAddr>)>> {
        if let Some(unix) = &self.unix {
            return unix
                .listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| (Stream::Unix(stream), Peer::Unix(unix.path.clone()), None));
        }
        let count = self.tcp.len();
        for step in 0..count {
            let at = (self.first + step) % count;
            if let Poll::Ready(result) = self.tcp[at].poll_accept(cx) {
                self.first = (at + 1) % count;
                return Poll::Ready(result.map(|(stream, peer)| {
                    let local = stream.local_addr().ok();
                    (Stream::Tcp(stream), Peer::Tcp(peer), local)
                }));
            }
        }
        Poll::Pending
    }
}

fn bind(address: SocketAddr, backlog: u32, v6_only: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // A restarted server must get its port although old connections linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, v6_only)?;
    }
    socket.bind(address)?;
    socket.listen(backlog)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Somebody answers, or the path is not ours: binding reports it.
        _ => Ok(()),
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| exhausted.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpStream, UnixStream};

    #[tokio::test]
    async fn an_empty_host_takes_both_families() {
        let mut listener = Listener::bind_tcp(":0", 16).await.unwrap();
        let port = listener.local_addrs()[0].port();
        for host in ["127.0.0.1", "[::1]"] {
            let _client = TcpStream::connect(format!("{host}:{port}")).await.unwrap();
            let (_, peer, _) = listener.accept().await;
            assert!(matches!(peer, Peer::Tcp(_)));
        }
    }

    #[tokio::test]
    async fn bad_addresses_are_errors() {
        for text in ["", "localhost", "localhost:", ":x", ":70000", "no-such-host.invalid:1", "127.0.0.1:-1"] {
            assert!(Listener::bind_tcp(text, 16).await.is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());

        let mut listener = Listener::bind_unix(&path, 16).unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        let (_, peer, _) = listener.accept().await;
        assert_eq!(peer, Peer::Unix(path.clone()));
        assert!(Listener::bind_unix(&path, 16).is_err());
        drop(listener);
        assert!(!path.exists());
    }
}
