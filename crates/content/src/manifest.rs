//! Reading and removing manifests.

use crate::cache::GrantKind;
use crate::changes::Change;
use crate::tags::{TagState, damaged};
use crate::{Error, Namespace, Result, Store, layout, put};
use bytes::Bytes;
use futures_util::future::{join, try_join_all};
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

/// Tags of one batch that removes them: each is a name to be locked.
const TAGS_AT_ONCE_MAX: usize = 256;
/// So often a manifest is removed that is pushed again meanwhile.
const REMOVAL_ROUNDS_MAX: usize = 5;
/// So often its tags are, which without it come again.
const TAG_REMOVAL_ROUNDS_MAX: usize = 20;
/// So often a tag is read whose manifest goes meanwhile.
const TAG_ROUNDS_MAX: usize = 3;

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
            Reference::Tag(tag) => {
                return self.manifest_by_tag(repo, tag).await;
            }
            Reference::Invalid(_) => return Err(Error::ManifestUnknown),
        };
        let canonical = self.grant(GrantKind::Revision, repo, &digest).await?;
        Ok((digest, self.manifest_content(&canonical).await?))
    }

    async fn manifest_by_tag(&self, repo: RepoName<'_>, tag: Tag<'_>) -> Result<(Digest, Arc<StoredManifest>)> {
        let (mut digest, mut own) = self.tag_now(repo, tag).await?;
        for round in 1.. {
            match self.tagged(repo, &digest, own).await {
                // The tag may have moved, and what it was may have gone, after it was read.
                Err(Error::ManifestUnknown) if round < TAG_ROUNDS_MAX => {
                    let was = digest;
                    (digest, own) = self.tag_now(repo, tag).await?;
                    if was == digest {
                        break;
                    }
                }
                other => return Ok((digest, other?)),
            }
        }
        Err(Error::ManifestUnknown)
    }

    /// What a tag is, and whether it is known that Homeport has made it that.
    async fn tag_now(&self, repo: RepoName<'_>, tag: Tag<'_>) -> Result<(Digest, bool)> {
        if !self.driver.is_remote() {
            return Ok((self.tag_digest(repo, tag).await?, false));
        }
        let as_of = self.caches.grants_as_of();
        let link = self.tag_link(repo, tag).await?;
        let own = link.own && link.digest.algorithm() == Algorithm::Sha256;
        if own {
            self.caches.put_grant(as_of, GrantKind::Revision, repo.as_str(), &link.digest, link.digest);
        }
        Ok((link.digest, own))
    }

    /// The manifest that a tag of the repository names. Old registries leave tags behind whose manifest they have removed,
    /// so its link is looked at as well, at the same time where that takes long; but for a tag of our own: our tags go before
    /// their manifest does.
    async fn tagged(&self, repo: RepoName<'_>, digest: &Digest, own: bool) -> Result<Arc<StoredManifest>> {
        if own {
            return self.manifest_content(digest).await;
        }
        if !self.driver.is_remote() || digest.algorithm() != Algorithm::Sha256 {
            let canonical = self.grant(GrantKind::Revision, repo, digest).await?;
            return self.manifest_content(&canonical).await;
        }
        // The name is nearly always the canonical one.
        let (canonical, content) =
            join(self.grant(GrantKind::Revision, repo, digest), self.manifest_content(digest)).await;
        match canonical? {
            canonical if canonical == *digest => content,
            canonical => self.manifest_content(&canonical).await,
        }
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
        self.caches.note_said_sizes(&manifest);
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

    /// Removes a tag and its history; returns what it was, if that can be told. The manifest stays. With `only`, nothing
    /// happens to a tag that is something else.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::TagImmutable`], [`Error::Changed`], [`Error::Storage`].
    pub async fn tag_delete(&self, repo: RepoName<'_>, tag: Tag<'_>, only: Option<&Digest>) -> Result<Option<Digest>> {
        if !self.immutable_tags().covers(repo.as_str(), tag.as_str()) {
            return self.tag_delete_at_the_end(repo, tag, only).await;
        }
        match self.tag_link(repo, tag).await {
            Ok(link) => Err(Error::immutable(repo, tag, Some(link.digest))),
            // A damaged link keeps nothing, and is in the way of what it should be.
            Err(Error::ManifestUnknown) => self.tag_delete_damaged(repo, tag, only).await.map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Removes a tag whose link is damaged, and nothing that a push puts in its place.
    async fn tag_delete_damaged(&self, repo: RepoName<'_>, tag: Tag<'_>, only: Option<&Digest>) -> Result<()> {
        // It may wait, so it comes before the look at what there is.
        let _under_way = self.under_way(Namespace::of(repo)).await?;
        let current = layout::tag_current(repo, tag);
        let text = match self.driver.get(&current, storage::INLINE_MAX).await {
            Err(error) if error.is_not_found() => {
                self.clear_history_alone(repo, tag).await?;
                return Err(Error::ManifestUnknown);
            }
            other => other?,
        };
        if let Some(is) = layout::parse_link(&text) {
            return Err(Error::immutable(repo, tag, Some(is)));
        }
        if only.is_some() {
            return Err(Error::Changed);
        }
        let batch = Batch::new().lock(layout::tag_lock(repo, tag));
        self.driver.apply(batch.delete_tree_if(layout::tag(repo, tag), current, text)).await?;
        self.clear_remains(repo, [tag]).await;
        Ok(())
    }

    /// The same for a tag of a namespace that ends: there immutable ones go, too.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], [`Error::Changed`], [`Error::Storage`].
    pub async fn tag_delete_at_the_end(
        &self,
        repo: RepoName<'_>,
        tag: Tag<'_>,
        only: Option<&Digest>,
    ) -> Result<Option<Digest>> {
        // It may wait, so it comes before the look at what there is.
        let under_way = self.under_way(Namespace::of(repo)).await?;
        let current = layout::tag_current(repo, tag);
        let link = match self.tag_link(repo, tag).await {
            Err(Error::ManifestUnknown) => match self.driver.stat(&current).await {
                // A damaged link is listed, so it can be removed.
                Ok(_) => None,
                // So is history alone.
                Err(error) if error.is_not_found() => {
                    self.clear_history_alone(repo, tag).await?;
                    return Err(Error::ManifestUnknown);
                }
                Err(error) => return Err(error.into()),
            },
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
        self.apply_noted(&under_way, batch, was.map(removed).into_iter().collect()).await?;
        self.clear_remains(repo, [tag]).await;
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
    /// [`Error::ManifestUnknown`], [`Error::TagImmutable`] when one of the tags is, [`Error::Changed`] when its tags come again
    /// and again, [`Error::Storage`].
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
        // It may wait, so it comes before the look at what there is.
        let under_way = self.under_way(Namespace::of(repo)).await?;
        let mut tags = self.tags_of(repo, &names).await?;
        if let Some(refused) = self.immutable_among(repo, &tags) {
            return Err(refused);
        }
        let mut removed = BTreeSet::new();
        for round in 1.. {
            let mut left = &tags[..];
            while let Some((some, rest)) = left.split_at_checked(TAGS_AT_ONCE_MAX).filter(|(_, rest)| !rest.is_empty())
            {
                self.apply_noted(&under_way, removal(repo, &[], None, some), removed_tags(repo, some)).await?;
                left = rest;
            }
            self.apply_noted(&under_way, removal(repo, &names, subject.as_ref(), left), removed_tags(repo, left))
                .await?;
            for name in &names {
                self.caches.drop_grant(GrantKind::Revision, repo.as_str(), name);
            }
            self.clear_remains(repo, tags.iter().filter_map(|found| Tag::parse(&found.tag).ok())).await;
            removed.extend(tags.into_iter().map(|found| found.tag));
            // A push may have set a tag after we had looked and before the manifest went. We cannot tell it from one that
            // came later and has brought the manifest back, so both count as older than we are, and go. Against somebody
            // who pushes without end only tags without their manifest count.
            tags = Vec::new();
            let found = self.tags_of(repo, &names).await?;
            if let Some(refused) = self.immutable_among(repo, &found) {
                // It was pushed before the manifest went, and stays: so does its manifest.
                self.manifest_restore(repo, &canonical, &found).await?;
                return Err(refused);
            }
            for found in found {
                if round < REMOVAL_ROUNDS_MAX || !self.has(GrantKind::Revision, repo, &found.state.digest).await? {
                    tags.push(found);
                }
            }
            if tags.is_empty() {
                break;
            }
            if round >= TAG_REMOVAL_ROUNDS_MAX {
                return Err(Error::Changed);
            }
        }
        Ok(removed.into_iter().collect())
    }

    fn immutable_among(&self, repo: RepoName<'_>, tags: &[Found]) -> Option<Error> {
        let immutable = self.immutable_tags();
        let found = tags.iter().find(|found| immutable.covers(repo.as_str(), &found.tag))?;
        let tag = Tag::parse(&found.tag).ok()?;
        Some(Error::immutable(repo, tag, Some(found.state.digest)))
    }

    /// Brings a manifest back under the names by which these tags know it.
    async fn manifest_restore(&self, repo: RepoName<'_>, canonical: &Digest, tags: &[Found]) -> Result<()> {
        let content = match self.manifest_content(canonical).await {
            Ok(content) => Manifest::parse(&content.bytes, None).ok().map(|manifest| (manifest, content.bytes.len())),
            Err(Error::ManifestUnknown) => None,
            Err(error) => return Err(error),
        };
        let mut batch = Batch::new();
        let names: BTreeSet<String> = tags.iter().map(|found| found.state.digest.to_string()).collect();
        for name in names.iter().filter_map(|name| Digest::parse(name).ok()).chain([*canonical]) {
            let key = layout::revision_link(repo, &name);
            batch = batch.keep(key, canonical.to_string()).lock(layout::manifest_lock(repo, &name));
            let referrer =
                content.as_ref().and_then(|(manifest, size)| Some((manifest.subject.as_ref()?, manifest, size)));
            if let Some((subject, manifest, size)) = referrer {
                let record = put::referrer_record(manifest, name, *size)?;
                batch = batch.put(layout::referrer(repo, &subject.digest, &name), record);
            }
        }
        Ok(self.driver.apply(batch).await?)
    }

    /// The tags that are one of `names` now.
    async fn tags_of(&self, repo: RepoName<'_>, names: &[Digest]) -> Result<Vec<Found>> {
        let page = self.driver.list(&layout::tags(repo), "", usize::MAX).await?;
        let all: Vec<&str> = page.range.clone().map(|index| page.names.at(index).text).collect();
        let mut found = Vec::new();
        for some in all.chunks(self.looks_at_once()) {
            let looks = some.iter().map(|text| self.tag_if(repo, text, names));
            found.extend(try_join_all(looks).await?.into_iter().flatten());
        }
        Ok(found)
    }

    /// The tag, if it is one of `names` now.
    async fn tag_if(&self, repo: RepoName<'_>, text: &str, names: &[Digest]) -> Result<Option<Found>> {
        let Ok(tag) = Tag::parse(text) else { return Ok(None) };
        match self.tag_link(repo, tag).await {
            Ok(link) if names.contains(&link.digest) => {
                let state = self.tag_since(repo, tag, &link).await?;
                Ok(Some(Found { tag: text.to_owned(), state, link: link.text }))
            }
            Ok(_) | Err(Error::ManifestUnknown) => Ok(None),
            Err(error) => Err(error),
        }
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

/// Tags first: no part of it leaves a tag without its manifest. Then all names but the last one, by which a caller can
/// repeat what was cut off.
fn removal(repo: RepoName<'_>, names: &[Digest], subject: Option<&Digest>, tags: &[Found]) -> Batch {
    let name = |batch: Batch, name: &Digest| {
        let batch = match subject {
            Some(subject) => batch.delete(layout::referrer(repo, subject, name)),
            None => batch,
        };
        batch.delete(layout::revision_link(repo, name)).lock(layout::manifest_lock(repo, name))
    };
    let tag = |batch: Batch, found: &Found| match Tag::parse(&found.tag) {
        // Only if the tag is still what we saw: somebody may have pushed another manifest meanwhile.
        Ok(tag) => batch
            .delete_tree_if(layout::tag(repo, tag), layout::tag_current(repo, tag), found.link.clone())
            .lock(layout::tag_lock(repo, tag)),
        Err(_) => batch,
    };
    let batch = Batch::new().at_once(|batch| tags.iter().fold(batch, tag));
    let Some((last, others)) = names.split_last() else { return batch };
    name(batch.at_once(|batch| others.iter().fold(batch, name)), last)
}
