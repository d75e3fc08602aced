//! What there is to tell about the image behind a tag. All of it follows from the digest, so it may be remembered.

mod parse;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use content::Store;
use oci::{Digest, Kind, Manifest, RepoName};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::status::{Failure, Result};

/// Platforms, layers, and labels or annotations that are shown; of a longer list the first ones.
const PLATFORMS_MAX: usize = 100;
const LAYERS_MAX: usize = 200;
const LABELS_MAX: usize = 64;
/// Longest label or annotation that is shown, with its key.
const TEXT_MAX: usize = 1024;
/// Labels and annotations of an object together, as JSON has them.
const TEXTS_MAX: usize = 16 << 10;
/// Longest media type and other word that is shown (RFC 6838 allows 127 on both sides of the slash).
const WORD_MAX: usize = 255;
/// Memory for what is remembered.
const CACHE_BYTES: u64 = 8 << 20;
const CACHE_ENTRIES: usize = 8_000;
/// What is missing in a repository may come, and its details are looked at again after this time.
const INCOMPLETE_LIFE: Duration = Duration::from_secs(5);
/// Indexes whose images are looked at the same time.
const INDEXES_AT_ONCE: usize = 16;

/// Part of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    /// Manifest, configuration and layers; of an index, of all that are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) os: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) platforms: Vec<Platform>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<Content>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) config_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Content>,
    /// Something was too long to be shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) truncated: bool,
    /// Why there is less than there should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<&'static str>,
}

/// A reference to content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Content {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Platform {
    /// `os/architecture/variant`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) platform: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// Of the whole image; left out when it is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
}

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Depth {
    /// Enough for a line of a table: the configuration of the image is not read.
    Line,
    /// Everything.
    Whole,
}

/// What is remembered of that which was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Everything,
    /// What is read only once in a while should not push out what is read all the time, unless it was much work.
    Costly,
}

#[derive(Clone)]
struct Known {
    details: Arc<Details>,
    /// None stands for ever.
    until: Option<Instant>,
}

impl Known {
    fn new((details, is_final): (Details, bool)) -> Self {
        let until = (!is_final).then(|| Instant::now() + INCOMPLETE_LIFE);
        Self { details: Arc::new(details), until }
    }

    fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

#[derive(Clone)]
struct Weight;

type Key = (Arc<str>, Digest, Depth);

impl Weighter<Key, Known> for Weight {
    fn weight(&self, (repo, ..): &Key, known: &Known) -> u64 {
        (repo.len() + known.details.bytes()) as u64
    }
}

/// What was told lately. By repository: what one may see of an image need not be in another one.
pub(crate) struct Memory {
    known: Cache<Key, Known, Weight>,
    indexes: Semaphore,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let known = Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, Weight);
        Self { known, indexes: Semaphore::new(INDEXES_AT_ONCE) }
    }

    /// The details of a manifest of a repository; a damaged or missing one has a problem.
    ///
    /// # Errors
    /// Those of storage.
    pub(crate) async fn details(
        &self,
        store: &Store,
        repo: &Arc<str>,
        digest: Digest,
        depth: Depth,
        keep: Keep,
    ) -> Result<Arc<Details>> {
        let key = (Arc::clone(repo), digest, depth);
        if let Some(details) = self.fresh(&key) {
            return Ok(details);
        }
        // Who knows everything knows enough for a line.
        if depth == Depth::Line
            && let Some(details) = self.fresh(&(Arc::clone(repo), digest, Depth::Whole))
        {
            return Ok(details);
        }
        let name = RepoName::parse(repo).map_err(|error| Failure::internal(error.to_string()))?;
        match read::manifest(store, name, digest).await? {
            None => Ok(Arc::new(read::missing())),
            Some((manifest, bytes)) if manifest.kind == Kind::Index => {
                let root = Root { name, digest, manifest: &manifest, bytes };
                self.index(store, key, root).await
            }
            Some((manifest, bytes)) => {
                let root = Root { name, digest, manifest: &manifest, bytes };
                let known = Known::new(read::image(store, root, depth).await?);
                let details = Arc::clone(&known.details);
                if keep == Keep::Everything {
                    self.known.insert(key, known);
                }
                Ok(details)
            }
        }
    }

    /// The details of an index: for all who ask at the same time once.
    async fn index(&self, store: &Store, key: Key, root: Root<'_>) -> Result<Arc<Details>> {
        loop {
            match self.known.get_value_or_guard_async(&key).await {
                Ok(known) if known.is_fresh() => return Ok(known.details),
                Ok(_) => drop(self.known.remove_if(&key, |known| !known.is_fresh())),
                Err(guard) => {
                    let turn = self.indexes.acquire().await;
                    let known = Known::new(read::index(store, root).await?);
                    drop(turn);
                    let details = Arc::clone(&known.details);
                    // Refused when it was removed meanwhile: the next one makes it again.
                    let _ = guard.insert(known);
                    return Ok(details);
                }
            }
        }
    }

    fn fresh(&self, key: &Key) -> Option<Arc<Details>> {
        self.known.get(key).filter(Known::is_fresh).map(|known| known.details)
    }
}

/// A manifest that was read.
#[derive(Clone, Copy)]
struct Root<'a> {
    name: RepoName<'a>,
    digest: Digest,
    manifest: &'a Manifest,
    bytes: u64,
}

impl Details {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        const ENTRY: usize = 48;
        let texts = [&self.media_type, &self.artifact_type, &self.os, &self.architecture, &self.variant];
        let maps = self.config_labels.iter().chain(&self.annotations);
        size_of::<Self>()
            + 128
            + texts.iter().map(|text| text.as_ref().map_or(0, String::len)).sum::<usize>()
            + self.layers.iter().map(|layer| size_of::<Content>() + layer.media_type.len()).sum::<usize>()
            + self
                .platforms
                .iter()
                .map(|one| size_of::<Platform>() + one.platform.len() + one.media_type.len())
                .sum::<usize>()
            + maps.map(|(key, value)| ENTRY + key.len() + value.len()).sum::<usize>()
    }
}
