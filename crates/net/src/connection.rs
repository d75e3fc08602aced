//! What is known about a connection while its requests run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::file_table::FileTable;
use crate::tls::x509;

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// Unix sockets have no address of the client; this is the path the server listens on.
    Unix(PathBuf),
}

/// The certificate a client showed in a mutual TLS handshake. The client has proved that it holds the key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The end entity certificate, DER.
    pub der: Vec<u8>,
    /// What the client sent with it to lead to an authority, DER. Nobody has looked at these unless `verified`.
    pub intermediates: Vec<Vec<u8>>,
    /// True when the chain leads to one of the configured certificate authorities; false under
    /// [`crate::ClientAuth::Request`] and [`crate::ClientAuth::RequireAny`], which accept any certificate.
    pub verified: bool,
    /// Common name of the subject, when there is one.
    pub common_name: Option<String>,
    /// Organisation names of the subject, in order.
    pub organizations: Vec<String>,
}

impl ClientCertificate {
    /// Reads the names from the certificate; one that is malformed has none.
    #[must_use]
    pub fn new(der: Vec<u8>, intermediates: Vec<Vec<u8>>, verified: bool) -> ClientCertificate {
        let read = x509::read(&der);
        let (common_name, organizations) = read.map(|read| (read.common_name, read.organizations)).unwrap_or_default();
        ClientCertificate { der, intermediates, verified, common_name, organizations }
    }
}

/// One accepted connection; shared by all its requests.
#[derive(Debug)]
pub struct Connection {
    pub peer: Peer,
    /// Our own end; `None` on Unix sockets.
    pub local_addr: Option<SocketAddr>,
    pub tls: bool,
    pub client_certificate: Option<ClientCertificate>,
    /// Only plain TCP connections have one: TLS must read what it encrypts.
    pub(crate) files: Option<Arc<FileTable>>,
    active: AtomicUsize,
    started: AtomicU64,
}

impl Connection {
    pub(crate) fn new(peer: Peer, local_addr: Option<SocketAddr>) -> Connection {
        Connection {
            peer,
            local_addr,
            tls: false,
            client_certificate: None,
            files: None,
            active: AtomicUsize::new(0),
            started: AtomicU64::new(0),
        }
    }

    /// A connection without a socket, for tests and for requests that a process sends to itself.
    #[must_use]
    pub fn detached(peer: Peer) -> Arc<Connection> {
        Arc::new(Connection::new(peer, None))
    }

    /// Bytes of this connection's answers that left through `sendfile`, without passing user space.
    #[must_use]
    pub fn sendfile_bytes(&self) -> u64 {
        self.files.as_ref().map_or(0, |files| files.sent())
    }

    /// Requests that run now, and requests begun so far.
    pub(crate) fn activity(&self) -> (usize, u64) {
        (self.active.load(Ordering::Relaxed), self.started.load(Ordering::Relaxed))
    }
}

/// Counts a request as running, from its head until its response body is dropped.
pub(crate) struct Active(Arc<Connection>);

impl Active {
    pub(crate) fn begin(conn: &Arc<Connection>) -> Active {
        conn.active.fetch_add(1, Ordering::Relaxed);
        conn.started.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(conn))
    }

    pub(crate) fn files(&self) -> Option<&Arc<FileTable>> {
        self.0.files.as_ref()
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
