//! Telling other processes on the same storage what happened to tags, and hearing it from them.
//!
//! While the storage is shared each process keeps one small record in it with its last changes, and looks at those of the
//! others. A change that may have been missed becomes [`Change::Unknown`]. Who dies cannot tell what it did last; its
//! record, which it has written before its first change, stays behind and does not move any more. Nothing of this is needed
//! for what the registry serves.

#[cfg(test)]
mod tests;

use super::record::Record;
use super::standing::UnderWay;
use super::{Change, Changes, Standing};
use crate::{Result, Store, layout};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use storage::{Batch, Driver, ErrorKind, INLINE_MAX};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use uuid::Uuid;

/// How often to tell what is new, and to look for what others tell.
const TICK: Duration = Duration::from_millis(200);
/// How often to ask a service what others tell: while somebody follows the changes here, and else.
const FOLLOWED_PAUSE: Duration = Duration::from_millis(500);
const UNFOLLOWED_PAUSE: Duration = Duration::from_secs(2);
/// How often to show that we live.
const BEAT: Duration = Duration::from_secs(5);
/// Whose record has not moved for so long does not live.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long the last record waits for changes that are under way. What takes longer is told by nobody.
const LAST_CHANGES_WAIT: Duration = Duration::from_secs(1);
/// How much the clocks of two machines may differ, in microseconds.
const SKEW: u64 = 10_000_000;
/// Records that are looked at.
const PEERS_MAX: usize = 1000;

/// What this process knows of the others, and they of it.
pub(crate) struct Sharing {
    hub: Arc<Changes>,
    standing: Arc<Standing>,
    process: Uuid,
    /// Nobody here follows from before.
    start: u64,
    peers: HashMap<Uuid, Peer>,
    /// When we last saw who there is.
    looked: Instant,
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

impl Peer {
    fn met(hash: u64, now: Instant) -> Self {
        Self { next: None, hash, moved: now, closed: false }
    }
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

    /// Tells the others the last changes, those that are under way among them, and that no more will follow. Also for a
    /// process that changes tags and does nothing of [`Store::share_changes`].
    ///
    /// # Errors
    /// [`crate::Error::Storage`]; the others then find out by themselves.
    pub async fn close_changes(&self) -> Result<()> {
        Ok(self.sharing.lock().await.close(&*self.driver).await?)
    }

    /// To be held while tags are changed. If there are others, they miss us if we die from now on.
    pub(crate) async fn under_way(&self) -> UnderWay {
        let under_way = self.standing.begin().await;
        if self.is_known() {
            return under_way;
        }
        drop(under_way);
        let mut sharing = self.sharing.lock().await;
        sharing.appear(&*self.driver).await;
        self.standing.begin().await
    }

    /// Lets others have our record, if there are any who do not know us.
    pub(crate) async fn appear(&self) {
        if !self.is_known() {
            self.sharing.lock().await.appear(&*self.driver).await;
        }
    }

    fn is_known(&self) -> bool {
        !self.driver.is_shared() || self.standing.is_known()
    }
}

impl Sharing {
    pub(crate) fn new(hub: &Arc<Changes>, standing: &Arc<Standing>) -> Self {
        Self {
            hub: Arc::clone(hub),
            standing: Arc::clone(standing),
            process: Uuid::new_v4(),
            start: hub.oldest(),
            peers: HashMap::new(),
            looked: Instant::now(),
            told: None,
            beat: 0,
            alone: false,
            closed: false,
            failing: false,
        }
    }

    async fn round(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if !driver.is_shared() {
            let standing = Arc::clone(&self.standing);
            let quiet = standing.try_quiet();
            return self.settle(driver, quiet.is_some()).await;
        }
        self.alone = false;
        let now = Instant::now();
        let is_due = !driver.is_remote() || now.duration_since(self.looked) >= self.pause();
        let heard = if is_due { self.hear(driver, now).await } else { Ok(()) };
        // Who has nothing to tell and nobody to tell it to writes nothing.
        let silent = self.told.is_none() && self.peers.is_empty() && self.hub.own_count() == 0;
        let told = if silent { Ok(()) } else { self.tell(driver).await };
        heard.and(told)
    }

