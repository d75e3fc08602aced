//! Large objects on files: written beside the page cache where the file system can, synced, renamed into place.

use super::Shared;
use super::disk::{Disk, parent, retry_missing};
use crate::{Buffer, Error, ErrorKind, Result, Task, Writer};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Where unfinished objects are.
pub(super) const UPLOADS: &str = "homeport/v1/uploads";

/// Buffers of one writer under way to the disk: one being written, one waiting.
const IN_FLIGHT_MAX: usize = 2;

/// Block size that direct I/O needs; 4096 fits every disk in use.
const BLOCK: u64 = 4096;

/// Most that is reserved on the word of a client, in bytes; beyond it a full disk shows while writing.
const RESERVE_MAX: u64 = 1 << 30;

/// A writer that was dropped holds its file until its last buffer is out, which a busy disk may take some time for.
pub(super) const RESUME_WAIT: Duration = Duration::from_secs(5);

pub(super) struct FsWriter {
    shared: Arc<Shared>,
    files: Arc<Files>,
    written: u64,
    in_flight: VecDeque<JoinHandle<io::Result<()>>>,
    /// The first error; nothing is believed after it.
    failed: Option<Error>,
    /// A session record may name the file.
    keep: bool,
}

struct Files {
    path: String,
    buffered: File,
    /// The same file past the page cache, when the file system offers that.
    direct: Option<File>,
}

impl FsWriter {
    pub(super) fn create(shared: &Arc<Shared>, size_hint: Option<u64>) -> Result<Self> {
        let path = format!("{UPLOADS}/{}.data", uuid::Uuid::new_v4());
        let wrap = |error| Error::io("create", &path, error);
        let disk = &shared.disk;
        let buffered = match disk.create(&path, OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.make_dirs(UPLOADS).and_then(|()| disk.create(&path, OFlags::empty())).map_err(wrap)?
            }
            other => other.map_err(wrap)?,
        };
        let writer = Self::new(shared, path.clone(), buffered, 0, false)?;
        if let Some(size) = size_hint.filter(|size| *size > 0).map(|size| size.min(RESERVE_MAX)) {
            // Not every file system can reserve; then a full disk shows while writing.
            let reserved = rustix::fs::fallocate(&writer.files.buffered, FallocateFlags::KEEP_SIZE, 0, size);
            if let Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG)) =
                reserved
            {
                return Err(Error::io("reserve space for", &path, error));
            }
        }
        Ok(writer)
    }

    /// [`ErrorKind::Conflict`]: another writer has the file.
    pub(super) fn resume(shared: &Arc<Shared>, handle: &str, offset: u64) -> Result<Self> {
        check_handle(handle)?;
        let wrap = |error| Error::io("resume", handle, error);
        let buffered = shared.disk.open_writable(handle, OFlags::empty()).map_err(wrap)?;
        let writer = Self::new(shared, handle.to_owned(), buffered, offset, true)?;
        // Before it was locked it may have been committed; then it is somebody's object.
        let (held, named) = (rustix::fs::fstat(&writer.files.buffered), shared.disk.stat(handle));
        let (held, named) = (held.map_err(|e| wrap(e.into()))?, named.map_err(|e| wrap(e.into()))?);
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) {
            return Err(wrap(io::ErrorKind::NotFound.into()));
        }
        let len = writer.files.buffered.metadata().map_err(wrap)?.len();
        if len < offset {
            return Err(Error::new(
                ErrorKind::NotFound,
                "resume",
                handle,
                "the file is shorter than what was received",
            ));
        }
        // What is there beyond the offset goes when more is written: whoever only looks takes nothing away.
        Ok(writer)
    }

    fn new(shared: &Arc<Shared>, path: String, buffered: File, written: u64, keep: bool) -> Result<Self> {
        // One writer at a time, in this and in every other process.
        let locked = rustix::fs::flock(&buffered, FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                Error::new(ErrorKind::Conflict, "lock", &path, "another request is writing this upload")
            }
            other => Error::io("lock", &path, other),
        })?;
        let direct =
            if written.is_multiple_of(BLOCK) { shared.disk.open_writable(&path, OFlags::DIRECT).ok() } else { None };
        let files = Arc::new(Files { path, buffered, direct });
        Ok(Self { shared: Arc::clone(shared), files, written, in_flight: VecDeque::new(), failed: None, keep })
    }

    async fn wait_for(&mut self, in_flight_max: usize) -> Result<()> {
        while self.in_flight.len() > in_flight_max {
            let Some(job) = self.in_flight.pop_front() else { break };
            let result = job.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = result {
                self.failed.get_or_insert(Error::io("write", &self.files.path, error));
            }
        }
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.duplicate()))
    }

    async fn flush(&mut self) -> Result<()> {
        self.wait_for(0).await?;
        let (files, shared, written) = (Arc::clone(&self.files), Arc::clone(&self.shared), self.written);
        let result = blocking(move || {
            // Gives back what was reserved beyond the end, too.
            shared.disk.truncate(&files.buffered, &files.path, written)?;
            shared.disk.sync_file(&files.buffered, &files.path)
        })
        .await;
        result.map_err(|error| {
            // After a failed sync the kernel may have dropped the data: nothing of it may be believed again.
            let error = Error::io("sync", &self.files.path, error);
            self.failed = Some(error.duplicate());
            error
        })
    }
}

