//! The list of tags.

use crate::{Error, Result, Store, layout};
use oci::{Page, RepoName};
use storage::ListPage;

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
        let list = self.driver.list(&layout::tags(repo), after, page.limit).await?;
        if list.names.is_empty() && !self.repository_exists(repo).await? {
            return Err(Error::NameUnknown);
        }
        Ok(TagsPage(list))
    }

    async fn repository_exists(&self, repo: RepoName<'_>) -> Result<bool> {
        let key = layout::repository(repo.as_str());
        let children = self.driver.list(&key, "", usize::MAX).await?;
        Ok(children.names.contains(layout::MANIFESTS) || children.names.contains(layout::LAYERS))
    }
}
