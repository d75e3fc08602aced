//! File ranges as response bytes.
//!
//! Two ways, chosen when the first byte is asked for:
//!
//! * *Token* (HTTP/1 on plain TCP, more than 64 KiB): the range is mapped, the mapping is registered in the
//!   connection's table and yielded in windows. Nobody reads the mapping; the socket recognises the address and calls
//!   `sendfile`. Measured: 0.12 CPU s/GiB against 0.29 for the best copy.
//! * *Copy* (all else): `pread` into pooled buffers.
//!
//! Neither may wait for a disk on a runtime thread. Both ask the page cache first (`RWF_NOWAIT`), and only a miss goes
//! to the blocking pool, together with an order to the kernel to read ahead.

mod mapping;
mod page_cache;
mod pool;

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::file_table::FileTable;
use page_cache::Cached;

/// Ranges up to this go out as one plain slice: a mapping and two more system calls cost more than the copy.
const SMALL: u64 = 64 * 1024;

/// Bytes of a mapping per frame: the distance between two looks at the page cache. Large enough that the look does not
/// show in a profile, small enough that a cold disk is noticed before `sendfile` waits for it.
const WINDOW: u64 = 1024 * 1024;

/// A range of an open file.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub file: Arc<File>,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// Yields a [`FileRange`] piece by piece. Must be polled inside a tokio runtime.
pub(crate) struct FileReader {
    file: Arc<File>,
    next: u64,
    end: u64,
    way: Way,
    /// False once the file system said that it cannot answer without waiting.
    nowait: bool,
    job: Option<JoinHandle<io::Result<Loaded>>>,
}

enum Way {
    Undecided,
    Copy,
    /// What is left of the mapping; its first byte is the file's byte `next`.
    Token(Bytes),
}

/// What the blocking pool did.
enum Loaded {
    Chunk(Bytes),
    /// The next window is in the page cache now.
    Window,
}

impl FileReader {
    pub(crate) fn new(range: FileRange) -> FileReader {
        FileReader {
            end: range.offset.saturating_add(range.length),
            next: range.offset,
            file: range.file,
            way: Way::Undecided,
            nowait: true,
            job: None,
        }
    }

    /// The next piece, never empty. `files` is the table of a connection that can `sendfile`.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        files: Option<&Arc<FileTable>>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(job) = &mut self.job {
            let joined = ready!(Pin::new(job).poll(cx));
            self.job = None;
            return Poll::Ready(Some(match joined.map_err(io::Error::other).flatten() {
                Ok(Loaded::Chunk(chunk)) => Ok(self.advance(chunk)),
                Ok(Loaded::Window) => Ok(self.window()),
                Err(error) => Err(error),
            }));
        }
        if self.next >= self.end {
            return Poll::Ready(None);
        }
        if matches!(self.way, Way::Undecided) {
            self.way = self.choose(files);
        }
        match self.load() {
            Some(result) => Poll::Ready(Some(result)),
            // The job was just started; polling it registers the waker.
            None => self.poll_next(cx, files),
        }
    }

    fn choose(&self, files: Option<&Arc<FileTable>>) -> Way {
        let length = self.end - self.next;
        let Some(files) = files.filter(|_| length > SMALL) else {
            return Way::Copy;
        };
        match mapping::map(&self.file, self.next, length, files) {
            Ok(token) => Way::Token(token),
            // Not every file system maps, and a process has a limit of mappings; copying always works.
            Err(error) => {
                tracing::debug!(%error, "a file cannot be mapped, its bytes are copied");
                Way::Copy
            }
        }
    }

    /// Loads the next piece from the page cache, or starts a job and returns `None`.
    fn load(&mut self) -> Option<io::Result<Bytes>> {
        let left = self.end - self.next;
        if matches!(self.way, Way::Token(_)) {
            let length = left.min(WINDOW);
            match page_cache::probe(&self.file, self.next, length) {
                Cached::Yes(()) => return Some(Ok(self.window())),
                Cached::No => {
                    let (file, offset) = (Arc::clone(&self.file), self.next);
                    self.start(move || page_cache::warm(&file, offset, length).map(|()| Loaded::Window));
                    return None;
                }
                // Without a look at the page cache `sendfile` could block; copying in the blocking pool cannot.
                Cached::Unknown => {
                    self.nowait = false;
                    self.way = Way::Copy;
                }
            }
        }
        if self.nowait {
            match page_cache::read_cached(&self.file, self.next, left) {
                Cached::Yes(chunk) => return Some(Ok(self.advance(chunk))),
                Cached::No => {}
                Cached::Unknown => self.nowait = false,
            }
        }
        let (file, offset) = (Arc::clone(&self.file), self.next);
        self.start(move || page_cache::read(&file, offset, left).map(Loaded::Chunk));
        None
    }

    /// A job that nobody waits for any more runs to its end: at most one chunk or window of reading.
    fn start(&mut self, job: impl FnOnce() -> io::Result<Loaded> + Send + 'static) {
        self.job = Some(tokio::task::spawn_blocking(job));
    }

    fn window(&mut self) -> Bytes {
        let length = (self.end - self.next).min(WINDOW);
        let Way::Token(token) = &mut self.way else {
            return Bytes::new();
        };
        let length = token.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let window = token.split_to(length);
        self.advance(window)
    }

    fn advance(&mut self, piece: Bytes) -> Bytes {
        self.next += piece.len() as u64;
        piece
    }
}

#[cfg(test)]
mod tests;
