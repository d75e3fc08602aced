//! What this process hears of the others.

use super::super::record::Record;
use super::super::{Change, Changes};
use super::{BEAT, LOOKS_APART_MAX};
use crate::layout;
use crate::lists::{Changing, Lists};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use storage::{Batch, Driver, Error, ErrorKind, INLINE_MAX};
use tokio::time::Instant;
use uuid::Uuid;

/// Whose record has not moved for so long does not live.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How much the clocks of two machines may differ, in microseconds.
pub(super) const SKEW: u64 = 10_000_000;
/// Records that are looked at.
const PEERS_MAX: usize = 1000;
/// Records that are read at once.
const AT_ONCE: usize = 16;

/// The others.
pub(super) struct Hearing {
    hub: Arc<Changes>,
    lists: Arc<Lists>,
    process: Uuid,
    /// Nobody here follows from before.
    pub(super) start: u64,
    pub(super) peers: HashMap<Uuid, Peer>,
    /// When we last began to see who there is.
    pub(super) looked: Instant,
    /// The same, if all of them were heard.
    heard: Option<Instant>,
    /// How many looks were begun; number and outcome of the last one that has ended.
    looks: Arc<AtomicU64>,
    last: (u64, bool),
    /// We are alone, and everything that others left is read and removed.
    pub(super) settled: bool,
}

pub(super) struct Peer {
    /// Number of the change that comes next; `None`: its record was never understood.
    next: Option<u64>,
    /// Of the record, to see whether it has moved.
    hash: u64,
    pub(super) moved: Instant,
    pub(super) closed: bool,
    changing: Changing,
}

impl Peer {
    fn met(hash: u64, now: Instant) -> Self {
        Self { next: None, hash, moved: now, closed: false, changing: Changing::Anything }
    }
}

impl Hearing {
    pub(super) fn new(hub: &Arc<Changes>, lists: &Arc<Lists>, process: Uuid) -> Self {
        Self {
            hub: Arc::clone(hub),
            lists: Arc::clone(lists),
            process,
            start: hub.oldest(),
            peers: HashMap::new(),
            looked: Instant::now(),
            heard: None,
            looks: Arc::default(),
            last: (0, false),
            settled: false,
        }
    }

    /// Counts the looks that were begun.
    pub(super) fn looks(&self) -> &Arc<AtomicU64> {
        &self.looks
    }

    /// Whether all were heard by a look that was begun after so many others, if there was one.
    pub(super) fn outcome_after(&self, looks: u64) -> Option<bool> {
        (self.last.0 > looks).then_some(self.last.1)
    }

