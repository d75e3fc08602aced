//! distribution's layout, which is homeport's as well.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Manifest, Tree, hex, link};

pub(super) struct Distribution {
    root: PathBuf,
}

impl Distribution {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.root.join("docker/registry/v2/repositories").join(name)
    }

    fn blob(&self, digest: &str, file: &Path) -> Result<()> {
        link(file, &blob_folder(&self.root, digest).join("data"))
    }
}

pub(super) fn blob_folder(root: &Path, digest: &str) -> PathBuf {
    let hex = hex(digest);
    let shard = hex.get(..2).unwrap_or(hex);
    root.join("docker/registry/v2/blobs/sha256").join(shard).join(hex)
}

impl Tree for Distribution {
    fn layer(&mut self, repository: &str, digest: &str, file: &Path) -> Result<()> {
        self.blob(digest, file)?;
        write_link(&self.repository(repository).join("_layers/sha256").join(hex(digest)), digest)
    }

    fn manifest(&mut self, repository: &str, manifest: &Manifest, file: &Path, tags: &[String]) -> Result<()> {
        let digest = &manifest.digest;
        self.blob(digest, file)?;
        let manifests = self.repository(repository).join("_manifests");
        write_link(&manifests.join("revisions/sha256").join(hex(digest)), digest)?;
        for tag in tags {
            write_link(&manifests.join("tags").join(tag).join("current"), digest)?;
        }
        Ok(())
    }
}

fn write_link(folder: &Path, digest: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join("link");
    fs::write(&path, digest).with_context(|| format!("write {}", path.display()))
}
