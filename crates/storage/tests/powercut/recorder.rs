//! The log of a run: what was done to the disk, and when the driver promised what.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use storage::fs::{DiskEvent, Observer};
use storage::{Batch, Op};

/// How long a checkpoint waits for changes that come meanwhile, as they do at once but on a busy machine.
const PROMISES_WAIT: Duration = Duration::from_secs(20);
/// Longer than it waits for changes twice.
const CHECKPOINT_MAX: Duration = Duration::from_secs(60);

/// Content of a key, or nothing there.
pub(crate) type Value = Option<Vec<u8>>;

/// A moment of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Disk events before it.
    pub(crate) position: usize,
    /// Tells moments apart between two events.
    order: usize,
}

/// One change as its caller saw it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    ops: Vec<Op>,
    start: Moment,
    /// When it was acknowledged.
    end: Option<Moment>,
}

/// One large object as its sender saw it.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) data: Vec<u8>,
    /// When which handle and offset were acknowledged.
    pub(crate) suspended: Vec<(Moment, String, usize)>,
    pub(crate) key: String,
    /// When the commit was asked for, and when it was acknowledged.
    pub(crate) commit: Option<(Moment, Option<Moment>)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<DiskEvent>,
    pub(crate) changes: Vec<Change>,
    pub(crate) uploads: Vec<Upload>,
    moments: usize,
}

#[derive(Default)]
pub(crate) struct Recorder {
    log: Mutex<Log>,
    /// A sync takes this long, so that others come between.
    sync_time: Duration,
    /// One change follows the other.
    steady: AtomicBool,
    /// The process dies at this event.
    die_at: Option<usize>,
}

impl Recorder {
    pub(crate) fn slow() -> Self {
        Self { sync_time: Duration::from_micros(700), ..Self::default() }
    }

