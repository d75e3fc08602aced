//! Telling other processes on the same storage what happens to tags, and hearing it from them.
//!
//! While the storage is shared each process keeps one small record in it with its last changes, and looks at those of the
//! others. A change that may have been missed becomes [`Change::Unknown`]. Who dies cannot tell what it did last; its
//! record, which it has written before its first change, stays behind and does not move any more.
//!
//! A record also names the namespaces in which something changes: from before the change until seconds after it. So whoever
//! reads the records knows which of the lists that it has kept are still those of storage ([`crate::lists`]).

mod hear;
mod tell;
#[cfg(test)]
mod tests;

#[cfg(doc)]
use super::Change;
use super::standing::UnderWay;
use super::{Changes, Standing};
use crate::lists::Lists;
use crate::{Namespace, Result, Store};
use hear::Hearing;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use storage::{Driver, ErrorKind};
use tell::Telling;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, sleep, sleep_until};
use uuid::Uuid;

/// How often to tell what is new, and to look for what others tell.
const TICK: Duration = Duration::from_millis(200);
/// How often to ask a service what others tell: while somebody follows the changes here, and else.
const FOLLOWED_PAUSE: Duration = Duration::from_millis(500);
const UNFOLLOWED_PAUSE: Duration = Duration::from_secs(2);
/// How often to show that we live.
const BEAT: Duration = Duration::from_secs(5);
/// Between the begin of one look and the end of the next: with more, a namespace may have been named and no more.
pub(crate) const LOOKS_APART_MAX: Duration = Duration::from_secs(8);

/// So long after a look lists that are kept are served without another one: a namespace is named for longer before anything
/// changes there.
pub(crate) const LOOK_LIFE: Duration = Duration::from_millis(50);
const NAMED_BEFORE: Duration = Duration::from_millis(75);

/// What this process knows of the others, and they of it.
pub(crate) struct Sharing {
    hub: Arc<Changes>,
    standing: Arc<Standing>,
    looks: Arc<AtomicU64>,
    hearing: Mutex<Hearing>,
    /// Where both are needed this one is locked second.
    telling: Mutex<Telling>,
    failing: AtomicBool,
}

impl Store {
    /// Tells other processes on the same storage what this one does to tags, and notes what they do. Returns after
    /// [`Store::close_changes`], else never.
    pub async fn share_changes(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.sharing.telling.lock().await.closed {
                return;
            }
            let result = self.sharing.round(&*self.driver).await;
            self.sharing.report(result);
        }
    }

    /// Tells the others the last changes, those that are under way among them, and that no more will follow. Also for a
    /// process that changes tags and does nothing of [`Store::share_changes`].
    ///
    /// # Errors
    /// [`crate::Error::Storage`]; the others then find out by themselves.
    pub async fn close_changes(&self) -> Result<()> {
        Ok(self.sharing.close(&*self.driver).await?)
    }

    /// To be held while manifests or tags of a namespace are changed. If there are others, they know of it from now on, and
    /// miss us if we die.
    ///
    /// # Errors
    /// [`crate::Error::Storage`]: a service could not be told.
    pub(crate) async fn under_way(&self, namespace: Namespace<'_>) -> Result<Arc<UnderWay>> {
        let (keeps, name) = (self.keeps_lists(), namespace.as_str());
        loop {
            let under_way = Arc::new(self.standing.begin(namespace).await);
            if keeps {
                self.lists.begin(namespace);
                if let Some(named) = self.standing.known_in(name) {
                    // Who has looked a moment ago still serves what is kept.
                    sleep_until(named + NAMED_BEFORE).await;
                    return Ok(under_way);
                }
            } else if !self.driver.is_shared() || self.standing.is_known() {
                return Ok(under_way);
            }
            // The last record waits for it, and is written under the lock that is needed here.
            drop(under_way);
            if keeps {
                self.sharing.telling.lock().await.begin(&*self.driver, name).await?;
            } else {
                self.appear().await;
                return Ok(Arc::new(self.standing.begin(namespace).await));
            }
        }
    }

    /// After a change that took long others may have given us up, and kept what was before it. Those who have come meanwhile
    /// look for our record as well.
    pub(crate) async fn tell_again(&self, under_way: &UnderWay) {
        let name = under_way.namespace();
        if !self.keeps_lists() {
            self.appear().await;
        } else if self.standing.known_in(name).is_none() {
            let told = self.sharing.telling.lock().await.begin(&*self.driver, name).await;
            if told.is_ok() {
                sleep(NAMED_BEFORE).await;
            }
            self.sharing.report(told);
        }
    }

    /// Lets others have our record, if there are any who do not know us.
    async fn appear(&self) {
        if self.driver.is_shared() && !self.standing.is_known() {
            let told = self.sharing.telling.lock().await.appear(&*self.driver).await;
            if told.is_err() {
                self.sharing.report(told);
            }
        }
    }
}

