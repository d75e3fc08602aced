//! A log in front of the tree, so that small changes share one sync.
//!
//! 1. A change is appended to the log, and the log is synced once for all that wait.
//! 2. Only then the tree is changed. So whatever anybody can see is durable, and a change that builds on what its
//!    writer saw is never durable without it.
//! 3. Then the change is acknowledged.
//!
//! The log has two segments. When one is full, or nothing happens for a moment, the other takes over; once all changes
//! of the first are in the tree the file system is synced and the segment is free again. A clean stop removes the log: what
//! is left is a plain distribution tree. A start replays the logs of processes that are gone (see [`recover`]).
//!
//! Only a process that is alone on the folder has a log, `homeport/v1/journal/<id>/{owner,0,1}` (see
//! [`super::members`]); it holds a lock on `owner` as long as the log is in use.

mod record;
mod recover;
mod segment;

pub(super) use recover::{recover, warn_of_logs};

use super::disk::{Disk, TEMP, parent};
use super::members::Turn;
use super::tree;
use crate::locks::Held;
use crate::{Batch, Error, ErrorKind, Op, Result};
use segment::Segment;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub(super) const JOURNALS: &str = "homeport/v1/journal";

/// A segment larger than this is exchanged.
const SEGMENT_BYTES_MAX: u64 = 48 << 20;
/// Most bytes that wait for the next sync; submitters beyond it wait.
const BUFFERED_BYTES_MAX: usize = 16 << 20;
/// With nothing to do for this long, the tree is synced and the log emptied.
const IDLE: Duration = Duration::from_millis(500);
/// Threads that change the tree.
const WORKERS: usize = 3;

/// The log of this process; its files and threads are there between `start` and `retire`.
pub(super) struct Journal {
    disk: Arc<Disk>,
    age_max: Duration,
    running: Mutex<Option<Running>>,
}

/// What became of a batch.
pub(super) enum Submitted {
    Done(Result<()>),
    /// No log is in use, nothing was done.
    Returned(Batch, Held),
}

struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    disk: Arc<Disk>,
    /// Under steady load the log is emptied this often.
    age_max: Duration,
    dir: String,
    /// Locked as long as this process lives.
    _owner: std::fs::File,
    segments: [Segment; 2],
    queue: Mutex<Queue>,
    queued: Condvar,
    space: tokio::sync::Notify,
    work: Mutex<Work>,
    work_ready: Condvar,
    /// Changes of each segment that are logged but not yet in the tree.
    unapplied: [AtomicUsize; 2],
    checkpoint: Mutex<Checkpoint>,
    checkpoint_changed: Condvar,
    /// What the records of each segment delete.
    deleted: Mutex<[HashSet<String>; 2]>,
    failure: Mutex<Option<Error>>,
}

#[derive(Default)]
struct Queue {
    pending: Vec<Pending>,
    aborted: Vec<Aborted>,
    bytes: usize,
    /// Somebody waits for the log to be emptied.
    exchange: bool,
    closing: bool,
}

/// A batch that failed in the tree. What it did there is seen already, so it has to last; the rest must not come.
struct Aborted {
    id: u64,
    applied: usize,
}

struct Pending {
    batch: Batch,
    reply: oneshot::Sender<Result<()>>,
    held: Held,
}

#[derive(Default)]
struct Work {
    jobs: VecDeque<Job>,
    closing: bool,
}

struct Job {
    pending: Pending,
    id: u64,
    segment: usize,
}

#[derive(Default)]
struct Checkpoint {
    /// Segments to be emptied.
    wanted: [bool; 2],
    closing: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    pub(super) fn new(disk: Arc<Disk>, age_max: Duration) -> Self {
        Self { disk, age_max, running: Mutex::new(None) }
    }

    /// Logs, applies and acknowledges one batch.
    pub(super) async fn submit(&self, batch: Batch, held: Held) -> Submitted {
        let Some(shared) = self.shared() else { return Submitted::Returned(batch, held) };
        if let Some(error) = lock(&shared.failure).as_ref() {
            return Submitted::Done(Err(error.duplicate()));
        }
        let key = batch.ops.first().map_or("", |op| op.key()).to_owned();
        let bytes = record::encoded_len(&batch);
        let (reply, answer) = oneshot::channel();
        loop {
            let space = shared.space.notified();
            tokio::pin!(space);
            space.as_mut().enable();
            {
                let mut queue = lock(&shared.queue);
                if queue.closing {
                    return Submitted::Returned(batch, held);
                }
                if queue.bytes == 0 || queue.bytes + bytes <= BUFFERED_BYTES_MAX {
                    queue.bytes += bytes;
                    queue.pending.push(Pending { batch, reply, held });
                    shared.queued.notify_one();
                    break;
                }
            }
            space.await;
        }
        let stopped = || Error::new(ErrorKind::Unavailable, "write", &key, "the journal has stopped");
        Submitted::Done(answer.await.unwrap_or_else(|_| Err(stopped())))
    }

