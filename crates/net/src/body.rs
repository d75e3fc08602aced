//! The one response body type.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::connection::Active;
use crate::file_body::{FileRange, FileReader};
use crate::file_table::FileTable;
use crate::pace::Pace;

type OnEnd = Box<dyn FnOnce(Sent) + Send>;
/// Bytes as they come from somewhere else.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// How far a body got when it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes handed to the connection. The last piece (at most 1 MiB) may still be on its way to the client.
    pub bytes: u64,
    /// False when the client left early or the source failed. A body that nobody read, such as the one of an answer
    /// to HEAD, is complete only if it was empty.
    pub complete: bool,
}

/// One piece of [`Body::parts`].
pub enum Part {
    Bytes(Bytes),
    File(FileRange),
    /// A stream of exactly so many bytes.
    Stream(ByteStream, u64),
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(range) => range.length,
            Part::Stream(_, length) => *length,
        }
    }
}

/// A response body. Its length is known exactly for every kind but a stream of unknown length, so hyper sends
/// `Content-Length`. A source that yields fewer or more bytes than promised is an error that closes the connection.
pub struct Body {
    source: Source,
    /// Bytes still to come, where known.
    left: Option<u64>,
    sent: u64,
    ended: bool,
    on_end: Option<OnEnd>,
    pace: Option<Box<Pace>>,
    active: Option<Active>,
    sendfile: bool,
}

enum Source {
    Empty,
    Full(Bytes),
    File(Box<FileReader>),
    Parts(Box<Parts>),
    Stream(ByteStream),
}

impl Body {
    #[must_use]
    pub fn empty() -> Body {
        Body::new(Source::Empty, Some(0))
    }

    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Body::new(Source::Full(bytes), Some(length))
    }

    /// A range of a file that nobody changes any more. The range must exist; a file that is shorter ends in an error.
    #[must_use]
    pub fn file(range: FileRange) -> Body {
        let length = range.length;
        Body::new(Source::File(Box::new(FileReader::new(range))), Some(length))
    }

    /// Pieces one after the other, as `multipart/byteranges` needs them.
    #[must_use]
    pub fn parts(parts: Vec<Part>) -> Body {
        let length = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.length()));
        Body::new(Source::Parts(Box::new(Parts { waiting: parts.into(), current: None })), Some(length))
    }

    /// A stream; pass its exact length when it is known. Polling stops once that length was yielded.
    #[must_use]
    pub fn stream(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static, length: Option<u64>) -> Body {
        Body::new(Source::Stream(Box::pin(stream)), length)
    }

    /// Calls `hook` exactly once, when the body is finished or dropped. What the closure owns lives as long as the
    /// body, so moving a permit into it holds the permit until the answer is out. Hooks run in the order of adding.
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(Sent) + Send + 'static) -> Body {
        self.on_end = Some(match self.on_end.take() {
            None => Box::new(hook),
            Some(earlier) => Box::new(move |sent| {
                earlier(sent);
                hook(sent);
            }),
        });
        self
    }

    /// Cuts the answer when it is not out by `until`, or when a piece of it was not taken for as long as `stall`, whether
    /// the body is polled or not: a stream of HTTP/2 is reset, a connection of HTTP/1 closed. Bytes leave in pieces of
    /// 64 KiB, so that the body, and what its hooks own, lives about as long as the memory of what it has handed out.
    #[must_use]
    pub fn within(mut self, until: Option<Instant>, stall: Duration) -> Body {
        self.pace = Some(Box::new(Pace::new(until, stall)));
        self
    }

    /// Exact number of bytes still to come, where known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.left
    }

    /// Ties the body to the connection it leaves on. `sendfile` may be set only where the bytes reach the socket
    /// unchanged: HTTP/1 on plain TCP.
    pub(crate) fn attach(&mut self, active: Active, sendfile: bool) {
        self.active = Some(active);
        self.sendfile = sendfile;
    }

    fn new(source: Source, left: Option<u64>) -> Body {
        Body { source, left, sent: 0, ended: false, on_end: None, pace: None, active: None, sendfile: false }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        // The socket knows ranges of files by their address: they stay as they are.
        let pace = self.pace.as_mut().filter(|_| !matches!(self.source, Source::File(_) | Source::Parts(_)));
        let Some(pace) = pace else {
            let files = if self.sendfile { self.active.as_ref().and_then(Active::files) } else { None };
            return self.source.poll_next(cx, files);
        };
        if let Some(piece) = pace.next() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let item = ready!(self.source.poll_next(cx, None));
        Poll::Ready(item.map(|item| item.map(|chunk| pace.cut(chunk))))
    }

    /// Checks one item of the source against the promised length.
    fn account(&mut self, item: Option<io::Result<Bytes>>) -> Option<io::Result<Frame<Bytes>>> {
        let bytes = match item {
            Some(Ok(bytes)) => bytes,
            Some(Err(error)) => return Some(Err(error)),
            None => {
                let missing = self.left.filter(|left| *left > 0)?;
                let text = format!("the source of a response body ended {missing} bytes early");
                return Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
        };
        let length = bytes.len() as u64;
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(length) else {
                let text = "the source of a response body yields more than its length";
                return Some(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
            };
            *left = rest;
        }
        self.sent += length;
        Some(Ok(Frame::data(bytes)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.ended || this.left == Some(0) {
            return Poll::Ready(None);
        }
        let item = match this.poll_piece(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => {
                this.pace.iter().for_each(|pace| pace.waits());
                return Poll::Pending;
            }
        };
        let frame = this.account(item);
        // An error ends the body as well, and leaves `left` above zero or unknown: it is never "complete".
        if !matches!(frame, Some(Ok(_))) {
            this.ended = true;
            if frame.is_none() {
                this.left = Some(0);
            }
        }
        if let Some(pace) = &this.pace {
            pace.given();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(pace) = self.pace.as_ref().filter(|_| self.left == Some(0)) {
            pace.over();
        }
        if let Some(hook) = self.on_end.take() {
            hook(Sent { bytes: self.sent, complete: self.left == Some(0) });
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("left", &self.left).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Source {
    fn poll_next(&mut self, cx: &mut Context<'_>, files: Option<&Arc<FileTable>>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Source::Empty => Poll::Ready(None),
            Source::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Source::File(reader) => reader.poll_next(cx, files),
            Source::Parts(parts) => parts.poll_next(cx, files),
            Source::Stream(stream) => stream.as_mut().poll_next(cx),
        }
    }
}

struct Parts {
    waiting: VecDeque<Part>,
    current: Option<Current>,
}

enum Current {
    File(Box<FileReader>),
    Stream(ByteStream),
}

impl Parts {
    fn poll_next(&mut self, cx: &mut Context<'_>, files: Option<&Arc<FileTable>>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let item = match &mut self.current {
                Some(Current::File(reader)) => ready!(reader.poll_next(cx, files)),
                Some(Current::Stream(stream)) => ready!(stream.as_mut().poll_next(cx)),
                None => None,
            };
            if item.is_some() {
                return Poll::Ready(item);
            }
            self.current = None;
            match self.waiting.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Bytes(bytes)) if bytes.is_empty() => {}
                Some(Part::Bytes(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Some(Part::File(range)) => self.current = Some(Current::File(Box::new(FileReader::new(range)))),
                Some(Part::Stream(stream, _)) => self.current = Some(Current::Stream(stream)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
