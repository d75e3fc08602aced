//! Large objects: gathered to parts, sent while the next one is filled, visible when all are there.
//!
//! With the final key known the parts go there, and nothing is seen before the end. Otherwise they go to a session
//! object, which the service copies at the end. What is smaller than a part is sent at the end, as one piece.

use crate::apply;
use crate::claim;
use crate::driver::Shared;
use crate::error::{kind_of, status, wrap};
use crate::filling::Filling;
use crate::handle::{self, HEAD_MAX, Handle, Part, Tails, UPLOADS};
use crate::parts::{MIN_PART, Sizes};
use crate::read;
use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{PutMultipartOptions, PutOptions, PutPayload};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use storage::{Buffer, Error, ErrorKind, Result, Task, Writer};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How often a large object is looked for that an attempt before has perhaps ended, and the pause before the second time,
/// which grows.
const FINISHED_LOOKS: u32 = 5;
const FINISHED_PAUSE: Duration = Duration::from_millis(200);

/// The driver's [`Writer`].
pub(crate) struct BucketWriter {
    shared: Arc<Shared>,
    id: Uuid,
    /// Where it goes, if that is known.
    key: Option<String>,
    /// The service's name of the upload, once a part was sent.
    upload: Option<String>,
    /// Parts that are in the service.
    parts: Vec<Part>,
    /// Parts on their way, in order.
    in_flight: VecDeque<JoinHandle<Result<Part>>>,
    filling: Filling,
    sizes: Sizes,
    announced: Option<u64>,
    len: u64,
    tails: Tails,
    failed: Option<Error>,
    /// A handle is out, or all is done: a drop removes nothing.
    keep: bool,
}

impl BucketWriter {
    pub(crate) fn create(shared: &Arc<Shared>, key: Option<&str>, announced: Option<u64>) -> Self {
        Self {
            shared: Arc::clone(shared),
            id: Uuid::new_v4(),
            key: key.map(str::to_owned),
            upload: None,
            parts: Vec::new(),
            in_flight: VecDeque::new(),
            filling: Filling::default(),
            sizes: Sizes::new(shared.part_bytes, announced, shared.parts_max),
            announced,
            len: 0,
            tails: Tails::default(),
            failed: None,
            keep: false,
        }
    }

    pub(crate) async fn resume(shared: &Arc<Shared>, text: &str, offset: u64) -> Result<Self> {
        let handle = Handle::decode(text)?;
        let total = handle.total();
        let tail_key = handle.tail_key()?;
        let _tail = if handle.tail > 0 { Some(shared.budget.tail().await?) } else { None };
        let (_, content) = read::read(shared, &tail_key, MIN_PART + HEAD_MAX).await?;
        let (parts, tail) = handle.read_tail(&content)?;
        let whole = total - tail.len() as u64;
        if offset > total || offset < whole {
            return Err(Error::new(ErrorKind::NotFound, "resume", &tail_key, "other bytes than were received"));
        }
        let mut writer = Self::create(shared, handle.key.as_deref(), None);
        writer.id = handle.id;
        writer.upload = handle.upload;
        writer.parts = parts;
        writer.len = whole;
        writer.tails = handle.tails;
        writer.keep = true;
        let tail = tail.slice(..usize::try_from(offset - whole).unwrap_or(0).min(tail.len()));
        drop(content);
        writer.take(&tail).await?;
        Ok(writer)
    }

    /// The key that the parts go to.
    fn place(&self) -> String {
        self.key.clone().unwrap_or_else(|| handle::session_key(self.id))
    }

    fn path(&self) -> Result<Path> {
        self.shared.keys.path(&self.place())
    }

