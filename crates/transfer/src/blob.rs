//! The bytes of one blob.

use crate::known::Data;
use crate::report::{Kind, add};
use crate::{Job, Result};
use bytes::{Bytes, BytesMut};
use content::layout;
use futures_util::TryStreamExt;
use oci::{Digest, Hasher};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use storage::{BUFFER_BYTES, Batch, Buffer, ByteStream, INLINE_MAX, Object, ObjectBody, Writer};

impl Job {
    /// Makes sure that the destination has the bytes of a digest, if it can be.
    pub(crate) async fn data(&self, digest: &Digest) -> Result<Data> {
        self.data_unless(digest, false).await
    }

    /// The same when a list has told that they are `absent`.
    pub(crate) async fn data_unless(&self, digest: &Digest, absent: bool) -> Result<Data> {
        if let Some(data) = self.known.get(digest) {
            return Ok(data);
        }
        let key = layout::blob_data(digest);
        let there = if absent { There::Nothing } else { self.look(digest, &key).await? };
        let data = if there == There::Right {
            add(&self.progress.blobs_there, 1);
            Data::There
        } else {
            self.copy(digest, &key, there).await?
        };
        // What is missing may be pushed in the next moment.
        if data != Data::Missing {
            self.known.put(digest, data);
        }
        Ok(data)
    }

    /// What the destination has: by the number of bytes, and with `verify` by the digest.
    async fn look(&self, digest: &Digest, key: &str) -> Result<There> {
        if self.options.verify {
            return self.verify(digest, key).await;
        }
        let Some(size) = self.destination.size(key).await? else { return Ok(There::Nothing) };
        // Gone since it was copied; what is there may be wanted.
        let is_right = self.source.size(key).await?.is_none_or(|theirs| theirs == size);
        Ok(if is_right { There::Right } else { There::Wrong })
    }

    async fn verify(&self, digest: &Digest, key: &str) -> Result<There> {
        let _turn = self.large.acquire().await;
        let Some(object) = self.destination.open(key).await? else { return Ok(There::Nothing) };
        let mut body = Body::new(object);
        let mut hasher = Hasher::new(digest.algorithm());
        loop {
            match body.next(self).await {
                Ok(Some(buffer)) => hasher = hashed(hasher, &Arc::new(buffer)).await,
                Ok(None) if hasher.finish() == *digest => return Ok(There::Right),
                Ok(None) => return Ok(There::Wrong),
                Err(error) if body.is_remote() => {
                    return Err(self.destination.failed(storage::Error::io("read", key, error)));
                }
                // A file that cannot be read is written anew.
                Err(_) => return Ok(There::Wrong),
            }
        }
    }

    async fn copy(&self, digest: &Digest, key: &str, there: There) -> Result<Data> {
        if self.options.dry_run {
            let Some(size) = self.source.size(key).await? else { return Ok(Data::Missing) };
            add(&self.progress.blobs_copied, 1);
            add(&self.progress.bytes_copied, size);
            return Ok(Data::There);
        }
        let Some(object) = self.source.open(key).await? else { return Ok(Data::Missing) };
        let copied = if object.size <= INLINE_MAX as u64 {
            let _turn = self.small.acquire().await;
            self.copy_small(digest, key, object).await?
        } else {
            let _turn = self.large.acquire().await;
            self.copy_large(digest, key, object, there).await?
        };
        Ok(match copied {
            Copied::Whole => {
                add(&self.progress.blobs_copied, 1);
                Data::There
            }
            Copied::Gone => Data::Missing,
            Copied::Broken(text) => {
                self.progress.find(Kind::Broken, key, text);
                Data::Broken
            }
        })
    }

    async fn copy_small(&self, digest: &Digest, key: &str, object: Object) -> Result<Copied> {
        let is_remote = matches!(object.body, ObjectBody::Remote(_));
        let bytes = match read_small(object).await {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(is_remote, key, error),
        };
        if Hasher::digest(digest.algorithm(), &bytes) != *digest {
            return Ok(Copied::other_bytes(bytes.len() as u64));
        }
        add(&self.progress.bytes_copied, bytes.len() as u64);
        self.destination.apply(Batch::new().keep(key, bytes)).await?;
        Ok(Copied::Whole)
    }

    async fn copy_large(&self, digest: &Digest, key: &str, object: Object, there: There) -> Result<Copied> {
        let mut writer = self.destination.writer(key, object.size).await?;
        let mut body = Body::new(object);
        let mut hasher = Hasher::new(digest.algorithm());
        loop {
            let buffer = match body.next(self).await {
                Ok(Some(buffer)) => Arc::new(buffer),
                Ok(None) => break,
                Err(error) => {
                    self.give_up(writer, key).await;
                    return self.unreadable(body.is_remote(), key, error);
                }
            };
            let count = buffer.len() as u64;
            let (appended, next) = tokio::join!(writer.append(Arc::clone(&buffer)), hashed(hasher, &buffer));
            appended.map_err(|error| self.destination.failed(error))?;
            hasher = next;
            add(&self.progress.bytes_copied, count);
        }
        if hasher.finish() != *digest {
            let len = writer.len();
            self.give_up(writer, key).await;
            return Ok(Copied::other_bytes(len));
        }
        if there == There::Wrong && self.destination.is_remote() {
            self.make_place(key).await?;
        }
        writer.commit(key).await.map_err(|error| self.destination.failed(error))?;
        Ok(Copied::Whole)
    }

