//! Receiving the bytes of a blob.
//!
//! Up to [`INLINE_SESSION_MAX`] bytes stay in memory and become durable with the record or the blob itself. More go to the
//! driver in buffers of 1 MiB; each is hashed and written at the same time, on other threads than the one that receives.

use crate::cache::GrantKind;
use crate::changes::ToEnd;
use crate::session::{Active, Hashes, INLINE_SESSION_MAX, Place, Record, State};
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
    pub(crate) store: Arc<Store>,
    pub(crate) repository: String,
    pub(crate) id: SessionId,
    pub(crate) started: u64,
    pub(crate) owner: Option<String>,
    pub(crate) offset: u64,
    /// Bytes that earlier requests have brought.
    pub(crate) before: u64,
    pub(crate) algorithm: Algorithm,
    pub(crate) body: Body,
    pub(crate) recorded: Recorded,
    /// Some bytes could not be taken: what was recorded before stays.
    pub(crate) broken: bool,
    /// Where the blob goes, if that is known from the start.
    key: Option<String>,
    _active: Active,
}

/// What storage knows of a session that a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// A record, with this identity.
    Yes(Digest),
    /// Nothing.
    No,
    /// Nobody has looked: the ticket says all that matters, and what another process has recorded meanwhile shows when a
    /// record is made.
    Unseen,
}

pub(crate) enum Body {
    Inline(Box<Inline>),
    Stream(Box<Stream>),
    /// Stored under this digest by an earlier request.
    Whole(Digest),
}

pub(crate) struct Inline {
    pub(crate) bytes: Vec<u8>,
    hashes: Hashes,
    /// How many of the bytes are in `hashes`.
    hashed: usize,
}

