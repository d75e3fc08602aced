//! Images as keys, what clients do to them, and what must hold of a place at any moment.

use content::layout;
use oci::{Digest, RepoName, Tag};
use proptest::prelude::*;
use std::sync::Arc;
use storage::memory::MemoryDriver;
use storage::{Batch, Buffer, BufferPool, Driver, INLINE_MAX};

/// One change by a client.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Small objects, all or nothing.
    Put(Batch),
    /// A blob that is too large for a batch.
    Blob(u64),
}

/// Bytes of a blob; each seventh is large.
pub(super) fn content(seed: u64) -> Vec<u8> {
    let len = if seed.is_multiple_of(7) { INLINE_MAX + 5000 } else { 100 };
    seed.to_le_bytes().into_iter().cycle().take(len).collect()
}

fn layers_of(seed: u64) -> [u64; 3] {
    // Images share layers.
    [seed, seed + 1, seed + 2]
}

/// A manifest names its layers, a line each.
fn manifest(seed: u64) -> String {
    let layers = layers_of(seed).map(|layer| Digest::sha256(&content(layer)).to_string());
    format!("{seed}\n{}", layers.join("\n"))
}

/// Digest of the manifest, and of its layers.
pub(super) fn image(seed: u64) -> (Digest, Vec<Digest>) {
    let layers = layers_of(seed).map(|layer| Digest::sha256(&content(layer)));
    (Digest::sha256(manifest(seed).as_bytes()), layers.to_vec())
}

/// What a push does, in the order of the content store.
pub(super) fn push(repo: &str, tag: &str, seed: u64) -> Vec<Step> {
    let (repo, tag) = (RepoName::parse(repo).unwrap(), Tag::parse(tag).unwrap());
    let (digest, _) = image(seed);
    let mut steps = Vec::new();
    for layer in layers_of(seed) {
        let of_layer = Digest::sha256(&content(layer));
        steps.push(Step::Blob(layer));
        steps.push(Step::Put(Batch::new().keep(layout::layer_link(repo, &of_layer), of_layer.to_string())));
    }
    let mut batch = Batch::new()
        .keep(layout::blob_data(&digest), manifest(seed))
        .keep(layout::revision_link(repo, &digest), digest.to_string());
    if seed.is_multiple_of(2) {
        batch = batch.put(layout::referrer(repo, &image(seed + 1).0, &digest), "{}");
    }
    let text = digest.to_string();
    let batch =
        batch.put(layout::tag_current(repo, tag), text.clone()).keep(layout::tag_index(repo, tag, &digest), text);
    steps.push(Step::Put(batch));
    steps
}

/// What clients do.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop_oneof![Just("a/b"), Just("a/b/c"), Just("d")];
    let tag = prop_oneof![Just("v1"), Just("v2")];
    prop_oneof![
        4 => (name.clone(), tag.clone(), 0u64..12).prop_map(|(repo, tag, seed)| push(repo, tag, seed)),
        1 => (name.clone(), tag).prop_map(|(repo, tag)| {
            let key = layout::tag(RepoName::parse(repo).unwrap(), Tag::parse(tag).unwrap());
            vec![Step::Put(Batch::new().delete_tree(key))]
        }),
        1 => name.prop_map(|repo| {
            let repository = layout::repository(repo);
            let batch = Batch::new().delete_tree(format!("{repository}/_manifests"));
            vec![Step::Put(batch.delete_tree(format!("homeport/v1/referrers/{repo}/_of")).delete_tree(format!("{repository}/_layers")))]
        }),
    ]
}

pub(super) async fn apply(driver: &MemoryDriver, step: Step) {
    match step {
        Step::Put(batch) => driver.apply(batch).await.unwrap(),
        Step::Blob(seed) => {
            let content = content(seed);
            let key = layout::blob_data(&Digest::sha256(&content));
            let mut writer = driver.writer(None).await.unwrap();
            for part in content.chunks(storage::BUFFER_BYTES) {
                let mut buffer: Buffer = BufferPool::new(1).take();
                buffer.fill(part);
                writer.append(Arc::new(buffer)).await.unwrap();
            }
            writer.commit(&key).await.unwrap();
        }
    }
}

/// No link without its bytes, no bytes that are not what their name says, no tag or referrer without its manifest, no manifest
/// without its layers.
pub(super) async fn sound(driver: &MemoryDriver) {
    let keys = driver.keys();
    let there = |key: &str| assert!(keys.iter().any(|other| other == key), "{key} is missing");
    for key in &keys {
        let bytes = driver.get(key, usize::MAX).await.unwrap();
        if let Some(blob) = key.strip_prefix("docker/registry/v2/blobs/sha256/") {
            let hex = blob.split('/').nth(1).unwrap();
            assert_eq!(Digest::sha256(&bytes).hex().as_str(), hex, "{key}");
        }
        let Some(below) = key.strip_prefix("docker/registry/v2/repositories/") else { continue };
        // What a tag has been may be gone.
        if below.contains("/index/") {
            continue;
        }
        let digest = layout::parse_link(&bytes).unwrap();
        there(&layout::blob_data(&digest));
        let repo = below.split("/_").next().unwrap();
        let repo = RepoName::parse(repo).unwrap();
        if below.ends_with("/current/link") {
            there(&layout::revision_link(repo, &digest));
        }
        if below.contains("/revisions/") {
            let text = driver.get(&layout::blob_data(&digest), usize::MAX).await.unwrap();
            for layer in String::from_utf8(text.to_vec()).unwrap().lines().skip(1) {
                there(&layout::layer_link(repo, &Digest::parse(layer).unwrap()));
            }
        }
    }
    for key in keys.iter().filter_map(|key| key.strip_prefix("homeport/v1/referrers/")) {
        let (repo, rest) = key.split_once("/_of/").unwrap();
        let digest = layout::parse_referrer(rest.rsplit('/').next().unwrap()).unwrap();
        there(&layout::revision_link(RepoName::parse(repo).unwrap(), &digest));
    }
}
