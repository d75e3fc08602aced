//! Directory listings, kept while the directory's own time stamp proves them current.

use super::disk::Disk;
use crate::{Error, ListPage, Names, NamesBuilder, Result};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustix::fs::{self as sys, FileType, OFlags};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

/// Memory for listings, in bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// Kernels before 6.13 stamp directories with a clock that ticks every 1 to 10 ms. A listing read within two ticks of
/// the last change may miss a change of the same tick, so it is not kept.
const RACY_NANOS: i128 = 20_000_000;

pub(super) struct Listings {
    cache: Cache<Box<str>, Listing, Weight>,
}

#[derive(Clone)]
struct Listing {
    /// Of the directory when it was read.
    time: u64,
    stamp: u64,
    names: Arc<Names>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Listing> for Weight {
    fn weight(&self, key: &Box<str>, value: &Listing) -> u64 {
        (key.len() + value.names.weight() + 64) as u64
    }
}

impl Listings {
    pub(super) fn new() -> Self {
        Self { cache: Cache::with_weighter(1024, CACHE_BYTES, Weight) }
    }

    /// The page, when memory has it and the kernel proves it current without asking the device.
    pub(super) fn cached(&self, disk: &Disk, prefix: &str, after: &str, limit: usize) -> Option<ListPage> {
        let listing = self.cache.get(prefix);
        let dir = match disk.open_cached(prefix, OFlags::PATH) {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOENT) if is_missing(disk) => return Some(page(Arc::default(), after, limit, None)),
            Err(_) => return None,
        };
        let listing = listing?;
        let time = time(&sys::fstat(&dir).ok()?);
        (listing.time == time).then(|| page(listing.names, after, limit, Some(listing.stamp)))
    }

    pub(super) fn read(&self, disk: &Disk, prefix: &str, after: &str, limit: usize) -> Result<ListPage> {
        let dir = match disk.open_dir(prefix) {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                if is_missing(disk) {
                    return Ok(page(Arc::default(), after, limit, None));
                }
                return Err(Error::io("list", prefix, std::io::Error::other("the data folder was removed")));
            }
            Err(error) => return Err(Error::io("list", prefix, error)),
        };
        let before = sys::fstat(&dir).map_err(|error| Error::io("list", prefix, error))?;
        let names = Arc::new(read_names(disk, prefix, &dir).map_err(|error| Error::io("list", prefix, error))?);
        let stamp = stamp(&names);
        if !is_racy(&before) {
            let listing = Listing { time: time(&before), stamp, names: Arc::clone(&names) };
            self.cache.insert(prefix.into(), listing);
        }
        Ok(page(names, after, limit, Some(stamp)))
    }
}

/// What is not there is only missing while the folder itself is.
fn is_missing(disk: &Disk) -> bool {
    disk.verify_missing(std::io::ErrorKind::NotFound.into()).kind() == std::io::ErrorKind::NotFound
}

pub(super) fn read_names(disk: &Disk, prefix: &str, dir: &std::os::fd::OwnedFd) -> std::io::Result<Names> {
    let mut builder = NamesBuilder::default();
    for entry in sys::Dir::read_from(dir)? {
        let entry = entry?;
        // A name that is not UTF-8 is nothing that a registry wrote.
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown | FileType::Symlink => match disk.stat(&format!("{prefix}/{name}")) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        // Temporary files of distribution look like `link.<uuid>.tmp`.
        let is_stray = !kind.is_dir() && std::path::Path::new(name).extension().is_some_and(|ext| ext == "tmp");
        if !is_stray {
            builder.push(name, kind.is_dir());
        }
    }
    Ok(builder.build())
}

fn page(names: Arc<Names>, after: &str, limit: usize, stamp: Option<u64>) -> ListPage {
    let start = if after.is_empty() { 0 } else { names.after(after) };
    let end = start.saturating_add(limit).min(names.len());
    ListPage { more: end < names.len(), range: start..end, names, stamp }
}

/// Which directory it is, and when it was changed last.
fn time(stat: &sys::Stat) -> u64 {
    hash(&(stat.st_dev, stat.st_ino, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec))
}

/// Of what is in the list, not of when: the same for all processes, and before and after the list is kept.
fn stamp(names: &Names) -> u64 {
    hash(names)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn is_racy(stat: &sys::Stat) -> bool {
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos().cast_signed());
    let changed = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    now - changed < RACY_NANOS
}
