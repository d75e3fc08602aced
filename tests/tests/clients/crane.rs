//! crane: push, pull, list, delete, copy.

use crate::desk::Desk;
use crate::material::{self, DOCKER_IMAGE, OCI_IMAGE, OCI_INDEX, digest_of, layer, pack, rootfs};
use crate::view::{manifest, tags, view};
use anyhow::Result;
use e2e::Server;

#[test]
fn docker_and_oci_images() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::open()?;
    let to = format!("{}/project-1/ubuntu", server.address());
    let layer = layer(&desk, "one")?;
    let layer = layer.display();
    for (tag, option, media_type) in [("docker", "", DOCKER_IMAGE), ("oci", "--oci-empty-base", OCI_IMAGE)] {
        let pushed = crane.ok(&format!("append {option} --new_layer {layer} --new_tag {to}:{tag}"))?;
        let answer = manifest(&server.client(), "project-1/ubuntu", tag)?;
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("docker-content-digest"), digest_of(&pushed)?);
        assert_eq!(crane.ok(&format!("digest {to}:{tag}"))?.trim(), digest_of(&pushed)?);
        assert_eq!(crane.ok(&format!("manifest {to}:{tag}"))?.trim(), answer.text());
        crane.ok(&format!("validate --remote {to}:{tag}"))?;

        // Out as an archive, in again: the same manifest.
        for format in ["oci", "tarball"] {
            let file = desk.text(&format!("{tag}-{format}"));
            crane.ok(&format!("pull --format {format} {to}:{tag} {file}"))?;
            let again = crane.ok(&format!("push {file} {to}:{tag}-{format}"))?;
            if format == "oci" {
                assert_eq!(digest_of(&again)?, digest_of(&pushed)?);
            }
            crane.ok(&format!("validate --remote {to}:{tag}-{format}"))?;
        }
    }
    assert_eq!(crane.ok(&format!("ls {to}"))?, "docker\ndocker-oci\ndocker-tarball\noci\noci-oci\noci-tarball\n");
    assert!(crane.ok(&format!("catalog {}", server.address()))?.contains("project-1/ubuntu"));
    Ok(())
}

#[test]
fn pushed_again_nothing_is_sent() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::open()?;
    let layer = layer(&desk, "one")?;
    let line = format!("append --new_layer {} --new_tag {}/project-1/ubuntu", layer.display(), server.address());
    assert!(crane.done(&format!("{line}:1"))?.stderr.contains("pushed blob"));
    assert!(crane.done(&format!("{line}:1"))?.stderr.contains("existing manifest"));
    let again = crane.done(&format!("{line}:2"))?.stderr;
    assert!(again.contains("existing blob") && !again.contains("pushed blob"), "{again}");
    Ok(())
}

#[test]
fn root_file_system_comes_back() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(crane), Some(rootfs)) = (desk.tool("crane"), rootfs(&desk)?) else { return Ok(()) };
    let server = Server::open()?;
    let image = format!("{}/project-1/busybox:1", server.address());
    let layer = pack(&desk, &rootfs, "busybox")?;
    crane.ok(&format!("append --oci-empty-base --new_layer {} --new_tag {image}", layer.display()))?;
    crane.ok(&format!("mutate {image} --entrypoint /bin/busybox,echo --set-platform linux/amd64 --tag {image}"))?;
    let config = crane.ok(&format!("config {image}"))?;
    assert!(config.contains(r#""Entrypoint":["/bin/busybox","echo"]"#), "{config}");
    let archive = desk.text("export.tar");
    crane.ok(&format!("export {image} {archive}"))?;
    let out = desk.path("out");
    std::fs::create_dir(&out)?;
    desk.program("tar".into()).ok(&format!("-C {} -xf {archive}", out.display()))?;
    assert_eq!(std::fs::read(out.join("bin/busybox"))?, std::fs::read(rootfs.join("bin/busybox"))?);
    Ok(())
}

#[test]
fn index_of_two_platforms() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::open()?;
    let host = server.address();
    let index = format!("{host}/team/app:all");
    material::index(&desk, &crane, &format!("{host}/team/app"))?;
    let answer = manifest(&server.client(), "team/app", "all")?;
    assert_eq!(answer.header("content-type"), OCI_INDEX);
    for platform in ["amd64", "arm64"] {
        let digest = crane.ok(&format!("digest {host}/team/app:{platform}"))?;
        assert_eq!(crane.ok(&format!("digest --platform linux/{platform} {index}"))?, digest);
    }
    crane.ok(&format!("validate --remote {index}"))?;
    // The whole index into another repository, and out of there.
    crane.ok(&format!("copy {index} {host}/other/app:all"))?;
    assert_eq!(manifest(&server.client(), "other/app", "all")?.body, answer.body);
    let layout = desk.text("layout");
    crane.ok(&format!("pull --format oci {host}/other/app:all {layout}"))?;
    crane.ok(&format!("push --index {layout} {host}/third/app:all"))?;
    crane.ok(&format!("validate --remote {host}/third/app:all"))?;
    Ok(())
}