    fn pause(&self) -> Duration {
        if self.hub.is_followed() { FOLLOWED_PAUSE } else { UNFOLLOWED_PAUSE }
    }

    /// Writes our record before a change, unless others know us already.
    async fn appear(&mut self, driver: &dyn Driver) {
        if self.standing.is_known() {
            return;
        }
        self.alone = false;
        let result = self.write(driver, false).await;
        // A change is not kept back for the sake of those who watch.
        if result.is_err() {
            self.report(result);
        }
    }

    async fn close(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let standing = Arc::clone(&self.standing);
        let quiet = timeout(LAST_CHANGES_WAIT, standing.quiet()).await.ok();
        if !driver.is_shared() {
            return self.settle(driver, quiet.is_some()).await;
        }
        if self.told.is_none() && self.hub.own_count() == 0 {
            return Ok(());
        }
        // With changes under way the record stays open: others find out that they were not told.
        if quiet.is_some() { self.write(driver, true).await } else { self.tell(driver).await }
    }

    /// Writes our record, if it is due.
    async fn tell(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        let count = self.hub.own_count();
        let is_due = self.told.as_ref().is_none_or(|told| told.count != count || told.at.elapsed() >= BEAT);
        if is_due { self.write(driver, false).await } else { Ok(()) }
    }

    async fn write(&mut self, driver: &dyn Driver, closed: bool) -> storage::Result<()> {
        let (count, own) = self.hub.own();
        self.beat += 1;
        let record = Record::encode(self.beat, closed, count, &own);
        let at = Instant::now();
        driver.apply(Batch::new().put(layout::changes_of(self.process), record)).await?;
        self.told = Some(Told { count, at });
        self.standing.set((!closed).then_some(at));
        Ok(())
    }

    /// Reads the records of the others, and gives up on those that have fallen silent.
    async fn hear(&mut self, driver: &dyn Driver, now: Instant) -> storage::Result<()> {
        let others = others(driver, self.process).await?;
        let pause = now.duration_since(std::mem::replace(&mut self.looked, now));
        let mut result = Ok(());
        for process in others {
            match driver.get(&layout::changes_of(process), INLINE_MAX).await {
                Ok(record) => self.heard(process, &record, now),
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    // It counts as one that does not move, and does not keep the others from being heard.
                    self.peers.entry(process).or_insert(Peer::met(0, now));
                    result = Err(error);
                }
            }
        }
        if pause >= BEAT {
            // Who could not look does not know who was silent.
            self.peers.values_mut().for_each(|peer| peer.moved = now);
        }
        let silent = self.peers.iter().filter(|(_, peer)| now.duration_since(peer.moved) >= SILENCE_MAX);
        let gone = silent.map(|(process, _)| *process).collect();
        self.bury(driver, gone, now).await?;
        result
    }

    /// Notes what is new in the record of another process.
    fn heard(&mut self, process: Uuid, record: &[u8], now: Instant) {
        let hash = hash_of(record);
        let peer = self.peers.entry(process).or_insert(Peer::met(!hash, now));
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

    /// Nobody else is there any more: reads what they have left, and removes it. With our own record, if it is `quiet`:
    /// somebody who comes now would miss us for changes that are under way.
    async fn settle(&mut self, driver: &dyn Driver, quiet: bool) -> storage::Result<()> {
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
        if quiet && self.told.is_some() {
            driver.apply(Batch::new().delete(layout::changes_of(self.process))).await?;
            self.told = None;
            self.standing.set(None);
        }
        self.bury(driver, gone, now).await?;
        self.alone = self.told.is_none();
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

/// Who has a record besides us.
async fn others(driver: &dyn Driver, own: Uuid) -> storage::Result<Vec<Uuid>> {
    let page = driver.list(layout::CHANGES, "", PEERS_MAX).await?;
    let names = page.range.clone().map(|index| page.names.at(index)).filter(|name| !name.is_prefix);
    // Only the form that we write: others would be further names of the same process.
    let processes = names.filter_map(|name| Uuid::try_parse(name.text).ok().filter(|_| name.text.len() == 36));
    Ok(processes.filter(|process| *process != own).collect())
}
