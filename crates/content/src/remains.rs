//! What another process leaves of a tag that is deleted here while it is pushed there.
//!
//! In a bucket a push writes the history of a tag after the tag. Within one process a lock keeps deletions from coming in
//! between. Where there are several, history may be written of a tag that has just gone: it is listed, and nothing is there.
//! So who deletes a tag looks for that afterwards: before the answer, and some seconds later for pushes that had to repeat
//! a write.

use crate::{Result, Store, layout};
use futures_util::future::join_all;
use oci::{RepoName, Tag};
use std::sync::Arc;
use std::time::Duration;
use storage::{Batch, Driver};
use tokio::sync::Semaphore;

/// From the deletion to one more look, and from that to the last: while others still know that the namespace changes, and
/// trust no list of it that they have kept.
const LATER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Tags that are looked at later. Of more only the first look is taken.
const LATER_MAX: usize = 1000;

/// Tags that are to be looked at later.
pub(crate) struct Remains(Arc<Semaphore>);

impl Default for Remains {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LATER_MAX)))
    }
}

/// The places of a tag.
struct Place {
    tag: String,
    history: String,
    lock: String,
}

impl Place {
    fn new(repo: RepoName<'_>, tag: Tag<'_>) -> Self {
        Self { tag: layout::tag(repo, tag), history: layout::tag_history(repo, tag), lock: layout::tag_lock(repo, tag) }
    }

    /// Removes history without its tag. When a push comes in between, its tag is without the history that it found: then it
    /// is as old as its link.
    async fn clear(&self, driver: &dyn Driver) -> storage::Result<()> {
        let children = driver.list(&self.tag, "", usize::MAX).await?;
        if children.names.is_empty() || children.names.contains(layout::CURRENT) {
            return Ok(());
        }
        driver.apply(Batch::new().delete_tree(self.history.as_str()).lock(self.lock.as_str())).await
    }
}

/// Some at once; what fails now may succeed later.
async fn clear_all(driver: &dyn Driver, places: &[Place], at_once: usize) {
    for some in places.chunks(at_once) {
        for cleared in join_all(some.iter().map(|place| place.clear(driver))).await {
            if let Err(error) = cleared {
                tracing::debug!(%error, "what is left of a deleted tag was not removed");
            }
        }
    }
}

impl Store {
    /// Removes what pushes of other processes have left of tags that were just deleted, as far as it can be found. The
    /// deletion is still under way.
    pub(crate) async fn clear_remains<'a>(&self, repo: RepoName<'_>, tags: impl IntoIterator<Item = Tag<'a>>) {
        if !self.driver.is_remote() {
            return;
        }
        let mut places: Vec<Place> = tags.into_iter().map(|tag| Place::new(repo, tag)).collect();
        let at_once = self.looks_at_once();
        clear_all(&*self.driver, &places, at_once).await;
        places.truncate(LATER_MAX);
        let Some(count) = u32::try_from(places.len()).ok().filter(|count| *count > 0) else { return };
        let Ok(turns) = Arc::clone(&self.remains.0).try_acquire_many_owned(count) else { return };
        let driver = Arc::clone(&self.driver);
        tokio::spawn(async move {
            for pause in LATER {
                tokio::time::sleep(pause).await;
                clear_all(&*driver, &places, at_once).await;
            }
            drop(turns);
        });
    }

    /// Removes history that is there without its tag, whoever has left it. The deletion is under way.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub(crate) async fn clear_history_alone(&self, repo: RepoName<'_>, tag: Tag<'_>) -> Result<()> {
        if self.driver.is_remote() {
            Place::new(repo, tag).clear(&*self.driver).await?;
        }
        Ok(())
    }
}
