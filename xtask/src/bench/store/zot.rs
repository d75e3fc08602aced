//! zot's layout: one OCI image layout per repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::content::MANIFEST_TYPE;
use super::{Manifest, Tree, hex, link};

pub(super) struct Zot {
    root: PathBuf,
    /// The entries of each repository's index.
    indexes: BTreeMap<String, Vec<Value>>,
}

impl Zot {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), indexes: BTreeMap::new() }
    }

    fn blob(&mut self, repository: &str, digest: &str, file: &Path) -> Result<()> {
        self.indexes.entry(repository.to_owned()).or_default();
        link(file, &self.root.join(repository).join("blobs/sha256").join(hex(digest)))
    }
}

impl Tree for Zot {
    fn layer(&mut self, repository: &str, digest: &str, file: &Path) -> Result<()> {
        self.blob(repository, digest, file)
    }

    fn manifest(&mut self, repository: &str, manifest: &Manifest, file: &Path, tags: &[String]) -> Result<()> {
        self.blob(repository, &manifest.digest, file)?;
        let entries = self.indexes.entry(repository.to_owned()).or_default();
        entries.extend(tags.iter().map(|tag| {
            json!({
                "mediaType": MANIFEST_TYPE,
                "digest": manifest.digest,
                "size": manifest.bytes.len(),
                "annotations": { "org.opencontainers.image.ref.name": tag },
            })
        }));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        for (repository, entries) in &self.indexes {
            let folder = self.root.join(repository);
            let write = |name: &str, value: Value| {
                let path = folder.join(name);
                fs::write(&path, value.to_string()).with_context(|| format!("write {}", path.display()))
            };
            write("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }))?;
            write("index.json", json!({ "schemaVersion": 2, "manifests": entries }))?;
        }
        Ok(())
    }
}