    /// Returns when no record deletes `key` any more. What is written past the log needs that: a replay would delete
    /// it again.
    pub(super) fn forget_deletes(&self, key: &str) -> Result<()> {
        loop {
            let Some(shared) = self.shared() else { return Ok(()) };
            let Some(segment) = shared.deletes(key) else { return Ok(()) };
            if let Some(error) = lock(&shared.failure).as_ref() {
                return Err(error.duplicate());
            }
            let checkpoint = lock(&shared.checkpoint);
            if !checkpoint.wanted[segment] {
                lock(&shared.queue).exchange = true;
                shared.queued.notify_one();
            }
            drop(shared.checkpoint_changed.wait_timeout(checkpoint, Duration::from_millis(20)));
        }
    }

    /// Why nothing can be written any more.
    pub(super) fn failure(&self) -> Option<Error> {
        let running = lock(&self.running);
        let shared = &running.as_ref()?.shared;
        let failure = lock(&shared.failure);
        failure.as_ref().map(Error::duplicate)
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        lock(&self.running).as_ref().map(|running| Arc::clone(&running.shared))
    }

    /// Between `start` and `retire`.
    pub(super) fn is_running(&self) -> bool {
        lock(&self.running).is_some()
    }

    /// Makes the log. Only for a process that is alone on the folder.
    pub(super) fn start(&self, turn: &Turn) -> io::Result<()> {
        let shared = Arc::new(Shared::create(Arc::clone(&self.disk), self.age_max, turn)?);
        let threads = spawn(&shared)?;
        *lock(&self.running) = Some(Running { shared, threads });
        Ok(())
    }

    /// Applies everything, syncs the tree and removes the log. After an error the log stays, and every batch fails.
    pub(super) fn retire(&self) -> Result<()> {
        let (shared, threads) = match lock(&self.running).as_mut() {
            Some(running) => (Arc::clone(&running.shared), std::mem::take(&mut running.threads)),
            None => return Ok(()),
        };
        lock(&shared.queue).closing = true;
        shared.queued.notify_all();
        for thread in threads {
            drop(thread.join());
        }
        if let Some(error) = lock(&shared.failure).as_ref() {
            return Err(error.duplicate());
        }
        let disk = &shared.disk;
        let removed =
            disk.sync_all().and_then(|()| disk.remove_tree(&shared.dir)).and_then(|()| disk.sync_dirs(JOURNALS));
        removed.map_err(|error| shared.fail("close", error))?;
        // Only now: who looks for deletions in the log has to find them until it is gone.
        *lock(&self.running) = None;
        Ok(())
    }
}

impl Drop for Journal {
    /// Without a clean close the log stays for the next start, as after a crash; only the threads end.
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            lock(&running.shared.queue).closing = true;
            running.shared.queued.notify_all();
            for thread in running.threads {
                drop(thread.join());
            }
        }
    }
}

impl Shared {
    /// The turn keeps a starting process from taking the half-made folder for one that somebody left.
    fn create(disk: Arc<Disk>, age_max: Duration, _turn: &Turn) -> io::Result<Self> {
        let dir = format!("{JOURNALS}/{}", uuid::Uuid::new_v4());
        let created = Self::create_in(Arc::clone(&disk), &dir, age_max);
        if created.is_err() {
            drop(disk.remove_tree(&dir));
        }
        created
    }

    fn create_in(disk: Arc<Disk>, dir: &str, age_max: Duration) -> io::Result<Self> {
        disk.make_dirs(TEMP)?;
        disk.make_dirs(dir)?;
        let owner_path = format!("{dir}/owner");
        let owner = disk.write_new(&owner_path, std::process::id().to_string().as_bytes())?;
        // It may wait for one who opens the folder for reading only, and looks.
        rustix::fs::flock(&owner, rustix::fs::FlockOperation::LockExclusive)?;
        disk.sync_file(&owner, &owner_path)?;
        let segments = [Segment::create(&disk, format!("{dir}/0"))?, Segment::create(&disk, format!("{dir}/1"))?];
        disk.sync_dirs(dir)?;
        disk.sync_dirs(parent(TEMP))?;
        Ok(Self {
            disk,
            age_max,
            dir: dir.to_owned(),
            _owner: owner,
            segments,
            queue: Mutex::default(),
            queued: Condvar::new(),
            space: tokio::sync::Notify::new(),
            work: Mutex::default(),
            work_ready: Condvar::new(),
            unapplied: Default::default(),
            checkpoint: Mutex::default(),
            checkpoint_changed: Condvar::new(),
            deleted: Mutex::default(),
            failure: Mutex::new(None),
        })
    }

