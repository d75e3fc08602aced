//! From a change to events.

use std::sync::Arc;
use std::time::SystemTime;

use access::Action;
use content::{Before, Change, Namespace, Noted, TagState};
use oci::RepoName;
use quick_cache::sync::Cache;

use super::{Watcher, too_old};
use crate::status::Result;
use crate::tags::details::Keep;
use crate::tags::identity::Identity;
use crate::tags::look;
use crate::tags::object::Found;
use crate::tags::position::Version;
use crate::tags::view::Living;
use crate::tags::walk::Entry;

/// Changes whose truth is remembered: those that all watchers look at just now.
const TRUTHS: usize = 2_048;

/// A change, and the namespace for which it was looked at: another one of the same name has to look for itself.
type Seen = (u64, Arc<str>);

/// What was read for a change when the first watcher looked.
pub(crate) struct Truths {
    /// The tag.
    states: Cache<Seen, Option<TagState>>,
    /// Since when the namespace owns what it has.
    claims: Cache<Seen, Option<SystemTime>>,
}

impl Truths {
    pub(crate) fn new() -> Self {
        Self { states: Cache::new(TRUTHS), claims: Cache::new(TRUTHS) }
    }
}

type Events = Vec<(&'static str, Found)>;

impl Watcher {
    /// What the change means for this watch.
    ///
    /// # Errors
    /// 410 when nobody can tell whose tag it was; those of storage.
    pub(super) async fn events(&self, noted: &Noted) -> Result<Events> {
        match &noted.change {
            Change::Unknown | Change::Namespace { .. } => Ok(Events::new()),
            Change::Pushed { repo, tag, before } => self.pushed(noted.at, repo, tag, *before).await,
            Change::Removed { repo, tag, was } => self.removed(noted.at, repo, tag, was).await,
        }
    }

    async fn pushed(&self, at: u64, repo: &Arc<str>, tag: &str, before: Before) -> Result<Events> {
        let Some(entry) = self.entry(repo, tag, false).await? else { return Ok(Events::new()) };
        // If it is gone again, its removal follows.
        let Some(state) = self.truth(at, &entry).await? else { return Ok(Events::new()) };
        Ok(vec![(if before.is_new(&state) { "ADDED" } else { "MODIFIED" }, self.as_it_is(at, entry, state).await?)])
    }

    async fn removed(&self, at: u64, repo: &Arc<str>, tag: &str, was: &TagState) -> Result<Events> {
        let Some(entry) = self.entry(repo, tag, true).await? else { return Ok(Events::new()) };
        let truth = self.truth(at, &entry).await?;
        // Changes may be noted in another order than they happened in: what is there must not look gone in the end.
        if truth.is_some_and(|truth| truth.created == was.created) {
            return Ok(Events::new());
        }
        // The change does not say whose the tag was. What is older than the namespace's claim may be an earlier namespace's of
        // the same name, and is nobody's to be told about.
        if self.claim(at, &entry).await?.is_none_or(|claim| was.created < claim) {
            return Err(too_old());
        }
        let mut events = vec![("DELETED", self.as_it_was(at, entry.clone(), *was).await?)];
        if let Some(state) = truth {
            events.push(("ADDED", self.as_it_is(at, entry, state).await?));
        }
        Ok(events)
    }

    async fn as_it_is(&self, at: u64, entry: Entry, state: TagState) -> Result<Found> {
        let depth = self.renderer.style.depth();
        let mut found = look::describe(&self.view, entry, state, depth, Keep::Everything, true).await?;
        found.version = found.version.told_at(at, self.view.server.tags.origin);
        Ok(found)
    }

    /// The tag as it was, with the version of its removal.
    async fn as_it_was(&self, at: u64, entry: Entry, was: TagState) -> Result<Found> {
        let depth = self.renderer.style.depth();
        let mut found = look::describe(&self.view, entry, was, depth, Keep::Everything, true).await?;
        // That its manifest may be gone as well is no problem of a tag that is gone.
        found.details = found.details.filter(|details| details.problem.is_none());
        found.version = Version::of_change(at, self.view.server.tags.origin);
        Ok(found)
    }

    /// The tag, if it concerns this watch and its caller may see it.
    async fn entry(&self, repo: &Arc<str>, tag: &str, removed: bool) -> Result<Option<Entry>> {
        let (Ok(name), Some((namespace, _))) = (RepoName::parse(repo), repo.split_once('/')) else { return Ok(None) };
        if !self.concerns(namespace) || !self.selectors.matches(&Identity { namespace, repo, tag }) {
            return Ok(None);
        }
        if !self.view.may(Action::Pull, repo).await? || !self.view.is_readable(name).await? {
            return Ok(None);
        }
        let space = match self.view.remembered(namespace)? {
            Some(space) => Some(space),
            // It is on its way out, and its tags are before it.
            None if removed => self.last_owner(namespace).await?,
            // Memory may not have a namespace yet that was made a moment ago.
            None => self.view.confirmed(namespace).await?,
        };
        Ok(space.map(|space| Entry { space: Arc::new(space), repo: Arc::clone(repo), tag: tag.into() }))
    }

    async fn last_owner(&self, namespace: &str) -> Result<Option<Living>> {
        let Some(parsed) = Namespace::parse(namespace) else { return Ok(None) };
        let owner = self.view.store().namespace_owner(parsed).await?;
        Ok(owner.map(|owner| Living { name: namespace.into(), uid: owner.uid.into(), terminating: true }))
    }

    async fn truth(&self, at: u64, entry: &Entry) -> Result<Option<TagState>> {
        let (seen, truths) = (seen(at, entry), &self.view.server.tags.truths);
        truths.states.get_or_insert_async(&seen, look::state(&self.view, entry)).await
    }

    /// Since when the namespace of the entry owns what is in it; `None`: it does not, or that is not known.
    async fn claim(&self, at: u64, entry: &Entry) -> Result<Option<SystemTime>> {
        let read = async {
            let Some(namespace) = Namespace::parse(&entry.space.name) else { return Ok(None) };
            let claim = self.view.store().namespace_claim(namespace).await?;
            Ok(claim.filter(|(owner, _)| *owner.uid == *entry.space.uid).map(|(_, since)| since))
        };
        self.view.server.tags.truths.claims.get_or_insert_async(&seen(at, entry), read).await
    }
}

fn seen(at: u64, entry: &Entry) -> Seen {
    (at, Arc::clone(&entry.space.uid))
}
