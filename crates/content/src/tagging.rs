//! How a push sets tags: one that may move is replaced, one that may not is created.

use crate::changes::{Before, Change};
use crate::{Error, Result, Store, layout};
use oci::{Digest, RepoName, Tag};
use std::sync::Arc;
use std::time::SystemTime;
use storage::Batch;

/// What is to be done with one tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Becomes the manifest, whatever it is.
    Replace,
    /// Becomes the manifest if it is not there.
    Create,
    /// Is the manifest already, and immutable.
    Stays,
}

/// The tags of a push, as of before it.
pub(crate) struct TagsToPut<'a>(Vec<(Tag<'a>, Mode, Change)>);

impl TagsToPut<'_> {
    /// Adds them to what the push does, and says what is to be noted of them. A tag is there with its link; its history, which
    /// tells how old it is, may come after the answer, and dates from the same moment.
    pub(crate) fn add_to(&self, mut batch: Batch, repo: RepoName<'_>, digest: &Digest) -> (Batch, Vec<Change>) {
        let text = digest.to_string();
        let tags = |wanted| self.0.iter().filter(move |(_, mode, _)| *mode == wanted).map(|(tag, ..)| *tag);
        // What may fail comes first: a push that is refused moves no other tag. One after the other and in one order: of
        // pushes that meet, who loses the first creates none.
        let mut new: Vec<Tag<'_>> = tags(Mode::Create).collect();
        new.sort_unstable_by_key(|tag| tag.as_str());
        for tag in new {
            batch = batch.create(layout::tag_current(repo, tag), text.clone());
        }
        batch = batch.at_once(|batch| {
            tags(Mode::Replace).fold(batch, |batch, tag| batch.put(layout::tag_current(repo, tag), text.clone()))
        });
        // Never before `current`: the directory of a new tag does not show without it.
        let entry = |batch: Batch, tag| {
            batch.keep(layout::tag_index(repo, tag, digest), text.clone()).lock(layout::tag_lock(repo, tag))
        };
        batch = batch.soon().at_once(|batch| self.0.iter().map(|(tag, ..)| *tag).fold(batch, entry));
        (batch, self.0.iter().map(|(_, _, change)| change.clone()).collect())
    }
}

impl Store {
    /// What a push of this manifest does with these tags.
    ///
    /// # Errors
    /// [`Error::TagImmutable`], [`Error::Storage`].
    pub(crate) async fn tags_to_put<'t>(
        &self,
        repo: RepoName<'_>,
        tags: &[Tag<'t>],
        digest: &Digest,
    ) -> Result<TagsToPut<'t>> {
        let immutable = self.immutable_tags();
        let name: Arc<str> = repo.as_str().into();
        let began = SystemTime::now();
        let mut found = Vec::with_capacity(tags.len());
        for tag in tags {
            let moves = !immutable.covers(repo.as_str(), tag.as_str());
            let (mode, before) = if moves && self.driver.is_remote() {
                (Mode::Replace, Before::Unknown { began })
            } else {
                // Nobody has seen a tag whose link is damaged.
                let is = match self.tag_link(repo, *tag).await {
                    Ok(link) => Some(link.digest),
                    Err(Error::ManifestUnknown) => None,
                    Err(error) => return Err(error),
                };
                let mode = match is {
                    _ if moves => Mode::Replace,
                    None => Mode::Create,
                    Some(is) if is == *digest => Mode::Stays,
                    Some(is) => return Err(Error::immutable(repo, *tag, Some(is))),
                };
                (mode, if is.is_none() { Before::Nothing } else { Before::Tag })
            };
            let change = Change::Pushed { repo: Arc::clone(&name), tag: tag.as_str().into(), before };
            found.push((*tag, mode, change));
        }
        Ok(TagsToPut(found))
    }

    /// None of the tags that were to stay has gone since.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) async fn have_stayed(&self, repo: RepoName<'_>, tags: &TagsToPut<'_>) -> Result<bool> {
        for (tag, ..) in tags.0.iter().filter(|(_, mode, _)| *mode == Mode::Stays) {
            match self.tag_link(repo, *tag).await {
                Ok(_) => {}
                Err(Error::ManifestUnknown) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The same as before a push after one of them was found to be there, or no more.
    pub(crate) async fn tags_left_to_put<'t>(
        &self,
        repo: RepoName<'_>,
        tags: &[Tag<'t>],
        digest: &Digest,
    ) -> Result<TagsToPut<'t>> {
        let left = self.tags_to_put(repo, tags, digest).await?;
        for (tag, _, _) in left.0.iter().filter(|(_, mode, _)| *mode == Mode::Create) {
            match self.driver.stat(&layout::tag_current(repo, *tag)).await {
                // Several may find it damaged, and only one may replace it.
                Ok(_) => {
                    if let Err(Error::ManifestUnknown) = self.tag_link(repo, *tag).await {
                        return Err(Error::immutable(repo, *tag, None));
                    }
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(left)
    }
}
