//! Accepting manifests.

use crate::cache::GrantKind;
use crate::changes::Change;
use crate::manifest::StoredManifest;
use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use oci::{Descriptor, Digest, Hasher, Kind, Manifest, RepoName, Tag, media_type};
use std::sync::Arc;
use storage::{Batch, INLINE_MAX};

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
    /// [`Error::Storage`].
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
        self.check_references(repo, &manifest, &put).await?;

        let mut batch = Batch::new();
        if put.bytes.len() <= INLINE_MAX {
            batch = batch.keep(layout::blob_data(&canonical), put.bytes.clone()).lock(layout::blob_lock(&canonical));
        } else {
            self.put_large(&canonical, &put.bytes).await?;
        }
        let canonical_text = canonical.to_string();
        for name in [Some(canonical), Some(digest).filter(|digest| *digest != canonical)].into_iter().flatten() {
            let key = layout::revision_link(repo, &name);
            batch = batch.keep(key, canonical_text.clone()).lock(layout::manifest_lock(repo, &name));
        }
        let subject = manifest.subject.as_ref().map(|subject| subject.digest);
        if let Some(subject) = subject {
            let descriptor = manifest.as_referrer(digest, put.bytes.len());
            let mut record = serde_json::to_vec(&descriptor).map_err(oci::ManifestError::Json)?;
            if record.len() > INLINE_MAX {
                // An empty record: whoever reads it asks the manifest.
                record.clear();
            }
            batch = batch.put(layout::referrer(repo, &subject, &digest), record);
        }
        let text = digest.to_string();
        for tag in put.tags {
            // `current` first: the directory of a new tag then never shows without it.
            batch = batch
                .put(layout::tag_current(repo, *tag), text.clone())
                .keep(layout::tag_index(repo, *tag, &digest), text.clone())
                .lock(layout::tag_lock(repo, *tag));
        }
        let pushed = self.pushed(repo, put.tags).await?;
        let as_of = self.caches.grants_as_of();
        self.apply_noted(batch, pushed).await?;
        self.caches.put_grant(as_of, GrantKind::Revision, repo.as_str(), &digest, canonical);
        let stored = StoredManifest { media_type: manifest.media_type, bytes: put.bytes, subject };
        self.caches.put_manifest(canonical, Arc::new(stored));
        Ok(PutOutcome { digest, subject })
    }

    /// What a push of these tags is, as of before it.
    async fn pushed(&self, repo: RepoName<'_>, tags: &[Tag<'_>]) -> Result<Vec<Change>> {
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let name: Arc<str> = repo.as_str().into();
        let mut pushed = Vec::with_capacity(tags.len());
        for tag in tags {
            // Nobody has seen a tag whose link is damaged.
            let new = match self.tag_link(repo, *tag).await {
                Ok(_) => false,
                Err(Error::ManifestUnknown) => true,
                Err(error) => return Err(error),
            };
            pushed.push(Change::Pushed { repo: Arc::clone(&name), tag: tag.as_str().into(), new });
        }
        Ok(pushed)
    }

    async fn put_large(&self, canonical: &Digest, bytes: &[u8]) -> Result<()> {
        let mut writer = self.driver.writer(Some(bytes.len() as u64)).await?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut buffer = self.buffers.take();
            let count = buffer.fill(rest);
            rest = &rest[count..];
            writer.append(Arc::new(buffer)).await?;
        }
        Ok(writer.commit(&layout::blob_data(canonical)).await?)
    }

    async fn check_references(&self, repo: RepoName<'_>, manifest: &Manifest, put: &PutManifest<'_>) -> Result<()> {
        let mut missing = Vec::new();
        for descriptor in manifest.config.iter().chain(&manifest.layers) {
            for url in &descriptor.urls {
                if !(put.url_allowed)(url) {
                    return Err(Error::UrlNotAllowed(url.clone()));
                }
            }
            if !put.blobs_required || may_be_elsewhere(descriptor) {
                continue;
            }
            if !self.has_blob(repo, &descriptor.digest).await? {
                missing.push(descriptor.digest);
            }
            if missing.len() >= MISSING_MAX {
                break;
            }
        }
        if manifest.kind == Kind::Index {
            for child in manifest.manifests.iter().filter(|child| is_required(put.children, child)) {
                // BuildKit's cache lists layers in an index: what is there as a blob is there.
                if !self.has_manifest(repo, &child.digest).await? && !self.has_blob(repo, &child.digest).await? {
                    missing.push(child.digest);
                }
                if missing.len() >= MISSING_MAX {
                    break;
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Error::ReferencesUnknown(missing)) }
    }
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