    /// Index of the part that is being filled.
    fn index(&self) -> usize {
        self.parts.len() + self.in_flight.len()
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            if self.filling.is_aligned() {
                self.make_room().await?;
                self.filling.begin(self.shared.pool.take());
            }
            let count = self.filling.fill(&bytes[at..]);
            at += count;
            self.len += count as u64;
            self.send_if_full().await?;
        }
        Ok(())
    }

    /// Memory for one more buffer; see [`crate::budget`].
    async fn make_room(&mut self) -> Result<()> {
        if self.filling.has_room() {
            return Ok(());
        }
        if self.filling.len() > 0 {
            if self.filling.share.is_short() {
                self.shared.budget.more(&mut self.filling.share).await;
                return Ok(());
            }
            if self.shared.budget.try_more(&mut self.filling.share) {
                return Ok(());
            }
            if self.filling.len() < MIN_PART || !self.sizes.may_be_short(self.index()) {
                self.announced = None;
                let units = self.sizes.reserve(self.index(), None);
                return self.shared.budget.overflow(&mut self.filling.share, units).await;
            }
            self.send_part().await?;
        }
        let left = self.announced.map(|announced| announced.saturating_sub(self.len));
        self.filling = Filling::new(self.shared.budget.begin(self.sizes.reserve(self.index(), left)).await?);
        Ok(())
    }

    async fn send_if_full(&mut self) -> Result<()> {
        if self.filling.len() < self.sizes.of(self.index()) { Ok(()) } else { self.send_part().await }
    }

    async fn send_part(&mut self) -> Result<()> {
        let index = self.index();
        let path = self.path()?;
        if index >= self.shared.parts_max {
            return Err(Error::new(ErrorKind::TooLarge, "write", path.as_ref(), "more parts than a service takes"));
        }
        let upload = self.begin(&path).await?;
        let shared = Arc::clone(&self.shared);
        let filling = std::mem::take(&mut self.filling);
        let size = u32::try_from(filling.len()).unwrap_or(u32::MAX);
        self.in_flight.push_back(tokio::spawn(async move {
            let (payload, share) = filling.end();
            let sent = shared.bucket.parts().put_part(&path, &upload, index, payload).await;
            drop(share);
            let part = sent.map_err(|error| wrap("write part of", path.as_ref(), &error))?;
            Ok(Part { size, mark: part.content_id })
        }));
        self.wait_for(self.sizes.in_flight(index)).await
    }

    async fn begin(&mut self, path: &Path) -> Result<String> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        let attributes = apply::attributes(&self.shared, None);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let upload = self.shared.bucket.parts().create_multipart_opts(path, options).await;
        let upload = upload.map_err(|error| wrap("begin", path.as_ref(), &error))?;
        Ok(self.upload.insert(upload).clone())
    }

    async fn wait_for(&mut self, in_flight_max: usize) -> Result<()> {
        while self.in_flight.len() > in_flight_max {
            let Some(job) = self.in_flight.front_mut() else { break };
            let result = job.await.unwrap_or_else(|error| Err(Error::io("write", UPLOADS, io::Error::other(error))));
            self.in_flight.pop_front();
            match result {
                Ok(part) => self.parts.push(part),
                Err(error) => return Err(self.fail(error)),
            }
        }
        self.check()
    }

    fn fail(&mut self, error: Error) -> Error {
        let again = error.duplicate();
        self.failed.get_or_insert(error);
        again
    }

    fn check(&self) -> Result<()> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(error.duplicate()))
    }

    async fn put(&self, key: &str, payload: PutPayload) -> Result<()> {
        let path = self.shared.keys.path(key)?;
        let options = PutOptions { attributes: apply::attributes(&self.shared, None), ..PutOptions::default() };
        let put = self.shared.bucket.objects().put_opts(&path, payload, options).await;
        put.map(drop).map_err(|error| wrap("write", key, &error))
    }

    async fn suspend_now(&mut self) -> Result<String> {
        self.check()?;
        if self.filling.len() >= MIN_PART {
            self.send_part().await?;
        }
        self.wait_for(0).await?;
        let tail = u32::try_from(self.filling.len()).unwrap_or(u32::MAX);
        let (name, tails) = self.tails.next();
        self.put(&handle::tail_key(self.id, name), self.filling.copy(handle::head(&self.parts))).await?;
        // Whoever has the handle that names it went on from a later one.
        if let Some(outdated) = self.tails.outdated() {
            apply::delete(&self.shared, &handle::tail_key(self.id, outdated)).await?;
        }
        self.tails = tails;
        self.keep = true;
        let handle = Handle::new(self.id, self.key.clone(), self.upload.clone(), self.tails);
        Ok(handle.with(&self.parts, tail).encode())
    }

    async fn commit_now(&mut self, key: &str) -> Result<()> {
        self.check()?;
        if self.key.as_deref().is_some_and(|known| known != key) {
            return Err(Error::new(ErrorKind::InvalidKey, "commit", key, "another key than the writer was made for"));
        }
        if self.upload.is_none() {
            self.put(key, self.filling.copy(Bytes::new())).await?;
        } else {
            if self.tails.any() {
                claim::take(&self.shared, self.id, key).await?;
            }
            let finished = match self.send_rest().await {
                Ok(()) => self.finish().await,
                // Nothing takes parts any more, perhaps since the object is there. A service that says so before it has
                // heard all of a part breaks the line.
                Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Unavailable) => Err(error),
                other => return other,
            };
            if let Err(error) = finished
                && !self.is_finished(&error).await
            {
                return Err(error);
            }
            if self.key.is_none() {
                let (from, to) = (self.path()?, self.shared.keys.path(key)?);
                let copied = self.shared.bucket.copy(&from, &to, self.len).await;
                copied.map_err(|error| wrap("publish", key, &error))?;
            }
        }
        self.filling = Filling::default();
        self.keep = true;
        let session = self.upload.is_some() && self.key.is_none();
        let claimed = self.upload.is_some() && self.tails.any();
        if let Err(error) = forget(&self.shared, self.id, session, claimed, self.tails).await {
            tracing::warn!(%error, "what is left of an upload stays until it is old");
        }
        Ok(())
    }

    async fn send_rest(&mut self) -> Result<()> {
        if self.filling.len() > 0 {
            self.send_part().await?;
        }
        self.wait_for(0).await
    }

    /// Makes one object of all parts.
    async fn finish(&mut self) -> Result<()> {
        let path = self.path()?;
        let marks = self.parts.iter().map(|part| PartId { content_id: part.mark.clone() }).collect();
        let upload = self.upload.clone().unwrap_or_default();
        // Who gets no answer does not know how it ends: the parts may still be needed.
        let kept = std::mem::replace(&mut self.keep, true);
        let completed = self.shared.bucket.parts().complete_multipart(&path, &upload, marks).await;
        if completed.as_ref().is_err_and(|error| kind_of(error) == ErrorKind::NoSpace) {
            self.keep = kept;
        }
        completed.map(drop).map_err(|error| wrap("complete", path.as_ref(), &error))
    }

    /// The object is where the parts went to, by an attempt whose answer was lost. A session object has a name of its own,
    /// and a final key names its content. The service may still be at it while it refuses what is asked for again.
    async fn is_finished(&self, error: &Error) -> bool {
        let refused = status(&error.source.to_string()).is_some_and(|status| (400..500).contains(&status));
        let looks = if refused && error.kind != ErrorKind::NoSpace { FINISHED_LOOKS } else { 1 };
        for look in 0..looks {
            tokio::time::sleep(FINISHED_PAUSE * look).await;
            match read::stat(&self.shared, &self.place()).await {
                Ok(stat) => return stat.size == self.len,
                Err(error) if error.is_not_found() => {}
                Err(_) => return false,
            }
        }
        false
    }

    fn stop(&mut self) {
        for job in self.in_flight.drain(..) {
            job.abort();
        }
        self.filling = Filling::default();
    }

    /// What removes all that is in the service.
    fn removal(&mut self) -> impl Future<Output = Result<()>> + Send + use<> {
        let in_flight = std::mem::take(&mut self.in_flight);
        self.stop();
        let (shared, id, place, tails) = (Arc::clone(&self.shared), self.id, self.place(), self.tails);
        let upload = self.upload.take();
        async move {
            // A part that arrives after that would stay.
            for job in in_flight {
                drop(job.await);
            }
            let claimed = upload.is_some() && tails.any();
            if claimed && !may_discard(&shared, id).await? {
                return Ok(());
            }
            if let Some(upload) = upload {
                give_up(&shared, &place, &upload).await?;
            }
            forget(&shared, id, false, claimed, tails).await
        }
    }
}