impl Sharing {
    pub(crate) fn new(hub: &Arc<Changes>, standing: &Arc<Standing>, lists: &Arc<Lists>) -> Self {
        let process = Uuid::new_v4();
        let hearing = Hearing::new(hub, lists, process);
        Self {
            hub: Arc::clone(hub),
            standing: Arc::clone(standing),
            looks: Arc::clone(hearing.looks()),
            hearing: Mutex::new(hearing),
            telling: Mutex::new(Telling::new(hub, standing, process)),
            failing: AtomicBool::new(false),
        }
    }

    /// Hears what the others have told until now; `false`: not all of them.
    pub(crate) async fn hear_now(&self, driver: &dyn Driver) -> bool {
        let begun = self.looks.load(Ordering::SeqCst);
        let mut hearing = self.hearing.lock().await;
        // Of many who ask at once only the first has to look, also in vain.
        match hearing.outcome_after(begun) {
            Some(outcome) => outcome,
            None => hearing.hear(driver, Instant::now()).await.is_ok(),
        }
    }

    async fn round(&self, driver: &dyn Driver) -> storage::Result<()> {
        let mut hearing = self.hearing.lock().await;
        if !driver.is_shared() {
            let standing = Arc::clone(&self.standing);
            let quiet = standing.try_quiet();
            return self.settle(driver, &mut hearing, quiet.is_some()).await;
        }
        hearing.settled = false;
        let now = Instant::now();
        let is_due = !driver.is_remote() || now.duration_since(hearing.looked) >= self.pause();
        let heard = if is_due { hearing.hear(driver, now).await } else { Ok(()) };
        let is_alone = hearing.peers.is_empty();
        drop(hearing);
        // Who has nothing to tell and nobody to tell it to writes nothing.
        let mut telling = self.telling.lock().await;
        let told = if is_alone && telling.has_nothing() { Ok(()) } else { telling.tell(driver).await };
        heard.and(told)
    }

    fn pause(&self) -> Duration {
        if self.hub.is_followed() { FOLLOWED_PAUSE } else { UNFOLLOWED_PAUSE }
    }

    async fn close(&self, driver: &dyn Driver) -> storage::Result<()> {
        let mut hearing = self.hearing.lock().await;
        // What is under way may have to be told, which needs the lock of telling.
        let quiet = self.standing.quiet_soon().await;
        let mut telling = self.telling.lock().await;
        if std::mem::replace(&mut telling.closed, true) {
            return Ok(());
        }
        if driver.is_shared() {
            return telling.close(driver, quiet.is_some()).await;
        }
        drop(telling);
        self.settle(driver, &mut hearing, quiet.is_some()).await
    }

    /// Nobody else is there any more: reads what they have left, and removes it. With our own record, if it is `quiet`:
    /// somebody who comes now would miss us for changes that are under way.
    async fn settle(&self, driver: &dyn Driver, hearing: &mut Hearing, quiet: bool) -> storage::Result<()> {
        let mut telling = self.telling.lock().await;
        if hearing.settled && !telling.has_record() {
            return Ok(());
        }
        let now = Instant::now();
        hearing.hear(driver, now).await?;
        // If nobody has joined until now, nobody whom we have heard lives.
        if driver.is_shared() {
            return Ok(());
        }
        let gone = hearing.peers.keys().copied().collect();
        if quiet {
            telling.withdraw(driver).await?;
        }
        hearing.bury(driver, gone, now).await?;
        hearing.settled = true;
        Ok(())
    }

    /// Says once when it begins to fail, and once when it works again.
    fn report(&self, result: storage::Result<()>) {
        match result {
            // Who may not write only hears.
            Err(error) if error.kind != ErrorKind::ReadOnly => {
                if !self.failing.swap(true, Ordering::SeqCst) {
                    tracing::warn!(%error, cause = %error.source, "cannot exchange changes of tags with other processes");
                }
            }
            _ => {
                if self.failing.swap(false, Ordering::SeqCst) {
                    tracing::info!("changes of tags are exchanged with other processes again");
                }
            }
        }
    }
}
