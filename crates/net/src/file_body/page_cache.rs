//! Reading with and without waiting for the disk.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::pool;

/// How far the kernel is told to read ahead of a miss. A 200 MB/s disk takes 20 ms for it, a network disk hides its
/// latency behind it, and a client that leaves wastes no more than that.
const AHEAD: u64 = 4 * 1024 * 1024;

/// Distance of the pages looked at. The kernel reads and evicts in larger pieces than pages.
const PROBE_STEP: u64 = 256 * 1024;

/// Answer of the page cache.
pub(super) enum Cached<T> {
    Yes(T),
    No,
    /// The file system does not support the question.
    Unknown,
}

/// Is this range in memory? A sample: a wrong "yes" costs one wait for the disk in `sendfile`.
pub(super) fn probe(file: &File, offset: u64, length: u64) -> Cached<()> {
    let last = offset + length.saturating_sub(1);
    let mut at = offset;
    loop {
        match read_now(file, &mut [0], at) {
            // Zero bytes mean a file that is too short, which `sendfile` reports.
            Ok(_) if at >= last => return Cached::Yes(()),
            Ok(_) => at = last.min(at + PROBE_STEP),
            Err(error) => return refusal(error),
        }
    }
}

/// Reads up to one chunk if that needs no waiting. The result is shorter when only its beginning is in memory.
pub(super) fn read_cached(file: &File, offset: u64, left: u64) -> Cached<Bytes> {
    let mut buffer = pool::take(left);
    match read_now(file, buffer.as_mut(), offset) {
        // The end of the file, or nothing there: the blocking read finds out and has the error.
        Ok(0) => Cached::No,
        Ok(count) => Cached::Yes(buffer.freeze(count)),
        Err(error) => refusal(error),
    }
}

/// Reads one chunk and waits for it. Blocking pool only.
pub(super) fn read(file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    read_ahead(file, offset);
    let mut buffer = pool::take(left);
    let length = buffer.as_mut().len();
    file.read_exact_at(buffer.as_mut(), offset).map_err(|error| too_short(error, offset))?;
    Ok(buffer.freeze(length))
}

/// Brings a window into memory and waits for it. Blocking pool only.
pub(super) fn warm(file: &File, offset: u64, length: u64) -> io::Result<()> {
    read_ahead(file, offset);
    let mut buffer = pool::take(length);
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let wanted = buffer.as_mut().len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer.as_mut()[..wanted], at).map_err(|error| too_short(error, at))?;
        at += wanted as u64;
    }
    Ok(())
}

fn read_now(file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT)
}

fn refusal<T>(error: Errno) -> Cached<T> {
    match error {
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL => Cached::Unknown,
        // Would wait, was interrupted, or failed: the blocking read decides.
        _ => Cached::No,
    }
}

fn read_ahead(file: &File, offset: u64) {
    // Advice only: where it is not understood, reading is slower and still right.
    let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(AHEAD), Advice::WillNeed);
}

fn too_short(error: io::Error, offset: u64) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), format!("the file ends before the range that begins at {offset}"));
    }
    error
}