pub(crate) struct Stream {
    pub(crate) writer: Box<dyn Writer>,
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
        self.upload_open_for(repo, id, ticket, more, None).await
    }

    /// The same for the last request of a session, which says what all of it is.
    ///
    /// # Errors
    /// As [`Store::upload_open`].
    pub async fn upload_open_for(
        self: &Arc<Self>,
        repo: RepoName<'_>,
        id: SessionId,
        ticket: Option<&Ticket>,
        more: Option<u64>,
        digest: Option<&Digest>,
    ) -> Result<Upload> {
        let Some(active) = self.sessions.enter(id) else {
            let status = self.upload_status(repo, id, ticket).await?;
            return Err(Error::OutOfOrder { offset: status.offset });
        };
        let (state, recorded) = self.upload_state(repo, id, ticket).await?;
        let (started, algorithm) = ticket.map_or((0, Algorithm::Sha256), |ticket| (ticket.started, ticket.algorithm));
        let mut upload = Upload {
            store: Arc::clone(self),
            repository: repo.as_str().to_owned(),
            id,
            started,
            owner: ticket.and_then(|ticket| ticket.owner.clone()),
            offset: 0,
            before: 0,
            algorithm,
            body: Body::empty(algorithm),
            recorded,
            broken: false,
            // Only a sha256 is the name that content is stored by.
            key: digest.filter(|digest| digest.algorithm() == Algorithm::Sha256).map(layout::blob_data),
            _active: active,
        };
        match state {
            State::Empty => {}
            State::Record(record) => upload.take_up(*record).await?,
            State::Whole(whole) => upload.take_up_whole(whole),
        }
        if ticket.is_some_and(|ticket| ticket.offset != upload.offset) {
            return Err(Error::OutOfOrder { offset: upload.offset });
        }
        if more.is_some_and(|more| more.saturating_add(upload.offset) > INLINE_SESSION_MAX as u64) {
            upload.start_streaming(more).await?;
        }
        Ok(upload)
    }

    /// Where a session stands for whoever goes on with it.
    async fn upload_state(
        &self,
        repo: RepoName<'_>,
        id: SessionId,
        ticket: Option<&Ticket>,
    ) -> Result<(State, Recorded)> {
        let says_all = |ticket: &&Ticket| self.driver.is_remote() && (ticket.offset == 0 || ticket.stored.is_some());
        let Some(ticket) = ticket.filter(says_all) else {
            let state = self.session(repo, id, ticket).await?;
            let recorded = match &state {
                State::Record(record) => Recorded::Yes(record.identity()),
                State::Empty | State::Whole(_) => Recorded::No,
            };
            return Ok((state, recorded));
        };
        if self.sessions.is_finished(id) {
            return Err(Error::UploadUnknown);
        }
        match self.sessions.told(id) {
            Some(told) if told.offset > ticket.offset => Err(Error::OutOfOrder { offset: told.offset }),
            _ => Ok((self.state_by(Some(ticket))?, Recorded::Unseen)),
        }
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
        if bytes.is_empty() {
            return Ok(());
        }
        if let Body::Whole(stored) = self.body {
            self.read_back(&stored, Algorithm::Sha256).await?;
        }
        self.offset += bytes.len() as u64;
        self.broken = true;
        self.add(bytes).await?;
        self.broken = false;
        Ok(())
    }

    /// Takes bytes that are counted already.
    pub(crate) async fn add(&mut self, bytes: &[u8]) -> Result<()> {
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
            Body::Inline(_) | Body::Whole(_) => Ok(()),
        }
    }

    async fn take_up(&mut self, record: Record) -> Result<()> {
        (self.started, self.owner) = (record.started, record.owner.clone());
        (self.offset, self.before) = (record.offset, record.offset);
        self.algorithm = record.hashes.algorithm();
        self.body = match &record.place {
            Place::Driver(handle) => {
                let resumed = self.store.driver.resume(handle, record.offset).await;
                let writer = resumed.map_err(|error| match error.kind {
                    storage::ErrorKind::Conflict => Error::OutOfOrder { offset: record.offset },
                    _ => Error::or(error, Error::UploadUnknown),
                })?;
                // On files it may have waited until another process was done: what that one has written does not belong to
                // the hash of what was there before. On a service other bytes have another name.
                if !self.store.driver.is_remote() {
                    self.check_record().await?;
                }
                Body::Stream(Box::new(Stream { writer, buffer: None, hashes: Hashing::Here(Box::new(record.hashes)) }))
            }
            Place::Inline(bytes) => {
                Body::Inline(Box::new(Inline { hashed: bytes.len(), bytes: bytes.to_vec(), hashes: record.hashes }))
            }
        };
        Ok(())
    }

    /// What was recorded when this request began is what is recorded now.
    fn check_record(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (store, repository, id) = (Arc::clone(&self.store), self.repository.clone(), self.id);
        let seen = match self.recorded {
            Recorded::Yes(seen) => Some(seen),
            Recorded::No | Recorded::Unseen => None,
        };
        async move {
            let repo = RepoName::parse(&repository).map_err(|_| Error::UploadUnknown)?;
            store.check_session(repo, id, seen).await
        }
    }

    async fn start_streaming(&mut self, more: Option<u64>) -> Result<()> {
        let Body::Inline(inline) = &mut self.body else { return Ok(()) };
        let size = more.map(|more| more.saturating_add(inline.bytes.len() as u64));
        let writer = match &self.key {
            Some(key) => self.store.driver.writer_at(key, size).await?,
            None => self.store.driver.writer(size).await?,
        };
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
    /// [`Error::OutOfOrder`], [`Error::UploadUnknown`] when another process has gone on with the session;
    /// [`Error::Storage`].
    pub async fn suspend(self) -> Result<Ticket> {
        // Until the record is there nobody else may write, also when nobody waits for it any more.
        ToEnd::new(self.suspended()).await
    }

    pub(crate) async fn suspended(mut self) -> Result<Ticket> {
        if self.broken {
            let (key, what) = (layout::session(self.id.0), "an earlier part of this request could not be written");
            return Err(storage::Error::new(storage::ErrorKind::Unavailable, "write", &key, what).into());
        }
        if self.offset == 0 && self.recorded == Recorded::Unseen {
            return Ok(self.ticket(None));
        }
        if self.recorded != Recorded::Unseen {
            self.check_record().await?;
        }
        let (hashes, place) = match &mut self.body {
            Body::Whole(stored) => {
                let stored = *stored;
                return Ok(self.ticket(Some(stored)));
            }
            Body::Inline(inline) => {
                inline.hash();
                (inline.hashes.clone(), Place::Inline(std::mem::take(&mut inline.bytes).into()))
            }
            Body::Stream(stream) => {
                let hashes = stream.flush().await?;
                (hashes, Place::Driver(stream.writer.suspend().await.map_err(ended)?))
            }
        };
        self.algorithm = hashes.algorithm();
        let record = Record {
            repository: self.repository.clone(),
            started: self.started,
            offset: self.offset,
            hashes,
            place,
            cancelled: false,
            owner: self.owner.clone(),
        };
        self.put_record(&record).await?;
        Ok(self.ticket(None))
    }

    async fn put_record(&mut self, record: &Record) -> Result<()> {
        let (key, text) = (layout::session(self.id.0), Bytes::from(record.encode()));
        if self.recorded != Recorded::Unseen {
            return Ok(self.store.driver.apply(Batch::new().put(key, text)).await?);
        }
        match self.store.driver.apply(Batch::new().create(key, text)).await {
            // Another process went on with it, or has ended it. What came here belongs to nobody.
            Err(error) if error.kind == storage::ErrorKind::Conflict => {
                if let Place::Driver(handle) = &record.place {
                    self.store.driver.discard(handle).await?;
                }
                let repo = RepoName::parse(&self.repository).map_err(|_| Error::UploadUnknown)?;
                let status = self.store.upload_status(repo, self.id, None).await?;
                Err(Error::OutOfOrder { offset: status.offset })
            }
            other => Ok(other?),
        }
    }

    /// The ticket to go on with.
    pub(crate) fn ticket(mut self, stored: Option<Digest>) -> Ticket {
        let ticket = Ticket {
            repository: std::mem::take(&mut self.repository),
            id: self.id,
            started: self.started,
            offset: self.offset,
            algorithm: self.algorithm,
            owner: self.owner.take(),
            stored,
        };
        if self.store.driver.is_remote() {
            self.store.sessions.tell(&ticket);
        }
        ticket
    }

    /// Ends the session: the blob is durable and visible in the repository. With another content than `digest` says the
    /// session ends too, without a blob.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::Storage`].
    pub async fn commit(mut self, repo: RepoName<'_>, digest: Digest) -> Result<BlobInfo> {
        let store = Arc::clone(&self.store);
        let (id, recorded, size) = (self.id, matches!(self.recorded, Recorded::Yes(_)), self.offset);
        let (batch, canonical) = match self.commit_content(digest).await {
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

    /// Makes sure that the bytes are there, or going to be with the batch, and are what they should be; returns their
    /// canonical digest.
    async fn commit_content(&mut self, digest: Digest) -> Result<(Batch, Digest)> {
        if let Body::Whole(stored) = self.body
            && digest.algorithm() != Algorithm::Sha256
        {
            self.read_back(&stored, digest.algorithm()).await?;
        }
        match &mut self.body {
            Body::Whole(stored) => {
                let canonical = check(*stored, digest, |_| *stored)?;
                self.store.is_still_stored(&canonical, self.started).await?;
                Ok((Batch::new(), canonical))
            }
            Body::Inline(inline) => {
                let bytes = std::mem::take(&mut inline.bytes);
                let canonical = check(Digest::sha256(&bytes), digest, |algorithm| Hasher::digest(algorithm, &bytes))?;
                let batch = Batch::new().keep(layout::blob_data(&canonical), bytes);
                Ok((batch.lock(layout::blob_lock(&canonical)), canonical))
            }
            Body::Stream(_) => Ok((Batch::new(), self.commit_stream(digest).await?)),
        }
    }

    async fn commit_stream(&mut self, digest: Digest) -> Result<Digest> {
        let Body::Stream(mut stream) = std::mem::replace(&mut self.body, Body::empty(Algorithm::Sha256)) else {
            return Err(Error::UploadUnknown);
        };
        let hashes = stream.flush().await?;
        let canonical = hashes.sha256.finish();
        let key = layout::blob_data(&canonical);
        if digest.algorithm() == Algorithm::Sha512 && hashes.sha512.is_none() {
            // Nobody said that sha512 would be wanted. The content is stored under its own sha256 in any case; whether the
            // repository gets it under the other name is decided by reading it back.
            stream.writer.commit(&key).await.map_err(ended)?;
            let object = self.store.driver.open(&key).await?;
            let actual = hash_object(object, Algorithm::Sha512).await.map_err(lost)?;
            return check(canonical, digest, |_| actual);
        }
        let sha512 = hashes.sha512.map(Hasher::finish);
        match check(canonical, digest, |_| sha512.unwrap_or(canonical)) {
            Ok(canonical) => {
                stream.writer.commit(&key).await.map_err(ended)?;
                Ok(canonical)
            }
            Err(error) => {
                stream.writer.abort().await?;
                Err(error)
            }
        }
    }
}

/// Another request has ended the session with other content, or discarded it and what it had.
fn ended(error: storage::Error) -> Error {
    match error.kind {
        storage::ErrorKind::Conflict | storage::ErrorKind::NotFound => Error::UploadUnknown,
        _ => error.into(),
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

impl Body {
    pub(crate) fn empty(algorithm: Algorithm) -> Self {
        Self::Inline(Box::new(Inline { bytes: Vec::new(), hashes: Hashes::new(algorithm), hashed: 0 }))
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
        self.writer.append(buffer).await.map_err(ended)
    }

    pub(crate) async fn flush(&mut self) -> Result<Hashes> {
        self.push().await?;
        self.hashes.take().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::ErrorKind;

    #[test]
    fn a_session_that_somebody_else_has_ended_is_unknown_and_no_trouble_of_storage() {
        let of = |kind| ended(storage::Error::new(kind, "commit", "key", "x"));
        for kind in [ErrorKind::Conflict, ErrorKind::NotFound] {
            assert!(matches!(of(kind), Error::UploadUnknown), "{kind:?}");
        }
        for kind in [ErrorKind::Unavailable, ErrorKind::NoSpace, ErrorKind::TooLarge] {
            assert!(matches!(of(kind), Error::Storage(error) if error.kind == kind), "{kind:?}");
        }
    }
}
