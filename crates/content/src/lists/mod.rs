//! Lists of names below the repositories that are kept, because a service takes long for each.
//!
//! A kept list is served only while it is what storage would say. Whoever changes tags or manifests of a namespace first
//! writes into a record that something changes there, waits a moment, and names it for ten seconds at least. Each request
//! reads the records of the others before it takes what is kept. Requests that come at once do so together, and those of the
//! next moment need not, as it is shorter than the one that writers wait:
//! - Where something changes, by this process or another one, storage is asked, and nothing is kept.
//! - A list is kept if its namespace is named nowhere right after it was fetched, in a few seconds.
//!   What is named later is dropped. Looks are less than ten seconds apart, so each name is seen; after a longer pause
//!   everything is dropped. What a process that died was changing is named until its record is removed.
//! - Nothing is kept for long: a registry of another kind on the same storage tells nobody.

mod kept;

use crate::changes::{LOOK_LIFE, LOOKS_APART_MAX};
use crate::{Namespace, Store, layout};
use futures_util::future::{BoxFuture, try_join};
use kept::{FETCHED, Joined, Kept};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
#[cfg(doc)]
use storage::Driver;
use storage::ListPage;
use tokio::sync::OnceCell;
use tokio::time::Instant;

const BYTES_MAX: u64 = 8 << 20;

/// Where something changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changing {
    /// In these namespaces.
    These(HashSet<Box<str>>),
    /// It may be anywhere.
    Anything,
}

impl Changing {
    /// Also in the list of this prefix.
    fn touches(&self, prefix: &str) -> bool {
        match (self, namespace_of(prefix)) {
            (Self::Anything, _) => true,
            // The list of the namespaces.
            (Self::These(names), None) => !names.is_empty(),
            (Self::These(names), Some(namespace)) => names.contains(namespace),
        }
    }
}

impl<'a> FromIterator<&'a Self> for Changing {
    fn from_iter<I: IntoIterator<Item = &'a Self>>(all: I) -> Self {
        let mut names = HashSet::new();
        for one in all {
            match one {
                Self::These(some) => names.extend(some.iter().cloned()),
                Self::Anything => return Self::Anything,
            }
        }
        Self::These(names)
    }
}

/// The kept lists, by prefix.
pub(crate) struct Lists {
    kept: Cache<Box<str>, Arc<Kept>, Weight>,
    /// Locked while something is kept or dropped.
    others: Mutex<Others>,
    pub(crate) asked: crate::cache::Counter,
}

struct Others {
    /// Where they change something.
    changing: Changing,
    /// When we began to look that up.
    looked: Option<Instant>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Arc<Kept>> for Weight {
    fn weight(&self, prefix: &Box<str>, kept: &Arc<Kept>) -> u64 {
        (prefix.len() + kept.weight()) as u64
    }
}

impl Lists {
    pub(crate) fn new() -> Arc<Self> {
        // In one piece: the largest list may take half of the room.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(10_000)
            .weight_capacity(BYTES_MAX)
            .build()
            .unwrap_or_else(|_| unreachable!("both capacities are given"));
        Arc::new(Self {
            kept: Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default()),
            others: Mutex::new(Others { changing: Changing::Anything, looked: None }),
            asked: crate::cache::Counter::default(),
        })
    }

    /// This process begins to change something.
    pub(crate) fn begin(&self, namespace: Namespace<'_>) {
        let _locked = self.others();
        self.drop_namespace(namespace.as_str());
    }

    /// Where others change something, as of a look that began then.
    pub(crate) fn heard(&self, changing: Changing, looked: Instant) {
        let mut others = self.others();
        others.looked = Some(looked);
        if others.changing == changing {
            return;
        }
        match &changing {
            Changing::Anything => self.kept.clear(),
            Changing::These(names) => {
                let was_told =
                    |name: &str| matches!(&others.changing, Changing::These(before) if before.contains(name));
                names.iter().filter(|name| !was_told(name)).for_each(|name| self.drop_namespace(name));
            }
        }
        others.changing = changing;
    }

    /// Something may have changed of which nobody has told.
    pub(crate) fn forget(&self) {
        let _locked = self.others();
        self.kept.clear();
    }

    fn drop_namespace(&self, namespace: &str) {
        if self.kept.is_empty() {
            return;
        }
        self.kept.retain(|prefix, _| namespace_of(prefix).is_some_and(|other| other != namespace));
    }

    fn has(&self, prefix: &str, after: &str) -> bool {
        self.kept.get(prefix).is_some_and(|kept| kept.page(after, 1).is_some())
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists as they are now, or were at the begin of a request.
pub(crate) struct View<'a> {
    store: &'a Store,
    keeps: bool,
    /// Whether what others say was heard since.
    heard: OnceCell<bool>,
}

impl Store {
    /// Lists, of which some may be kept ones.
    pub(crate) fn view(&self) -> View<'_> {
        View { store: self, keeps: self.keeps_lists(), heard: OnceCell::new() }
    }

