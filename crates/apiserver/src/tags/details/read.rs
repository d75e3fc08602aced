//! Reading manifests and configurations for their details.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use content::{Error, Store};
use oci::{Descriptor, Digest, Manifest, RepoName};

use super::{Content, Depth, Details, PLATFORMS_MAX, Platform, Root, parse};
use crate::status::Result;

/// Largest configuration that is read.
const CONFIG_MAX: usize = 256 << 10;
/// An index in an index in an index is as deep as anybody looks.
const DEPTH_MAX: usize = 3;
/// Work for the size of one tag: manifests that are read, their bytes, and contents that are counted. Whatever is larger has
/// no size.
const MANIFESTS_MAX: usize = 4 * PLATFORMS_MAX;
const BYTES_MAX: u64 = 2 << 20;
const CONTENTS_MAX: usize = 10_000;

/// What is told of a manifest that is not there.
pub(super) fn missing() -> Details {
    Details { problem: Some("the manifest is missing or damaged"), ..Details::default() }
}

/// A manifest of the repository and its length.
pub(super) async fn manifest(store: &Store, repo: RepoName<'_>, digest: Digest) -> Result<Option<(Manifest, u64)>> {
    match store.manifest_look(repo, &digest).await {
        Ok(found) => Ok(Some(found)),
        Err(Error::ManifestUnknown) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The details of an image or artifact, and whether they will stay like that.
pub(super) async fn image(store: &Store, root: Root<'_>, depth: Depth) -> Result<(Details, bool)> {
    let mut details = parse::from_manifest(root.manifest);
    let mut sum = Sum::default();
    let counted = sum.image(root.digest, root.manifest, root.bytes, &mut Budget::new());
    details.size = counted.then_some(sum.total);
    details.truncated |= !counted;
    let complete = depth == Depth::Line || add_config(store, root, &mut details).await?;
    Ok((details, complete))
}

/// Adds what the configuration says, if it is that of an image; false when it is not here.
async fn add_config(store: &Store, root: Root<'_>, details: &mut Details) -> Result<bool> {
    let Some(config) = root.manifest.config.as_ref().filter(|config| parse::is_image_config(config)) else {
        return Ok(true);
    };
    if parse::size(config) > CONFIG_MAX as u64 {
        details.truncated = true;
        return Ok(true);
    }
    match store.blob_small(root.name, config.digest, CONFIG_MAX).await {
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

/// The details of an index, and whether they will stay like that: images that are not here may come.
pub(super) async fn index(store: &Store, root: Root<'_>) -> Result<(Details, bool)> {
    let mut details = parse::from_manifest(root.manifest);
    details.truncated |= root.manifest.manifests.len() > PLATFORMS_MAX;
    let (mut sum, mut budget, mut complete) = (Sum::default(), Budget::new(), true);
    sum.add(root.digest, root.bytes);
    for child in root.manifest.manifests.iter().take(PLATFORMS_MAX) {
        let mut own = Sum::default();
        complete &= add_tree(store, root.name, child, &mut own, &mut budget).await?;
        let size = Some(own.total).filter(|_| !budget.is_exceeded && !own.seen.is_empty());
        sum.merge(&own);
        let Content { media_type, digest, .. } = parse::content(child);
        let platform = parse::platform(child.platform.as_deref());
        details.platforms.push(Platform { platform, media_type, digest, size });
    }
    details.size = Some(sum.total).filter(|_| !budget.is_exceeded);
    details.truncated |= budget.is_exceeded;
    Ok((details, complete))
}

/// Adds what is here of a manifest and of what it refers to; false when something is not here.
async fn add_tree(
    store: &Store,
    repo: RepoName<'_>,
    root: &Descriptor,
    sum: &mut Sum,
    budget: &mut Budget,
) -> Result<bool> {
    let mut complete = true;
    let mut waiting = vec![(root.digest, 1)];
    while let Some((digest, depth)) = waiting.pop() {
        if sum.seen.contains_key(&digest) {
            continue;
        }
        if !budget.may_read() {
            break;
        }
        let Some((manifest, bytes)) = manifest(store, repo, digest).await? else {
            complete = false;
            continue;
        };
        if !budget.read(bytes) || !sum.image(digest, &manifest, bytes, budget) {
            break;
        }
        if depth < DEPTH_MAX && budget.count(manifest.manifests.len()) {
            waiting.extend(manifest.manifests.iter().map(|child| (child.digest, depth + 1)));
        }
    }
    Ok(complete)
}

/// How much work is left.
struct Budget {
    manifests: usize,
    bytes: u64,
    contents: usize,
    /// There was more.
    is_exceeded: bool,
}

impl Budget {
    fn new() -> Self {
        Self { manifests: MANIFESTS_MAX, bytes: BYTES_MAX, contents: CONTENTS_MAX, is_exceeded: false }
    }

    fn may_read(&mut self) -> bool {
        self.is_exceeded |= self.manifests == 0;
        self.manifests = self.manifests.saturating_sub(1);
        !self.is_exceeded
    }

    fn read(&mut self, bytes: u64) -> bool {
        self.is_exceeded |= bytes > self.bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
        !self.is_exceeded
    }

    fn count(&mut self, contents: usize) -> bool {
        self.is_exceeded |= contents > self.contents;
        self.contents = self.contents.saturating_sub(contents);
        !self.is_exceeded
    }
}

/// Sizes of contents, each counted once.
#[derive(Default)]
struct Sum {
    seen: HashMap<Digest, u64>,
    total: u64,
}

impl Sum {
    fn add(&mut self, digest: Digest, size: u64) {
        if let Entry::Vacant(place) = self.seen.entry(digest) {
            place.insert(size);
            self.total = self.total.saturating_add(size);
        }
    }

    /// A manifest, its configuration and its layers; false when they are too many.
    fn image(&mut self, digest: Digest, manifest: &Manifest, bytes: u64, budget: &mut Budget) -> bool {
        if !budget.count(1 + manifest.layers.len()) {
            return false;
        }
        self.seen.reserve(2 + manifest.layers.len());
        self.add(digest, bytes);
        for part in manifest.config.iter().chain(&manifest.layers) {
            self.add(part.digest, parse::size(part));
        }
        true
    }

    fn merge(&mut self, other: &Self) {
        for (digest, size) in &other.seen {
            self.add(*digest, *size);
        }
    }
}
