//! Upload sessions as storage knows them.
//!
//! A session without bytes is only its ticket, which the front end signs and gives to the client; storage learns of it with
//! the first chunk. From then on one record tells everything that another process needs to go on. Small sessions keep their
//! bytes in the record. One whose client has probably sent everything may need no record either: see [`crate::whole`].

use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use oci::{Algorithm, Digest, Hasher, RepoName};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use storage::{Batch, INLINE_MAX};
use uuid::Uuid;

/// Sessions up to this size live in their record; the rest of [`INLINE_MAX`] is for the head of the record.
pub(crate) const INLINE_SESSION_MAX: usize = INLINE_MAX - 4096;

/// How many ended sessions are remembered, so that their address answers "unknown" at once.
const FINISHED: usize = 10_000;

/// How many sessions are remembered that went on here, so that a chunk that comes twice is found out at once.
const TOLD: usize = 10_000;

/// Name of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub(crate) Uuid);

impl SessionId {
    /// Reads the last part of a session's address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Only the usual form: others would be further names of the same session.
        (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(Self)
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client holds of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The repository.
    pub repository: String,
    /// The session.
    pub id: SessionId,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// Bytes received.
    pub offset: u64,
    /// What the client will name the blob by.
    pub algorithm: Algorithm,
    /// UID of the namespace that it began under; `None` without a cluster.
    pub owner: Option<String>,
    /// The bytes so far are stored under this name, which is their digest.
    pub stored: Option<Digest>,
}

/// Where a session stands.
pub(crate) enum State {
    /// Nothing was received.
    Empty,
    /// A record tells it.
    Record(Box<Record>),
    /// Its bytes are stored under their digest, as its ticket says.
    Whole(Ticket),
}

/// Both running hashes; the second only when asked for.
#[derive(Clone)]
pub(crate) struct Hashes {
    pub(crate) sha256: Hasher,
    pub(crate) sha512: Option<Hasher>,
}

impl Hashes {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let sha512 = (algorithm == Algorithm::Sha512).then(|| Hasher::new(Algorithm::Sha512));
        Self { sha256: Hasher::new(Algorithm::Sha256), sha512 }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        if self.sha512.is_some() { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(bytes);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    repository: String,
    started: u64,
    offset: u64,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha512: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    #[serde(default)]
    cancelled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

/// A stored session.
pub(crate) struct Record {
    pub(crate) repository: String,
    pub(crate) started: u64,
    pub(crate) offset: u64,
    pub(crate) hashes: Hashes,
    pub(crate) place: Place,
    pub(crate) cancelled: bool,
    pub(crate) owner: Option<String>,
}

/// Where the bytes of a stored session are.
pub(crate) enum Place {
    Inline(Bytes),
    Driver(String),
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let state = |hasher: &Hasher| data_encoding::BASE64.encode(&hasher.save(self.offset));
        let head = Head {
            version: 1,
            repository: self.repository.clone(),
            started: self.started,
            offset: self.offset,
            sha256: state(&self.hashes.sha256),
            sha512: self.hashes.sha512.as_ref().map(state),
            handle: if let Place::Driver(handle) = &self.place { Some(handle.clone()) } else { None },
            cancelled: self.cancelled,
            owner: self.owner.clone(),
        };
        // Strings and numbers always have a JSON form.
        let mut out = serde_json::to_vec(&head).unwrap_or_default();
        out.push(b'\n');
        if let Place::Inline(bytes) = &self.place {
            out.extend_from_slice(bytes);
        }
        out
    }

    /// Another record has another one.
    pub(crate) fn identity(&self) -> Digest {
        Digest::sha256(&self.encode())
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        let load = |algorithm, text: &str| {
            let state = data_encoding::BASE64.decode(text.as_bytes()).ok()?;
            Hasher::load(algorithm, &state).ok().filter(|(_, length)| *length == head.offset).map(|(hasher, _)| hasher)
        };
        let sha256 = load(Algorithm::Sha256, &head.sha256)?;
        let sha512 = match &head.sha512 {
            Some(text) => Some(load(Algorithm::Sha512, text)?),
            None => None,
        };
        let place = match head.handle {
            Some(handle) => Place::Driver(handle),
            None => Place::Inline(bytes.slice(end + 1..)),
        };
        let whole = !matches!(&place, Place::Inline(bytes) if bytes.len() as u64 != head.offset);
        (head.version == 1 && whole).then_some(Self {
            repository: head.repository,
            started: head.started,
            offset: head.offset,
            hashes: Hashes { sha256, sha512 },
            place,
            cancelled: head.cancelled,
            owner: head.owner,
        })
    }
}

/// What this process knows of sessions.
pub(crate) struct Sessions {
    active: Arc<Mutex<HashSet<Uuid>>>,
    finished: Cache<Uuid, ()>,
    /// What this process told last about a session.
    told: Cache<Uuid, Ticket>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { active: Arc::default(), finished: Cache::new(FINISHED), told: Cache::new(TOLD) }
    }
}

/// One request at a time writes a session.
pub(crate) struct Active {
    id: Uuid,
    active: Arc<Mutex<HashSet<Uuid>>>,
}

impl Drop for Active {
    fn drop(&mut self) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Sessions {
    pub(crate) fn enter(&self, id: SessionId) -> Option<Active> {
        let entered = self.active.lock().unwrap_or_else(PoisonError::into_inner).insert(id.0);
        entered.then(|| Active { id: id.0, active: Arc::clone(&self.active) })
    }

    pub(crate) fn finish(&self, id: SessionId) {
        self.finished.insert(id.0, ());
        self.told.remove(&id.0);
    }

    pub(crate) fn tell(&self, ticket: &Ticket) {
        self.told.insert(ticket.id.0, ticket.clone());
    }

    pub(crate) fn told(&self, id: SessionId) -> Option<Ticket> {
        self.told.get(&id.0)
    }

    pub(crate) fn is_finished(&self, id: SessionId) -> bool {
        self.finished.get(&id.0).is_some()
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(crate) fn is_expired(started: u64, expiry: Duration) -> bool {
    now().saturating_sub(started) > expiry.as_secs()
}

impl Store {
    /// Begins a session. Nothing is stored yet.
    #[must_use]
    pub fn upload_begin(&self, repo: RepoName<'_>, algorithm: Algorithm, owner: Option<&str>) -> Ticket {
        Ticket {
            repository: repo.as_str().to_owned(),
            id: SessionId(Uuid::new_v4()),
            started: now(),
            offset: 0,
            algorithm,
            owner: owner.map(str::to_owned),
            stored: None,
        }
    }

    /// Where a session stands: the record if there is one, else what the ticket says.
    pub(crate) async fn session(&self, repo: RepoName<'_>, id: SessionId, ticket: Option<&Ticket>) -> Result<State> {
        if self.sessions.is_finished(id) {
            return Err(Error::UploadUnknown);
        }
        if let Some(record) = self.session_record(repo, id).await? {
            return Ok(State::Record(Box::new(record)));
        }
        let told = self.sessions.told(id);
        let told = told.as_ref().filter(|told| told.stored.is_some() && told.repository == repo.as_str());
        self.state_by(ticket.filter(|ticket| ticket.stored.is_some()).or(told).or(ticket))
    }

    async fn session_record(&self, repo: RepoName<'_>, id: SessionId) -> Result<Option<Record>> {
        let bytes = match self.driver.get(&layout::session(id.0), INLINE_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record = Record::decode(&bytes).ok_or_else(|| {
            tracing::warn!(session = %id, "damaged upload session, treated as ended");
            Error::UploadUnknown
        })?;
        let is_over = record.cancelled || is_expired(record.started, self.settings.upload_expiry);
        if is_over || record.repository != repo.as_str() { Err(Error::UploadUnknown) } else { Ok(Some(record)) }
    }

    /// Makes sure that the record is still the one that was `seen`, or that there is none. Another process may have gone on
    /// with the session, and what that one has acknowledged stays.
    pub(crate) async fn check_session(&self, repo: RepoName<'_>, id: SessionId, seen: Option<Digest>) -> Result<()> {
        match (self.session_record(repo, id).await?, seen) {
            (None, None) => Ok(()),
            (Some(now), Some(seen)) if now.identity() == seen => Ok(()),
            (Some(now), _) => Err(Error::OutOfOrder { offset: now.offset }),
            (None, Some(_)) => Err(Error::UploadUnknown),
        }
    }

    /// Where a session without a record stands.
    pub(crate) fn state_by(&self, ticket: Option<&Ticket>) -> Result<State> {
        match ticket.filter(|ticket| !is_expired(ticket.started, self.settings.upload_expiry)) {
            Some(ticket) if ticket.stored.is_some() => Ok(State::Whole(ticket.clone())),
            Some(ticket) if ticket.offset == 0 => Ok(State::Empty),
            _ => Err(Error::UploadUnknown),
        }
    }

    /// The state of a session, as a ticket that is current.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::Storage`].
    pub async fn upload_status(&self, repo: RepoName<'_>, id: SessionId, ticket: Option<&Ticket>) -> Result<Ticket> {
        match self.session(repo, id, ticket).await? {
            State::Record(record) => Ok(Ticket {
                repository: record.repository,
                id,
                started: record.started,
                offset: record.offset,
                algorithm: record.hashes.algorithm(),
                owner: record.owner,
                stored: None,
            }),
            State::Whole(ticket) => Ok(ticket),
            State::Empty => ticket.cloned().ok_or(Error::UploadUnknown),
        }
    }

    /// Ends a session and drops its bytes.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], [`Error::OutOfOrder`] while a request writes it, [`Error::Storage`].
    pub async fn upload_cancel(&self, repo: RepoName<'_>, id: SessionId, ticket: Option<&Ticket>) -> Result<()> {
        let Some(_active) = self.sessions.enter(id) else {
            let status = self.upload_status(repo, id, ticket).await?;
            return Err(Error::OutOfOrder { offset: status.offset });
        };
        match self.session(repo, id, ticket).await? {
            State::Record(record) => {
                self.driver.apply(Batch::new().delete(layout::session(id.0))).await?;
                if let Place::Driver(handle) = record.place {
                    self.driver.discard(&handle).await?;
                }
            }
            // The ticket in the client's hand stays good for other processes: leave them a note. Bytes that are stored under
            // their digest may be those of others as well.
            State::Empty | State::Whole(_) => {
                let algorithm = ticket.map_or(Algorithm::Sha256, |ticket| ticket.algorithm);
                let note = Record {
                    repository: repo.as_str().to_owned(),
                    started: now(),
                    offset: 0,
                    hashes: Hashes::new(algorithm),
                    place: Place::Inline(Bytes::new()),
                    cancelled: true,
                    owner: ticket.and_then(|ticket| ticket.owner.clone()),
                };
                self.driver.apply(Batch::new().put(layout::session(id.0), note.encode())).await?;
            }
        }
        self.sessions.finish(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_reads_back() {
        let mut hashes = Hashes::new(Algorithm::Sha512);
        hashes.update(b"ab\ncd");
        let record = Record {
            repository: "a/b".into(),
            started: 7,
            offset: 5,
            hashes,
            place: Place::Inline(Bytes::from_static(b"ab\ncd")),
            cancelled: false,
            owner: Some("u1".into()),
        };
        let read = Record::decode(&record.encode().into()).unwrap();
        assert_eq!((read.repository.as_str(), read.started, read.offset), ("a/b", 7, 5));
        assert_eq!(read.owner.as_deref(), Some("u1"));
        assert!(matches!(&read.place, Place::Inline(bytes) if &bytes[..] == b"ab\ncd"));
        assert_eq!(read.hashes.sha256.finish(), oci::Digest::sha256(b"ab\ncd"));
        let mut torn = record.encode();
        torn.pop();
        assert!(Record::decode(&torn.into()).is_none());
    }

    proptest! {
        #[test]
        fn damaged_records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::decode(&bytes.into());
        }
    }
}
