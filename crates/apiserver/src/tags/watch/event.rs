//! From a change to events.

use std::sync::Arc;

use access::Action;
use content::{Change, Namespace, Noted, TagState};
use oci::RepoName;
use quick_cache::sync::Cache;

use super::super::details::Depth;
use super::super::identity::Identity;
use super::super::look;
use super::super::object::Found;
use super::super::position::Version;
use super::super::view::Living;
use super::super::walk::Entry;
use super::{Watcher, too_old};
use crate::status::Result;

/// Changes whose truth is remembered: those that all watchers look at just now.
const TRUTHS: usize = 2_048;

/// What the tag of a change was when the first watcher looked; by position.
pub(crate) struct Truths(Cache<u64, Option<TagState>>);

impl Truths {
    pub(crate) fn new() -> Self {
        Self(Cache::new(TRUTHS))
    }
}

type Events = Vec<(&'static str, Found)>;

impl Watcher {
    /// What the change means for this watch.
    ///
    /// # Errors
    /// 410 when everything has to be looked at again; those of storage.
    pub(super) async fn events(&self, noted: &Noted) -> Result<Events> {
        match &noted.change {
            Change::Unknown => Err(too_old()),
            Change::Namespace { namespace } if self.concerns(namespace) => Err(too_old()),
            Change::Namespace { .. } => Ok(Events::new()),
            Change::Pushed { repo, tag, new } => self.pushed(noted.at, repo, tag, *new).await,
            Change::Removed { repo, tag, was } => self.removed(noted.at, repo, tag, was).await,
        }
    }

    async fn pushed(&self, at: u64, repo: &Arc<str>, tag: &str, new: bool) -> Result<Events> {
        let Some(entry) = self.entry(repo, tag, false).await? else { return Ok(Events::new()) };
        // If it is gone again, its removal follows.
        let Some(state) = self.truth(at, &entry).await? else { return Ok(Events::new()) };
        let found = look::describe(&self.view, entry, state, self.renderer.style.depth()).await?;
        Ok(vec![(if new { "ADDED" } else { "MODIFIED" }, found)])
    }

    async fn removed(&self, at: u64, repo: &Arc<str>, tag: &str, was: &TagState) -> Result<Events> {
        let Some(entry) = self.entry(repo, tag, true).await? else { return Ok(Events::new()) };
        let mut events = Events::new();
        let depth = self.renderer.style.depth();
        let truth = self.truth(at, &entry).await?;
        // Changes may be noted in another order than they happened in: what is there must not look gone in the end.
        if truth.is_none_or(|truth| truth.created != was.created) {
            events.push(("DELETED", self.last_seen(at, entry.clone(), *was, depth).await?));
        }
        if let Some(state) = truth.filter(|_| !events.is_empty()) {
            events.push(("ADDED", look::describe(&self.view, entry, state, depth).await?));
        }
        Ok(events)
    }

    /// The tag as it was, with the version of its removal.
    async fn last_seen(&self, at: u64, entry: Entry, was: TagState, depth: Option<Depth>) -> Result<Found> {
        let mut found = look::describe(&self.view, entry, was, depth).await?;
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

    fn concerns(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    async fn truth(&self, at: u64, entry: &Entry) -> Result<Option<TagState>> {
        self.view.server.tags.truths.0.get_or_insert_async(&at, look::state(&self.view, entry)).await
    }
}
