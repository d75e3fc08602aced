//! A blocking client over TLS: for servers that are not there without it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::chunked::Chunks;
use super::head::{self, Head, Length};

const TIMEOUT: Duration = Duration::from_secs(60);
const BUFFER: usize = 64 << 10;

/// Whose certificates are believed.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities of a PEM file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// One connection.
pub struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
    /// Of a stream that goes on.
    chunks: Chunks,
}

impl Secure {
    /// Connects; the server's certificate is for its address.
    pub fn open(address: SocketAddr, trust: &Trust) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let connection = ClientConnection::new(trust.0.clone(), ServerName::from(address.ip()))?;
        Ok(Self { stream: StreamOwned::new(connection, stream), buffer: vec![0; BUFFER], chunks: Chunks::default() })
    }

    /// Asks, and reads the whole answer; its status. `headers` are whole lines.
    pub fn get(&mut self, path: &str, headers: &str, mut sink: impl FnMut(&[u8])) -> Result<u16> {
        let (head, mut filled) = self.begin(path, headers)?;
        let mut chunks = Chunks::default();
        let mut seen = 0;
        let mut from = head.end;
        loop {
            let bytes = &self.buffer[from..filled];
            seen += bytes.len() as u64;
            let ended = match head.length {
                Length::Chunked => chunks.feed(bytes, &mut sink),
                Length::Exact(length) => {
                    sink(bytes);
                    seen >= length
                }
                Length::UntilClose => bail!("an answer without a length"),
            };
            if ended {
                return Ok(head.status);
            }
            from = 0;
            filled = self.read(0)?;
        }
    }

    /// Asks, and reads the answer no further than its head and what came with it: a stream that goes on.
    pub fn follow(&mut self, path: &str, headers: &str) -> Result<()> {
        let (head, filled) = self.begin(path, headers)?;
        self.chunks.feed(&self.buffer[head.end..filled], |_| {});
        // What it was given to read into is not needed any more, and there are many of them.
        self.buffer = Vec::new();
        if head.status != 200 {
            bail!("{path}: status {}", head.status);
        }
        Ok(())
    }

    /// Reads on in such a stream, until it has told `text`.
    pub fn until(&mut self, text: &str) -> Result<()> {
        self.buffer.resize(BUFFER, 0);
        let mut told = Vec::new();
        while !told.windows(text.len()).any(|window| window == text.as_bytes()) {
            let filled = self.read(0).with_context(|| format!("wait for {text}"))?;
            if self.chunks.feed(&self.buffer[..filled], |bytes| told.extend_from_slice(bytes)) {
                bail!("the stream has ended: {}", String::from_utf8_lossy(&told));
            }
        }
        Ok(())
    }

    /// The head, and how much of the buffer is filled.
    fn begin(&mut self, path: &str, headers: &str) -> Result<(Head, usize)> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: api\r\n{headers}\r\n").context("send")?;
        self.stream.flush().context("send")?;
        let mut filled = 0;
        loop {
            filled += self.read(filled)?;
            if let Some(head) = head::parse(&self.buffer[..filled]) {
                return Ok((head, filled));
            }
        }
    }

    fn read(&mut self, from: usize) -> Result<usize> {
        match self.stream.read(&mut self.buffer[from..]).context("receive")? {
            0 => bail!("the server closed the connection within an answer"),
            count => Ok(count),
        }
    }
}