    /// Lists that are all asked for.
    pub(crate) fn view_of_storage(&self) -> View<'_> {
        View { store: self, keeps: false, heard: OnceCell::new() }
    }
}

impl View<'_> {
    /// [`Driver::list`]. Boxed: a walk through folders in folders holds one for each.
    pub(crate) fn list<'b>(
        &'b self,
        prefix: &'b str,
        after: &'b str,
        limit: usize,
    ) -> BoxFuture<'b, storage::Result<ListPage>> {
        Box::pin(self.list_now(prefix, after, limit))
    }

    async fn list_now(&self, prefix: &str, after: &str, limit: usize) -> storage::Result<ListPage> {
        let driver = &self.store.driver;
        if self.keeps
            && let Some(page) = self.at_hand(prefix, after, limit)
        {
            return Ok(page);
        }
        // What is named was named for some seconds, and will be.
        if !self.keeps || (self.store.lists.others().looked.is_some() && self.is_changing(prefix)) {
            return driver.list(prefix, after, limit).await;
        }
        let mut fetched = None;
        if self.heard.get().is_some() || self.store.lists.has(prefix, after) {
            if !self.hear().await || self.is_changing(prefix) {
                return driver.list(prefix, after, limit).await;
            }
        } else {
            // Both at once: what is fetched is from after the begin of the request, whatever is heard.
            fetched = Some(try_join(self.fetch(prefix, after, limit), async { Ok(self.hear().await) }).await?.0);
        }
        let mut joined = Joined::new(after, limit);
        loop {
            let page = match fetched.take() {
                Some(page) => page,
                None => self.page(prefix, joined.after(), joined.wanted()).await?,
            };
            if let Some(page) = joined.add(page) {
                return Ok(page);
            }
        }
    }

    /// [`Driver::expect_lists`].
    pub(crate) async fn expect(&self, prefixes: &[String]) -> storage::Result<()> {
        self.store.driver.expect_lists(prefixes.to_vec()).await
    }

    /// A page that is kept and needs no look, since the last one was a moment ago.
    fn at_hand(&self, prefix: &str, after: &str, limit: usize) -> Option<ListPage> {
        let lists = &self.store.lists;
        let kept = {
            let others = lists.others();
            let is_young = others.looked.is_some_and(|looked| looked.elapsed() < LOOK_LIFE);
            lists.kept.get(prefix).filter(|_| is_young && !self.is_changing_as(&others, prefix))?
        };
        let mut joined = Joined::new(after, limit);
        loop {
            if let Some(page) = joined.add(kept.page(joined.after(), joined.wanted())?) {
                return Some(lists.asked.hit(page));
            }
        }
    }

    /// Some names from memory or storage, all that are wanted or those that were fetched together.
    async fn page(&self, prefix: &str, after: &str, wanted: usize) -> storage::Result<ListPage> {
        let lists = &self.store.lists;
        match lists.kept.get(prefix).and_then(|kept| kept.page(after, wanted)) {
            Some(page) => Ok(lists.asked.hit(page)),
            None => self.fetch(prefix, after, wanted).await,
        }
    }

    /// Fetches names and keeps them, if nothing of them can have changed meanwhile.
    async fn fetch(&self, prefix: &str, after: &str, wanted: usize) -> storage::Result<ListPage> {
        let lists = &self.store.lists;
        lists.asked.miss();
        // Who goes on where another page has ended will go further.
        let goes_on = lists.kept.get(prefix).is_some_and(|kept| kept.ends_at(after));
        let limit = if goes_on { FETCHED } else { wanted.min(FETCHED) };
        let begun = Instant::now();
        let page = self.store.driver.list(prefix, after, limit).await?;
        // What has changed since it was fetched is named now, or will be in the next look.
        if self.hear().await && begun.elapsed() <= LOOKS_APART_MAX {
            let others = lists.others();
            if !self.is_changing_as(&others, prefix) {
                let before = lists.kept.get(prefix);
                lists.kept.insert(prefix.into(), Arc::new(Kept::with(before.as_deref(), after, &page, begun)));
            }
        }
        Ok(page)
    }

    /// Hears what others say, once; `false`: they could not be heard. What is wrong with storage is told by the list itself.
    async fn hear(&self) -> bool {
        *self.heard.get_or_init(|| self.store.sharing.hear_now(&*self.store.driver)).await
    }

    fn is_changing(&self, prefix: &str) -> bool {
        self.is_changing_as(&self.store.lists.others(), prefix)
    }

    fn is_changing_as(&self, others: &Others, prefix: &str) -> bool {
        others.changing.touches(prefix) || self.store.standing.is_changing(namespace_of(prefix))
    }
}

/// The namespace that a prefix is or is below of.
fn namespace_of(prefix: &str) -> Option<&str> {
    let below = prefix.strip_prefix(layout::REPOSITORIES)?.strip_prefix('/')?;
    below.split('/').next()
}
