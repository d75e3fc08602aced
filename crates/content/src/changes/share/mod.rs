//! Telling other processes on the same storage what happened to tags, and hearing it from them.
//!
//! While the storage is shared each process keeps one small record in it with its last changes, and looks at those of the
//! others. A change that may have been missed becomes [`Change::Unknown`]. Who dies cannot tell what it did last; its
//! record stays behind and does not move any more. Nothing of this is needed for what the registry serves.

#[cfg(test)]
mod tests;

use super::record::Record;
use super::{Change, Changes};
use crate::{Result, Store, layout};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use storage::{Batch, Driver, ErrorKind, INLINE_MAX};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

/// How often to tell what is new, and to look for what others tell.
const TICK: Duration = Duration::from_millis(200);
/// How often to show that we live.
const BEAT: Duration = Duration::from_secs(5);
/// Whose record has not moved for so long does not live.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How much the clocks of two machines may differ, in microseconds.
const SKEW: u64 = 10_000_000;
/// Records that are looked at.
const PEERS_MAX: usize = 1000;

/// What this process knows of the others, and they of it.
pub(crate) struct Sharing {
    hub: Arc<Changes>,
    process: Uuid,
    /// Nobody here follows from before.
    start: u64,
    peers: HashMap<Uuid, Peer>,
    told: Option<Told>,
    beat: u64,
    /// Everything that others left is read and removed.
    alone: bool,
    closed: bool,
    failing: bool,
}

/// Our record, as it is stored.
struct Told {
    count: u64,
    at: Instant,
}

struct Peer {
    /// Number of the change that comes next; `None`: its record was never understood.
    next: Option<u64>,
    /// Of the record, to see whether it has moved.
    hash: u64,
    moved: Instant,
    closed: bool,
}

impl Store {
    /// Tells other processes on the same storage what this one does to tags, and notes what they do. Returns after
    /// [`Store::close_changes`], else never.
    pub async fn share_changes(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut sharing = self.sharing.lock().await;
            if sharing.closed {
                return;
            }
            let result = sharing.round(&*self.driver).await;
            sharing.report(result);
        }
    }

    /// Tells the others the last changes, and that no more will follow. Also for a process that changes tags and does
    /// nothing of [`Store::share_changes`].
    ///
    /// # Errors
    /// [`crate::Error::Storage`]; the others then find out by themselves.
    pub async fn close_changes(&self) -> Result<()> {
        Ok(self.sharing.lock().await.close(&*self.driver).await?)
    }
}

impl Sharing {
    pub(crate) fn new(hub: &Arc<Changes>) -> Self {
        Self {
            hub: Arc::clone(hub),
            process: Uuid::new_v4(),
            start: hub.oldest(),
            peers: HashMap::new(),
            told: None,
            beat: 0,
            alone: false,
            closed: false,
            failing: false,
        }
    }

    async fn round(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if !driver.is_shared() {
            return self.settle(driver).await;
        }
        self.alone = false;
        self.hear(driver, Instant::now()).await?;
        // Who has nothing to tell and nobody to tell it to writes nothing.
        let silent = self.told.is_none() && self.peers.is_empty() && self.hub.own_count() == 0;
        if silent { Ok(()) } else { self.tell(driver, false).await }
    }

    async fn close(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        if !driver.is_shared() {
            return self.settle(driver).await;
        }
        if self.told.is_some() || self.hub.own_count() > 0 { self.tell(driver, true).await } else { Ok(()) }
    }

    /// Writes our record, if it is due.
    async fn tell(&mut self, driver: &dyn Driver, closed: bool) -> storage::Result<()> {
        let (count, own) = self.hub.own();
        let is_known = self.told.as_ref().is_some_and(|told| told.count == count && told.at.elapsed() < BEAT);
        if is_known && !closed {
            return Ok(());
        }
        self.beat += 1;
        let record = Record::encode(self.beat, closed, count, &own);
        let at = Instant::now();
        driver.apply(Batch::new().put(layout::changes_of(self.process), record)).await?;
        self.told = Some(Told { count, at });
        Ok(())
    }

