//! Small changes: step by step, those of one step at once.

use crate::children::{self, KEYS_MAX};
use crate::driver::Shared;
use crate::error::{all_of, failed, is_collision, is_unsupported, kind_of, was_missing, wrap};
use crate::read;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMode as StoreMode, PutOptions};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use storage::{Batch, Error, ErrorKind, INLINE_MAX, Op, PutMode, Result};

/// How often a conditional write is tried again that met another one.
const COLLISIONS_MAX: u32 = 5;
const COLLISION_PAUSE: Duration = Duration::from_millis(30);

/// How often a removal is tried that the service refuses because the object is another by now.
const REFUSALS_MAX: u32 = 3;

/// Changes of one step under way at once.
const AT_ONCE_MAX: usize = 16;

/// Objects of a tree down to this depth wait until everything below is gone.
const LAST_LEVELS: usize = 2;
/// So many of them at most.
const LAST_MAX: usize = 10_000;

/// [`storage::Driver::apply`].
pub(crate) async fn apply(shared: &Arc<Shared>, batch: Batch) -> Result<()> {
    for op in &batch.ops {
        shared.keys.path(op.key())?;
        if matches!(op, Op::Put { data, .. } if data.len() > INLINE_MAX) {
            return Err(Error::new(ErrorKind::TooLarge, "put", op.key(), "too large for a batch"));
        }
    }
    let held = shared.locks.acquire(&batch.lock_names()).await;
    let moment = SystemTime::now();
    let (now, soon) = batch.now_and_soon();
    carry_out(shared, now, moment).await?;
    if soon.is_empty() {
        return Ok(());
    }
    // So many that nobody waits for are enough.
    let Ok(turn) = Arc::clone(&shared.soon).try_acquire_owned() else {
        return carry_out(shared, soon, moment).await;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(error) = carry_out(&shared, soon, moment).await {
            tracing::warn!(%error, cause = %error.source, "what belongs to an acknowledged change was not written");
        }
        drop((held, turn));
    });
    Ok(())
}

/// Step by step.
async fn carry_out(shared: &Shared, steps: Vec<Vec<Op>>, now: SystemTime) -> Result<()> {
    for step in steps {
        let mut answers = stream::iter(step).map(|op| apply_one(shared, op, now)).buffer_unordered(AT_ONCE_MAX);
        let mut failed = Ok(());
        // Also after an error all answers are waited for: a request that is given up may still take effect later, when
        // nothing is locked any more.
        while let Some(answer) = answers.next().await {
            failed = failed.and(answer);
        }
        failed?;
    }
    Ok(())
}

async fn apply_one(shared: &Shared, op: Op, now: SystemTime) -> Result<()> {
    match op {
        Op::Put { key, data, mode } => put(shared, &key, data, mode, now).await,
        Op::Delete { key } => delete(shared, &key).await,
        Op::DeleteTree { prefix } => delete_tree(shared, &prefix, None).await,
        Op::DeleteTreeIf { prefix, key, expected } => delete_tree(shared, &prefix, Some((&key, &expected))).await,
    }
}

/// True when the object is there with this content.
async fn holds(shared: &Shared, key: &str, expected: &Bytes) -> Result<bool> {
    Ok(mark_of(shared, key, expected).await?.is_some())
}

