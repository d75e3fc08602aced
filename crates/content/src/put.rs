//! Accepting manifests.

use crate::cache::GrantKind;
use crate::manifest::StoredManifest;
use crate::{Error, Namespace, Result, Store, layout};
use bytes::Bytes;
use futures_util::future::{try_join_all, try_join4};
use oci::{Descriptor, Digest, Hasher, Kind, Manifest, RepoName, Tag, media_type};
use std::collections::HashSet;
use std::sync::Arc;
use storage::{Batch, ErrorKind, INLINE_MAX};

/// So often a manifest is put whose tags somebody else creates at the same time.
const PUT_ROUNDS_MAX: usize = 5;
/// Most missing references that an answer names.
const MISSING_MAX: usize = 50;

/// Which children of an index must be in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum IndexChildren {
    /// None: sparse indexes are welcome.
    #[default]
    Any,
    /// All of them.
    All,
    /// Those of these platforms, written `os/architecture`.
    Platforms(Vec<String>),
}

/// A manifest on its way in.
pub struct PutManifest<'a> {
    /// The bytes.
    pub bytes: Bytes,
    /// `Content-Type` of the request.
    pub content_type: Option<&'a str>,
    /// The digest that the client expects.
    pub digest: Option<Digest>,
    /// Tags to set.
    pub tags: &'a [Tag<'a>],
    /// Config and layers must be in the repository.
    pub blobs_required: bool,
    /// Which children must be there.
    pub children: &'a IndexChildren,
    /// Says whether a layer may name this address.
    pub url_allowed: &'a (dyn Fn(&str) -> bool + Sync),
}

/// What was stored.
#[derive(Clone, Copy, Debug)]
pub struct PutOutcome {
    /// Digest to answer with.
    pub digest: Digest,
    /// The subject, when the manifest has one: the referrers API knows it from now on.
    pub subject: Option<Digest>,
}

impl Store {
    /// Checks and stores a manifest and sets its tags, all or nothing.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::DigestMismatch`], [`Error::ReferencesUnknown`], [`Error::UrlNotAllowed`],
    /// [`Error::TagImmutable`], [`Error::Storage`].
    pub async fn manifest_put(&self, repo: RepoName<'_>, put: PutManifest<'_>) -> Result<PutOutcome> {
        let manifest = Manifest::parse(&put.bytes, put.content_type)?;
        let canonical = Digest::sha256(&put.bytes);
        let digest = match put.digest {
            Some(expected) => {
                let actual = Hasher::digest(expected.algorithm(), &put.bytes);
                if actual != expected {
                    return Err(Error::DigestMismatch { expected: expected.into(), actual: actual.into() });
                }
                expected
            }
            None => canonical,
        };
        check_addresses(&manifest, &put)?;
        let (under_way, batch, mut tags) = if self.driver.is_remote() {
            // Content is what its digest says, and nobody has it before the links: it need not wait for the checks.
            let checks = self.check_references(repo, &manifest, &put);
            let stored = self.put_content(&canonical, &put.bytes);
            let begun = self.under_way(Namespace::of(repo));
            let tags = self.tags_to_put(repo, put.tags, &digest);
            let ((), under_way, batch, tags) = try_join4(checks, begun, stored, tags).await?;
            (under_way, batch, tags)
        } else {
            self.check_references(repo, &manifest, &put).await?;
            let inline = put.bytes.len() <= INLINE_MAX;
            let stored = if inline {
                content_batch(&canonical, &put.bytes)
            } else {
                self.put_content(&canonical, &put.bytes).await?
            };
            let tags = self.tags_to_put(repo, put.tags, &digest).await?;
            (self.under_way(Namespace::of(repo)).await?, stored, tags)
        };
        let subject = manifest.subject.as_ref().map(|subject| subject.digest);
        let referrer = match &subject {
            Some(subject) => {
                let record = referrer_record(&manifest, digest, put.bytes.len())?;
                Some((layout::referrer(repo, subject, &digest), record))
            }
            None => None,
        };
        let batch = links(batch, repo, &digest, &canonical, referrer);
        let as_of = self.caches.grants_as_of();
        for round in 1.. {
            let (batch, pushed) = tags.add_to(batch.clone(), repo, &digest);
            match self.apply_noted(&under_way, batch, pushed).await {
                // Somebody was faster with a tag that stays as it is.
                Err(error) if error.kind == ErrorKind::Conflict && round < PUT_ROUNDS_MAX => {
                    tags = self.tags_left_to_put(repo, put.tags, &digest).await?;
                }
                other => {
                    other?;
                    // Where a tag was removed meanwhile, only its history would be there.
                    if round >= PUT_ROUNDS_MAX || self.have_stayed(repo, &tags).await? {
                        break;
                    }
                    tags = self.tags_left_to_put(repo, put.tags, &digest).await?;
                }
            }
        }
        self.caches.put_grant(as_of, GrantKind::Revision, repo.as_str(), &digest, canonical);
        self.caches.note_said_sizes(&manifest);
        let stored = StoredManifest { media_type: manifest.media_type, bytes: put.bytes, subject };
        self.caches.put_manifest(canonical, Arc::new(stored));
        Ok(PutOutcome { digest, subject })
    }