/// Tells the service that the parts are not needed.
async fn give_up(shared: &Shared, place: &str, upload: &str) -> Result<()> {
    let path = shared.keys.path(place)?;
    match shared.bucket.parts().abort_multipart(&path, &upload.to_owned()).await {
        Err(error) if kind_of(&error) != ErrorKind::NotFound => Err(wrap("give up", place, &error)),
        _ => Ok(()),
    }
}

/// Makes sure that nothing comes of the upload; false when somebody else is about to end it, who removes what is left.
async fn may_discard(shared: &Shared, id: Uuid) -> Result<bool> {
    match claim::take(shared, id, claim::DISCARDED).await {
        Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
        other => other.map(|()| true),
    }
}

/// Removes the objects beside the parts; the claim last, so that nobody ends the upload while it goes.
async fn forget(shared: &Shared, id: Uuid, session: bool, claimed: bool, tails: Tails) -> Result<()> {
    let keys = session.then(|| handle::session_key(id)).into_iter().chain(tails.keys(id));
    let deletes = keys.map(|key| async move { apply::delete(shared, &key).await });
    futures_util::future::try_join_all(deletes).await?;
    if claimed { apply::delete(shared, &handle::end_key(id)).await } else { Ok(()) }
}

/// [`storage::Driver::discard`].
pub(crate) async fn discard(shared: &Shared, text: &str) -> Result<()> {
    // What is left of an upload that cannot be told goes when it is old.
    let Ok(handle) = Handle::decode(text) else { return Ok(()) };
    let place = handle.key.clone().unwrap_or_else(|| handle::session_key(handle.id));
    let claimed = handle.upload.is_some();
    if claimed && !may_discard(shared, handle.id).await? {
        return Ok(());
    }
    if let Some(upload) = &handle.upload {
        give_up(shared, &place, upload).await?;
    }
    forget(shared, handle.id, claimed && handle.key.is_none(), claimed, handle.tails).await
}