    /// Removes what is wrong at the destination, now that there is something right: some services let a large object that is
    /// as long stay, since its key names its content.
    async fn make_place(&self, key: &str) -> Result<()> {
        self.still_ours().await?;
        self.destination.apply(Batch::new().delete(key)).await
    }

    async fn give_up(&self, writer: Box<dyn Writer>, key: &str) {
        if let Err(error) = writer.abort().await {
            tracing::debug!(%error, key, "what is left of it stays until it is old");
        }
    }

    /// A file that cannot be read is one that is broken; a service that does not answer is no place to copy from.
    fn unreadable(&self, is_remote: bool, key: &str, error: io::Error) -> Result<Copied> {
        match error.kind() {
            io::ErrorKind::NotFound => Ok(Copied::Gone),
            _ if is_remote => Err(self.source.failed(storage::Error::io("read", key, error))),
            _ => Ok(Copied::Broken(format!("cannot be read: {error}"))),
        }
    }
}

/// What the destination has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Right,
    Wrong,
}

enum Copied {
    Whole,
    Gone,
    Broken(String),
}

impl Copied {
    fn other_bytes(len: u64) -> Self {
        Self::Broken(format!("its {len} bytes have another digest"))
    }
}

async fn read_small(object: Object) -> io::Result<Bytes> {
    match object.body {
        ObjectBody::Bytes(bytes) => Ok(bytes),
        ObjectBody::File(file) => {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; usize::try_from(object.size).map_or(INLINE_MAX, |size| size.min(INLINE_MAX))];
                let count = read_at(&file, &mut bytes, 0)?;
                bytes.truncate(count);
                Ok(Bytes::from(bytes))
            });
            read.await.map_err(io::Error::other)?
        }
        ObjectBody::Remote(remote) => {
            let mut bytes = BytesMut::new();
            let mut stream = remote.read(0..object.size);
            while let Some(more) = stream.try_next().await? {
                bytes.extend_from_slice(&more);
            }
            Ok(bytes.freeze())
        }
    }
}

/// The bytes of an object, a buffer after the other.
struct Body {
    from: From,
    at: u64,
    /// Memory to read files into.
    scratch: Vec<u8>,
    /// Came with the last buffer and did not fit.
    rest: Bytes,
}

enum From {
    File(Arc<File>),
    Bytes,
    Remote(ByteStream),
}

impl Body {
    fn new(object: Object) -> Self {
        let (from, rest) = match object.body {
            ObjectBody::File(file) => (From::File(file), Bytes::new()),
            ObjectBody::Bytes(bytes) => (From::Bytes, bytes),
            ObjectBody::Remote(remote) => (From::Remote(remote.read(0..object.size)), Bytes::new()),
        };
        Self { from, at: 0, scratch: Vec::new(), rest }
    }

    fn is_remote(&self) -> bool {
        matches!(self.from, From::Remote(_))
    }

    async fn next(&mut self, job: &Job) -> io::Result<Option<Buffer>> {
        let mut buffer = job.buffers.take();
        if let From::File(file) = &self.from {
            let (file, at, mut scratch) = (Arc::clone(file), self.at, std::mem::take(&mut self.scratch));
            let read = tokio::task::spawn_blocking(move || {
                scratch.resize(BUFFER_BYTES, 0);
                let count = read_at(&file, &mut scratch, at)?;
                buffer.fill(&scratch[..count]);
                Ok::<_, io::Error>((buffer, scratch))
            });
            let (filled, scratch) = read.await.map_err(io::Error::other)??;
            self.scratch = scratch;
            self.at += filled.len() as u64;
            return Ok((!filled.is_empty()).then_some(filled));
        }
        loop {
            let count = buffer.fill(&self.rest);
            self.rest = self.rest.slice(count..);
            if buffer.is_full() {
                return Ok(Some(buffer));
            }
            let more = match &mut self.from {
                From::Remote(stream) => stream.try_next().await?,
                From::File(_) | From::Bytes => None,
            };
            match more {
                Some(more) => self.rest = more,
                None => return Ok((!buffer.is_empty()).then_some(buffer)),
            }
        }
    }
}

/// As much as there is, up to the whole of `into`.
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match file.read_at(&mut into[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Hashes beside the runtime, which is then free for the next buffer of another blob.
async fn hashed(hasher: Hasher, buffer: &Arc<Buffer>) -> Hasher {
    let (mut next, bytes) = (hasher.clone(), Arc::clone(buffer));
    let done = tokio::task::spawn_blocking(move || {
        next.update(&bytes);
        next
    });
    match done.await {
        Ok(next) => next,
        Err(_) => {
            let mut next = hasher;
            next.update(buffer);
            next
        }
    }
}
