//! A driver that keeps everything in memory, for tests of the layers above.

use crate::driver::check_key;
use crate::{
    Batch, Buffer, Driver, Error, ErrorKind, Eventually, INLINE_MAX, ListPage, NamesBuilder, Object, ObjectBody, Op,
    PutMode, Result, Stat, Task, Writer,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

type Objects = BTreeMap<String, (Bytes, SystemTime)>;

/// The driver; clones share the content, as two processes share a folder.
#[derive(Clone, Default)]
pub struct MemoryDriver {
    objects: Arc<Mutex<Objects>>,
    remote: bool,
}

impl MemoryDriver {
    /// One that says that each call is a request to a service.
    #[must_use]
    pub fn remote() -> Self {
        Self { remote: true, ..Self::default() }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Result<(Bytes, SystemTime)> {
        check_key(key)?;
        let missing = || Error::new(ErrorKind::NotFound, "get", key, "no such key");
        self.objects().get(key).cloned().ok_or_else(missing)
    }

    fn small(&self, key: &str, max: usize) -> Result<(Bytes, SystemTime)> {
        let found = self.find(key)?;
        let too_large = found.0.len() > max;
        if too_large { Err(Error::new(ErrorKind::TooLarge, "get", key, "larger than expected")) } else { Ok(found) }
    }

    /// All keys, for assertions.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }
}

impl Driver for MemoryDriver {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        Eventually::ready(self.find(key).map(|(data, modified)| Stat { size: data.len() as u64, modified, own: true }))
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        Eventually::ready(self.small(key, max).map(|(data, _)| data))
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        let with_stat = |(data, modified): (Bytes, _)| (Stat { size: data.len() as u64, modified, own: true }, data);
        Eventually::ready(self.small(key, max).map(with_stat))
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        let object = |(data, _): (Bytes, _)| Object { size: data.len() as u64, body: ObjectBody::Bytes(data) };
        Eventually::ready(self.find(key).map(object))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        let mut children = BTreeMap::new();
        let start = format!("{prefix}/");
        for key in self.objects().keys().filter_map(|key| key.strip_prefix(&start)) {
            match key.split_once('/') {
                Some((child, _)) => children.insert(child.to_owned(), true),
                None => children.insert(key.to_owned(), false),
            };
        }
        let mut builder = NamesBuilder::default();
        for (name, is_prefix) in &children {
            builder.push(name, *is_prefix);
        }
        let names = Arc::new(builder.build());
        let first = if after.is_empty() { 0 } else { names.after(after) };
        let end = first.saturating_add(limit).min(names.len());
        Eventually::ready(Ok(ListPage { more: end < names.len(), range: first..end, names, stamp: None }))
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        Box::pin(async move {
            for op in &batch.ops {
                check_key(op.key())?;
                if matches!(op, Op::Put { data, .. } if data.len() > INLINE_MAX) {
                    return Err(Error::new(ErrorKind::TooLarge, "put", op.key(), "too large for a batch"));
                }
            }
            let mut objects = self.objects();
            let now = SystemTime::now();
            for op in batch.ops {
                if let Op::Put { key, mode: PutMode::Create, .. } = &op
                    && objects.contains_key(key)
                {
                    return Err(Error::new(ErrorKind::Conflict, "create", key, "something is there already"));
                }
                apply_one(&mut objects, op, now);
            }
            Ok(())
        })
    }

    fn writer(&self, _size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        let handle = format!("uploads/{}", uuid::Uuid::new_v4());
        let writer = MemoryWriter { driver: self.clone(), handle, data: Vec::new() };
        Box::pin(async move { Ok(Box::new(writer) as Box<dyn Writer>) })
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let missing = |text| Error::new(ErrorKind::NotFound, "resume", handle, text);
            let found = self.objects().get(handle).map(|(data, _)| data.to_vec());
            let mut data = found.ok_or_else(|| missing("no such upload"))?;
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            if data.len() < offset {
                return Err(missing("shorter than what was received"));
            }
            data.truncate(offset);
            let writer = MemoryWriter { driver: self.clone(), handle: handle.to_owned(), data };
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        self.objects().remove(handle);
        Box::pin(async { Ok(()) })
    }

    fn is_remote(&self) -> bool {
        self.remote
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn probe(&self) -> Task<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> Task<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn apply_one(objects: &mut Objects, op: Op, now: SystemTime) {
    match op {
        Op::Put { key, data, mode } => {
            let keep = mode == PutMode::Keep && objects.get(&key).is_some_and(|(old, _)| *old == data);
            if !keep {
                objects.insert(key, (data, now));
            }
        }
        Op::Delete { key } => {
            objects.remove(&key);
        }
        Op::DeleteTreeIf { prefix, key, expected } => {
            if objects.get(&key).is_some_and(|(data, _)| *data == expected) {
                apply_one(objects, Op::DeleteTree { prefix }, now);
            }
        }
        Op::DeleteTree { prefix } => {
            let below = format!("{prefix}/");
            objects.retain(|key, _| !key.starts_with(&below) && *key != prefix);
        }
    }
}

struct MemoryWriter {
    driver: MemoryDriver,
    handle: String,
    data: Vec<u8>,
}

impl MemoryWriter {
    fn store(&self, key: &str) {
        self.driver.objects().insert(key.to_owned(), (Bytes::copy_from_slice(&self.data), SystemTime::now()));
    }
}

impl Writer for MemoryWriter {
    fn append(&mut self, buffer: Arc<Buffer>) -> Task<'_, ()> {
        self.data.extend_from_slice(&buffer);
        Box::pin(async { Ok(()) })
    }

    fn suspend(&mut self) -> Task<'_, String> {
        self.store(&self.handle);
        let handle = self.handle.clone();
        Box::pin(async move { Ok(handle) })
    }

    fn commit<'a>(self: Box<Self>, key: &'a str) -> Task<'a, ()> {
        self.store(key);
        self.driver.objects().remove(&self.handle);
        Box::pin(async { Ok(()) })
    }

    fn abort(self: Box<Self>) -> Task<'static, ()> {
        self.driver.objects().remove(&self.handle);
        Box::pin(async { Ok(()) })
    }

    fn len(&self) -> u64 {
        self.data.len() as u64
    }
}
