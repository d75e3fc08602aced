//! A store of many tags, written as a registry of years leaves it: every tag has an image and a history of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::bench::store::blob_folder;
use crate::bench::store::content::{CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE};
use crate::load::digest_text;

/// A namespace of one shape.
pub(super) struct Shelf {
    pub(super) namespace: String,
    pub(super) repositories: usize,
    pub(super) tags: usize,
    /// Each tag has an image of its own; else all have the same.
    pub(super) distinct: bool,
}

impl Shelf {
    pub(super) fn count(&self) -> usize {
        self.repositories * self.tags
    }

    pub(super) fn repository(index: usize) -> String {
        format!("team/service-{index:03}")
    }

    pub(super) fn tag(index: usize) -> String {
        format!("v1.{index}.0")
    }

    /// Writes all of it below the root of a store.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let repositories = root.join("docker/registry/v2/repositories").join(&self.namespace);
        for index in 0..self.repositories {
            let name = Self::repository(index);
            let folder = repositories.join(&name);
            for number in 0..self.tags {
                let note = if self.distinct { format!("{name}:{number}") } else { "the same".to_owned() };
                let (config, digest) = image(root, &note)?;
                write_link(&folder.join("_layers/sha256").join(hex(&config)), &config)?;
                let manifests = folder.join("_manifests");
                write_link(&manifests.join("revisions/sha256").join(hex(&digest)), &digest)?;
                let tag = manifests.join("tags").join(Self::tag(number));
                write_link(&tag.join("index/sha256").join(hex(&digest)), &digest)?;
                write_link(&tag.join("current"), &digest)?;
            }
        }
        Ok(())
    }
}

/// Stores the manifest and the config of an image of ten layers; their digests, config first.
fn image(root: &Path, note: &str) -> Result<(String, String)> {
    let config = json!({
        "created": "2026-01-02T03:04:05Z", "os": "linux", "architecture": "amd64",
        "config": { "Labels": { "org.opencontainers.image.title": note, "maintainer": "somebody@example.test" } },
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let (config, size) = blob(root, &config.to_string())?;
    let layers: Vec<_> = (0..10u64)
        .map(|layer| {
            let digest = digest_text(&Sha256::digest(format!("{note} {layer}")));
            json!({ "mediaType": LAYER_TYPE, "digest": digest, "size": 1_000_000 + layer })
        })
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": { "mediaType": CONFIG_TYPE, "digest": config, "size": size },
        "layers": layers,
        "annotations": { "org.opencontainers.image.source": "https://example.test/source" },
    });
    let (manifest, _) = blob(root, &manifest.to_string())?;
    Ok((config, manifest))
}

fn blob(root: &Path, text: &str) -> Result<(String, usize)> {
    let digest = digest_text(&Sha256::digest(text));
    let folder = blob_folder(root, &digest);
    let data = folder.join("data");
    if !data.exists() {
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        fs::write(&data, text).with_context(|| data.display().to_string())?;
    }
    Ok((digest, text.len()))
}

fn write_link(folder: &PathBuf, digest: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("link");
    fs::write(&path, digest).with_context(|| path.display().to_string())
}

fn hex(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}