/// What tells the object from one of other content in its place, if the service says that; `None`: it has not this content.
async fn mark_of(shared: &Shared, key: &str, expected: &Bytes) -> Result<Option<Option<String>>> {
    match read::read_latest(shared, key, expected.len()).await {
        Ok(found) => Ok((found.data == *expected).then_some(found.mark)),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::TooLarge) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes one small object.
pub(crate) async fn put(shared: &Shared, key: &str, data: Bytes, mode: PutMode, now: SystemTime) -> Result<()> {
    let path = shared.keys.path(key)?;
    let new = Small { shared, key, path, data, now };
    match mode {
        PutMode::Replace => new.replace().await,
        PutMode::Keep => new.keep().await,
        PutMode::Create if !shared.keeps_conditions().await? => match read::stat(shared, key).await {
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

    /// Content that never differs: what is there stays, unless it is damaged.
    async fn keep(&self) -> Result<()> {
        let (kept, conditions) = (&self.shared.kept, self.shared.keeps_conditions().await?);
        if (!conditions || kept.is_likely(self.key)) && self.is_there().await? {
            return Ok(());
        }
        let created = if conditions { self.create().await } else { self.replace().await };
        match created {
            Err(error) if conditions && error.kind == ErrorKind::Conflict => {
                if !self.is_there().await? {
                    self.replace().await?;
                }
            }
            other => other?,
        }
        kept.note(self.key);
        Ok(())
    }

    async fn is_there(&self) -> Result<bool> {
        holds(self.shared, self.key, &self.data).await
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
        match read::read_latest(self.shared, self.key, self.data.len()).await {
            Ok(found) => Ok(found.data == self.data && found.stat.modified == self.now),
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

/// The object of this name, or everything below it, deep objects first: what a tree is known by is near its top, so half of a
/// deletion can still be seen and repeated. With `only`, while that object has that content: looked at right before the first
/// is removed, and again before that object itself is, if it is one of them; it goes last.
async fn delete_tree(shared: &Shared, prefix: &str, only: Option<(&str, &Bytes)>) -> Result<()> {
    let below = shared.keys.below(prefix)?;
    let is_part = |key: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let condition = match only.filter(|(key, _)| is_part(key)) {
        Some((key, expected)) => Some((key, shared.keys.path(key)?, expected)),
        None => None,
    };
    let mut last: Vec<(usize, Path)> = Vec::new();
    let (mut token, mut is_empty, mut unseen) = (None, true, only);
    loop {
        let options =
            PaginatedListOptions { max_keys: Some(KEYS_MAX), page_token: token, ..PaginatedListOptions::default() };
        let page = children::page(shared.bucket.lists(), Some(&below), options).await;
        let page = page.map_err(|error| wrap("list", prefix, &error))?;
        let mut now = Vec::new();
        for object in page.result.objects {
            is_empty = false;
            if condition.as_ref().is_some_and(|(_, path, _)| *path == object.location) {
                continue;
            }
            let depth = object.location.as_ref().strip_prefix(&below).map_or(0, |rest| rest.matches('/').count());
            if depth < LAST_LEVELS && last.len() < LAST_MAX {
                last.push((depth, object.location));
            } else {
                now.push(object.location);
            }
        }
        token = page.page_token;
        if (!now.is_empty() || token.is_none())
            && let Some((key, expected)) = unseen.take()
            && !holds(shared, key, expected).await?
        {
            return Ok(());
        }
        delete_many(shared, prefix, now).await?;
        if token.is_none() {
            break;
        }
    }
    for level in (0..LAST_LEVELS).rev() {
        let of_level = last.extract_if(.., |(depth, _)| *depth == level).map(|(_, path)| path).collect();
        delete_many(shared, prefix, of_level).await?;
    }
    match condition {
        Some((key, path, expected)) => delete_if(shared, key, &path, expected).await,
        None if is_empty => delete(shared, prefix).await,
        None => Ok(()),
    }
}

/// Removes an object while it has this content. The service checks that with the removal, where it can.
async fn delete_if(shared: &Shared, key: &str, path: &Path, expected: &Bytes) -> Result<()> {
    let mut refusal = None;
    for _ in 0..REFUSALS_MAX {
        let Some(mark) = mark_of(shared, key, expected).await? else { return Ok(()) };
        // Where that is not known, the service says so itself.
        let keeps = shared.conditions.get().is_none_or(|keeps| *keeps);
        let Some(mark) = mark.filter(|_| keeps) else {
            return delete_path(shared, key, path).await;
        };
        match shared.bucket.delete_same(path, &mark).await {
            // Somebody has written it since, perhaps the same again, or does so now.
            Err(error) if kind_of(&error) == ErrorKind::Conflict || is_collision(&error) => refusal = Some(error),
            Err(error) if kind_of(&error) == ErrorKind::NotFound => return Ok(()),
            Err(error) if is_unsupported(&error) => return delete_path(shared, key, path).await,
            other => return other.map_err(|error| wrap("delete", key, &error)),
        }
    }
    let text = refusal.map(|error| all_of(&error)).unwrap_or_default();
    Err(failed("delete", key, ErrorKind::Unavailable, &text))
}

/// Removes these objects, many at once where the service knows how.
pub(crate) async fn delete_many(shared: &Shared, prefix: &str, paths: Vec<Path>) -> Result<()> {
    if let [path] = &paths[..] {
        return delete_path(shared, prefix, path).await;
    }
    let stream = stream::iter(paths.clone().into_iter().map(Ok)).boxed();
    let mut answers = shared.bucket.objects().delete_stream(stream);
    let (mut failed, mut unsupported) = (Ok(()), false);
    // Also after an error all answers are waited for, as in [`apply`].
    while let Some(answer) = answers.next().await {
        match answer {
            Err(error) if is_unsupported(&error) => unsupported = true,
            Err(error) if kind_of(&error) != ErrorKind::NotFound && !was_missing(&error) => {
                failed = failed.and(Err(wrap("delete", prefix, &error)));
            }
            _ => {}
        }
    }
    drop(answers);
    if unsupported { delete_each(shared, prefix, paths).await } else { failed }
}

/// Single deletions under way at once.
const DELETES_MAX: usize = 16;

async fn delete_each(shared: &Shared, prefix: &str, paths: Vec<Path>) -> Result<()> {
    let deletes = paths.into_iter().map(|path| async move { delete_path(shared, prefix, &path).await });
    let mut answers = stream::iter(deletes).buffer_unordered(DELETES_MAX);
    let mut failed = Ok(());
    while let Some(answer) = answers.next().await {
        failed = failed.and(answer);
    }
    failed
}
