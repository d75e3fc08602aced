//! The system calls of the file system driver, in one place, with an observer for the power-cut test.

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Temporary names live here; what a dead process left is removed at the next start.
pub(super) const TEMP: &str = "homeport/v1/tmp";

/// Directories may be removed or replaced by somebody else while we work below them; more than a few times in a row they are
/// not.
pub(super) const TRIES: usize = 4;

/// What was done to the disk, in the order in which it was done. Paths are relative to the root.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants are the names of the system calls")]
pub enum DiskEvent {
    MakeDir { path: String },
    Write { path: String, offset: u64, data: Vec<u8> },
    Truncate { path: String, len: u64 },
    SetModified { path: String, time: SystemTime },
    Rename { from: String, to: String },
    Remove { path: String },
    RemoveDir { path: String },
    SyncFile { path: String, before: usize },
    SyncDir { path: String, before: usize },
    SyncAll { before: usize },
}

/// Sees every change. `before` of a sync is the number of events recorded when the sync began: only those are covered.
pub trait Observer: Send + Sync {
    /// Number of events so far.
    fn position(&self) -> usize;
    /// One more.
    fn record(&self, event: DiskEvent);
}

/// A folder, held open: if it is replaced or unmounted, we notice instead of writing to whatever is below.
pub(super) struct Disk {
    root: OwnedFd,
    path: PathBuf,
    observer: Option<Arc<dyn Observer>>,
    temp_prefix: String,
    temp_next: AtomicU64,
    /// Answers to setting the time of a file, as a file system that is mounted as another user does.
    #[cfg(test)]
    pub(super) refused_times: std::sync::Mutex<Option<Errno>>,
}

impl Disk {
    pub(super) fn open(path: &Path, observer: Option<Arc<dyn Observer>>) -> io::Result<Self> {
        let root = sys::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let temp_prefix = format!("{TEMP}/{}", uuid::Uuid::new_v4().simple());
        Ok(Self {
            root,
            path: path.to_owned(),
            observer,
            temp_prefix,
            temp_next: AtomicU64::new(0),
            #[cfg(test)]
            refused_times: std::sync::Mutex::default(),
        })
    }

    /// A name that nobody else uses.
    pub(super) fn temp(&self) -> String {
        format!("{}.{}", self.temp_prefix, self.temp_next.fetch_add(1, Ordering::Relaxed))
    }

    /// The folder is still the one at its path.
    pub(super) fn check_root(&self) -> io::Result<()> {
        let held = sys::fstat(&self.root)?;
        let found = sys::stat(&self.path)?;
        if held.st_nlink == 0 || (held.st_dev, held.st_ino) != (found.st_dev, found.st_ino) {
            return Err(io::Error::other("the data folder was removed, replaced or unmounted; restart homeport"));
        }
        Ok(())
    }

    /// A missing file is only missing while the folder itself is there.
    pub(super) fn verify_missing(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::NotFound && sys::fstat(&self.root).is_ok_and(|stat| stat.st_nlink == 0) {
            return io::Error::other("the data folder was removed");
        }
        error
    }

    pub(super) fn is_network(&self) -> bool {
        // linux/magic.h: NFS, SMB, SMB2, CIFS, FUSE, CephFS, 9p, AFS.
        const NETWORK: [u32; 8] =
            [0x6969, 0x517b, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x00c3_6400, 0x0102_1997, 0x5346_414f];
        sys::fstatfs(&self.root).is_ok_and(|stat| NETWORK.iter().any(|magic| i64::from(*magic) == stat.f_type))
    }

