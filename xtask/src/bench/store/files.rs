//! The same paths as static files, for the server that is the ceiling of reads.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Manifest, READ, Tree, link};

pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, repository: &str, rest: &str) -> PathBuf {
        self.root.join("v2").join(repository).join(rest)
    }
}

impl Tree for Files {
    fn layer(&mut self, repository: &str, digest: &str, file: &Path) -> Result<()> {
        if repository != READ {
            return Ok(());
        }
        link(file, &self.path(repository, &format!("blobs/{digest}")))
    }

    fn manifest(&mut self, repository: &str, manifest: &Manifest, file: &Path, tags: &[String]) -> Result<()> {
        // Lists are no files; only the repository of the reads is served.
        if repository != READ {
            return Ok(());
        }
        for reference in tags.iter().chain([&manifest.digest]) {
            link(file, &self.path(repository, &format!("manifests/{reference}")))?;
        }
        Ok(())
    }
}
