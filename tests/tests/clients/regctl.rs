//! regctl: copy, index, referrers, tag deletion.

use crate::desk::{Desk, Tool};
use crate::material::{DOCKER_LIST, OCI_INDEX};
use crate::view::{manifest, referrers, tags};
use anyhow::Result;
use e2e::{Image, Server};

fn start(desk: &Desk) -> Result<Option<(Tool<'_>, Server)>> {
    let Some(regctl) = desk.tool("regctl") else { return Ok(None) };
    let server = Server::open()?;
    regctl.ok(&format!("registry set {} --tls disabled", server.address()))?;
    Ok(Some((regctl, server)))
}

#[test]
fn copy_export_import() -> Result<()> {
    let desk = Desk::new()?;
    let Some((regctl, server)) = start(&desk)? else { return Ok(()) };
    let (host, client) = (server.address(), server.client());
    let digest = client.push_image("team/app", "1", &Image::new(1, &[100, 5 << 20]))?;
    assert_eq!(regctl.ok(&format!("image digest {host}/team/app:1"))?.trim(), digest);
    regctl.ok(&format!("image copy {host}/team/app:1 {host}/other/app:1"))?;
    regctl.ok(&format!("image copy {host}/team/app:1 ocidir://{}:1", desk.text("layout")))?;
    regctl.ok(&format!("image copy ocidir://{}:1 {host}/third/app:1", desk.text("layout")))?;
    regctl.ok(&format!("image export {host}/team/app:1 {}", desk.text("image.tar")))?;
    regctl.ok(&format!("image import {host}/fourth/app:1 {}", desk.text("image.tar")))?;
    for repo in ["other/app", "third/app", "fourth/app"] {
        assert_eq!(e2e::digest(&manifest(&client, repo, "1")?.body), digest, "{repo}");
    }
    let listed = regctl.ok(&format!("repo ls {host}"))?;
    assert_eq!(listed, "fourth/app\nother/app\nteam/app\nthird/app\n");
    Ok(())
}

/// Layers above `--blob-max` go up in chunks.
#[test]
fn chunked_upload() -> Result<()> {
    let desk = Desk::new()?;
    let Some((regctl, server)) = start(&desk)? else { return Ok(()) };
    let (host, client) = (server.address(), server.client());
    regctl.ok(&format!("registry set {host} --blob-max 1 --blob-chunk 300000"))?;
    let content = e2e::random(3, 2_000_000);
    std::fs::write(desk.path("big"), &content)?;
    regctl.ok(&format!(
        "artifact put --artifact-type application/x-test --file {} {host}/team/big:1",
        desk.text("big")
    ))?;
    let blob = client.get(&format!("/v2/team/big/blobs/{}", e2e::digest(&content)))?;
    assert_eq!((blob.status, blob.body.len()), (200, content.len()));
    std::fs::create_dir(desk.path("out"))?;
    regctl.ok(&format!("artifact get {host}/team/big:1 --output {}", desk.text("out")))?;
    Ok(())
}

#[test]
fn index_and_docker_list() -> Result<()> {
    let desk = Desk::new()?;
    let Some((regctl, server)) = start(&desk)? else { return Ok(()) };
    let (host, client) = (server.address(), server.client());
    for (number, tag) in [(1, "amd64"), (2, "arm64")] {
        client.push_image("team/app", tag, &Image::new(number, &[1000]))?;
    }
    for (tag, media_type) in [("oci", OCI_INDEX), ("docker", DOCKER_LIST)] {
        let index = format!("{host}/team/app:{tag}");
        regctl.ok(&format!(
            "index create {index} --media-type {media_type} --ref {host}/team/app:amd64 --desc-platform linux/amd64"
        ))?;
        regctl.ok(&format!("index add {index} --ref {host}/team/app:arm64 --desc-platform linux/arm64"))?;
        let answer = manifest(&client, "team/app", tag)?;
        assert_eq!(answer.header("content-type"), media_type);
        let arm = e2e::digest(&manifest(&client, "team/app", "arm64")?.body);
        assert_eq!(regctl.ok(&format!("image digest --platform linux/arm64 {index}"))?.trim(), arm);
        regctl.ok(&format!("image copy {index} {host}/copy/app:{tag}"))?;
        assert_eq!(manifest(&client, "copy/app", tag)?.body, answer.body);
    }
    Ok(())
}

#[test]
fn referrers_travel_with_the_image() -> Result<()> {
    let desk = Desk::new()?;
    let Some((regctl, server)) = start(&desk)? else { return Ok(()) };
    let (host, client) = (server.address(), server.client());
    let subject = client.push_image("team/app", "1", &Image::new(1, &[1000]))?;
    for kind in ["application/x-sbom", "application/x-scan"] {
        let line = format!("artifact put --artifact-type {kind} --subject {host}/team/app:1");
        regctl.feed(&line, &format!("an artifact of {kind}"))?;
    }
    assert_eq!(referrers(&client, "team/app", &subject)?.len(), 2);
    let listed = regctl.ok(&format!("artifact list {host}/team/app:1 --filter-artifact-type application/x-sbom"))?;
    assert!(listed.contains("application/x-sbom") && !listed.contains("application/x-scan"), "{listed}");
    let got =
        regctl.ok(&format!("artifact get --subject {host}/team/app:1 --filter-artifact-type application/x-scan"))?;
    assert_eq!(got, "an artifact of application/x-scan");
    regctl.ok(&format!("image copy --referrers {host}/team/app:1 {host}/copy/app:1"))?;
    assert_eq!(referrers(&client, "copy/app", &subject)?, referrers(&client, "team/app", &subject)?);
    // The API is there, so nobody writes fallback tags.
    assert_eq!(tags(&client, "team/app")?, ["1"]);
    Ok(())
}

#[test]
fn delete_a_tag_keeps_the_other_tag() -> Result<()> {
    let desk = Desk::new()?;
    let Some((regctl, server)) = start(&desk)? else { return Ok(()) };
    let (host, client) = (server.address(), server.client());
    let image = Image::new(1, &[1000]);
    for tag in ["1", "2", "3"] {
        client.push_image("team/app", tag, &image)?;
    }
    regctl.ok(&format!("tag delete {host}/team/app:2"))?;
    assert_eq!(regctl.ok(&format!("tag ls {host}/team/app"))?, "1\n3\n");
    regctl.ok(&format!("manifest delete {host}/team/app@{}", e2e::digest(&image.manifest)))?;
    assert_eq!(manifest(&client, "team/app", "1")?.status, 404);
    assert_eq!(tags(&client, "team/app")?, Vec::<String>::new());
    Ok(())
}