    pub(crate) fn dying_at(event: usize) -> Self {
        Self { die_at: Some(event), ..Self::default() }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn start(&self, batch: &Batch) -> usize {
        let mut log = self.log();
        let start = log.now();
        log.changes.push(Change { ops: batch.ops.clone(), start, end: None });
        log.changes.len() - 1
    }

    pub(crate) fn acknowledge(&self, change: usize) {
        let mut log = self.log();
        log.changes[change].end = Some(log.now());
    }

    pub(crate) fn upload(&self, data: Vec<u8>, key: &str) -> usize {
        let mut log = self.log();
        log.uploads.push(Upload { data, suspended: Vec::new(), key: key.to_owned(), commit: None });
        log.uploads.len() - 1
    }

    pub(crate) fn suspended(&self, upload: usize, handle: &str, offset: usize) {
        let mut log = self.log();
        let now = log.now();
        log.uploads[upload].suspended.push((now, handle.to_owned(), offset));
    }

    pub(crate) fn commit(&self, upload: usize) {
        let mut log = self.log();
        log.uploads[upload].commit = Some((log.now(), None));
    }

    pub(crate) fn committed(&self, upload: usize) {
        let mut log = self.log();
        let now = log.now();
        if let Some((_, end)) = &mut log.uploads[upload].commit {
            *end = Some(now);
        }
    }

    /// While changes are steady, each checkpoint lasts until one of them is in the other segment.
    pub(crate) fn set_steady(&self, steady: bool) {
        self.steady.store(steady, Ordering::SeqCst);
    }

    fn wait_for_promises(&self) {
        // The first one may be in the segment that is emptied.
        let wanted = self.log().promises().len() + 2;
        let deadline = Instant::now() + PROMISES_WAIT;
        while self.steady.load(Ordering::SeqCst) && self.log().promises().len() < wanted && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for a checkpoint that began after so many events, and until the log is free of the records before it, as after a
    /// moment without changes.
    pub(crate) fn wait_for_checkpoint(&self, begin: usize) {
        let deadline = Instant::now() + CHECKPOINT_MAX;
        loop {
            let released = {
                let log = self.log();
                let news = &log.events[begin..];
                let is_later = |event: &DiskEvent| matches!(event, DiskEvent::SyncAll { before } if *before > begin);
                let synced = news.iter().position(is_later);
                synced.is_some_and(|at| {
                    news[at..].iter().any(|event| matches!(event, DiskEvent::SyncFile { path, .. } if is_journal(path)))
                })
            };
            if released {
                return;
            }
            assert!(Instant::now() < deadline, "no checkpoint");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) fn is_journal(path: &str) -> bool {
    path.starts_with("homeport/v1/journal/")
}

impl Observer for Recorder {
    fn position(&self) -> usize {
        let position = self.log().events.len();
        if !self.sync_time.is_zero() {
            // A checkpoint syncs much; meanwhile the other segment gets records.
            let is_checkpoint = std::thread::current().name() == Some("checkpoint");
            std::thread::sleep(self.sync_time * if is_checkpoint { 50 } else { 1 });
            if is_checkpoint {
                self.wait_for_promises();
            }
        }
        position
    }

    fn record(&self, event: DiskEvent) {
        let mut log = self.log();
        assert!(self.die_at != Some(log.events.len()), "dies here on purpose");
        log.events.push(event);
    }
}

impl Log {
    fn now(&mut self) -> Moment {
        self.moments += 1;
        Moment { position: self.events.len(), order: self.moments }
    }

    /// Moves an event to an earlier place, with all positions that count it.
    pub(crate) fn pull(&mut self, from: usize, to: usize) {
        self.events[to..=from].rotate_right(1);
        let moved = |position: &mut usize| {
            if (to + 1..=from).contains(position) {
                *position += 1;
            }
        };
        for event in &mut self.events {
            match event {
                DiskEvent::SyncFile { before, .. }
                | DiskEvent::SyncDir { before, .. }
                | DiskEvent::SyncAll { before } => {
                    moved(before);
                }
                _ => {}
            }
        }
        for change in &mut self.changes {
            moved(&mut change.start.position);
            change.end.iter_mut().for_each(|end| moved(&mut end.position));
        }
        for upload in &mut self.uploads {
            upload.suspended.iter_mut().for_each(|(at, _, _)| moved(&mut at.position));
            if let Some((start, end)) = &mut upload.commit {
                moved(&mut start.position);
                end.iter_mut().for_each(|end| moved(&mut end.position));
            }
        }
    }

    /// Positions at which something was promised.
    pub(crate) fn promises(&self) -> Vec<usize> {
        let changes = self.changes.iter().filter_map(|change| change.end);
        let suspended = self.uploads.iter().flat_map(|upload| upload.suspended.iter().map(|(at, _, _)| *at));
        let committed = self.uploads.iter().filter_map(|upload| upload.commit.and_then(|(_, end)| end));
        changes.chain(suspended).chain(committed).map(|moment| moment.position).collect()
    }

    /// Promises made while both segments of the log had records.
    pub(crate) fn promises_in_two_segments(&self) -> Vec<usize> {
        let mut live = BTreeMap::new();
        let mut both = Vec::new();
        for (at, event) in self.events.iter().enumerate() {
            if let DiskEvent::Write { path, offset: 0, data } = event
                && is_journal(path)
                && data.len() == 20
            {
                live.insert(path, data[8..16] != [0; 8]);
            }
            if live.values().filter(|live| **live).count() == 2 {
                both.push(at + 1);
            }
        }
        self.promises().into_iter().filter(|at| both.contains(at)).collect()
    }

    /// What each key may hold after a cut: every value that was asked for and that no acknowledged change which began
    /// after its own acknowledgement has replaced.
    pub(crate) fn allowed(&self, cut: usize) -> BTreeMap<String, Vec<Value>> {
        let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        let begin = Moment { position: 0, order: 0 };
        for key in self.keys() {
            versions.insert(key, vec![Version { start: begin, end: Some(begin), value: None }]);
        }
        let passed = |moment: &Moment| moment.position <= cut;
        for change in self.changes.iter().filter(|change| passed(&change.start)) {
            let end = change.end.filter(passed);
            for (key, value) in effects(&change.ops, versions.keys()) {
                versions.entry(key).or_default().push(Version { start: change.start, end, value });
            }
        }
        for upload in &self.uploads {
            if let Some((start, end)) = upload.commit.filter(|(start, _)| passed(start)) {
                let value = Some(upload.data.clone());
                versions.entry(upload.key.clone()).or_default().push(Version { start, end: end.filter(passed), value });
            }
        }
        versions.into_iter().map(|(key, list)| (key, current(&list))).collect()
    }

    fn keys(&self) -> Vec<String> {
        let puts = self.changes.iter().flat_map(|change| &change.ops).filter(|op| matches!(op, Op::Put { .. }));
        puts.map(|op| op.key().to_owned()).chain(self.uploads.iter().map(|upload| upload.key.clone())).collect()
    }
}

struct Version {
    start: Moment,
    end: Option<Moment>,
    value: Value,
}

fn current(versions: &[Version]) -> Vec<Value> {
    let is_replaced = |version: &&Version| {
        let follows = |other: &Version| version.end.is_some_and(|end| other.start.order > end.order);
        versions.iter().any(|other| other.end.is_some() && follows(other))
    };
    let mut values: Vec<Value> = Vec::new();
    for version in versions.iter().filter(|version| !is_replaced(version)) {
        if !values.contains(&version.value) {
            values.push(version.value.clone());
        }
    }
    values
}

/// What a batch leaves under each key.
fn effects<'a>(ops: &[Op], known: impl Iterator<Item = &'a String>) -> BTreeMap<String, Value> {
    let known: Vec<&String> = known.collect();
    let mut out = BTreeMap::new();
    for op in ops {
        match op {
            Op::Put { key, data, .. } => {
                out.insert(key.clone(), Some(data.to_vec()));
            }
            Op::Delete { key } => {
                out.insert(key.clone(), None);
            }
            // No workload has a condition.
            Op::DeleteTree { prefix } | Op::DeleteTreeIf { prefix, .. } => {
                let below = |key: &str| key.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
                out.extend(known.iter().filter(|key| below(key)).map(|key| ((*key).clone(), None)));
            }
        }
    }
    out
}
