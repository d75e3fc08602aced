//! The list of tags, and what one of them is.

use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use oci::{Digest, Page, RepoName, Tag};
use std::time::SystemTime;
use storage::ListPage;

/// So many entries of a tag's history are looked at to tell how old it is.
const HISTORY_MAX: usize = 1000;

/// What a tag is, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagState {
    /// The manifest.
    pub digest: Digest,
    /// When it was last pushed.
    pub pushed: SystemTime,
    /// When it was first pushed since it was last removed, and never later than `pushed`. The same while it moves, unless it
    /// has been more than 1,000 manifests.
    pub created: SystemTime,
}

/// The link that a tag is.
pub(crate) struct Link {
    /// What it says.
    pub(crate) digest: Digest,
    pub(crate) modified: SystemTime,
    /// As it is stored.
    pub(crate) text: Bytes,
    /// Homeport has written it.
    pub(crate) own: bool,
}

/// One page of tags.
#[derive(Debug)]
pub struct TagsPage(ListPage);

impl TagsPage {
    /// The tags, in ASCII order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.range.clone().map(|index| self.0.names.at(index).text)
    }

    /// Equal stamps of one repository mean equal lists. `None`: not known.
    #[must_use]
    pub fn stamp(&self) -> Option<u64> {
        self.0.stamp
    }

    /// More follow.
    #[must_use]
    pub fn more(&self) -> bool {
        self.0.more
    }
}

impl Store {
    /// Tags of a repository.
    ///
    /// # Errors
    /// [`Error::NameUnknown`] when nothing was ever pushed under the name, [`Error::Storage`].
    pub async fn tags(&self, repo: RepoName<'_>, page: &Page) -> Result<TagsPage> {
        let after = page.last.as_deref().unwrap_or_default();
        let list = self.view().list(&layout::tags(repo), after, page.limit).await?;
        if list.names.is_empty() && !self.repository_exists(repo).await? {
            return Err(Error::NameUnknown);
        }
        Ok(TagsPage(list))
    }

    /// What a tag is, always from storage.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] when there is none or its link is damaged, [`Error::Storage`].
    pub async fn tag_state(&self, repo: RepoName<'_>, tag: Tag<'_>) -> Result<TagState> {
        let link = self.tag_link(repo, tag).await?;
        self.tag_since(repo, tag, &link).await
    }

    /// The link of a tag, from storage.
    pub(crate) async fn tag_link(&self, repo: RepoName<'_>, tag: Tag<'_>) -> Result<Link> {
        let key = layout::tag_current(repo, tag);
        match self.driver.read(&key, layout::LINK_MAX).await {
            Ok((stat, text)) => match layout::parse_link(&text) {
                Some(digest) => Ok(Link { digest, modified: stat.modified, text, own: stat.own }),
                None => Err(damaged(&key)),
            },
            Err(error) if error.kind == storage::ErrorKind::TooLarge => Err(damaged(&key)),
            Err(error) => Err(Error::or(error, Error::ManifestUnknown)),
        }
    }

    /// Adds how old the tag is. Its history tells: an entry of it is written once.
    pub(crate) async fn tag_since(&self, repo: RepoName<'_>, tag: Tag<'_>, link: &Link) -> Result<TagState> {
        let (history, likely) = (layout::tag_history(repo, tag), layout::tag_index(repo, tag, &link.digest));
        let created = self.driver.oldest(&history, &likely, HISTORY_MAX).await?.unwrap_or(link.modified);
        // Writers whose clocks differ may push after the first one, and yet earlier.
        Ok(TagState { digest: link.digest, pushed: link.modified.max(created), created })
    }

    async fn repository_exists(&self, repo: RepoName<'_>) -> Result<bool> {
        let key = layout::repository(repo.as_str());
        let children = self.driver.list(&key, "", usize::MAX).await?;
        Ok(children.names.contains(layout::MANIFESTS) || children.names.contains(layout::LAYERS))
    }
}

pub(crate) fn damaged(key: &str) -> Error {
    tracing::warn!(key, "empty or damaged link, treated as missing");
    Error::ManifestUnknown
}
