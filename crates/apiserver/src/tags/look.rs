//! Looking at a tag: from an entry of a walk to what there is to tell.

use std::sync::Arc;

use content::TagState;
use oci::{RepoName, Tag};

use super::details::{Depth, Keep};
use super::object::Found;
use super::position::Version;
use super::view::{Living, View};
use super::walk::Entry;
use crate::status::Result;

/// What a tag is now; `None` when it is gone or its link is damaged.
pub(crate) async fn state(view: &View, entry: &Entry) -> Result<Option<TagState>> {
    let (Ok(repo), Ok(tag)) = (RepoName::parse(&entry.repo), Tag::parse(&entry.tag)) else { return Ok(None) };
    match view.store().tag_state(repo, tag).await {
        Ok(state) => Ok(Some(state)),
        Err(content::Error::ManifestUnknown) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Which repository has referrers, asked once for many of its tags in a row.
#[derive(Default)]
pub(crate) struct Referred(Option<(Arc<str>, bool)>);

impl Referred {
    /// False: none of the repository's images has a referrer.
    pub(crate) async fn any(&mut self, view: &View, repo: &Arc<str>) -> Result<bool> {
        if let Some((known, any)) = &self.0
            && known == repo
        {
            return Ok(*any);
        }
        let Ok(name) = RepoName::parse(repo) else { return Ok(false) };
        let any = view.store().has_referrers(name).await?;
        self.0 = Some((Arc::clone(repo), any));
        Ok(any)
    }
}

/// Adds the details that are wanted. `referred`: some image of the repository may have referrers.
pub(crate) async fn describe(
    view: &View,
    entry: Entry,
    state: TagState,
    depth: Option<Depth>,
    keep: Keep,
    referred: bool,
) -> Result<Found> {
    let version = Version::of_object(state.pushed, &state.digest);
    let mut found = Found { entry, state, version, details: None, referrers: None };
    let Some(depth) = depth else { return Ok(found) };
    let memory = &view.server.tags.memory;
    found.details = Some(memory.details(view.store(), &found.entry.repo, state.digest, depth, keep).await?);
    if depth == Depth::Whole
        && let Ok(repo) = RepoName::parse(&found.entry.repo)
    {
        found.referrers = Some(if referred { view.store().referrer_count(repo, state.digest).await? } else { 0 });
    }
    Ok(found)
}

/// The tag as it is now, if it is there.
pub(crate) async fn one(
    view: &View,
    entry: Entry,
    depth: Option<Depth>,
    keep: Keep,
    referred: bool,
) -> Result<Option<Found>> {
    match state(view, &entry).await? {
        Some(state) => Ok(Some(describe(view, entry, state, depth, keep, referred).await?)),
        None => Ok(None),
    }
}

/// Where a tag of this name would be; `None` when the cluster has no such namespace, or the content is an earlier one's.
pub(crate) async fn place(view: &View, namespace: &str, repo: &str, tag: &str) -> Result<Option<Entry>> {
    let Some(space) = view.namespace(namespace).await? else { return Ok(None) };
    let Ok(name) = RepoName::parse(repo) else { return Ok(None) };
    Ok(view.is_readable(name).await?.then(|| entry(Arc::new(space), repo, tag)))
}

/// An entry of its own, for a tag that no walk has found.
pub(crate) fn entry(space: Arc<Living>, repo: &str, tag: &str) -> Entry {
    Entry { space, repo: repo.into(), tag: tag.into() }
}