    /// Reads the records of the others, and gives up on those that have fallen silent.
    async fn hear(&mut self, driver: &dyn Driver, now: Instant) -> storage::Result<()> {
        for process in others(driver, self.process).await? {
            match driver.get(&layout::changes_of(process), INLINE_MAX).await {
                Ok(record) => self.heard(process, &record, now),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let silent = self.peers.iter().filter(|(_, peer)| now.duration_since(peer.moved) >= SILENCE_MAX);
        let gone = silent.map(|(process, _)| *process).collect();
        self.bury(driver, gone, now).await
    }

    /// Notes what is new in the record of another process.
    fn heard(&mut self, process: Uuid, record: &[u8], now: Instant) {
        let mut hasher = DefaultHasher::new();
        record.hash(&mut hasher);
        let hash = hasher.finish();
        let met = Peer { next: None, hash: !hash, moved: now, closed: false };
        let peer = self.peers.entry(process).or_insert(met);
        if std::mem::replace(&mut peer.hash, hash) == hash {
            return;
        }
        let Some(record) = Record::decode(record) else {
            tracing::warn!(%process, "cannot read what another process tells of its changes");
            return;
        };
        let Record { closed, first, changes } = record;
        let next = first + changes.len() as u64;
        // Of one whom we have just met only what is younger than we are is of interest.
        let start = self.start.saturating_sub(SKEW);
        let missed = match peer.next {
            Some(expected) => first > expected,
            None => first > 0 && changes.first().is_none_or(|(at, _)| *at >= start),
        };
        let expected = peer.next;
        *peer = Peer { next: Some(next), hash, moved: now, closed };
        if missed {
            self.hub.note_foreign([Change::Unknown]);
            return;
        }
        let is_new = |number, at| expected.map_or(at >= start, |expected| number >= expected);
        let new = (first..).zip(changes).filter(|(number, (at, _))| is_new(*number, *at));
        self.hub.note_foreign(new.map(|(_, (_, change))| change));
    }

    /// Forgets processes and what they left.
    async fn bury(&mut self, driver: &dyn Driver, gone: Vec<Uuid>, now: Instant) -> storage::Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut alarm = false;
        for process in &gone {
            let Some(peer) = self.peers.get_mut(process) else { continue };
            alarm |= !peer.closed;
            // Also where the record cannot be removed, the alarm is given once.
            (peer.closed, peer.moved) = (true, now);
        }
        if alarm {
            tracing::info!("another process is gone without a word; what it did last is not known");
            self.hub.note_foreign([Change::Unknown]);
        }
        let keys = gone.iter().map(|process| layout::changes_of(*process));
        driver.apply(keys.fold(Batch::new(), Batch::delete)).await?;
        self.peers.retain(|process, _| !gone.contains(process));
        Ok(())
    }

    /// Nobody else is there any more: reads what they have left, and removes it with our own record.
    async fn settle(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if self.alone {
            return Ok(());
        }
        let now = Instant::now();
        self.hear(driver, now).await?;
        // If nobody has joined until now, nobody whom we have heard lives.
        if driver.is_shared() {
            return Ok(());
        }
        let gone = self.peers.keys().copied().collect();
        if self.told.take().is_some() {
            driver.apply(Batch::new().delete(layout::changes_of(self.process))).await?;
        }
        self.bury(driver, gone, now).await?;
        self.alone = true;
        Ok(())
    }

    /// Says once when it begins to fail, and once when it works again.
    fn report(&mut self, result: storage::Result<()>) {
        match result {
            // Who may not write only hears.
            Err(error) if error.kind != ErrorKind::ReadOnly => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, cause = %error.source, "cannot exchange changes of tags with other processes");
                }
            }
            _ => {
                if std::mem::replace(&mut self.failing, false) {
                    tracing::info!("changes of tags are exchanged with other processes again");
                }
            }
        }
    }
}

/// Who has a record besides us.
async fn others(driver: &dyn Driver, own: Uuid) -> storage::Result<Vec<Uuid>> {
    let page = driver.list(layout::CHANGES, "", PEERS_MAX).await?;
    let names = page.range.clone().map(|index| page.names.at(index)).filter(|name| !name.is_prefix);
    // Only the form that we write: others would be further names of the same process.
    let processes = names.filter_map(|name| Uuid::try_parse(name.text).ok().filter(|_| name.text.len() == 36));
    Ok(processes.filter(|process| *process != own).collect())
}
