//! Small changes, one after the other.

use crate::children::KEYS_MAX;
use crate::driver::Shared;
use crate::error::{is_collision, is_unsupported, kind_of, wrap};
use crate::read;
use bytes::Bytes;
use futures_util::stream::StreamExt;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMode as StoreMode, PutOptions};
use std::time::{Duration, SystemTime};
use storage::{Batch, Error, ErrorKind, INLINE_MAX, Op, PutMode, Result};

/// How often a conditional write is tried again that met another one.
const COLLISIONS_MAX: u32 = 5;
const COLLISION_PAUSE: Duration = Duration::from_millis(30);

/// Direct children of a tree that wait until everything below them is gone.
const LAST_MAX: usize = 10_000;

/// [`storage::Driver::apply`].
pub(crate) async fn apply(shared: &Shared, batch: Batch) -> Result<()> {
    for op in &batch.ops {
        shared.keys.path(op.key())?;
        if matches!(op, Op::Put { data, .. } if data.len() > INLINE_MAX) {
            return Err(Error::new(ErrorKind::TooLarge, "put", op.key(), "too large for a batch"));
        }
    }
    let _held = shared.locks.acquire(&batch.lock_names()).await;
    let now = SystemTime::now();
    for op in batch.ops {
        match op {
            Op::Put { key, data, mode } => put(shared, &key, data, mode, now).await?,
            Op::Delete { key } => delete(shared, &key).await?,
            Op::DeleteTree { prefix } => delete_tree(shared, &prefix).await?,
            Op::DeleteTreeIf { prefix, key, expected } => {
                if holds(shared, &key, &expected).await? {
                    delete_tree(shared, &prefix).await?;
                }
            }
        }
    }
    Ok(())
}

/// True when the object is there with this content.
async fn holds(shared: &Shared, key: &str, expected: &Bytes) -> Result<bool> {
    match read::read(shared, key, expected.len()).await {
        Ok((_, data)) => Ok(data == *expected),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::TooLarge) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn put(shared: &Shared, key: &str, data: Bytes, mode: PutMode, now: SystemTime) -> Result<()> {
    let path = shared.keys.path(key)?;
    let new = Small { shared, key, path, data, now };
    match mode {
        PutMode::Replace => new.replace().await,
        PutMode::Keep if !shared.conditions => {
            if holds(shared, key, &new.data).await? {
                Ok(())
            } else {
                new.replace().await
            }
        }
        PutMode::Keep => match new.create().await {
            Err(error) if error.kind == ErrorKind::Conflict => {
                if holds(shared, key, &new.data).await? {
                    Ok(())
                } else {
                    new.replace().await
                }
            }
            other => other,
        },
        PutMode::Create if !shared.conditions => match read::stat(shared, key).await {
            Ok(_) => Err(Error::new(ErrorKind::Conflict, "create", key, "the key is taken")),
            Err(error) if error.is_not_found() => new.replace().await,
            Err(error) => Err(error),
        },
        PutMode::Create => match new.create().await {
            Err(error) if error.kind == ErrorKind::Conflict => {
                if new.is_ours().await? {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            other => other,
        },
    }
}

/// A small object to be written.
struct Small<'a> {
    shared: &'a Shared,
    key: &'a str,
    path: Path,
    data: Bytes,
    now: SystemTime,
}

impl Small<'_> {
    async fn send(&self, mode: StoreMode) -> object_store::Result<()> {
        let options = PutOptions { mode, attributes: attributes(self.shared, Some(self.now)), ..PutOptions::default() };
        self.shared.bucket.objects().put_opts(&self.path, self.data.clone().into(), options).await.map(drop)
    }

    async fn replace(&self) -> Result<()> {
        self.send(StoreMode::Overwrite).await.map_err(|error| wrap("put", self.key, &error))
    }

    async fn create(&self) -> Result<()> {
        for attempt in 1..=COLLISIONS_MAX {
            match self.send(StoreMode::Create).await {
                Err(error) if is_collision(&error) => tokio::time::sleep(COLLISION_PAUSE * attempt).await,
                Err(error) => return Err(wrap("create", self.key, &error)),
                Ok(()) => return Ok(()),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "create", self.key, "another write of the key was always under way"))
    }

    /// The library repeats a write whose answer was lost, and then meets its own: the same content of the same moment.
    async fn is_ours(&self) -> Result<bool> {
        match read::read(self.shared, self.key, self.data.len()).await {
            Ok((stat, data)) => Ok(data == self.data && stat.modified == self.now),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::TooLarge) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What goes with every object.
pub(crate) fn attributes(shared: &Shared, time: Option<SystemTime>) -> Attributes {
    let mut attributes = Attributes::new();
    if let Some(class) = shared.bucket.storage_class() {
        attributes.insert(Attribute::StorageClass, class.to_owned().into());
    }
    if let Some(time) = time {
        attributes.insert(Attribute::Metadata(read::TIME.into()), read::encode_time(time).into());
    }
    attributes
}

/// Removes one object; a missing one is fine.
pub(crate) async fn delete(shared: &Shared, key: &str) -> Result<()> {
    let path = shared.keys.path(key)?;
    delete_path(shared, key, &path).await
}

async fn delete_path(shared: &Shared, key: &str, path: &Path) -> Result<()> {
    match shared.bucket.delete(path).await {
        Err(error) if kind_of(&error) != ErrorKind::NotFound => Err(wrap("delete", key, &error)),
        _ => Ok(()),
    }
}

/// Everything below a prefix, deep objects before the direct children: half of a deletion can still be seen and repeated.
async fn delete_tree(shared: &Shared, prefix: &str) -> Result<()> {
    let below = shared.keys.below(prefix)?;
    let mut last: Vec<Path> = Vec::new();
    let mut token = None;
    loop {
        let options =
            PaginatedListOptions { max_keys: Some(KEYS_MAX), page_token: token, ..PaginatedListOptions::default() };
        let page = shared.bucket.lists().list_paginated(Some(&below), options).await;
        let page = page.map_err(|error| wrap("list", prefix, &error))?;
        let mut now = Vec::new();
        for object in page.result.objects {
            let is_child = object.location.as_ref().strip_prefix(&below).is_none_or(|rest| !rest.contains('/'));
            if is_child && last.len() < LAST_MAX { last.push(object.location) } else { now.push(object.location) }
        }
        delete_many(shared, prefix, now).await?;
        token = page.page_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    delete_many(shared, prefix, last).await
}

/// Removes these objects, many at once where the service knows how.
pub(crate) async fn delete_many(shared: &Shared, prefix: &str, paths: Vec<Path>) -> Result<()> {
    if let [path] = &paths[..] {
        return delete_path(shared, prefix, path).await;
    }
    let stream = futures_util::stream::iter(paths.clone().into_iter().map(Ok)).boxed();
    let mut answers = shared.bucket.objects().delete_stream(stream);
    while let Some(answer) = answers.next().await {
        match answer {
            Err(error) if is_unsupported(&error) => return delete_each(shared, prefix, paths).await,
            Err(error) if kind_of(&error) != ErrorKind::NotFound => return Err(wrap("delete", prefix, &error)),
            _ => {}
        }
    }
    Ok(())
}

/// Single deletions under way at once.
const DELETES_MAX: usize = 16;

async fn delete_each(shared: &Shared, prefix: &str, paths: Vec<Path>) -> Result<()> {
    let deletes = paths.into_iter().map(|path| async move { delete_path(shared, prefix, &path).await });
    let mut answers = futures_util::stream::iter(deletes).buffer_unordered(DELETES_MAX);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}
