//! The seam between the content store and a place to keep bytes.

use crate::{Batch, Buffer, Error, Eventually, Names, Result};
use bytes::Bytes;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

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

    /// Continues a large object that [`Writer::suspend`] left, perhaps in another process, at `offset`.
    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>>;

    /// Drops a suspended large object; a missing one is fine.
    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()>;

    /// Checks that the place can be read and, unless read-only, written.
    fn probe(&self) -> Task<'_, ()>;

    /// Leaves nothing behind that the next start would have to repair.
    fn close(&self) -> Task<'_, ()>;
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
pub(crate) fn check_key(key: &str) -> Result<()> {
    let bad = key.is_empty()
        || key.len() > 4000
        || key.contains('\0')
        || key.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.len() > 255);
    if bad {
        return Err(Error::new(crate::ErrorKind::InvalidKey, "check", key, "not a storage key"));
    }
    Ok(())
}
