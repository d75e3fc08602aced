//! Reads: at once when the kernel has everything in memory, else on the blocking pool.

use super::disk::Disk;
use crate::{Error, ErrorKind, Object, ObjectBody, Result, Stat};
use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Links and most manifests fit; they are read without asking for the size first.
const STACK_BYTES: usize = 4096;

/// The answer, or `None` when the device would have to be asked.
pub(super) fn stat_cached(disk: &Disk, key: &str) -> Option<Result<Stat>> {
    match disk.open_cached(key, OFlags::PATH) {
        Ok(file) => Some(stat_of(&file).map_err(wrap("stat", key))),
        Err(error) => cached_error(disk, "stat", key, error).map(Err),
    }
}

pub(super) fn stat(disk: &Disk, key: &str) -> Result<Stat> {
    disk.stat(key)
        .map_err(io::Error::from)
        .and_then(|s| to_stat(&s))
        .map_err(|error| Error::io("stat", key, disk.verify_missing(error)))
}

pub(super) fn get_cached(disk: &Disk, key: &str, max: usize) -> Option<Result<Bytes>> {
    match disk.open_cached(key, OFlags::RDONLY) {
        Ok(file) => content_cached(&file, key, max),
        Err(error) => cached_error(disk, "read", key, error).map(Err),
    }
}

/// An object is replaced, never changed: what was opened stays what it is.
pub(super) fn read_cached(disk: &Disk, key: &str, max: usize) -> Option<Result<(Stat, Bytes)>> {
    let file = match disk.open_cached(key, OFlags::RDONLY) {
        Ok(file) => file,
        Err(error) => return cached_error(disk, "read", key, error).map(Err),
    };
    let content = content_cached(&file, key, max)?;
    Some(content.and_then(|content| Ok((stat_of(&file).map_err(wrap("read", key))?, content))))
}

fn content_cached(file: &OwnedFd, key: &str, max: usize) -> Option<Result<Bytes>> {
    let mut stack = [0; STACK_BYTES];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut stack)], 0, ReadWriteFlags::NOWAIT);
    match read {
        Ok(count) if count < STACK_BYTES => {
            Some(if count > max { Err(too_large(key)) } else { Ok(Bytes::copy_from_slice(&stack[..count])) })
        }
        Ok(_) => {
            let size = rustix::fs::fstat(file).ok().and_then(|stat| usize::try_from(stat.st_size).ok())?;
            if size > max {
                return Some(Err(too_large(key)));
            }
            let mut data = vec![0; size];
            let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut data)], 0, ReadWriteFlags::NOWAIT);
            (read == Ok(size)).then(|| Ok(data.into()))
        }
        // Directories say so here; everything else is asked again on the blocking pool.
        Err(Errno::ISDIR) => Some(Err(Error::io("read", key, Errno::NOENT))),
        Err(_) => None,
    }
}

pub(super) fn get(disk: &Disk, key: &str, max: usize) -> Result<Bytes> {
    Ok(read(disk, key, max)?.1)
}

pub(super) fn read(disk: &Disk, key: &str, max: usize) -> Result<(Stat, Bytes)> {
    let file: File = open_file(disk, key)?.into();
    let stat = stat_of(&file).map_err(wrap("open", key))?;
    let size = usize::try_from(stat.size).ok().filter(|size| *size <= max).ok_or_else(|| too_large(key))?;
    let mut data = vec![0; size];
    file.read_exact_at(&mut data, 0).map_err(wrap("read", key))?;
    Ok((stat, data.into()))
}

pub(super) fn open_cached(disk: &Disk, key: &str) -> Option<Result<Object>> {
    match disk.open_cached(key, OFlags::RDONLY) {
        Ok(file) => Some(to_object(key, file.into())),
        Err(error) => cached_error(disk, "open", key, error).map(Err),
    }
}

pub(super) fn open(disk: &Disk, key: &str) -> Result<Object> {
    to_object(key, open_file(disk, key)?.into())
}

fn open_file(disk: &Disk, key: &str) -> Result<OwnedFd> {
    disk.open_file(key).map_err(|error| Error::io("open", key, disk.verify_missing(error.into())))
}

pub(super) fn stat_of(file: impl AsFd) -> io::Result<Stat> {
    to_stat(&rustix::fs::fstat(file)?)
}

fn to_object(key: &str, file: File) -> Result<Object> {
    let stat = stat_of(&file).map_err(wrap("open", key))?;
    Ok(Object { size: stat.size, body: ObjectBody::File(Arc::new(file)) })
}

fn to_stat(stat: &rustix::fs::Stat) -> io::Result<Stat> {
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let since_epoch = Duration::new(stat.st_mtime.try_into().unwrap_or(0), stat.st_mtime_nsec.try_into().unwrap_or(0));
    let modified = SystemTime::UNIX_EPOCH + since_epoch;
    Ok(Stat { size: stat.st_size.try_into().unwrap_or(0), modified, own: false })
}

fn cached_error(disk: &Disk, operation: &'static str, key: &str, error: Errno) -> Option<Error> {
    match error {
        Errno::NOENT | Errno::NOTDIR => Some(Error::io(operation, key, disk.verify_missing(error.into()))),
        // EAGAIN: not in the cache. ENOSYS, EINVAL, EPERM: an old kernel or a filter without openat2.
        _ => None,
    }
}

fn too_large(key: &str) -> Error {
    Error::new(ErrorKind::TooLarge, "read", key, "larger than expected")
}

fn wrap(operation: &'static str, key: &str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::io(operation, key, error)
}
