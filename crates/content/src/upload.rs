//! Receiving the bytes of a blob.
//!
//! Up to [`INLINE_SESSION_MAX`] bytes stay in memory and become durable with the record or the blob itself. More go to the
//! driver in buffers of 1 MiB; each is hashed and written at the same time, on other threads than the one that receives.

use crate::cache::GrantKind;
use crate::session::{Active, Hashes, INLINE_SESSION_MAX, Place, Record};
use crate::{BlobInfo, Error, Result, SessionId, Store, Ticket, layout};
use bytes::Bytes;
use futures_util::TryStreamExt;
use oci::{Algorithm, Digest, Hasher, RepoName};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use storage::{BUFFER_BYTES, Batch, Buffer, Object, ObjectBody, Writer};
use tokio::task::JoinHandle;

/// A session while one request writes it. Dropping it forgets what this request brought.
pub struct Upload {
    store: Arc<Store>,
    repository: String,
    id: SessionId,
    started: u64,
    owner: Option<String>,
    offset: u64,
    body: Body,
    /// Storage has a record of the session.
    recorded: bool,
    _active: Active,
}

enum Body {
    Inline(Box<Inline>),
    Stream(Box<Stream>),
}

struct Inline {
    bytes: Vec<u8>,
    hashes: Hashes,
    /// How many of the bytes are in `hashes`.
    hashed: usize,
}

struct Stream {
    writer: Box<dyn Writer>,
    buffer: Option<Buffer>,
    hashes: Hashing,
}

enum Hashing {
    Here(Box<Hashes>),
    Running(JoinHandle<Hashes>),
    Lost,
}

impl Hashing {
    async fn take(&mut self) -> Result<Hashes> {
        match std::mem::replace(self, Self::Lost) {
            Self::Here(hashes) => Ok(*hashes),
            Self::Running(job) => job.await.map_err(|error| lost(std::io::Error::other(error))),
            Self::Lost => Err(lost(std::io::Error::other("hash state was lost by an earlier error"))),
        }
    }
}

fn lost(source: std::io::Error) -> Error {
    Error::Storage(storage::Error::io("hash", "upload", source))
}

impl Store {
    /// Opens a session for writing. `more`: how many bytes will come, when known.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`]; [`Error::OutOfOrder`] when another request writes the session or the ticket is old;
    /// [`Error::Storage`].
    pub async fn upload_open(
        self: &Arc<Self>,
        repo: RepoName<'_>,
        id: SessionId,
        ticket: Option<&Ticket>,
        more: Option<u64>,
    ) -> Result<Upload> {
        let Some(active) = self.sessions.enter(id) else {
            let status = self.upload_status(repo, id, ticket).await?;
            return Err(Error::OutOfOrder { offset: status.offset });
        };
        let record = self.session(repo, id, ticket).await?;
        let recorded = record.is_some();
        let record = record.unwrap_or_else(|| {
            let (started, algorithm) =
                ticket.map_or((0, Algorithm::Sha256), |ticket| (ticket.started, ticket.algorithm));
            Record {
                repository: repo.as_str().to_owned(),
                started,
                offset: 0,
                hashes: Hashes::new(algorithm),
                place: Place::Inline(Bytes::new()),
                cancelled: false,
                owner: ticket.and_then(|ticket| ticket.owner.clone()),
            }
        });
        if ticket.is_some_and(|ticket| ticket.offset != record.offset) {
            return Err(Error::OutOfOrder { offset: record.offset });
        }
        let body = match record.place {
            Place::Driver(handle) => {
                let writer = self.driver.resume(&handle, record.offset).await.map_err(|error| match error.kind {
                    storage::ErrorKind::Conflict => Error::OutOfOrder { offset: record.offset },
                    _ => Error::or(error, Error::UploadUnknown),
                })?;
                Body::Stream(Box::new(Stream { writer, buffer: None, hashes: Hashing::Here(Box::new(record.hashes)) }))
            }
            Place::Inline(bytes) => {
                Body::Inline(Box::new(Inline { hashed: bytes.len(), bytes: bytes.to_vec(), hashes: record.hashes }))
            }
        };
        let mut upload = Upload {
            store: Arc::clone(self),
            repository: record.repository,
            id,
            started: record.started,
            owner: record.owner,
            offset: record.offset,
            body,
            recorded,
            _active: active,
        };
        if more.is_some_and(|more| more.saturating_add(upload.offset) > INLINE_SESSION_MAX as u64) {
            upload.start_streaming(more).await?;
        }
        Ok(upload)
    }
}

