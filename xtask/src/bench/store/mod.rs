//! What the servers hold: the same content for all, in the layout of each.
//!
//! Blobs exist once on disk and are hard links in every tree: no server writes into a stored blob,
//! and one copy in the page cache serves all of them alike.

pub(super) mod content;
mod distribution;
mod files;
mod layout;
mod zot;

pub(super) use content::{Content, Manifest, Needs};

use std::path::Path;

use anyhow::Result;

/// The repository that reads go to.
pub(super) const READ: &str = "bench/read";
/// The repository with 50,000 tags.
pub(super) const TAGS: &str = "bench/tags";
pub(super) const REFERRERS: &str = "bench/referrers";
pub(super) const TAG_COUNT: usize = 50_000;
pub(super) const REPOSITORY_COUNT: usize = 10_000;

pub(super) fn tag(index: usize) -> String {
    format!("v{index:05}")
}

pub(super) fn repository(index: usize) -> String {
    format!("catalog/r{index:05}")
}

/// One layout of the same content.
trait Tree {
    /// Makes the blob part of the repository.
    fn layer(&mut self, repository: &str, digest: &str, file: &Path) -> Result<()>;
    /// Makes the manifest part of the repository, under the tags. Tags get no history: nothing that is
    /// measured reads it, and for 50,000 of them it would be 200,000 files and folders more.
    fn manifest(&mut self, repository: &str, manifest: &Manifest, file: &Path, tags: &[String]) -> Result<()>;
    /// Writes what can only be written when everything is known.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

pub(super) fn write_distribution(root: &Path, content: &Content) -> Result<()> {
    layout::write(content, &mut distribution::Distribution::new(root))
}

/// The lists alone, whoever needs them.
pub(super) fn write_lists(root: &Path, content: &Content) -> Result<()> {
    layout::write_lists(content, &mut distribution::Distribution::new(root))
}

pub(super) fn write_zot(root: &Path, content: &Content) -> Result<()> {
    layout::write(content, &mut zot::Zot::new(root))
}

pub(super) fn write_files(root: &Path, content: &Content) -> Result<()> {
    layout::write(content, &mut files::Files::new(root))
}

/// Where distribution's layout, which is homeport's, keeps the bytes of a blob.
pub(super) fn blob_folder(root: &Path, digest: &str) -> std::path::PathBuf {
    distribution::blob_folder(root, digest)
}

/// Makes `to` the same file as `from`.
fn link(from: &Path, to: &Path) -> Result<()> {
    use anyhow::Context;
    let folder = to.parent().unwrap_or(to);
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.with_context(|| format!("link {}", to.display())),
    }
}

fn hex(digest: &str) -> &str {
    digest.split_once(':').map_or(digest, |(_, hex)| hex)
}
