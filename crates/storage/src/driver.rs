//! The seam between the content store and a place to keep bytes.

use crate::{Batch, Buffer, Error, Eventually, Names, Result};
use bytes::Bytes;
use futures_util::Stream;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Largest content of a put inside a [`Batch`], in bytes. Larger content goes through a [`Writer`].
pub const INLINE_MAX: usize = 128 * 1024;

/// A boxed future of a driver's answer.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub size: u64,
    /// Last change.
    pub modified: SystemTime,
    /// It says of itself that a driver of ours has written it. Other programs may write to the same place.
    pub own: bool,
}

/// An object, opened for reading.
#[derive(Debug)]
pub struct Object {
    /// Length in bytes.
    pub size: u64,
    /// The content.
    pub body: ObjectBody,
}

/// How the content can be had; each front end takes the cheapest way it knows.
#[derive(Clone, Debug)]
pub enum ObjectBody {
    /// An open file, read by position.
    File(Arc<std::fs::File>),
    /// In memory.
    Bytes(Bytes),
    /// On another machine.
    Remote(Arc<dyn RemoteObject>),
}

/// The bytes of a part of an object, as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// An object on another machine.
pub trait RemoteObject: Send + Sync + std::fmt::Debug {
    /// The bytes of `range`, which is inside of the object. Fetched as fast as the stream is polled; an error ends it.
    fn read(self: Arc<Self>, range: Range<u64>) -> ByteStream;
}

/// One page of the direct children of a prefix.
#[derive(Debug)]
pub struct ListPage {
    /// All names that the driver had at hand, in ASCII order.
    pub names: Arc<Names>,
    /// The part of them that is the page.
    pub range: Range<usize>,
    /// More follow.
    pub more: bool,
    /// Equal stamps of the same prefix mean equal names. `None`: not known.
    pub stamp: Option<u64>,
}

/// Gives out addresses in place of a driver: those of a network that delivers what is stored.
pub trait Addresses: Send + Sync + std::fmt::Debug {
    /// Where whoever has the address may read the object for `life`.
    ///
    /// # Errors
    /// The address cannot be signed.
    fn address(&self, key: &str, life: Duration) -> Result<String>;
}

/// A place to keep bytes.
///
/// Contract, checked by [`crate::testing::conformance`] for every driver:
/// - An acknowledged change survives the loss of power, and is seen by every later call of every process.
/// - An object is seen whole or not at all.
/// - Keys are relative, have no empty, `.` or `..` part, and do not end in `/`.
pub trait Driver: Send + Sync {
    /// Length and time of an object.
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>>;

    /// A whole small object; [`crate::ErrorKind::TooLarge`] above `max` bytes.
    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>>;

    /// [`Driver::get`], and what [`Driver::stat`] says of that same content.
    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>>;

    /// Time of the oldest object below `prefix`; `None`: there is none. Only those count that are as deep as `likely` and
    /// have its last part; it may be one of them. At most `max` are looked at, the first ones in ASCII order.
    fn oldest<'a>(
        &'a self,
        prefix: &'a str,
        likely: &'a str,
        max: usize,
    ) -> Eventually<'a, Result<Option<SystemTime>>> {
        Eventually::pending(oldest_by_lists(self, prefix, likely, max))
    }

    /// Opens an object of any size.
    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>>;

    /// The direct children of `prefix` that sort after `after`, at most `limit`. A missing prefix has no children.
    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>>;

    /// Says that these prefixes will be listed next; a driver that profits from knowing reads them together.
    fn expect_lists(&self, _prefixes: Vec<String>) -> Task<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Carries out small changes; returns when they are durable and visible.
    fn apply(&self, batch: Batch) -> Task<'_, ()>;

    /// Starts a large object. `size_hint` is its length when known.
    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>>;

    /// The same for an object that will be committed under `key` and no other: a driver that cannot move objects writes it
    /// there at once.
    fn writer_at<'a>(&'a self, _key: &'a str, size_hint: Option<u64>) -> Task<'a, Box<dyn Writer>> {
        self.writer(size_hint)
    }

    /// Continues a large object that [`Writer::suspend`] left, perhaps in another process, at `offset`.
    /// [`crate::ErrorKind::NotFound`]: there is none, or the handle is none of this driver's.
    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>>;

    /// Drops a suspended large object; a missing one is fine, and so is a handle that is none of this driver's.
    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()>;

    /// An address under which whoever has it may read the object without credentials for `ttl`; `None`: there is no such
    /// thing. Does not look whether the object is there.
    fn presign<'a>(&'a self, _key: &'a str, _ttl: Duration) -> Task<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }

    /// Each call is a request to a service, which takes its time and may cost money.
    fn is_remote(&self) -> bool {
        false
    }

    /// A list may be that of a moment ago, as some services tell it.
    fn lists_may_lag(&self) -> bool {
        false
    }

    /// So much time a service wants between two writes to one key, if it goes on for long.
    fn writes_apart(&self) -> Duration {
        Duration::ZERO
    }

    /// Other processes may change now what is stored here.
    fn is_shared(&self) -> bool;

    /// Checks that the place can be read and, unless read-only, written.
    fn probe(&self) -> Task<'_, ()>;

    /// Leaves nothing behind that the next start would have to repair.
    fn close(&self) -> Task<'_, ()>;
}

