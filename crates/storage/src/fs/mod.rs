//! Files in a folder.
//!
//! While a process is alone on the folder its small changes go through a journal whose writers share one sync, and reach
//! the tree before they are acknowledged (see [`journal`]); as soon as there are others, each change is synced by itself
//! (see [`changes`]). Large objects are written to a file of their own, synced, renamed, and the directories synced.
//! Reads that the page cache can answer are done at once, everything else on the blocking pool.

mod changes;
mod condition;
mod disk;
mod journal;
mod list;
mod locks;
mod members;
mod oldest;
mod read;
mod tree;
mod writer;

pub use disk::{DiskEvent, Observer};

use crate::driver::{check_key, levels_below};
use crate::locks::KeyLocks;
use crate::{
    Batch, Driver, Error, ErrorKind, Eventually, INLINE_MAX, ListPage, Object, Op, Result, Stat, Task, Writer,
};
use bytes::Bytes;
use changes::Changes;
use disk::Disk;
use journal::Journal;
use members::Members;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// Long enough that a burst is synced to the tree once, short enough that a replay takes a moment.
const JOURNAL_AGE_MAX: Duration = Duration::from_secs(10);

/// A disk reads several cold directories in the time of one.
const LIST_READERS_MAX: usize = 8;
/// Fewer directories are not worth a thread of their own.
const LISTS_PER_READER: usize = 8;

/// How to open a folder.
pub struct FsOptions {
    /// The folder; created when missing.
    pub root: PathBuf,
    /// Nothing will be written, not even a lock.
    pub read_only: bool,
    /// Under steady load the journal is emptied this often, so that a replay stays short.
    pub journal_age_max: Duration,
    /// How long to wait for what another process is changing; four times as long at the start, to share the folder: the other
    /// one has to empty its journal, which syncs the whole file system.
    pub wait_max: Duration,
    /// Sees every change of the disk; for tests.
    pub observer: Option<Arc<dyn Observer>>,
}

impl FsOptions {
    /// A writable folder.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            read_only: false,
            journal_age_max: JOURNAL_AGE_MAX,
            wait_max: Duration::from_secs(15),
            observer: None,
        }
    }
}

/// The driver.
pub struct FsDriver {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<Disk>,
    listings: list::Listings,
    /// `None`: read only.
    changes: Option<Arc<Changes>>,
    locks: Arc<KeyLocks>,
    read_only: bool,
    is_network: bool,
}

impl FsDriver {
    /// Opens the folder, waits until others share it, and repairs what an unclean stop left. Blocks; call it before serving or on the blocking pool.
    ///
    /// # Errors
    /// The folder cannot be created, opened or (unless `read_only`) written, or another process does not share it.
    pub fn open(options: FsOptions) -> Result<Self> {
        let root = &options.root;
        let name = root.to_string_lossy().into_owned();
        let wrap = |operation| {
            let name = name.clone();
            move |error: std::io::Error| Error::io(operation, &name, error)
        };
        if !options.read_only {
            create_root(root).map_err(wrap("create data folder"))?;
        }
        let disk = Arc::new(Disk::open(root, options.observer).map_err(wrap("open data folder"))?);
        let is_network = disk.is_network();
        let changes = if options.read_only {
            if let Err(error) = journal::warn_of_logs(&disk) {
                tracing::warn!(%error, "cannot tell whether the data folder was closed in order");
            }
            None
        } else {
            check_writable(root).map_err(wrap("write to data folder"))?;
            let repair = |turn: &_, alone| journal::recover(&disk, turn, alone);
            let join_max = options.wait_max * 4;
            let members = Members::join(&disk, join_max, repair).map_err(wrap("join or repair data folder"))?;
            let journal = (!is_network).then(|| Journal::new(Arc::clone(&disk), options.journal_age_max));
            Some(Arc::new(Changes::new(Arc::clone(&disk), members, journal, options.wait_max)))
        };
        let shared = Shared {
            disk,
            listings: list::Listings::new(),
            changes,
            locks: KeyLocks::new(),
            read_only: options.read_only,
            is_network,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn blocking<'a, T: Send + 'static>(
        &'a self,
        key: &'a str,
        work: impl FnOnce(&Shared, &str) -> Result<T> + Send + 'static,
    ) -> Task<'a, T> {
        let (shared, owned) = (Arc::clone(&self.shared), key.to_owned());
        Box::pin(async move {
            tokio::task::spawn_blocking(move || work(&shared, &owned))
                .await
                .unwrap_or_else(|error| Err(Error::io("wait for", key, std::io::Error::other(error))))
        })
    }

    fn writable(&self, key: &str) -> Result<()> {
        if self.shared.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "write", key, "storage was opened read-only"));
        }
        Ok(())
    }
}

/// Creates missing directories, durably: nothing in them is safe before they are.
fn create_root(root: &Path) -> std::io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_root(parent)?;
    match std::fs::create_dir(root) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::File::open(parent)?.sync_all(),
    }
}