    /// Stores the bytes; returns a batch to which the links are added.
    async fn put_content(&self, canonical: &Digest, bytes: &Bytes) -> Result<Batch> {
        if bytes.len() <= INLINE_MAX {
            self.driver.apply(content_batch(canonical, bytes)).await?;
        } else {
            let key = layout::blob_data(canonical);
            let mut writer = self.driver.writer_at(&key, Some(bytes.len() as u64)).await?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let mut buffer = self.buffers.take();
                let count = buffer.fill(rest);
                rest = &rest[count..];
                writer.append(Arc::new(buffer)).await?;
            }
            writer.commit(&key).await?;
        }
        self.caches.put_size(*canonical, bytes.len() as u64);
        Ok(Batch::new())
    }

    async fn check_references(&self, repo: RepoName<'_>, manifest: &Manifest, put: &PutManifest<'_>) -> Result<()> {
        let blobs = manifest.config.iter().chain(&manifest.layers);
        let blobs = blobs.filter(|blob| put.blobs_required && !may_be_elsewhere(blob)).map(|blob| (blob.digest, false));
        let children =
            manifest.manifests.iter().filter(|child| manifest.kind == Kind::Index && is_required(put.children, child));
        let mut seen = HashSet::new();
        let wanted = blobs.chain(children.map(|child| (child.digest, true)));
        let wanted: Vec<_> = wanted.filter(|wanted| seen.insert(*wanted)).collect();
        let mut missing = Vec::new();
        for wanted in wanted.chunks(self.looks_at_once()) {
            let looks = wanted.iter().map(|(digest, is_child)| self.is_missing(repo, *digest, *is_child));
            missing.extend(try_join_all(looks).await?.into_iter().flatten());
            if missing.len() >= MISSING_MAX {
                missing.truncate(MISSING_MAX);
                break;
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Error::ReferencesUnknown(missing)) }
    }

    /// The digest, if the repository does not have it.
    async fn is_missing(&self, repo: RepoName<'_>, digest: Digest, is_child: bool) -> Result<Option<Digest>> {
        // BuildKit's cache lists layers in an index: what is there as a blob is there.
        let found = (is_child && self.has(GrantKind::Revision, repo, &digest).await?)
            || self.has(GrantKind::Layer, repo, &digest).await?;
        Ok((!found).then_some(digest))
    }
}

fn check_addresses(manifest: &Manifest, put: &PutManifest<'_>) -> Result<()> {
    let descriptors = manifest.config.iter().chain(&manifest.layers);
    match descriptors.flat_map(|descriptor| &descriptor.urls).find(|url| !(put.url_allowed)(url)) {
        Some(url) => Err(Error::UrlNotAllowed(url.clone())),
        None => Ok(()),
    }
}

fn content_batch(canonical: &Digest, bytes: &Bytes) -> Batch {
    Batch::new().keep(layout::blob_data(canonical), bytes.clone()).lock(layout::blob_lock(canonical))
}

/// What makes the repository have the manifest.
fn links(
    batch: Batch,
    repo: RepoName<'_>,
    digest: &Digest,
    canonical: &Digest,
    referrer: Option<(String, Vec<u8>)>,
) -> Batch {
    let text = canonical.to_string();
    batch.at_once(|mut batch| {
        for name in [Some(canonical), Some(digest).filter(|digest| *digest != canonical)].into_iter().flatten() {
            batch = batch.keep(layout::revision_link(repo, name), text.clone());
            batch = batch.lock(layout::manifest_lock(repo, name));
        }
        match referrer {
            Some((key, record)) => batch.put(key, record),
            None => batch,
        }
    })
}

/// What is kept of a manifest that names a subject.
pub(crate) fn referrer_record(manifest: &Manifest, digest: Digest, size: usize) -> Result<Vec<u8>> {
    let mut record = serde_json::to_vec(&manifest.as_referrer(digest, size)).map_err(oci::ManifestError::Json)?;
    if record.len() > INLINE_MAX {
        // An empty record: whoever reads it asks the manifest.
        record.clear();
    }
    Ok(record)
}

fn may_be_elsewhere(descriptor: &Descriptor) -> bool {
    !descriptor.urls.is_empty() || media_type::is_non_distributable(&descriptor.media_type)
}

fn is_required(children: &IndexChildren, child: &Descriptor) -> bool {
    #[derive(serde::Deserialize)]
    struct Platform {
        os: String,
        architecture: String,
    }
    match children {
        IndexChildren::Any => false,
        IndexChildren::All => true,
        IndexChildren::Platforms(wanted) => {
            let platform = child.platform.as_ref().and_then(|raw| serde_json::from_str::<Platform>(raw.get()).ok());
            platform
                .is_some_and(|found| wanted.iter().any(|want| *want == format!("{}/{}", found.os, found.architecture)))
        }
    }
}
