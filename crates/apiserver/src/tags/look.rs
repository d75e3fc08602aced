//! Looking at tags: from an entry of a walk to what there is to tell.

use std::sync::Arc;

use content::TagState;
use oci::{RepoName, Tag};
use tokio::task::JoinSet;

use super::details::Depth;
use super::object::Found;
use super::position::Version;
use super::view::View;
use super::walk::Entry;
use crate::status::{Failure, Result};

/// Tags that one task looks at; fewer are not worth a task.
const SHARE: usize = 64;

/// What a tag is now; `None` when it is gone or its link is damaged.
pub(crate) async fn state(view: &View, entry: &Entry) -> Result<Option<TagState>> {
    let (Ok(repo), Ok(tag)) = (RepoName::parse(&entry.repo), Tag::parse(&entry.tag)) else { return Ok(None) };
    match view.store().tag_state(repo, tag).await {
        Ok(state) => Ok(Some(state)),
        Err(content::Error::ManifestUnknown) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Adds the details that are wanted.
pub(crate) async fn describe(view: &View, entry: Entry, state: TagState, depth: Option<Depth>) -> Result<Found> {
    let version = Version::of_object(state.pushed, &state.digest);
    let mut found = Found { entry, state, version, details: None, referrers: None };
    let Some(depth) = depth else { return Ok(found) };
    found.details = Some(view.server.tags.memory.details(view, &found.entry.repo, state.digest, depth).await?);
    if depth == Depth::Whole
        && let Ok(repo) = RepoName::parse(&found.entry.repo)
    {
        found.referrers = Some(view.store().referrer_count(repo, state.digest).await?);
    }
    Ok(found)
}

/// The tag as it is now, if it is there.
pub(crate) async fn one(view: &View, entry: Entry, depth: Option<Depth>) -> Result<Option<Found>> {
    match state(view, &entry).await? {
        Some(state) => Ok(Some(describe(view, entry, state, depth).await?)),
        None => Ok(None),
    }
}

/// All of them that are there, in order, on several processors. Dropping the future ends the work.
pub(crate) async fn all(view: &View, entries: Vec<Entry>, depth: Option<Depth>) -> Result<Vec<Found>> {
    if entries.len() <= SHARE {
        return share(view.clone(), entries, depth).await;
    }
    let (mut tasks, mut parts) = (JoinSet::new(), Vec::new());
    let mut entries = entries.into_iter();
    while entries.len() > 0 {
        let (index, part) = (parts.len(), entries.by_ref().take(SHARE).collect());
        parts.push(Vec::new());
        let work = share(view.clone(), part, depth);
        tasks.spawn(async move { (index, work.await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (index, found) = done.map_err(|error| Failure::internal(error.to_string()))?;
        if let Some(part) = parts.get_mut(index) {
            *part = found?;
        }
    }
    Ok(parts.into_iter().flatten().collect())
}

async fn share(view: View, entries: Vec<Entry>, depth: Option<Depth>) -> Result<Vec<Found>> {
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        found.extend(one(&view, entry, depth).await?);
        // What the page cache answers never waits, and others want to go on, too.
        tokio::task::consume_budget().await;
    }
    Ok(found)
}

/// An entry of its own, for a tag that no walk has found.
pub(crate) fn entry(space: Arc<super::view::Living>, repo: &str, tag: &str) -> Entry {
    Entry { space, repo: repo.into(), tag: tag.into() }
}
