//! A plain blocking client for what is not timed: setting up, asking whether a server is there, verifying.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::body::digest_text;
use super::chunked::Chunks;
use super::head::{self, Head, Length};
use super::{Body, Exchange};

/// Longer than any single answer takes, a 1 GiB push on a busy machine included.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Bodies are kept up to this size; what is larger is only hashed.
const KEPT: usize = 8 << 20;

pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

pub struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
    pub size: u64,
    /// Of the body.
    pub digest: String,
}

struct Sink {
    hash: Sha256,
    kept: Vec<u8>,
    size: u64,
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        let room = KEPT.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
    }
}

impl Client {
    pub fn new(port: u16) -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), stream: None }
    }

    pub fn get(&mut self, path: &str, headers: &str) -> Result<Reply> {
        self.ask(&Exchange::get(path, headers, 200, None))
    }

    /// Sends a body of its own.
    pub fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Reply> {
        let body = (!body.is_empty()).then(|| Body::small(body));
        self.ask(&Exchange::send(method, path, headers, body, 0))
    }

    /// Any status is an answer; errors are those of the connection.
    pub fn ask(&mut self, exchange: &Exchange) -> Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(&exchange.head).context("send")?;
        let mut offset = 0;
        while let Some(piece) = exchange.body.as_ref().map(|body| body.piece(offset)).filter(|p| !p.is_empty()) {
            stream.write_all(piece).context("send")?;
            offset += piece.len() as u64;
        }
        let (head, reply) = read_reply(&mut stream, exchange.is_head)?;
        if !head.close {
            self.stream = Some(stream);
        }
        Ok(reply)
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address).with_context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }
}

fn read_reply(stream: &mut TcpStream, is_head: bool) -> Result<(Head, Reply)> {
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    let head = loop {
        let got = stream.read(&mut buffer[filled..]).context("receive")?;
        if got == 0 {
            bail!("the server closed the connection instead of answering");
        }
        filled += got;
        if let Some(head) = head::parse(&buffer[..filled]) {
            break head;
        }
    };
    let mut sink = Sink { hash: Sha256::new(), kept: Vec::new(), size: 0 };
    if !is_head {
        let behind = buffer[head.end..filled].to_vec();
        read_body(stream, &head, &behind, &mut buffer, &mut sink)?;
    }
    let digest = digest_text(&sink.hash.finalize());
    let reply =
        Reply { status: head.status, location: head.location.clone(), body: sink.kept, size: sink.size, digest };
    Ok((head, reply))
}

fn read_body(stream: &mut TcpStream, head: &Head, behind: &[u8], buffer: &mut [u8], sink: &mut Sink) -> Result<()> {
    let mut chunks = Chunks::default();
    let mut ended = match head.length {
        Length::Chunked => chunks.feed(behind, |bytes| sink.take(bytes)),
        Length::Exact(length) => {
            sink.take(behind);
            sink.size >= length
        }
        Length::UntilClose => {
            sink.take(behind);
            false
        }
    };
    while !ended {
        let got = stream.read(buffer).context("receive")?;
        if got == 0 && head.length != Length::UntilClose {
            bail!("the server closed the connection within a body");
        }
        ended = match head.length {
            Length::Chunked => chunks.feed(&buffer[..got], |bytes| sink.take(bytes)),
            Length::Exact(length) => {
                sink.take(&buffer[..got]);
                sink.size >= length
            }
            Length::UntilClose => {
                sink.take(&buffer[..got]);
                got == 0
            }
        };
    }
    Ok(())
}