impl Writer for FsWriter {
    fn append(&mut self, buffer: Arc<Buffer>) -> Task<'_, ()> {
        Box::pin(async move {
            self.wait_for(IN_FLIGHT_MAX - 1).await?;
            let offset = self.written;
            self.written += buffer.len() as u64;
            let (files, shared) = (Arc::clone(&self.files), Arc::clone(&self.shared));
            self.in_flight.push_back(tokio::task::spawn_blocking(move || {
                let aligned = offset.is_multiple_of(BLOCK) && (buffer.len() as u64).is_multiple_of(BLOCK);
                if let Some(direct) = files.direct.as_ref().filter(|_| aligned) {
                    match shared.disk.write_at(direct, &files.path, offset, &buffer) {
                        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                        other => return other,
                    }
                }
                shared.disk.write_at(&files.buffered, &files.path, offset, &buffer)
            }));
            Ok(())
        })
    }

    fn suspend(&mut self) -> Task<'_, String> {
        Box::pin(async move {
            self.flush().await?;
            let (files, shared) = (Arc::clone(&self.files), Arc::clone(&self.shared));
            let held = rustix::fs::fstat(&files.buffered).map_err(|error| Error::io("look at", &files.path, error))?;
            if held.st_nlink == 0 {
                return Err(Error::new(ErrorKind::NotFound, "suspend", &files.path, "the upload was ended meanwhile"));
            }
            if !self.keep {
                blocking(move || shared.disk.sync_dirs(parent(&files.path)))
                    .await
                    .map_err(|error| Error::io("sync", UPLOADS, error))?;
                self.keep = true;
            }
            Ok(self.files.path.clone())
        })
    }

    fn commit<'a>(mut self: Box<Self>, key: &'a str) -> Task<'a, ()> {
        Box::pin(async move {
            self.flush().await?;
            let (files, shared, key_owned) = (Arc::clone(&self.files), Arc::clone(&self.shared), key.to_owned());
            tokio::task::spawn_blocking(move || publish(&shared, &files.path, &key_owned))
                .await
                .unwrap_or_else(|error| Err(Error::io("publish", key, io::Error::other(error))))?;
            // The name is gone, there is nothing to clean up.
            self.keep = true;
            Ok(())
        })
    }

    fn abort(mut self: Box<Self>) -> Task<'static, ()> {
        Box::pin(async move {
            // Whatever happens to the data is of no interest, only that nobody writes any more.
            drop(self.wait_for(0).await);
            self.keep = false;
            Ok(())
        })
    }

    fn len(&self) -> u64 {
        self.written
    }
}

impl Drop for FsWriter {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // Freeing many blocks takes its time.
        let (shared, files) = (Arc::clone(&self.shared), Arc::clone(&self.files));
        let remove = move || drop(shared.disk.remove(&files.path));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn publish(shared: &Shared, from: &str, key: &str) -> Result<()> {
    let forget_deletes = || shared.changes.as_ref().map_or(Ok(()), |changes| changes.forget_deletes(key));
    // Before, so that nobody sees what could be lost; and after, for what came between.
    forget_deletes()?;
    move_in_place(&shared.disk, from, key)
        .map_err(|error| Error::io("publish", key, shared.disk.verify_missing(error)))?;
    forget_deletes()
}

fn move_in_place(disk: &Disk, from: &str, key: &str) -> io::Result<()> {
    retry_missing(|| {
        disk.make_dirs(parent(key))?;
        // Over what may be there: it has the same content, or is damaged.
        disk.rename(from, key)
    })?;
    disk.sync_dirs(parent(key))
}

pub(super) fn discard(shared: &Shared, handle: &str) -> Result<()> {
    if check_handle(handle).is_err() {
        return Ok(());
    }
    match shared.disk.remove(handle) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("discard", handle, error)),
        _ => Ok(()),
    }
}

/// Handles come from session records; a damaged one must not name anything else.
fn check_handle(handle: &str) -> Result<()> {
    let name = handle.strip_prefix(UPLOADS).and_then(|rest| rest.strip_prefix('/'));
    let name = name.and_then(|name| name.strip_suffix(".data")).unwrap_or_default();
    if uuid::Uuid::try_parse(name).is_ok() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, "resume", handle, "not an upload of this driver"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FsDriver, FsOptions};
    use crate::{BufferPool, Driver};

    #[tokio::test]
    async fn an_upload_goes_on_when_the_one_before_lets_go_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let driver = FsDriver::open(FsOptions::new(folder.path())).unwrap();
        let mut writer = driver.writer(None).await.unwrap();
        let mut buffer = BufferPool::new(1).take();
        buffer.fill(b"abc");
        writer.append(Arc::new(buffer)).await.unwrap();
        let handle = writer.suspend().await.unwrap();
        let late = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            drop(writer);
        };
        let (resumed, ()) = tokio::join!(driver.resume(&handle, 3), late);
        assert_eq!(resumed.unwrap().len(), 3);
    }
}