async fn oldest_by_lists<D: Driver + ?Sized>(
    driver: &D,
    prefix: &str,
    likely: &str,
    max: usize,
) -> Result<Option<SystemTime>> {
    let (levels, name) = levels_below(prefix, likely)?;
    let mut folders = vec![prefix.to_owned()];
    for _ in 0..levels {
        let mut next = Vec::new();
        for folder in folders {
            let page = driver.list(&folder, "", max - next.len()).await?;
            let children = page.range.clone().map(|index| page.names.at(index)).filter(|child| child.is_prefix);
            next.extend(children.map(|child| format!("{folder}/{}", child.text)));
        }
        folders = next;
    }
    let mut oldest: Option<SystemTime> = None;
    for folder in folders {
        match driver.stat(&format!("{folder}/{name}")).await {
            Ok(stat) => oldest = Some(oldest.map_or(stat.modified, |oldest| oldest.min(stat.modified))),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(oldest)
}

/// How many prefixes are between `prefix` and the last part of `key`, and that part.
pub(crate) fn levels_below<'a>(prefix: &str, key: &'a str) -> Result<(usize, &'a str)> {
    check_key(prefix)?;
    check_key(key)?;
    let below = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
    let below = below.ok_or_else(|| Error::new(crate::ErrorKind::InvalidKey, "check", key, "not below the prefix"))?;
    let (dirs, name) = below.rsplit_once('/').unwrap_or(("", below));
    Ok((if dirs.is_empty() { 0 } else { dirs.split('/').count() }, name))
}

/// A large object on its way. Dropping it without [`Writer::suspend`] or [`Writer::commit`] discards what was written
/// since the last of them.
pub trait Writer: Send {
    /// Adds a buffer behind the last one. Several buffers may be under way; the first error is kept and returned by
    /// every later call.
    fn append(&mut self, buffer: Arc<Buffer>) -> Task<'_, ()>;

    /// Makes everything durable and returns a handle by which another process can go on.
    fn suspend(&mut self) -> Task<'_, String>;

    /// Makes everything durable and visible under `key`, over what may be there.
    fn commit<'a>(self: Box<Self>, key: &'a str) -> Task<'a, ()>;

    /// Forgets the object.
    fn abort(self: Box<Self>) -> Task<'static, ()>;

    /// Bytes taken so far.
    fn len(&self) -> u64;

    /// Nothing written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks the grammar of keys, so that no driver has to.
///
/// # Errors
/// [`crate::ErrorKind::InvalidKey`].
pub fn check_key(key: &str) -> Result<()> {
    let bad = key.is_empty()
        || key.len() > 4000
        || key.contains('\0')
        || key.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.len() > 255);
    if bad {
        return Err(Error::new(crate::ErrorKind::InvalidKey, "check", key, "not a storage key"));
    }
    Ok(())
}