impl Upload {
    /// Bytes received, this request's included.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes. They are not durable before [`Upload::suspend`] or [`Upload::commit`].
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.offset += bytes.len() as u64;
        if let Body::Inline(inline) = &mut self.body {
            if inline.bytes.len() + bytes.len() <= INLINE_SESSION_MAX {
                inline.bytes.extend_from_slice(bytes);
                return Ok(());
            }
            self.start_streaming(None).await?;
        }
        match &mut self.body {
            Body::Stream(stream) => stream.write(&self.store, bytes).await,
            // `start_streaming` has just changed that.
            Body::Inline(_) => Ok(()),
        }
    }

    async fn start_streaming(&mut self, more: Option<u64>) -> Result<()> {
        let Body::Inline(inline) = &mut self.body else { return Ok(()) };
        let writer = self.store.driver.writer(more.map(|more| more.saturating_add(inline.bytes.len() as u64))).await?;
        // The inline bytes take the same way as all others, so they are hashed anew.
        let hashes = Hashing::Here(Box::new(Hashes::new(inline.hashes.algorithm())));
        let mut stream = Stream { writer, buffer: None, hashes };
        stream.write(&self.store, &std::mem::take(&mut inline.bytes)).await?;
        self.body = Body::Stream(Box::new(stream));
        Ok(())
    }

    /// Makes everything received durable; returns the ticket to go on with.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn suspend(mut self) -> Result<Ticket> {
        let (hashes, place) = match &mut self.body {
            Body::Inline(inline) => {
                inline.hash();
                (inline.hashes.clone(), Place::Inline(std::mem::take(&mut inline.bytes).into()))
            }
            Body::Stream(stream) => {
                let hashes = stream.flush().await?;
                (hashes, Place::Driver(stream.writer.suspend().await?))
            }
        };
        let algorithm = hashes.algorithm();
        let record = Record {
            repository: self.repository.clone(),
            started: self.started,
            offset: self.offset,
            hashes,
            place,
            cancelled: false,
            owner: self.owner.clone(),
        };
        let record = Bytes::from(record.encode());
        self.store.driver.apply(Batch::new().put(layout::session(self.id.0), record)).await?;
        let (repository, owner) = (std::mem::take(&mut self.repository), self.owner.take());
        Ok(Ticket { repository, id: self.id, started: self.started, offset: self.offset, algorithm, owner })
    }

    /// Ends the session: the blob is durable and visible in the repository. With another content than `digest` says the
    /// session ends too, without a blob.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::Storage`].
    pub async fn commit(mut self, repo: RepoName<'_>, digest: Digest) -> Result<BlobInfo> {
        let store = Arc::clone(&self.store);
        let (id, recorded, size) = (self.id, self.recorded, self.offset);
        let committed = match &mut self.body {
            Body::Inline(inline) => {
                let bytes = std::mem::take(&mut inline.bytes);
                let canonical = check(Digest::sha256(&bytes), digest, |algorithm| Hasher::digest(algorithm, &bytes));
                canonical.map(|canonical| {
                    let batch = Batch::new().keep(layout::blob_data(&canonical), bytes);
                    (batch.lock(layout::blob_lock(&canonical)), canonical)
                })
            }
            Body::Stream(_) => self.commit_stream(digest).await.map(|canonical| (Batch::new(), canonical)),
        };
        let (batch, canonical) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                if matches!(error, Error::DigestMismatch { .. }) {
                    // Ended first, and let go of only then: nobody may write to it in between.
                    store.sessions.finish(id);
                    drop(self);
                    if recorded {
                        store.driver.apply(Batch::new().delete(layout::session(id.0))).await?;
                    }
                }
                return Err(error);
            }
        };
        let mut batch = store.link_layer(batch, repo, &digest, &canonical);
        if recorded {
            batch = batch.delete(layout::session(id.0));
        }
        let as_of = store.caches.grants_as_of();
        store.driver.apply(batch).await?;
        store.sessions.finish(id);
        store.caches.put_grant(as_of, GrantKind::Layer, repo.as_str(), &digest, canonical);
        store.caches.put_size(canonical, size);
        Ok(BlobInfo { digest, size })
    }

    async fn commit_stream(&mut self, digest: Digest) -> Result<Digest> {
        let empty = Inline { bytes: Vec::new(), hashes: Hashes::new(Algorithm::Sha256), hashed: 0 };
        let Body::Stream(mut stream) = std::mem::replace(&mut self.body, Body::Inline(Box::new(empty))) else {
            return Err(Error::UploadUnknown);
        };
        let hashes = stream.flush().await?;
        let canonical = hashes.sha256.finish();
        let key = layout::blob_data(&canonical);
        if digest.algorithm() == Algorithm::Sha512 && hashes.sha512.is_none() {
            // Nobody said that sha512 would be wanted. The content is stored under its own sha256 in any case; whether the
            // repository gets it under the other name is decided by reading it back.
            stream.writer.commit(&key).await?;
            let object = self.store.driver.open(&key).await?;
            let actual = hash_object(object, Algorithm::Sha512).await.map_err(lost)?;
            return check(canonical, digest, |_| actual);
        }
        let sha512 = hashes.sha512.map(Hasher::finish);
        match check(canonical, digest, |_| sha512.unwrap_or(canonical)) {
            Ok(canonical) => {
                stream.writer.commit(&key).await?;
                Ok(canonical)
            }
            Err(error) => {
                stream.writer.abort().await?;
                Err(error)
            }
        }
    }
}

