//! The socket under every connection: sends registered file ranges with `sendfile`, cuts stalled peers, and can look
//! at the first bytes before the protocol is chosen.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::file_table::{FileTable, Hit};
use crate::stall::Stall;

/// RFC 9113 section 3.4: what a client of HTTP/2 sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(crate) struct Socket {
    stream: Stream,
    files: Option<Arc<FileTable>>,
    /// Only on Unix sockets; see [`crate::stall`].
    stall: Option<Stall>,
    /// Bytes looked at and not yet read: `peeked[given..]`.
    peeked: Vec<u8>,
    given: usize,
}

impl Socket {
    /// `stall_limit`: how long a write may make no progress.
    pub(crate) fn new(stream: Stream, stall_limit: Duration) -> Socket {
        let stall = match &stream {
            Stream::Tcp(tcp) => {
                let millis = u32::try_from(stall_limit.as_millis()).unwrap_or(u32::MAX);
                // Both are refinements: a socket without them works, and the peer may be gone already.
                let _ = tcp.set_nodelay(true);
                let _ = rustix::net::sockopt::set_tcp_user_timeout(tcp, millis);
                None
            }
            Stream::Unix(_) => Some(Stall::new(stall_limit)),
        };
        Socket { stream, files: None, stall, peeked: Vec::new(), given: 0 }
    }

    /// Lets this socket send registered ranges with `sendfile`; returns the table, or `None` on Unix sockets.
    pub(crate) fn enable_files(&mut self) -> Option<Arc<FileTable>> {
        if matches!(self.stream, Stream::Tcp(_)) {
            self.files = Some(Arc::default());
        }
        self.files.clone()
    }

    /// Waits for enough bytes to tell HTTP/2 (with prior knowledge) from HTTP/1. The bytes stay to be read.
    pub(crate) async fn begins_http2(&mut self) -> io::Result<bool> {
        let mut seen = Vec::with_capacity(PREFACE.len());
        while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
            let mut rest = [0u8; PREFACE.len()];
            let wanted = PREFACE.len() - seen.len();
            let count = self.read(&mut rest[..wanted]).await?;
            if count == 0 {
                break;
            }
            seen.extend_from_slice(&rest[..count]);
        }
        let http2 = seen == PREFACE;
        self.peeked = seen;
        self.given = 0;
        Ok(http2)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let tcp = match &mut self.stream {
            Stream::Tcp(tcp) => tcp,
            Stream::Unix(unix) => return Pin::new(unix).poll_write_vectored(cx, bufs),
        };
        let Some(files) = &self.files else {
            return Pin::new(tcp).poll_write_vectored(cx, bufs);
        };
        let hit = bufs.iter().enumerate().find_map(|(at, buf)| files.find(buf).map(|hit| (at, hit)));
        match hit {
            None => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Some((0, hit)) => poll_sendfile(tcp, cx, files, hit, bufs[0].len()),
            // The head of the answer waits in the kernel for the file bytes, to share their first packet.
            Some((at, _)) => poll_io(tcp, cx, |tcp| {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                rustix::net::sendmsg(tcp, &bufs[..at], &mut SendAncillaryBuffer::default(), flags)
            }),
        }
    }
}

fn poll_sendfile(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    files: &FileTable,
    hit: Hit,
    count: usize,
) -> Poll<io::Result<usize>> {
    let sent = ready!(poll_io(tcp, cx, |tcp| {
        let mut offset = hit.offset;
        rustix::fs::sendfile(tcp, &hit.file, Some(&mut offset), count)
    }))?;
    if sent == 0 {
        let text = format!("a file was cut off below byte {} while it was being sent", hit.offset);
        return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
    }
    files.record_sent(sent);
    Poll::Ready(Ok(sent))
}

/// Runs a non-blocking system call until it does something else than ask for patience.
fn poll_io(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    mut call: impl FnMut(&TcpStream) -> Result<usize, Errno>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_write_ready(cx))?;
        match tcp.try_io(Interest::WRITABLE, || call(tcp).map_err(io::Error::from)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiting = &this.peeked[this.given..];
        if !waiting.is_empty() {
            let count = waiting.len().min(buf.remaining());
            buf.put_slice(&waiting[..count]);
            this.given += count;
            return Poll::Ready(Ok(()));
        }
        match &mut this.stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = this.poll_send(cx, bufs);
        let Some(stall) = &mut this.stall else {
            return sent;
        };
        if sent.is_ready() {
            stall.progress();
            return sent;
        }
        stall.poll_waiting(cx).map(Err)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}