    /// The segment with a record that deletes `key`, or something that it is in.
    fn deletes(&self, key: &str) -> Option<usize> {
        let deleted = lock(&self.deleted);
        let ends = key.match_indices('/').map(|(end, _)| end).chain([key.len()]);
        let mut names = ends.map(|end| &key[..end]);
        names.find_map(|name| (0..2).find(|index| deleted[*index].contains(name)))
    }

    fn fail(&self, operation: &'static str, error: io::Error) -> Error {
        let error = Error::io(operation, &self.dir, error);
        tracing::error!(operation, error = %error.source, "the journal failed; writes are refused until a restart");
        *lock(&self.failure) = Some(error.duplicate());
        error
    }
}

fn spawn(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let start = |name: String, work: fn(&Shared)| {
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name(name).stack_size(256 * 1024).spawn(move || work(&shared))
    };
    let mut threads = vec![start("journal".into(), write_loop)?, start("checkpoint".into(), checkpoint_loop)?];
    for index in 0..WORKERS {
        threads.push(start(format!("tree-{index}"), tree_loop)?);
    }
    Ok(threads)
}

/// Collects what waits, writes it, syncs once, hands it to the tree.
fn write_loop(shared: &Shared) {
    let mut state = WriteState { active: 0, id_last: 0, first_record: None, buffer: Vec::new(), aborted: Vec::new() };
    loop {
        let Taken { pending, aborted, closing, idle, exchange } = take_queue(shared, &state);
        if !pending.is_empty() || !aborted.is_empty() {
            state.write(shared, pending, aborted);
        }
        if state.should_exchange(shared, idle || exchange) {
            state.exchange(shared);
        }
        if closing && lock(&shared.queue).pending.is_empty() {
            break;
        }
    }
    lock(&shared.work).closing = true;
    shared.work_ready.notify_all();
    lock(&shared.checkpoint).closing = true;
    shared.checkpoint_changed.notify_all();
}

/// What the writing thread found when it woke up.
struct Taken {
    pending: Vec<Pending>,
    aborted: Vec<Aborted>,
    closing: bool,
    /// Nothing came for a while.
    idle: bool,
    /// Somebody waits for the segment to be emptied.
    exchange: bool,
}

