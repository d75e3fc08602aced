//! buildah: an image from scratch, and lists of images.

use crate::desk::{Desk, Tool};
use crate::material::{DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX, rootfs};
use crate::view::{manifest, view};
use anyhow::Result;
use e2e::Server;

/// Builds `localhost/built` from busybox alone.
fn build(desk: &Desk) -> Result<Option<Tool<'_>>> {
    let (Some(buildah), Some(rootfs)) = (desk.tool("buildah"), rootfs(desk)?) else { return Ok(None) };
    let file =
        "FROM scratch\nCOPY bin /bin\nRUN [\"/bin/busybox\", \"touch\", \"/made\"]\nENTRYPOINT [\"/bin/busybox\"]\n";
    desk.write("Containerfile", file)?;
    buildah.ok(&format!("build --isolation chroot -t built -f Containerfile {}", rootfs.display()))?;
    Ok(Some(buildah))
}

#[test]
fn build_push_pull() -> Result<()> {
    let desk = Desk::new()?;
    let Some(buildah) = build(&desk)? else { return Ok(()) };
    let server = Server::open()?;
    let to = format!("{}/team/built", server.address());
    for (format, media_type) in [("oci", OCI_IMAGE), ("v2s2", DOCKER_IMAGE)] {
        let line =
            format!("push --tls-verify=false --digestfile digest --format {format} built docker://{to}:{format}");
        buildah.ok(&line)?;
        let answer = manifest(&server.client(), "team/built", format)?;
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(std::fs::read_to_string(desk.path("digest"))?, e2e::digest(&answer.body));
    }
    buildah.ok("rmi --all --force")?;
    buildah.ok(&format!("pull --tls-verify=false {to}:oci"))?;
    let container = buildah.ok(&format!("from --tls-verify=false {to}:v2s2"))?;
    let said = buildah.ok(&format!("run --isolation chroot {} /bin/busybox ls /", container.trim()))?;
    assert!(said.contains("made"), "{said}");
    buildah.ok("rm --all")?;
    view(&server.client(), &[])?;
    Ok(())
}

#[test]
fn lists_of_images() -> Result<()> {
    let desk = Desk::new()?;
    let Some(buildah) = build(&desk)? else { return Ok(()) };
    let server = Server::open()?;
    buildah.ok("manifest create list")?;
    buildah.ok("manifest add list localhost/built")?;
    buildah.ok("manifest add --arch arm64 list localhost/built")?;
    for (format, media_type) in [("oci", OCI_INDEX), ("v2s2", DOCKER_LIST)] {
        let to = format!("docker://{}/team/list:{format}", server.address());
        buildah.ok(&format!("manifest push --tls-verify=false --all --format {format} list {to}"))?;
        let answer = manifest(&server.client(), "team/list", format)?;
        assert_eq!(answer.header("content-type"), media_type);
    }
    view(&server.client(), &[])?;
    Ok(())
}
