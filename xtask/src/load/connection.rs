//! One keep-alive connection: a state machine that goes as far as the socket lets it.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::Exchange;
use super::chunked::Chunks;
use super::head::{self, Head, Length};

/// Heads and small bodies fit; larger bodies are discarded by the kernel.
const BUFFER: usize = 16 << 10;
/// The kernel discards at most this much at a time, so that clients take turns.
pub(super) const DISCARD: usize = 1 << 20;

enum Phase {
    Idle,
    /// Bytes of head and body sent so far.
    Sending(u64),
    Head,
    Discard(u64),
    Chunked(Chunks),
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    phase: Phase,
    exchange: Option<Exchange>,
    buffer: Vec<u8>,
    filled: usize,
    location: Option<String>,
    close: bool,
    moved: u64,
}

/// An exchange that ended as it should.
pub(super) struct Done {
    pub(super) location: Option<String>,
    /// Bytes of both bodies.
    pub(super) moved: u64,
    /// The server will close: the next exchange needs a new connection.
    pub(super) close: bool,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            phase: Phase::Idle,
            exchange: None,
            buffer: vec![0; BUFFER],
            filled: 0,
            location: None,
            close: false,
            moved: 0,
        })
    }

    /// Begins an exchange; it goes on in [`Self::drive`].
    pub(super) fn begin(&mut self, exchange: Exchange) {
        self.moved = exchange.body.as_ref().map_or(0, super::Body::len);
        self.exchange = Some(exchange);
        self.phase = Phase::Sending(0);
        self.filled = 0;
        self.location = None;
        self.close = false;
    }

    /// Goes on until the socket would block (none) or the exchange is done.
    pub(super) fn drive(&mut self, scratch: &mut [u8]) -> Result<Option<Done>> {
        loop {
            let Some(exchange) = &self.exchange else { return Ok(None) };
            match &mut self.phase {
                Phase::Idle => return Ok(None),
                Phase::Sending(sent) => {
                    if !send_on(&self.stream, exchange, sent)? {
                        return Ok(None);
                    }
                    let small = exchange.body.is_none();
                    self.phase = Phase::Head;
                    // The answer to a mere head cannot be here yet: looking would be a system call for
                    // nothing. Behind a body it can, and its edge may have been the one that woke us.
                    if small {
                        return Ok(None);
                    }
                }
                Phase::Head => match self.read_head()? {
                    Some(true) => return self.finish().map(Some),
                    Some(false) => {}
                    None => return Ok(None),
                },
                Phase::Discard(left) => {
                    let want = usize::try_from(*left).unwrap_or(usize::MAX).min(scratch.len());
                    let Some(got) = receive(&self.stream, &mut scratch[..want], RecvFlags::TRUNC)? else {
                        return Ok(None);
                    };
                    self.moved += got as u64;
                    *left -= got as u64;
                    if *left == 0 {
                        return self.finish().map(Some);
                    }
                }
                Phase::Chunked(chunks) => {
                    let Some(got) = receive(&self.stream, scratch, RecvFlags::empty())? else {
                        return Ok(None);
                    };
                    let before = chunks.content;
                    let ended = chunks.feed(&scratch[..got], |_| {});
                    self.moved += chunks.content - before;
                    if ended {
                        return self.finish().map(Some);
                    }
                }
            }
        }
    }

    /// None: would block. True: the exchange is done. False: the phase has changed or more is needed.
    fn read_head(&mut self) -> Result<Option<bool>> {
        let Some(space) = self.buffer.get_mut(self.filled..).filter(|space| !space.is_empty()) else {
            bail!("the head of a response is larger than {BUFFER} bytes");
        };
        let Some(got) = receive(&self.stream, space, RecvFlags::empty())? else {
            return Ok(None);
        };
        self.filled += got;
        let Some(head) = head::parse(&self.buffer[..self.filled]) else {
            return Ok(Some(false));
        };
        self.accept(head).map(Some)
    }

    fn accept(&mut self, head: Head) -> Result<bool> {
        let Some(exchange) = &self.exchange else { bail!("a response without a request") };
        let behind = &self.buffer[head.end..self.filled];
        if head.status != exchange.status {
            let text = String::from_utf8_lossy(behind).into_owned();
            let request = String::from_utf8_lossy(&exchange.head);
            let line = request.lines().next().unwrap_or_default();
            bail!("{line}: status {}, not {}: {}", head.status, exchange.status, text.trim());
        }
        self.location = head.location;
        self.close = head.close;
        if exchange.is_head {
            return Ok(true);
        }
        match head.length {
            Length::Exact(length) => {
                if let Some(want) = exchange.length.filter(|want| *want != length) {
                    bail!("a response of {length} bytes where {want} were expected");
                }
                self.moved += behind.len() as u64;
                let left = length.saturating_sub(behind.len() as u64);
                self.phase = Phase::Discard(left);
                Ok(left == 0)
            }
            Length::Chunked => {
                let mut chunks = Chunks::default();
                let ended = chunks.feed(behind, |_| {});
                self.moved += chunks.content;
                self.phase = Phase::Chunked(chunks);
                Ok(ended)
            }
            Length::UntilClose => bail!("a response without a length"),
        }
    }

    fn finish(&mut self) -> Result<Done> {
        self.phase = Phase::Idle;
        let sent = self.exchange.as_ref().and_then(|exchange| exchange.body.as_ref()).map_or(0, super::Body::len);
        let received = self.moved - sent;
        let want = self.exchange.take().and_then(|exchange| exchange.length);
        if want.is_some_and(|want| want != received) {
            bail!("a response of {received} bytes, not {}", want.unwrap_or_default());
        }
        Ok(Done { location: self.location.take(), moved: self.moved, close: self.close })
    }
}

/// Sends what the socket takes; true when all is sent.
fn send_on(stream: &TcpStream, exchange: &Exchange, sent: &mut u64) -> Result<bool> {
    let head_size = exchange.head.len() as u64;
    loop {
        let (piece, more) = if *sent < head_size {
            let start = usize::try_from(*sent).unwrap_or(usize::MAX);
            (exchange.head.get(start..).unwrap_or_default(), exchange.body.is_some())
        } else {
            let offset = *sent - head_size;
            (exchange.body.as_ref().map_or(&[][..], |body| body.piece(offset)), false)
        };
        if piece.is_empty() {
            return Ok(true);
        }
        // Head and body in one segment where they fit.
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        match send(stream, piece, flags) {
            Ok(count) => *sent += count as u64,
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("send"),
        }
    }
}

/// None when the socket would block; an ended connection is an error.
fn receive(stream: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> Result<Option<usize>> {
    loop {
        match recv(stream, &mut *buffer, flags) {
            Ok((_, 0)) => bail!("the server closed the connection within an exchange"),
            Ok((_, got)) => return Ok(Some(got)),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
}
