//! Reading and removing manifests.

use crate::cache::GrantKind;
use crate::changes::Change;
use crate::tags::{TagState, damaged};
use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use oci::{Algorithm, Digest, Manifest, Reference, RepoName, Tag};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage::Batch;

/// A stored manifest; immutable, so it may be shared and remembered.
#[derive(Debug)]
pub struct StoredManifest {
    /// Media type to answer with.
    pub media_type: String,
    /// The bytes as they were pushed.
    pub bytes: Bytes,
    /// The manifest that this one refers to.
    pub subject: Option<Digest>,
}

/// So often a manifest is removed that is pushed again meanwhile.
const REMOVAL_ROUNDS_MAX: usize = 5;

impl Store {
    /// Reads a manifest; returns the digest under which it was found, which is the asked one or the tag's.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Storage`].
    pub async fn manifest(
        &self,
        repo: RepoName<'_>,
        reference: Reference<'_>,
    ) -> Result<(Digest, Arc<StoredManifest>)> {
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => self.tag_digest(repo, tag).await?,
            Reference::Invalid(_) => return Err(Error::ManifestUnknown),
        };
        let canonical = self.grant(GrantKind::Revision, repo, &digest).await?;
        Ok((digest, self.manifest_content(&canonical).await?))
    }

    /// What a tag is now, always from storage.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Storage`].
    pub async fn tag_digest(&self, repo: RepoName<'_>, tag: Tag<'_>) -> Result<Digest> {
        let key = layout::tag_current(repo, tag);
        match self.driver.get(&key, layout::LINK_MAX).await {
            Ok(text) => layout::parse_link(&text).ok_or_else(|| damaged(&key)),
            Err(error) if error.kind == storage::ErrorKind::TooLarge => Err(Error::ManifestUnknown),
            Err(error) => Err(Error::or(error, Error::ManifestUnknown)),
        }
    }

    pub(crate) async fn manifest_content(&self, canonical: &Digest) -> Result<Arc<StoredManifest>> {
        if let Some(manifest) = self.caches.manifest(canonical) {
            return Ok(manifest);
        }
        let (manifest, bytes) = self.read_manifest(canonical).await?;
        let subject = manifest.subject.map(|subject| subject.digest);
        let manifest = Arc::new(StoredManifest { media_type: manifest.media_type, bytes, subject });
        self.caches.put_manifest(*canonical, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// Reads a manifest for what it says, and its length. Takes no room among the manifests that are pulled: whoever looks
    /// at all of a large repository would push those out.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Storage`].
    pub async fn manifest_look(&self, repo: RepoName<'_>, digest: &Digest) -> Result<(Manifest, u64)> {
        let canonical = self.grant_look(GrantKind::Revision, repo, digest).await?;
        if let Some(known) = self.caches.manifest(&canonical) {
            let manifest = Manifest::parse(&known.bytes, None).map_err(|_| Error::ManifestUnknown)?;
            return Ok((manifest, known.bytes.len() as u64));
        }
        let (manifest, bytes) = self.read_manifest(&canonical).await?;
        Ok((manifest, bytes.len() as u64))
    }

    async fn read_manifest(&self, canonical: &Digest) -> Result<(Manifest, Bytes)> {
        let bytes = self.driver.get(&layout::blob_data(canonical), self.settings.manifest_bytes_max).await;
        let bytes = bytes.map_err(|error| match error.kind {
            storage::ErrorKind::TooLarge => Error::ManifestUnknown,
            _ => Error::or(error, Error::ManifestUnknown),
        })?;
        if oci::Hasher::digest(canonical.algorithm(), &bytes) != *canonical {
            tracing::error!(digest = %canonical, "stored manifest is damaged: its content does not have its digest");
            return Err(Error::ManifestUnknown);
        }
        match Manifest::parse(&bytes, None) {
            Ok(manifest) => Ok((manifest, bytes)),
            Err(error) => {
                tracing::warn!(digest = %canonical, %error, "stored content is no manifest that can be served");
                Err(Error::ManifestUnknown)
            }
        }
    }

    /// True when storage itself says now that the repository has the manifest.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) async fn has_manifest(&self, repo: RepoName<'_>, digest: &Digest) -> Result<bool> {
        let canonical = match self.grant_at_the_truth(GrantKind::Revision, repo, digest).await {
            Ok(canonical) => canonical,
            Err(Error::ManifestUnknown) => return Ok(false),
            Err(error) => return Err(error),
        };
        match self.driver.stat(&layout::blob_data(&canonical)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a tag and its history; returns what it was, if that can be told. The manifest stays. With `only`, nothing
    /// happens to a tag that is something else.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Changed`], [`Error::Storage`].
    pub async fn tag_delete(&self, repo: RepoName<'_>, tag: Tag<'_>, only: Option<&Digest>) -> Result<Option<Digest>> {
        let current = layout::tag_current(repo, tag);
        let link = match self.tag_link(repo, tag).await {
            // A damaged link is listed, so it can be removed.
            Err(Error::ManifestUnknown) if self.driver.stat(&current).await.is_ok() => None,
            other => Some(other?),
        };
        if only.is_some() && only != link.as_ref().map(|link| &link.digest) {
            return Err(Error::Changed);
        }
        let was = match &link {
            Some(link) => Some(self.tag_since(repo, tag, link).await?),
            None => None,
        };
        let batch = Batch::new().lock(layout::tag_lock(repo, tag));
        let batch = match link.filter(|_| only.is_some()) {
            Some(link) => batch.delete_tree_if(layout::tag(repo, tag), current, link.text),
            None => batch.delete_tree(layout::tag(repo, tag)),
        };
        let removed = |was| Change::Removed { repo: repo.as_str().into(), tag: tag.as_str().into(), was };
        self.apply_noted(batch, was.map(removed).into_iter().collect()).await?;
        if only.is_some() && self.has_moved(repo, tag, was).await? {
            return Err(Error::Changed);
        }
        Ok(was.map(|was| was.digest))
    }

    /// The tag is another manifest than it was, and has not been removed meanwhile: then its history would begin anew.
    async fn has_moved(&self, repo: RepoName<'_>, tag: Tag<'_>, was: Option<TagState>) -> Result<bool> {
        let Some(was) = was else { return Ok(false) };
        match self.tag_state(repo, tag).await {
            Ok(now) => Ok(now.digest != was.digest && now.created == was.created),
            Err(Error::ManifestUnknown) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a manifest and every tag that names it; returns those tags. The bytes stay until the garbage collection.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Storage`].
    pub async fn manifest_delete(&self, repo: RepoName<'_>, digest: Digest) -> Result<Vec<String>> {
        let canonical = self.grant_at_the_truth(GrantKind::Revision, repo, &digest).await?;
        let (subject, other) = match self.manifest_content(&canonical).await {
            Ok(manifest) => (manifest.subject, Some(oci::Hasher::digest(Algorithm::Sha512, &manifest.bytes))),
            // Damaged content can be removed too.
            Err(Error::ManifestUnknown) => (None, None),
            Err(error) => return Err(error),
        };
        // A manifest can be reached under both algorithms; both names go. The asked one last, so that the caller can
        // repeat what was cut off.
        let others = [Some(canonical), other].into_iter().flatten().filter(|name| *name != digest);
        let names: Vec<Digest> = others.chain([digest]).collect();
        let mut tags = self.tags_of(repo, &names).await?;
        let mut removed = BTreeSet::new();
        for round in 1.. {
            self.apply_noted(removal(repo, &names, subject.as_ref(), &tags), removed_tags(repo, &tags)).await?;
            for name in &names {
                self.caches.drop_grant(GrantKind::Revision, repo.as_str(), name);
            }
            removed.extend(tags.into_iter().map(|found| found.tag));
            // A push may have set a tag after we had looked and before the manifest went. We cannot tell it from one that
            // came later and has brought the manifest back, so both count as older than we are, and go. Against somebody
            // who pushes without end only tags without their manifest count.
            tags = Vec::new();
            for found in self.tags_of(repo, &names).await? {
                if round < REMOVAL_ROUNDS_MAX || !self.has_manifest(repo, &found.state.digest).await? {
                    tags.push(found);
                }
            }
            if tags.is_empty() {
                break;
            }
        }
        Ok(removed.into_iter().collect())
    }

    /// The tags that are one of `names` now.
    async fn tags_of(&self, repo: RepoName<'_>, names: &[Digest]) -> Result<Vec<Found>> {
        let page = self.driver.list(&layout::tags(repo), "", usize::MAX).await?;
        let mut found = Vec::new();
        for name in page.range.clone().map(|index| page.names.at(index)) {
            let Ok(tag) = Tag::parse(name.text) else { continue };
            match self.tag_link(repo, tag).await {
                Ok(link) if names.contains(&link.digest) => {
                    let state = self.tag_since(repo, tag, &link).await?;
                    found.push(Found { tag: name.text.to_owned(), state, link: link.text });
                }
                Ok(_) | Err(Error::ManifestUnknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// A tag that is to go.
struct Found {
    tag: String,
    state: TagState,
    /// Its link as it is stored.
    link: Bytes,
}

fn removed_tags(repo: RepoName<'_>, tags: &[Found]) -> Vec<Change> {
    let repo: Arc<str> = repo.as_str().into();
    let removed =
        |found: &Found| Change::Removed { repo: Arc::clone(&repo), tag: found.tag.as_str().into(), was: found.state };
    tags.iter().map(removed).collect()
}

/// Everything at once, and tags first: no part of it leaves a tag without its manifest.
fn removal(repo: RepoName<'_>, names: &[Digest], subject: Option<&Digest>, tags: &[Found]) -> Batch {
    let mut batch = Batch::new();
    for found in tags {
        let Ok(tag) = Tag::parse(&found.tag) else { continue };
        // Only if the tag is still what we saw: somebody may have pushed another manifest meanwhile.
        batch = batch
            .delete_tree_if(layout::tag(repo, tag), layout::tag_current(repo, tag), found.link.clone())
            .lock(layout::tag_lock(repo, tag));
    }
    for name in names {
        if let Some(subject) = subject {
            batch = batch.delete(layout::referrer(repo, subject, name));
        }
        batch = batch.delete(layout::revision_link(repo, name)).lock(layout::manifest_lock(repo, name));
    }
    batch
}