impl Writer for BucketWriter {
    fn append(&mut self, buffer: Arc<Buffer>) -> Task<'_, ()> {
        Box::pin(async move {
            self.check()?;
            let taken = if buffer.is_full() && self.filling.is_aligned() {
                match self.make_room().await {
                    Ok(()) => {
                        self.len += buffer.len() as u64;
                        self.filling.push(buffer);
                        self.send_if_full().await
                    }
                    Err(error) => Err(error),
                }
            } else {
                self.take(&buffer).await
            };
            taken.map_err(|error| self.fail(error))
        })
    }

    fn suspend(&mut self) -> Task<'_, String> {
        Box::pin(async move {
            let handle = self.suspend_now().await;
            handle.map_err(|error| self.fail(error))
        })
    }

    fn commit<'a>(mut self: Box<Self>, key: &'a str) -> Task<'a, ()> {
        Box::pin(async move { self.commit_now(key).await })
    }

    fn abort(mut self: Box<Self>) -> Task<'static, ()> {
        self.keep = true;
        Box::pin(self.removal())
    }

    fn len(&self) -> u64 {
        self.len
    }
}

impl Drop for BucketWriter {
    fn drop(&mut self) {
        if self.keep || self.upload.is_none() {
            return self.stop();
        }
        // Without a runtime nobody is there who could; the parts go when they are old.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let removal = self.removal();
            runtime.spawn(async move {
                if let Err(error) = removal.await {
                    tracing::debug!(%error, "what is left of an upload stays until it is old");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::testing::{self, Sink};
    use storage::{BUFFER_BYTES, BufferPool};

    fn buffer(pool: &Arc<BufferPool>, len: usize) -> Arc<Buffer> {
        let mut buffer = pool.take();
        buffer.fill(&vec![7; len]);
        Arc::new(buffer)
    }

    /// Writers of all sorts: with and without an announcement, with a wrong one, with small buffers in between.
    #[tokio::test(start_paused = true)]
    async fn a_hundred_writers_share_little_memory() {
        const BUDGET: u64 = 20 << 20;
        let sink = Arc::new(Sink::default());
        let shared = testing::shared(&sink, Budget::new(BUDGET), 8 << 20);
        let pool = BufferPool::new(4);
        let (full, small) = (buffer(&pool, BUFFER_BYTES), buffer(&pool, 100_000));
        let mut tasks = Vec::new();
        for number in 0..100_u64 {
            let (shared, full, small) = (Arc::clone(&shared), Arc::clone(&full), Arc::clone(&small));
            tasks.push(tokio::spawn(async move {
                let size = if number % 3 == 0 { 3 << 20 } else { 13 * BUFFER_BYTES as u64 };
                let announced = [None, Some(size), Some(100_000)][usize::try_from(number % 7 % 3).unwrap()];
                let mut writer: Box<dyn Writer> = Box::new(BucketWriter::create(&shared, Some("k/data"), announced));
                while writer.len() < size {
                    let next = if writer.len().is_multiple_of(5) { &full } else { &small };
                    let next = if number % 2 == 0 { &full } else { next };
                    writer.append(Arc::clone(next)).await?;
                    tokio::task::yield_now().await;
                }
                writer.commit("k/data").await
            }));
        }
        let mut done = 0;
        for task in tasks {
            let result = tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
            done += usize::from(result.is_ok());
        }
        assert!(done > 60, "only those may fail that brought more than they had said: {done}");
        assert!(sink.most() <= BUDGET && sink.most() > 0, "{}", sink.most());
        assert_eq!(shared.budget.used(), 0);
    }

    #[tokio::test]
    async fn parts_have_the_wanted_size_and_go_short_when_memory_is() {
        let pool = BufferPool::new(4);
        let full = buffer(&pool, BUFFER_BYTES);
        for (budget, expected) in [(64 << 20, vec![8, 8, 4]), (5 << 20, vec![5, 5, 5, 5])] {
            let sink = Arc::new(Sink::default());
            let shared = testing::shared(&sink, Budget::new(budget), 8 << 20);
            let mut writer = Box::new(BucketWriter::create(&shared, Some("k/data"), None));
            for _ in 0..20 {
                writer.append(Arc::clone(&full)).await.unwrap();
            }
            writer.commit("k/data").await.unwrap();
            let sizes: Vec<u64> = sink.sizes().into_iter().map(|size| size >> 20).collect();
            assert_eq!(sizes, expected);
        }
    }

    #[tokio::test]
    async fn a_dropped_writer_gives_its_upload_up() {
        let sink = Arc::new(Sink::default());
        let shared = testing::shared(&sink, Budget::new(64 << 20), 5 << 20);
        let full = buffer(&BufferPool::new(1), BUFFER_BYTES);
        let mut writer = BucketWriter::create(&shared, None, None);
        for _ in 0..6 {
            writer.append(Arc::clone(&full)).await.unwrap();
        }
        assert_eq!(sink.begun(), 1);
        drop(writer);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while sink.begun() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "the upload stays");
            tokio::task::yield_now().await;
        }
        let other = Box::new(BucketWriter::create(&shared, Some("a/b"), None)).commit("a/c").await;
        assert_eq!(other.unwrap_err().kind, ErrorKind::InvalidKey);
    }
}
