//! Reading manifests and configurations for their details.

use std::collections::HashSet;

use content::{Error, Store};
use oci::{Descriptor, Digest, Kind, Manifest, RepoName};

use super::{Content, Depth, Details, PLATFORMS_MAX, Platform, parse};
use crate::status::{Failure, Result};

/// Largest configuration that is read.
const CONFIG_MAX: usize = 256 << 10;
/// An index in an index in an index is as deep as anybody looks.
const DEPTH_MAX: usize = 3;
/// Manifests that are read for one index.
const MANIFESTS_MAX: usize = 4 * PLATFORMS_MAX;

/// The details, and whether they will stay like that.
pub(super) async fn details(store: &Store, repo: &str, digest: Digest, depth: Depth) -> Result<(Details, bool)> {
    let repo = RepoName::parse(repo).map_err(|error| Failure::internal(error.to_string()))?;
    let Some((manifest, bytes)) = manifest(store, repo, digest).await? else {
        let problem = Some("the manifest is missing or damaged");
        return Ok((Details { problem, ..Details::default() }, false));
    };
    let mut details = parse::from_manifest(&manifest);
    match manifest.kind {
        Kind::Image => {
            let mut sum = Sum::default();
            sum.image(digest, &manifest, bytes);
            details.size = Some(sum.total);
            let complete = depth == Depth::Line || add_config(store, repo, &manifest, &mut details).await?;
            Ok((details, complete))
        }
        Kind::Index => {
            let mut sum = Sum::default();
            sum.add(digest, bytes);
            let complete = add_platforms(store, repo, &manifest, &mut details, &mut sum).await?;
            details.size = Some(sum.total);
            Ok((details, complete))
        }
    }
}

/// A manifest of the repository and its length.
async fn manifest(store: &Store, repo: RepoName<'_>, digest: Digest) -> Result<Option<(Manifest, u64)>> {
    match store.manifest_look(repo, &digest).await {
        Ok(found) => Ok(Some(found)),
        Err(Error::ManifestUnknown) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Adds what the configuration says, if it is that of an image; false when it is not here.
async fn add_config(store: &Store, repo: RepoName<'_>, manifest: &Manifest, details: &mut Details) -> Result<bool> {
    let Some(config) = manifest.config.as_ref().filter(|config| parse::is_image_config(config)) else {
        return Ok(true);
    };
    if parse::size(config) > CONFIG_MAX as u64 {
        details.truncated = true;
        return Ok(true);
    }
    match store.blob_small(repo, config.digest, CONFIG_MAX).await {
        Ok(bytes) => {
            parse::add_config(details, &bytes);
            Ok(true)
        }
        Err(error @ Error::Storage(_)) => Err(error.into()),
        Err(_) => {
            details.problem = Some("the configuration of the image is missing or damaged");
            Ok(false)
        }
    }
}

/// Adds the images of an index; false when some are not here, since they may come.
async fn add_platforms(
    store: &Store,
    repo: RepoName<'_>,
    index: &Manifest,
    details: &mut Details,
    sum: &mut Sum,
) -> Result<bool> {
    details.truncated |= index.manifests.len() > PLATFORMS_MAX;
    let (mut complete, mut left) = (true, MANIFESTS_MAX);
    for child in index.manifests.iter().take(PLATFORMS_MAX) {
        let mut own = Sum::default();
        complete &= add_tree(store, repo, child, &mut own, &mut left).await?;
        let size = (!own.seen.is_empty()).then_some(own.total);
        sum.merge(own);
        let Content { media_type, digest, .. } = parse::content(child);
        let platform = parse::platform(child.platform.as_deref());
        details.platforms.push(Platform { platform, media_type, digest, size });
    }
    Ok(complete)
}

/// Adds what is here of a manifest and of what it refers to; false when something is not here.
async fn add_tree(
    store: &Store,
    repo: RepoName<'_>,
    root: &Descriptor,
    sum: &mut Sum,
    left: &mut usize,
) -> Result<bool> {
    let mut complete = true;
    let mut waiting = vec![(root.digest, 1)];
    while let Some((digest, depth)) = waiting.pop() {
        if sum.seen.contains(&digest) || *left == 0 {
            continue;
        }
        *left -= 1;
        let Some((manifest, bytes)) = manifest(store, repo, digest).await? else {
            complete = false;
            continue;
        };
        sum.image(digest, &manifest, bytes);
        if depth < DEPTH_MAX {
            waiting.extend(manifest.manifests.iter().map(|child| (child.digest, depth + 1)));
        }
    }
    Ok(complete)
}

/// Sizes of contents, each counted once.
#[derive(Default)]
struct Sum {
    seen: HashSet<Digest>,
    sizes: Vec<(Digest, u64)>,
    total: u64,
}

impl Sum {
    fn add(&mut self, digest: Digest, size: u64) {
        if self.seen.insert(digest) {
            self.sizes.push((digest, size));
            self.total = self.total.saturating_add(size);
        }
    }

    /// A manifest, its configuration and its layers.
    fn image(&mut self, digest: Digest, manifest: &Manifest, bytes: u64) {
        self.add(digest, bytes);
        for part in manifest.config.iter().chain(&manifest.layers) {
            self.add(part.digest, parse::size(part));
        }
    }

    fn merge(&mut self, other: Self) {
        for (digest, size) in other.sizes {
            self.add(digest, size);
        }
    }
}