fn take_queue(shared: &Shared, state: &WriteState) -> Taken {
    let mut idle = false;
    let mut queue = lock(&shared.queue);
    while queue.pending.is_empty() && queue.aborted.is_empty() && !queue.closing && !queue.exchange {
        if state.first_record.is_none() {
            queue = shared.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let (next, timeout) = shared.queued.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
        queue = next;
        if timeout.timed_out() {
            idle = true;
            break;
        }
    }
    queue.bytes = 0;
    shared.space.notify_waiters();
    Taken {
        pending: std::mem::take(&mut queue.pending),
        aborted: std::mem::take(&mut queue.aborted),
        closing: queue.closing,
        idle,
        exchange: std::mem::take(&mut queue.exchange),
    }
}

struct WriteState {
    active: usize,
    /// Record ids are the time in nanoseconds, made to grow strictly.
    id_last: u64,
    first_record: Option<Instant>,
    buffer: Vec<u8>,
    /// Not logged yet, for want of space.
    aborted: Vec<Aborted>,
}

impl WriteState {
    fn next_id(&mut self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.id_last = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - 1).max(self.id_last + 1);
        self.id_last
    }

    fn write(&mut self, shared: &Shared, pending: Vec<Pending>, aborted: Vec<Aborted>) {
        self.aborted.extend(aborted);
        let segment = &shared.segments[self.active];
        let epoch = segment.epoch();
        self.buffer.clear();
        for Aborted { id, applied } in &self.aborted {
            record::encode_abort(&mut self.buffer, epoch, self.id_last, *id, *applied);
        }
        let mut ids = Vec::with_capacity(pending.len());
        for item in &pending {
            let id = self.next_id();
            record::encode(&mut self.buffer, epoch, id, &item.batch);
            ids.push(id);
        }
        let failed = lock(&shared.failure).as_ref().map(Error::duplicate);
        let written = failed.map_or_else(
            || {
                segment.append(&shared.disk, &self.buffer).map_err(|(operation, error)| match error.kind() {
                    // Nothing was synced and nothing claimed: the next attempt may find space again.
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        Error::io(operation, &shared.dir, error)
                    }
                    _ => shared.fail(operation, error),
                })
            },
            Err,
        );
        if let Err(error) = written {
            for item in pending {
                drop(item.reply.send(Err(error.duplicate())));
            }
            return;
        }
        self.aborted.clear();
        self.first_record.get_or_insert_with(Instant::now);
        shared.unapplied[self.active].fetch_add(pending.len(), Ordering::SeqCst);
        let gone = pending.iter().flat_map(|item| &item.batch.ops).filter(|op| !matches!(op, Op::Put { .. }));
        lock(&shared.deleted)[self.active].extend(gone.map(|op| op.key().to_owned()));
        let mut work = lock(&shared.work);
        for (pending, id) in pending.into_iter().zip(ids) {
            work.jobs.push_back(Job { pending, id, segment: self.active });
        }
        let jobs = work.jobs.len();
        drop(work);
        for _ in 0..jobs.min(WORKERS) {
            shared.work_ready.notify_one();
        }
        if self.buffer.capacity() > BUFFERED_BYTES_MAX / 8 {
            self.buffer = Vec::new();
        }
    }

    fn should_exchange(&self, shared: &Shared, wanted: bool) -> bool {
        let Some(first) = self.first_record else { return false };
        let full = shared.segments[self.active].len() >= SEGMENT_BYTES_MAX;
        let due = wanted || first.elapsed() >= shared.age_max;
        let other_free = !lock(&shared.checkpoint).wanted[1 - self.active];
        full || (due && other_free)
    }

    /// Makes the other segment the active one; waits for it to be free.
    fn exchange(&mut self, shared: &Shared) {
        let mut checkpoint = lock(&shared.checkpoint);
        while checkpoint.wanted[1 - self.active] {
            if lock(&shared.failure).is_some() {
                return;
            }
            checkpoint = shared.checkpoint_changed.wait(checkpoint).unwrap_or_else(PoisonError::into_inner);
        }
        checkpoint.wanted[self.active] = true;
        drop(checkpoint);
        shared.checkpoint_changed.notify_all();
        shared.segments[1 - self.active].activate(shared.segments[self.active].epoch() + 1);
        self.active = 1 - self.active;
        self.first_record = None;
    }
}

/// Changes the tree and acknowledges.
fn tree_loop(shared: &Shared) {
    loop {
        let job = {
            let mut work = lock(&shared.work);
            loop {
                if let Some(job) = work.jobs.pop_front() {
                    break job;
                }
                if work.closing {
                    return;
                }
                work = shared.work_ready.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let Job { pending: Pending { batch, reply, held }, id, segment } = job;
        let result = tree::apply_logged(&shared.disk, &batch.ops, id).map_err(|(applied, error)| {
            lock(&shared.queue).aborted.push(Aborted { id, applied });
            shared.queued.notify_one();
            Error::io("write", batch.ops.get(applied).map_or("", Op::key), error)
        });
        drop(held);
        if shared.unapplied[segment].fetch_sub(1, Ordering::SeqCst) == 1 {
            shared.checkpoint_changed.notify_all();
        }
        // The caller may be gone; the change stands all the same.
        drop(reply.send(result));
    }
}

/// Empties segments: waits until their changes are in the tree, syncs the file system, marks them free.
fn checkpoint_loop(shared: &Shared) {
    loop {
        let index = {
            let mut checkpoint = lock(&shared.checkpoint);
            loop {
                let ready = (0..2).find(|i| checkpoint.wanted[*i] && shared.unapplied[*i].load(Ordering::SeqCst) == 0);
                if let Some(index) = ready {
                    break index;
                }
                if checkpoint.closing && checkpoint.wanted == [false; 2] {
                    return;
                }
                // Bounded, since the last worker may announce itself between the look and the wait.
                let wait = shared.checkpoint_changed.wait_timeout(checkpoint, Duration::from_millis(20));
                checkpoint = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        if let Err(error) = shared.disk.sync_all().and_then(|()| shared.segments[index].release(&shared.disk)) {
            shared.fail("checkpoint", error);
        } else {
            lock(&shared.deleted)[index].clear();
        }
        lock(&shared.checkpoint).wanted[index] = false;
        shared.checkpoint_changed.notify_all();
        if lock(&shared.failure).is_some() {
            let checkpoint = lock(&shared.checkpoint);
            if checkpoint.closing {
                return;
            }
        }
    }
}
