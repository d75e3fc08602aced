//! What the tests push.

use crate::desk::{Desk, Tool};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Media types of the docker formats.
pub(crate) const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media types of the OCI formats.
pub(crate) const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A root file system that can run: busybox, nothing else. `None` when busybox is not here.
pub(crate) fn rootfs(desk: &Desk) -> Result<Option<PathBuf>> {
    let Some(busybox) = e2e::tool("busybox") else { return Ok(None) };
    let bin = desk.path("rootfs/bin");
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(desk.path("rootfs/tmp"))?;
    std::fs::copy(busybox, bin.join("busybox"))?;
    for name in ["sh", "echo", "cat", "id"] {
        std::os::unix::fs::symlink("busybox", bin.join(name))?;
    }
    Ok(Some(desk.path("rootfs")))
}

/// A layer of one file that holds `text`.
pub(crate) fn layer(desk: &Desk, text: &str) -> Result<PathBuf> {
    let folder = format!("layers/{text}");
    desk.write(&format!("{folder}/hello"), text)?;
    pack(desk, &desk.path(&folder), text)
}

/// Pushes an OCI image of one layer with crane.
pub(crate) fn image(desk: &Desk, crane: &Tool<'_>, to: &str, text: &str) -> Result<()> {
    crane.ok(&format!("append --oci-empty-base --new_layer {} --new_tag {to}", layer(desk, text)?.display()))?;
    Ok(())
}

/// Pushes images for two platforms with crane, `<to>:amd64` and `<to>:arm64`, and the index of both, `<to>:all`.
pub(crate) fn index(desk: &Desk, crane: &Tool<'_>, to: &str) -> Result<()> {
    for platform in ["amd64", "arm64"] {
        image(desk, crane, &format!("{to}:{platform}"), platform)?;
        crane.ok(&format!("mutate {to}:{platform} --set-platform linux/{platform} --tag {to}:{platform}"))?;
    }
    crane.ok(&format!("index append -m {to}:amd64 -m {to}:arm64 -t {to}:all"))?;
    Ok(())
}

/// A folder as `<name>.tar.gz`.
pub(crate) fn pack(desk: &Desk, folder: &Path, name: &str) -> Result<PathBuf> {
    let to = desk.path(&format!("{name}.tar.gz"));
    let tar = desk.program("tar".into());
    tar.ok(&format!("--owner=0 --group=0 -C {} -czf {} .", folder.display(), to.display()))?;
    Ok(to)
}

/// The digest in a reference such as `host/name@sha256:…`.
pub(crate) fn digest_of(reference: &str) -> Result<&str> {
    let (_, digest) = reference.trim().rsplit_once('@').with_context(|| format!("no digest in {reference:?}"))?;
    Ok(digest)
}
