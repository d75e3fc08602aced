//! Sessions whose bytes are stored under their digest before anybody has asked for that.
//!
//! Most clients send a blob in one chunk and say its digest only then. What has come is nearly always the whole blob, and
//! its digest is known here by then. So on a service, where every request takes its time, it goes to the place of that blob
//! at once: the ticket has its digest, the session needs no record, and the end of it is only the link. Without the link
//! nobody has the blob; one that nobody comes to have is what garbage collection looks for. When more comes after all, the
//! bytes are read back, and the session goes on as all others do.

use crate::cache::GRANT_LIFE;
use crate::changes::ToEnd;
use crate::session::{self, Hashes};
use crate::upload::{Body, Recorded};
use crate::{Error, Result, Store, Ticket, Upload, layout};
use bytes::Bytes;
use oci::{Algorithm, Digest};
use storage::Batch;

/// Longest content that is stored so. It is read back as a whole when it was not all, and it is less than the smallest part
/// of a large object, so it goes to its place in one piece.
const WHOLE_MAX: u64 = 4 << 20;

impl Upload {
    /// Makes everything received durable, which is probably the whole blob; returns the ticket to go on with. In any case
    /// the session can go on.
    ///
    /// # Errors
    /// As [`Upload::suspend`].
    pub async fn suspend_whole(self) -> Result<Ticket> {
        ToEnd::new(self.suspended_whole()).await
    }

    async fn suspended_whole(mut self) -> Result<Ticket> {
        let is_first = !self.broken
            && self.before == 0
            && self.recorded == Recorded::Unseen
            && self.algorithm == Algorithm::Sha256;
        if !is_first || !(1..=WHOLE_MAX).contains(&self.offset) {
            return self.suspended().await;
        }
        let stored = match std::mem::replace(&mut self.body, Body::empty(Algorithm::Sha256)) {
            Body::Whole(stored) => stored,
            Body::Inline(inline) => {
                let bytes = Bytes::from(inline.bytes);
                let digest = Digest::sha256(&bytes);
                // Written in any case: what is new is not taken for garbage before the session ends.
                let batch = Batch::new().put(layout::blob_data(&digest), bytes).lock(layout::blob_lock(&digest));
                self.store.driver.apply(batch).await?;
                digest
            }
            Body::Stream(mut stream) => {
                let digest = stream.flush().await?.sha256.finish();
                stream.writer.commit(&layout::blob_data(&digest)).await?;
                digest
            }
        };
        self.store.caches.put_size(stored, self.offset);
        Ok(self.ticket(Some(stored)))
    }

    /// Goes on with what an earlier request has stored.
    pub(crate) fn take_up_whole(&mut self, ticket: Ticket) {
        let Some(stored) = ticket.stored else { return };
        (self.started, self.owner, self.algorithm) = (ticket.started, ticket.owner, ticket.algorithm);
        (self.offset, self.before, self.body) = (ticket.offset, ticket.offset, Body::Whole(stored));
    }

    /// Reads what was stored: it was not all, or its other digest is wanted.
    pub(crate) async fn read_back(&mut self, stored: &Digest, algorithm: Algorithm) -> Result<()> {
        let max = usize::try_from(WHOLE_MAX).unwrap_or(usize::MAX);
        let bytes = self.store.driver.get(&layout::blob_data(stored), max).await;
        let bytes = bytes.map_err(|error| Error::or(error, Error::UploadUnknown))?;
        if bytes.len() as u64 != self.offset {
            tracing::warn!(digest = %stored, "what an upload has stored is damaged, the upload is treated as ended");
            return Err(Error::UploadUnknown);
        }
        self.algorithm = Hashes::new(algorithm).algorithm();
        self.body = Body::empty(algorithm);
        self.add(&bytes).await
    }
}

impl Store {
    /// Makes sure that content is there which a session of this age has stored; nobody else need have it. What was stored
    /// seconds ago is not garbage yet.
    pub(crate) async fn is_still_stored(&self, canonical: &Digest, started: u64) -> Result<()> {
        let is_new = session::now().abs_diff(started) < GRANT_LIFE.as_secs();
        if is_new || self.caches.size(canonical).is_some() {
            return Ok(());
        }
        match self.blob_size_at_the_truth(canonical).await {
            Err(Error::BlobUnknown) => Err(Error::UploadUnknown),
            other => other.map(drop),
        }
    }
}