/// The canonical digest, when `expected` is the digest of the same content.
fn check(canonical: Digest, expected: Digest, other: impl FnOnce(Algorithm) -> Digest) -> Result<Digest> {
    let algorithm = expected.algorithm();
    let actual = if algorithm == canonical.algorithm() { canonical } else { other(algorithm) };
    if actual == expected {
        Ok(canonical)
    } else {
        Err(Error::DigestMismatch { expected: expected.into(), actual: actual.into() })
    }
}

async fn hash_object(object: Object, algorithm: Algorithm) -> std::io::Result<Digest> {
    match object.body {
        ObjectBody::Remote(remote) => {
            let mut hasher = Hasher::new(algorithm);
            let mut chunks = remote.read(0..object.size);
            while let Some(chunk) = chunks.try_next().await? {
                hasher.update(&chunk);
            }
            Ok(hasher.finish())
        }
        ObjectBody::Bytes(bytes) => Ok(Hasher::digest(algorithm, &bytes)),
        ObjectBody::File(file) => {
            let hashed = tokio::task::spawn_blocking(move || hash_file(&file, algorithm)).await;
            hashed.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        }
    }
}

fn hash_file(file: &std::fs::File, algorithm: Algorithm) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    loop {
        let count = file.read_at(&mut buffer, at)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
        at += count as u64;
    }
}

impl Inline {
    fn hash(&mut self) {
        self.hashes.update(&self.bytes[self.hashed..]);
        self.hashed = self.bytes.len();
    }
}

impl Stream {
    async fn write(&mut self, store: &Store, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let buffer = self.buffer.get_or_insert_with(|| store.buffers.take());
            let count = buffer.fill(bytes);
            bytes = &bytes[count..];
            if buffer.is_full() {
                self.push().await?;
            }
        }
        Ok(())
    }

    /// Hands the buffer on: hashed and written at the same time.
    async fn push(&mut self) -> Result<()> {
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        let buffer = Arc::new(buffer);
        let mut hashes = self.hashes.take().await?;
        let hashed = Arc::clone(&buffer);
        self.hashes = Hashing::Running(tokio::task::spawn_blocking(move || {
            hashes.update(&hashed);
            hashes
        }));
        Ok(self.writer.append(buffer).await?)
    }

    async fn flush(&mut self) -> Result<Hashes> {
        self.push().await?;
        self.hashes.take().await
    }
}
