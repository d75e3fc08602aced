//! skopeo: copies between formats and places.

use crate::desk::Desk;
use crate::material::{self, DOCKER_IMAGE, OCI_IMAGE, OCI_INDEX, rootfs};
use crate::view::{manifest, tags, view};
use anyhow::Result;
use e2e::{Image, Server};

#[test]
fn layouts_and_archives() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(skopeo), Some(umoci), Some(rootfs)) = (desk.tool("skopeo"), desk.tool("umoci"), rootfs(&desk)?) else {
        return Ok(());
    };
    let server = Server::open()?;
    let (to, client) = (format!("docker://{}/team/app", server.address()), server.client());
    // An OCI layout, made by umoci.
    umoci.ok("init --layout layout")?;
    umoci.ok("new --image layout:1")?;
    umoci.ok(&format!("insert --image layout:1 {} /bin", rootfs.join("bin").display()))?;
    umoci.ok("config --image layout:1 --config.entrypoint /bin/busybox --config.cmd id")?;
    skopeo.ok(&format!("copy --dest-tls-verify=false oci:layout:1 {to}:oci"))?;
    let oci = manifest(&client, "team/app", "oci")?;
    assert_eq!(oci.header("content-type"), OCI_IMAGE);
    // As docker schema 2, through a docker archive and a folder.
    skopeo.ok(&format!("copy --src-tls-verify=false {to}:oci docker-archive:archive.tar:team/app:1"))?;
    skopeo.ok(&format!("copy --dest-tls-verify=false docker-archive:archive.tar {to}:docker"))?;
    assert_eq!(manifest(&client, "team/app", "docker")?.header("content-type"), DOCKER_IMAGE);
    skopeo.ok(&format!("copy --src-tls-verify=false {to}:docker dir:folder"))?;
    skopeo.ok(&format!("copy --dest-tls-verify=false --format oci dir:folder {to}:again"))?;
    skopeo.ok(&format!("copy --src-tls-verify=false {to}:oci oci-archive:oci.tar"))?;
    skopeo.ok(&format!("copy --dest-tls-verify=false oci-archive:oci.tar {to}:archived"))?;
    assert_eq!(manifest(&client, "team/app", "archived")?.body, oci.body);

    let listed = skopeo.ok(&format!("list-tags --tls-verify=false {to}"))?;
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    assert_eq!(listed["Tags"], serde_json::json!(["again", "archived", "docker", "oci"]));
    let shown = skopeo.ok(&format!("inspect --tls-verify=false {to}:oci"))?;
    assert!(shown.contains(&e2e::digest(&oci.body)), "{shown}");
    assert_eq!(skopeo.ok(&format!("inspect --tls-verify=false --raw {to}:oci"))?, oci.text());

    // What comes out can be unpacked.
    skopeo.ok(&format!("copy --src-tls-verify=false {to}:again oci:out:1"))?;
    umoci.ok("unpack --image out:1 bundle")?;
    assert_eq!(std::fs::read(desk.path("bundle/rootfs/bin/busybox"))?, std::fs::read(rootfs.join("bin/busybox"))?);
    Ok(())
}

#[test]
fn delete_removes_the_manifest() -> Result<()> {
    let desk = Desk::new()?;
    let Some(skopeo) = desk.tool("skopeo") else { return Ok(()) };
    let server = Server::open()?;
    let client = server.client();
    client.push_image("team/app", "1", &Image::new(1, &[1000]))?;
    client.push_image("team/app", "2", &Image::new(2, &[1000]))?;
    skopeo.ok(&format!("delete --tls-verify=false docker://{}/team/app:1", server.address()))?;
    assert_eq!(tags(&client, "team/app")?, ["2"]);
    let said = skopeo.refused(&format!("inspect --tls-verify=false docker://{}/team/app:1", server.address()))?;
    assert!(said.contains("manifest unknown"), "{said}");
    Ok(())
}

/// An index with all its images, and compressed in other ways; layers are mounted from the other repository.
#[test]
fn index_and_compression() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(skopeo), Some(crane)) = (desk.tool("skopeo"), desk.tool("crane")) else { return Ok(()) };
    let server = Server::open()?;
    let (host, client) = (server.address(), server.client());
    material::index(&desk, &crane, &format!("{host}/team/app"))?;
    let plain = "--src-tls-verify=false --dest-tls-verify=false";
    skopeo.ok(&format!("copy {plain} --all docker://{host}/team/app:all docker://{host}/copy/app:all"))?;
    let index = manifest(&client, "copy/app", "all")?;
    assert_eq!(index.header("content-type"), OCI_INDEX);
    // This version drops fields that it does not know, so only the images are the same, not the index.
    for platform in [0, 1] {
        let digest = |index: &e2e::Answer| index.json()["manifests"][platform]["digest"].clone();
        assert_eq!(digest(&index), digest(&manifest(&client, "team/app", "all")?));
    }
    // One platform of it only.
    let one = format!("copy {plain} --override-arch arm64 docker://{host}/team/app:all docker://{host}/one/app:1");
    skopeo.ok(&one)?;
    assert_eq!(manifest(&client, "one/app", "1")?.body, manifest(&client, "team/app", "arm64")?.body);
    // Another compression. skopeo compresses what is not compressed yet, and only where it knows of no other form: hence
    // by way of a folder, and to another registry.
    let other = Server::open()?;
    skopeo.ok(&format!("copy --src-tls-verify=false --dest-decompress docker://{host}/team/app:amd64 dir:plain"))?;
    let to = format!("docker://{}/zstd/app:1", other.address());
    skopeo.ok(&format!("copy --dest-tls-verify=false --dest-compress-format zstd dir:plain {to}"))?;
    let compressed = manifest(&other.client(), "zstd/app", "1")?.text();
    assert!(compressed.contains("tar+zstd"), "{compressed}");
    view(&other.client(), &[])?;
    assert!(view(&client, &[])?.len() > 10);
    Ok(())
}

#[test]
fn sync() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(skopeo), Some(crane)) = (desk.tool("skopeo"), desk.tool("crane")) else { return Ok(()) };
    let (from, to) = (Server::open()?, Server::open()?);
    for tag in ["1", "2", "3"] {
        material::image(&desk, &crane, &format!("{}/team/app:{tag}", from.address()), tag)?;
    }
    let plain = "--src-tls-verify=false --dest-tls-verify=false";
    skopeo.ok(&format!("sync {plain} --src docker --dest docker {}/team/app {}/team", from.address(), to.address()))?;
    assert_eq!(view(&from.client(), &[])?, view(&to.client(), &[])?);
    std::fs::create_dir(desk.path("folder"))?;
    skopeo.ok(&format!("sync {plain} --src docker --dest dir {}/team/app folder", from.address()))?;
    skopeo.ok(&format!("sync {plain} --src dir --dest docker folder {}/mirror", to.address()))?;
    assert_eq!(tags(&to.client(), "mirror/app")?, ["1", "2", "3"]);
    Ok(())
}