#[test]
fn copy_mounts_instead_of_sending() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::open()?;
    let host = server.address();
    material::image(&desk, &crane, &format!("{host}/from/app:1"), "one")?;
    let said = crane.done(&format!("copy {host}/from/app:1 {host}/to/deep/folder/app:2"))?.stderr;
    assert!(said.contains("mounted blob") && !said.contains("pushed blob"), "{said}");
    crane.ok(&format!("validate --remote {host}/to/deep/folder/app:2"))?;
    crane.ok(&format!("tag {host}/to/deep/folder/app:2 stable"))?;
    assert_eq!(tags(&server.client(), "to/deep/folder/app")?, ["2", "stable"]);
    Ok(())
}

#[test]
fn delete_by_tag_and_by_digest() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::open()?;
    let to = format!("{}/team/app", server.address());
    for (tag, text) in [("1", "one"), ("2", "two")] {
        material::image(&desk, &crane, &format!("{to}:{tag}"), text)?;
    }
    crane.ok(&format!("tag {to}:1 also-1"))?;
    crane.ok(&format!("delete {to}:1"))?;
    assert_eq!(crane.ok(&format!("ls {to}"))?, "2\nalso-1\n");
    let digest = crane.ok(&format!("digest {to}:also-1"))?;
    crane.ok(&format!("delete {to}@{digest}"))?;
    assert_eq!(crane.ok(&format!("ls {to}"))?, "2\n");
    assert!(crane.refused(&format!("manifest {to}@{digest}"))?.contains("MANIFEST_UNKNOWN"));
    assert!(crane.refused(&format!("delete {to}@{digest}"))?.contains("MANIFEST_UNKNOWN"));
    crane.ok(&format!("validate --remote {to}:2"))?;
    Ok(())
}

/// More repositories and tags than a page holds: crane follows the `Link` header.
#[test]
fn catalog_and_tags_over_pages() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::builder().config("version: 0.1\ncatalog: {maxentries: 3}\ntags: {maxtags: 4}\n").start()?;
    let client = server.client();
    let image = e2e::Image::new(1, &[100]);
    let mut repos = Vec::new();
    for number in 0..10 {
        let repo = format!("project-{}/app-{number}", number % 3);
        client.push_image(&repo, "1", &image)?;
        repos.push(repo);
    }
    for number in 0..10 {
        client.push_manifest("project-0/app-0", &format!("v{number}"), e2e::Image::MEDIA_TYPE, &image.manifest)?;
    }
    repos.sort();
    let listed = crane.ok(&format!("catalog {}", server.address()))?;
    assert_eq!(listed.lines().collect::<Vec<_>>(), repos);
    let listed = crane.ok(&format!("ls {}/project-0/app-0", server.address()))?;
    assert_eq!(listed.lines().count(), 11);
    assert_eq!(
        view(&client, &[])?.keys().filter(|key| key.contains(':') && !key.contains('@') && !key.contains(' ')).count(),
        20
    );
    Ok(())
}

/// One image under a namespace, and images in folders: the same last name, different repositories.
#[test]
fn names_with_folders() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = Server::open()?;
    let host = server.address();
    let names = ["ns/app", "ns/a/app", "ns/a/b/app", "ns/a/b/c/d/e/app", "ns/a"];
    for name in names {
        material::image(&desk, &crane, &format!("{host}/{name}:1"), &name.replace('/', "-"))?;
    }
    let mut digests = Vec::new();
    for name in names {
        digests.push(crane.ok(&format!("digest {host}/{name}:1"))?);
        crane.ok(&format!("validate --remote {host}/{name}:1"))?;
    }
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), names.len());
    // Without a tag it is `latest`.
    crane.ok(&format!("copy {host}/ns/app:1 {host}/ns/copy"))?;
    assert_eq!(tags(&server.client(), "ns/copy")?, ["latest"]);
    Ok(())
}