    /// Reads the records of the others, and gives up on those that have fallen silent.
    pub(super) async fn hear(&mut self, driver: &dyn Driver, now: Instant) -> storage::Result<()> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let result = self.look(driver, now).await;
        self.last = (look, result.is_ok());
        result
    }

    async fn look(&mut self, driver: &dyn Driver, now: Instant) -> storage::Result<()> {
        let (others, mut result) = others(driver, self.process).await?;
        for some in others.chunks(AT_ONCE) {
            let records = some.iter().map(|process| async {
                let key = layout::changes_of(*process);
                (*process, driver.get(&key, INLINE_MAX).await)
            });
            for (process, record) in join_all(records).await {
                match record {
                    Ok(record) => self.heard(process, &record, now),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => {
                        // It counts as one that does not move, and does not keep the others from being heard.
                        self.peers.entry(process).or_insert(Peer::met(0, now));
                        result = Err(error);
                    }
                }
            }
        }
        if now.duration_since(std::mem::replace(&mut self.looked, now)) >= BEAT {
            // Who could not look does not know who was silent.
            self.peers.values_mut().for_each(|peer| peer.moved = now);
        }
        if result.is_ok() {
            // What is named is named for longer than this: whoever looked so often has seen it.
            if self.heard.is_none_or(|before| before.elapsed() > LOOKS_APART_MAX) {
                self.lists.forget();
            }
            self.lists.heard(self.peers.values().map(|peer| &peer.changing).collect(), now);
            self.heard = Some(now);
        }
        let silent = self.peers.iter().filter(|(_, peer)| now.duration_since(peer.moved) >= SILENCE_MAX);
        let gone = silent.map(|(process, _)| *process).collect();
        self.bury(driver, gone, now).await?;
        result
    }

    /// Notes what is new in the record of another process.
    pub(super) fn heard(&mut self, process: Uuid, record: &[u8], now: Instant) {
        let hash = hash_of(record);
        let peer = self.peers.entry(process).or_insert(Peer::met(!hash, now));
        if std::mem::replace(&mut peer.hash, hash) == hash {
            return;
        }
        peer.changing = Changing::Anything;
        let Some(record) = Record::decode(record) else {
            tracing::warn!(%process, "cannot read what another process tells of its changes");
            return;
        };
        let Record { closed, changing, first, changes } = record;
        let next = first + changes.len() as u64;
        // Of one whom we have just met only what is younger than we are is of interest.
        let start = self.start.saturating_sub(SKEW);
        let missed = match peer.next {
            Some(expected) => first > expected,
            None => first > 0 && changes.first().is_none_or(|(at, _)| *at >= start),
        };
        let expected = peer.next;
        let changing = changing.map_or(Changing::Anything, |names| Changing::These(names.into_iter().collect()));
        *peer = Peer { next: Some(next), hash, moved: now, closed, changing };
        if missed {
            self.hub.note_foreign([Change::Unknown]);
            return;
        }
        let is_new = |number, at| expected.map_or(at >= start, |expected| number >= expected);
        let new = (first..).zip(changes).filter(|(number, (at, _))| is_new(*number, *at));
        self.hub.note_foreign(new.map(|(_, (_, change))| change));
    }

    /// Forgets processes and what they left.
    pub(super) async fn bury(&mut self, driver: &dyn Driver, gone: Vec<Uuid>, now: Instant) -> storage::Result<()> {
        let (mut alarm, mut batch, mut buried) = (false, Batch::new(), Vec::new());
        for process in gone {
            let Some(peer) = self.peers.get_mut(&process) else { continue };
            let Some(removal) = removal(driver, process, peer.hash).await else { continue };
            batch.ops.extend(removal.ops);
            buried.push(process);
            alarm |= !peer.closed;
            // Also where the record cannot be removed, the alarm is given once.
            (peer.closed, peer.moved) = (true, now);
        }
        if alarm {
            tracing::info!("another process is gone without a word; what it did last is not known");
            self.hub.note_foreign([Change::Unknown]);
        }
        if !batch.ops.is_empty() {
            driver.apply(batch).await?;
        }
        self.peers.retain(|process, _| !buried.contains(process));
        Ok(())
    }
}

fn hash_of(record: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    hasher.finish()
}

/// What removes the record that was last seen with this hash; `None`: its process has written it anew.
async fn removal(driver: &dyn Driver, process: Uuid, hash: u64) -> Option<Batch> {
    let key = layout::changes_of(process);
    match driver.get(&key, INLINE_MAX).await {
        Ok(record) if hash_of(&record) == hash => Some(Batch::new().delete_tree_if(key.clone(), key, record)),
        Ok(_) => None,
        Err(error) if error.is_not_found() => Some(Batch::new()),
        // Nobody else can read it either.
        Err(_) => Some(Batch::new().delete(key)),
    }
}

/// Who has a record besides us; an error if they are more than are looked at.
async fn others(driver: &dyn Driver, own: Uuid) -> storage::Result<(Vec<Uuid>, storage::Result<()>)> {
    let page = driver.list(layout::CHANGES, "", PEERS_MAX).await?;
    let too_many = || Error::new(ErrorKind::Unavailable, "list", layout::CHANGES, "too many processes");
    let names = page.range.clone().map(|index| page.names.at(index)).filter(|name| !name.is_prefix);
    // Only the form that we write: others would be further names of the same process.
    let processes = names.filter_map(|name| Uuid::try_parse(name.text).ok().filter(|_| name.text.len() == 36));
    Ok((processes.filter(|process| *process != own).collect(), if page.more { Err(too_many()) } else { Ok(()) }))
}
