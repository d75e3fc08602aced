//! podman: tag, push, pull. (Running is for containerd: where orphans are not reaped, `podman run` waits 20 s for conmon.)

use crate::desk::Desk;
use crate::material::{pack, rootfs};
use crate::view::{manifest, tags};
use anyhow::Result;
use e2e::Server;

/// An image from outside (here: another registry) into a project, as the manuals tell.
#[test]
fn tag_and_push_to_a_project() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(podman), Some(rootfs)) = (desk.tool("podman"), rootfs(&desk)?) else { return Ok(()) };
    let (outside, server) = (Server::open()?, Server::open()?);
    let name = format!("{}/library/busybox", outside.address());
    let layer = pack(&desk, &rootfs, "busybox")?;
    podman.ok(&format!("import --change CMD=/bin/id {} {name}", layer.display()))?;
    podman.ok(&format!("push --tls-verify=false {name}"))?;
    podman.ok("rmi --all --force")?;

    podman.ok(&format!("pull --tls-verify=false {name}"))?;
    let ours = format!("{}/openshift/busybox", server.address());
    podman.ok(&format!("tag {name} {ours}"))?;
    podman.ok(&format!("push --tls-verify=false --digestfile digest {ours}"))?;
    // No tag was given: it is `latest`.
    assert_eq!(tags(&server.client(), "openshift/busybox")?, ["latest"]);
    let digest = std::fs::read_to_string(desk.path("digest"))?;
    assert_eq!(e2e::digest(&manifest(&server.client(), "openshift/busybox", "latest")?.body), digest);

    // Again: every layer is there already. Then back by digest.
    let again = podman.done(&format!("push --tls-verify=false {ours}"))?.stderr;
    assert!(again.contains("skipped: already exists") || again.contains("Copying blob"), "{again}");
    podman.ok("rmi --all --force")?;
    podman.ok(&format!("pull --tls-verify=false {ours}@{digest}"))?;
    let shown = podman.ok(&format!("inspect --format '{{{{.Digest}}}} {{{{.Config.Cmd}}}}' {ours}@{digest}"))?;
    assert_eq!(shown.trim(), format!("{digest} [/bin/sh -c /bin/id]"));
    Ok(())
}