    pub(super) fn open_file(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        sys::openat(&self.root, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
    }

    /// Opens without touching the device: `EAGAIN` when the path is not in the kernel's cache.
    pub(super) fn open_cached(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.open_cached_in(&self.root, path, flags)
    }

    /// The same below a directory that is open.
    pub(super) fn open_cached_in(&self, dir: &OwnedFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        // openat2 refuses flags that mean nothing together with O_PATH.
        let flags = flags | OFlags::CLOEXEC;
        sys::openat2(dir, path, flags, Mode::empty(), ResolveFlags::CACHED)
    }

    pub(super) fn stat(&self, path: &str) -> rustix::io::Result<sys::Stat> {
        sys::statat(&self.root, path, AtFlags::empty())
    }

    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        match self.stat(path) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn open_dir(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        sys::openat(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    pub(super) fn make_dir(&self, path: &str) -> io::Result<()> {
        sys::mkdirat(&self.root, path, Mode::from_raw_mode(0o777))?;
        self.record(|| DiskEvent::MakeDir { path: path.to_owned() });
        Ok(())
    }

    /// Makes the directory and all above it.
    pub(super) fn make_dirs(&self, path: &str) -> io::Result<()> {
        retry_missing(|| self.make_missing_dirs(path))
    }

    fn make_missing_dirs(&self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.stat(path).is_ok() {
            return Ok(());
        }
        self.make_missing_dirs(parent(path))?;
        match self.make_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    pub(super) fn create(&self, path: &str, extra: OFlags) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | extra;
        let file = sys::openat(&self.root, path, flags, Mode::from_raw_mode(0o666))?;
        self.record(|| DiskEvent::Write { path: path.to_owned(), offset: 0, data: Vec::new() });
        Ok(file.into())
    }

    pub(super) fn open_writable(&self, path: &str, extra: OFlags) -> io::Result<File> {
        Ok(sys::openat(&self.root, path, OFlags::RDWR | OFlags::CLOEXEC | extra, Mode::empty())?.into())
    }

    pub(super) fn write_new(&self, path: &str, data: &[u8]) -> io::Result<File> {
        let file = self.create(path, OFlags::empty())?;
        if let Err(error) = self.write_at(&file, path, 0, data) {
            // On a full disk, what is left of many tries adds up.
            drop(self.remove(path));
            return Err(error);
        }
        Ok(file)
    }

    pub(super) fn write_at(&self, file: &File, path: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        file.write_all_at(data, offset)?;
        self.record(|| DiskEvent::Write { path: path.to_owned(), offset, data: data.to_vec() });
        Ok(())
    }

    pub(super) fn truncate(&self, file: &File, path: &str, len: u64) -> io::Result<()> {
        file.set_len(len)?;
        self.record(|| DiskEvent::Truncate { path: path.to_owned(), len });
        Ok(())
    }

    pub(super) fn set_modified(&self, file: &File, path: &str, time: SystemTime) -> io::Result<()> {
        #[cfg(test)]
        if let Some(error) = self.refused_times.lock().ok().and_then(|error| *error) {
            return Err(error.into());
        }
        file.set_modified(time)?;
        self.record(|| DiskEvent::SetModified { path: path.to_owned(), time });
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        sys::renameat(&self.root, from, &self.root, to)?;
        self.record(|| DiskEvent::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    /// The same, but not over what is there already.
    pub(super) fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        match sys::renameat_with(&self.root, from, &self.root, to, sys::RenameFlags::NOREPLACE) {
            // Network file systems know no such flag.
            Err(Errno::INVAL | Errno::NOSYS) => match self.link_new(from, to) {
                // Some of those in user space know no links either.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => self.move_new(from, to)?,
                other => other?,
            },
            other => other?,
        }
        self.record(|| DiskEvent::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    /// A link never goes over anything.
    fn link_new(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        sys::linkat(&self.root, from, &self.root, to, AtFlags::empty())?;
        sys::unlinkat(&self.root, from, AtFlags::empty())
    }

    /// Two that do this at once may both believe to be the first: locks by name keep them apart.
    fn move_new(&self, from: &str, to: &str) -> rustix::io::Result<()> {
        match sys::statat(&self.root, to, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => sys::renameat(&self.root, from, &self.root, to),
            Ok(_) => Err(Errno::EXIST),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        sys::unlinkat(&self.root, path, AtFlags::empty())?;
        self.record(|| DiskEvent::Remove { path: path.to_owned() });
        Ok(())
    }

    pub(super) fn remove_dir(&self, path: &str) -> io::Result<()> {
        sys::unlinkat(&self.root, path, AtFlags::REMOVEDIR)?;
        self.record(|| DiskEvent::RemoveDir { path: path.to_owned() });
        Ok(())
    }

    /// Removes a tree that nobody else sees any more.
    pub(super) fn remove_tree(&self, path: &str) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in sys::Dir::read_from(self.open_dir(path)?)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                entries.push((name, entry.file_type()));
            }
        }
        for (name, kind) in entries {
            let child = format!("{path}/{name}");
            let is_dir = match kind {
                sys::FileType::Directory => true,
                sys::FileType::Unknown => sys::FileType::from_raw_mode(self.stat(&child)?.st_mode).is_dir(),
                _ => false,
            };
            if is_dir { self.remove_tree(&child)? } else { self.remove(&child)? }
        }
        self.remove_dir(path)
    }

    pub(super) fn sync_file(&self, file: &File, path: &str) -> io::Result<()> {
        let before = self.position();
        file.sync_data()?;
        self.record(|| DiskEvent::SyncFile { path: path.to_owned(), before });
        Ok(())
    }

    /// Syncs a directory and all above it: a name is only safe when the names that lead to it are.
    pub(super) fn sync_dirs(&self, path: &str) -> io::Result<()> {
        let mut path = path;
        loop {
            let before = self.position();
            match self.open_dir(path) {
                Ok(dir) => {
                    sys::fsync(dir)?;
                    self.record(|| DiskEvent::SyncDir { path: path.to_owned(), before });
                }
                // Another process has removed it since; what was in it went first.
                Err(Errno::NOENT | Errno::NOTDIR) if !path.is_empty() => {}
                Err(error) => return Err(error.into()),
            }
            if path.is_empty() {
                return Ok(());
            }
            path = parent(path);
        }
    }

    pub(super) fn sync_all(&self) -> io::Result<()> {
        let before = self.position();
        sys::syncfs(self.root.as_fd())?;
        self.record(|| DiskEvent::SyncAll { before });
        Ok(())
    }

    fn position(&self) -> usize {
        self.observer.as_ref().map_or(0, |observer| observer.position())
    }

    fn record(&self, event: impl FnOnce() -> DiskEvent) {
        if let Some(observer) = &self.observer {
            observer.record(event());
        }
    }
}

/// Does again what finds a directory gone that was there a moment before: somebody has removed it, or has moved a full one
/// over it while it was empty.
pub(super) fn retry_missing<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    work()
}

/// The part before the last slash; empty at the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each way to give a file its name leaves alone what has that name.
    #[test]
    fn a_new_name_never_goes_over_another() {
        type Way = fn(&Disk, &str, &str) -> io::Result<()>;
        let ways: [Way; 3] = [
            Disk::rename_new,
            |disk, from, to| Ok(disk.link_new(from, to)?),
            |disk, from, to| Ok(disk.move_new(from, to)?),
        ];
        for way in ways {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            let disk = Disk::open(folder.path(), None).unwrap();
            std::fs::write(path("a"), "a").unwrap();
            std::fs::write(path("b"), "b").unwrap();
            std::fs::create_dir(path("dir")).unwrap();
            std::os::unix::fs::symlink("nowhere", path("link")).unwrap();
            for taken in ["b", "dir", "link"] {
                assert_eq!(way(&disk, "a", taken).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{taken}");
            }
            assert_eq!(std::fs::read_to_string(path("b")).unwrap(), "b");
            way(&disk, "a", "dir/new").unwrap();
            assert_eq!(std::fs::read_to_string(path("dir/new")).unwrap(), "a");
            assert!(!path("a").exists());
        }
    }
}
