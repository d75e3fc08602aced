//! The way of small changes to the disk: through the journal while this process is alone on the folder, else each with
//! syncs of its own. Why not a journal for each process: a power cut would bring back the older of two changes when the log
//! of its process still has it and the log of the other one is empty already (see [`super::members`]).
//!
//! The first change tries to get the folder alone. Then a thread looks whether somebody waits; if so, what is under way is
//! finished, the log removed and the folder shared. As long as it is shared, changes try from time to time to get it back.

use super::condition::resolve;
use super::disk::{Disk, TEMP};
use super::journal::{Journal, Submitted};
use super::locks::lock_names;
use super::members::{Members, is_wanted, turn};
use super::tree;
use crate::locks::Held;
use crate::{Batch, Error, ErrorKind, Op, PutMode, Result};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::RwLock;

/// How often a process that is alone looks whether somebody waits.
const LOOK: Duration = Duration::from_millis(100);
/// How long to leave the folder shared before the next try to get it alone. A try has to wait for what is under way, so
/// each that fails doubles the time, up to the longest.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(16);

/// Carries out small changes.
pub(super) struct Changes {
    disk: Arc<Disk>,
    /// `None` on network file systems: other machines do not see our page cache, nor can they replay our log in time.
    journal: Option<Journal>,
    /// After the journal, since it is dropped after it. `None` once closed.
    members: Mutex<Option<Members>>,
    /// Shared by changes with syncs of their own; held alone to change the way.
    way: Arc<RwLock<()>>,
    /// How long to wait for a name that another process holds.
    wait_max: Duration,
    retry: Mutex<Retry>,
    /// Ends the watching thread when dropped.
    watched: Mutex<Option<Sender<()>>>,
    closed: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// No try to get the folder alone before `at`; the next one after `pause`.
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Retry {
    fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }

