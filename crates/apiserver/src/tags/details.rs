//! What there is to tell about the image behind a tag. All of it follows from the digest, so it may be remembered.

mod parse;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use oci::Digest;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Serialize;

use super::view::View;
use crate::status::Result;

/// Platforms, layers, and labels or annotations that are shown; of a longer list the first ones.
const PLATFORMS_MAX: usize = 100;
const LAYERS_MAX: usize = 200;
const LABELS_MAX: usize = 64;
/// Longest label, annotation or other text that is shown.
const TEXT_MAX: usize = 1024;
/// Memory for what is remembered.
const CACHE_BYTES: u64 = 8 << 20;
const CACHE_ENTRIES: usize = 8_000;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Enough for a line of a table: the configuration of the image is not read.
    Line,
    /// Everything.
    Whole,
}

#[derive(Clone)]
struct Known {
    depth: Depth,
    details: Arc<Details>,
}

#[derive(Clone)]
struct Weight;

type Key = (Arc<str>, Digest);

impl Weighter<Key, Known> for Weight {
    fn weight(&self, (repo, _): &Key, known: &Known) -> u64 {
        (repo.len() + known.details.bytes()) as u64
    }
}

/// What was told lately. By repository: what one may see of an image need not be in another one.
pub(crate) struct Memory(Cache<Key, Known, Weight>);

impl Memory {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, Weight))
    }

    /// The details of a manifest of a repository; a damaged or missing one has a problem.
    ///
    /// # Errors
    /// Those of storage.
    pub(crate) async fn details(
        &self,
        view: &View,
        repo: &Arc<str>,
        digest: Digest,
        depth: Depth,
    ) -> Result<Arc<Details>> {
        let key = (Arc::clone(repo), digest);
        if let Some(known) = self.0.get(&key).filter(|known| known.depth >= depth) {
            return Ok(known.details);
        }
        let (details, is_final) = read::details(view.store(), repo, digest, depth).await?;
        let details = Arc::new(details);
        if is_final {
            self.0.insert(key, Known { depth, details: Arc::clone(&details) });
        }
        Ok(details)
    }
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