fn check_writable(root: &Path) -> std::io::Result<()> {
    rustix::fs::access(root, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(Into::into)
}

impl Driver for FsDriver {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        match check_key(key).err().map(Err).or_else(|| read::stat_cached(&self.shared.disk, key)) {
            Some(answer) => Eventually::ready(answer),
            None => Eventually::Pending(self.blocking(key, |shared, key| read::stat(&shared.disk, key))),
        }
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        match check_key(key).err().map(Err).or_else(|| read::get_cached(&self.shared.disk, key, max)) {
            Some(answer) => Eventually::ready(answer),
            None => Eventually::Pending(self.blocking(key, move |shared, key| read::get(&shared.disk, key, max))),
        }
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        match check_key(key).err().map(Err).or_else(|| read::read_cached(&self.shared.disk, key, max)) {
            Some(answer) => Eventually::ready(answer),
            None => Eventually::Pending(self.blocking(key, move |shared, key| read::read(&shared.disk, key, max))),
        }
    }

    fn oldest<'a>(
        &'a self,
        prefix: &'a str,
        likely: &'a str,
        max: usize,
    ) -> Eventually<'a, Result<Option<SystemTime>>> {
        let (levels, name) = match levels_below(prefix, likely) {
            Ok((levels, name)) => (levels, name.to_owned()),
            Err(error) => return Eventually::ready(Err(error)),
        };
        // Servers of network file systems count links as they like.
        if !self.shared.is_network
            && let Some(only) = oldest::only_cached(&self.shared.disk, prefix, likely)
        {
            return Eventually::ready(Ok(Some(only)));
        }
        let work = move |shared: &Shared, prefix: &str| oldest::oldest(&shared.disk, prefix, levels, &name, max);
        Eventually::Pending(self.blocking(prefix, work))
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        match check_key(key).err().map(Err).or_else(|| read::open_cached(&self.shared.disk, key)) {
            Some(answer) => Eventually::ready(answer),
            None => Eventually::Pending(self.blocking(key, |shared, key| read::open(&shared.disk, key))),
        }
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        if let Err(error) = check_key(prefix) {
            return Eventually::ready(Err(error));
        }
        if let Some(page) = self.shared.listings.cached(&self.shared.disk, prefix, after, limit) {
            return Eventually::ready(Ok(page));
        }
        let after = after.to_owned();
        Eventually::Pending(
            self.blocking(prefix, move |shared, prefix| shared.listings.read(&shared.disk, prefix, &after, limit)),
        )
    }

    fn expect_lists(&self, prefixes: Vec<String>) -> Task<'_, ()> {
        let cold = |prefix: &String| self.shared.listings.cached(&self.shared.disk, prefix, "", 0).is_none();
        let prefixes: Vec<String> = prefixes.into_iter().filter(cold).collect();
        if prefixes.len() < 2 {
            return Box::pin(async { Ok(()) });
        }
        let readers = (prefixes.len() / LISTS_PER_READER).clamp(1, LIST_READERS_MAX);
        let left = Arc::new((prefixes, AtomicUsize::new(0)));
        let readings = (0..readers).map(|_| {
            let left = Arc::clone(&left);
            self.blocking("lists", move |shared, _| {
                let (prefixes, next) = &*left;
                while let Some(prefix) = prefixes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Whatever is wrong with one of them shows when it is listed.
                    drop(shared.listings.read(&shared.disk, prefix, "", 0));
                }
                Ok(())
            })
        });
        let readings: Vec<_> = readings.collect();
        Box::pin(async { futures_util::future::try_join_all(readings).await.map(drop) })
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        Box::pin(async move {
            for op in &batch.ops {
                self.writable(op.key())?;
                check_key(op.key())?;
                if matches!(op, Op::Put { data, .. } if data.len() > INLINE_MAX) {
                    return Err(Error::new(ErrorKind::TooLarge, "put", op.key(), "too large for a batch"));
                }
            }
            let held = self.shared.locks.acquire(&batch.lock_names()).await;
            match &self.shared.changes {
                Some(changes) => changes.apply(batch, held).await,
                None => self.writable("batch"),
            }
        })
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        if let Err(error) = self.writable("upload") {
            return Box::pin(async move { Err(error) });
        }
        let shared = Arc::clone(&self.shared);
        self.blocking("upload", move |_, _| {
            writer::FsWriter::create(&shared, size_hint).map(|writer| Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let mut patience = locks::Patience::of(writer::RESUME_WAIT);
            loop {
                let shared = Arc::clone(&self.shared);
                let attempt = self.blocking(handle, move |_, handle| writer::FsWriter::resume(&shared, handle, offset));
                let resumed = attempt.await;
                let is_taken = matches!(&resumed, Err(error) if error.kind == ErrorKind::Conflict);
                if !is_taken || !patience.allows_another().await {
                    return resumed.map(|writer| Box::new(writer) as Box<dyn Writer>);
                }
            }
        })
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        self.blocking(handle, writer::discard)
    }

    fn is_shared(&self) -> bool {
        self.shared.changes.as_ref().is_none_or(|changes| !changes.is_alone())
    }

    fn probe(&self) -> Task<'_, ()> {
        self.blocking("data folder", |shared, key| {
            shared.disk.check_root().map_err(|error| Error::io("check", key, error))?;
            if shared.read_only {
                return Ok(());
            }
            if let Some(error) = shared.changes.as_ref().and_then(|changes| changes.failure()) {
                return Err(error);
            }
            let temp = shared.disk.temp();
            let written = shared
                .disk
                .make_dirs(disk::TEMP)
                .and_then(|()| shared.disk.write_new(&temp, b"probe"))
                .and_then(|_| shared.disk.remove(&temp));
            written.map_err(|error| Error::io("write to", key, error))
        })
    }

    fn close(&self) -> Task<'_, ()> {
        self.blocking("journal", |shared, _| shared.changes.as_ref().map_or(Ok(()), |changes| changes.close()))
    }
}