    fn failed(&mut self) {
        self.at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    fn restart(&mut self) {
        self.pause = RETRY;
        self.failed();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopping(key: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "write", key, "homeport is stopping")
}

impl Changes {
    pub(super) fn new(disk: Arc<Disk>, members: Members, journal: Option<Journal>, wait_max: Duration) -> Self {
        Self {
            disk,
            journal,
            members: Mutex::new(Some(members)),
            way: Arc::default(),
            wait_max,
            retry: Mutex::new(Retry { at: Instant::now(), pause: RETRY }),
            watched: Mutex::default(),
            closed: false.into(),
            failure: Mutex::default(),
        }
    }

    /// Carries out a batch; it is durable and visible on return.
    pub(super) async fn apply(self: &Arc<Self>, mut batch: Batch, mut held: Held) -> Result<()> {
        let key = batch.ops.first().map_or("", Op::key).to_owned();
        loop {
            self.check(&key)?;
            if let Some(journal) = &self.journal
                && (journal.is_running() || self.enter(&key).await?)
            {
                // From the decision to the deletion nobody may join.
                let stays = if is_conditional(&batch) { Some(self.way.read().await) } else { None };
                if !journal.is_running() {
                    continue;
                }
                let (logged, asked) = match stays {
                    Some(_) => (self.resolve(batch.clone(), &key).await?, Some(batch)),
                    None => (batch, None),
                };
                match journal.submit(logged, held).await {
                    Submitted::Done(result) => return result,
                    Submitted::Returned(refused, locks) => (batch, held) = (asked.unwrap_or(refused), locks),
                }
            }
            // Before the way: whoever wants to change it waits for nobody who waits for a name.
            let names = lock_names(&self.disk, &batch, self.wait_max).await;
            let names = names.map_err(|error| Error::io("lock", &key, error))?;
            let way = Arc::clone(&self.way).read_owned().await;
            if self.journal.as_ref().is_some_and(Journal::is_running) {
                continue;
            }
            self.check(&key)?;
            let this = Arc::clone(self);
            let direct = move || {
                let _until_done = (way, held, names);
                this.apply_synced(&batch)
            };
            return blocking(&key, direct).await;
        }
    }

    fn check(&self, key: &str) -> Result<()> {
        if let Some(error) = lock(&self.failure).as_ref() {
            return Err(error.duplicate());
        }
        if self.closed.load(Ordering::SeqCst) { Err(stopping(key)) } else { Ok(()) }
    }

    /// What to log instead of a batch with conditions: a replay could not tell what they were about.
    async fn resolve(&self, batch: Batch, key: &str) -> Result<Batch> {
        let disk = Arc::clone(&self.disk);
        blocking(key, move || {
            resolve(&disk, batch).map_err(|(key, error)| Error::io("look at", &key, disk.verify_missing(error)))
        })
        .await
    }

    fn apply_synced(&self, batch: &Batch) -> Result<()> {
        self.disk.make_dirs(TEMP).map_err(|error| Error::io("create", TEMP, error))?;
        let way = tree::Way::Synced(SystemTime::now());
        batch
            .ops
            .iter()
            .try_for_each(|op| tree::apply(&self.disk, op, way).map_err(|error| Error::io("write", op.key(), error)))
    }

    /// Tries to get the folder alone and to start the journal.
    async fn enter(self: &Arc<Self>, key: &str) -> Result<bool> {
        if !lock(&self.retry).is_due() {
            return Ok(false);
        }
        let way = Arc::clone(&self.way).write_owned().await;
        // Somebody may have been faster.
        self.check(key)?;
        let Some(journal) = &self.journal else { return Ok(false) };
        if journal.is_running() || !lock(&self.retry).is_due() {
            return Ok(journal.is_running());
        }
        let (this, name) = (Arc::clone(self), key.to_owned());
        let start = move || {
            let _until_done = way;
            this.start().map_err(|error| Error::io("start the journal for", &name, error))
        };
        blocking(key, start).await
    }

    fn start(self: &Arc<Self>) -> io::Result<bool> {
        let turn = turn(&self.disk)?;
        let members = lock(&self.members);
        let (Some(members), Some(journal)) = (members.as_ref(), &self.journal) else { return Ok(false) };
        let alone = members.try_alone(&turn);
        if !matches!(alone, Ok(true)) {
            lock(&self.retry).failed();
            return alone.inspect_err(|error| self.fail("share the folder of", error));
        }
        let (sender, receiver) = channel();
        let (this, waiting) = (Arc::downgrade(self), members.waiting());
        let started = std::thread::Builder::new()
            .name("members".into())
            .stack_size(256 * 1024)
            .spawn(move || watch(&this, &waiting, &receiver))
            .and_then(|_| journal.start(&turn));
        if let Err(error) = started {
            members.share(&turn).inspect_err(|error| self.fail("share the folder of", error))?;
            return Err(error);
        }
        *lock(&self.watched) = Some(sender);
        Ok(true)
    }

    /// Goes back to changes with syncs of their own, and lets others in.
    fn leave(&self) {
        let _way = self.way.blocking_write();
        let Some(journal) = &self.journal else { return };
        // On an error the folder stays ours: the log is needed, and nobody may write past it.
        if let Err(error) = journal.retire() {
            tracing::error!(error = %error.source, "another process has to wait: the journal cannot be emptied");
            return;
        }
        lock(&self.retry).restart();
        let shared = turn(&self.disk).and_then(|turn| lock(&self.members).as_ref().map_or(Ok(()), |m| m.share(&turn)));
        match shared {
            Ok(()) => tracing::info!("another process works on the data folder: every change is synced by itself"),
            Err(error) => self.fail("share the folder of", &error),
        }
    }

    fn fail(&self, operation: &'static str, error: &io::Error) {
        tracing::error!(%error, "writes are refused until a restart");
        let copy = io::Error::new(error.kind(), error.to_string());
        *lock(&self.failure) = Some(Error::io(operation, "journal", copy));
    }

    /// Returns when no record deletes `key` any more, see [`Journal::forget_deletes`].
    pub(super) fn forget_deletes(&self, key: &str) -> Result<()> {
        self.check(key)?;
        self.journal.as_ref().map_or(Ok(()), |journal| journal.forget_deletes(key))?;
        // Once we have left, others may log what we do not see.
        self.check(key)
    }

    /// Nobody else can change the folder now. Who has a journal is alone.
    pub(super) fn is_alone(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_running)
    }

    /// Why nothing can be written any more.
    pub(super) fn failure(&self) -> Option<Error> {
        let own = lock(&self.failure).as_ref().map(Error::duplicate);
        own.or_else(|| self.journal.as_ref().and_then(Journal::failure))
    }

    /// Finishes what is under way, removes the log and gives the place back.
    pub(super) fn close(&self) -> Result<()> {
        let _way = self.way.blocking_write();
        self.closed.store(true, Ordering::SeqCst);
        lock(&self.watched).take();
        self.journal.as_ref().map_or(Ok(()), Journal::retire)?;
        lock(&self.members).take();
        Ok(())
    }
}

fn is_conditional(batch: &Batch) -> bool {
    batch.ops.iter().any(|op| matches!(op, Op::DeleteTreeIf { .. } | Op::Put { mode: PutMode::Create, .. }))
}

fn watch(changes: &Weak<Changes>, waiting: &File, ended: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
        if is_wanted(waiting) {
            if let Some(changes) = changes.upgrade() {
                changes.leave();
            }
            return;
        }
    }
}

async fn blocking<T: Send + 'static>(key: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::io("wait for", key, io::Error::other(error))))
}
