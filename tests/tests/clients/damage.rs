//! What is found in old trees: dangling and empty links, left-over files. All of it is unknown, never an error.

use anyhow::{Context, Result};
use e2e::{Client, Image, Server, digest};
use std::path::{Path, PathBuf};

struct Tree {
    server: Server,
    image: Image,
}

impl Tree {
    fn new() -> Result<Self> {
        let server = Server::open()?;
        let image = Image::new(1, &[1000, 2000]);
        for tag in ["1", "2"] {
            server.client().push_image("team/app", tag, &image)?;
        }
        server.client().push_image("team/app", "other", &Image::new(2, &[500]))?;
        Ok(Self { server, image })
    }

    /// Stops the server, damages the tree, serves it again.
    fn with(self, damage: impl FnOnce(&Path) -> Result<()>) -> Result<(Server, tempfile::TempDir)> {
        let data = self.server.data().to_owned();
        let dir = self.server.stop()?.context("the folder of the server")?;
        damage(&data.join("docker/registry/v2"))?;
        Ok((Server::builder().data(&data).start()?, dir))
    }
}

fn blob_file(digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    Path::new("blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn expect(client: &Client, cases: &[(&str, u16)]) -> Result<()> {
    for (path, status) in cases {
        for method in ["GET", "HEAD"] {
            let answer = client.send(method, &format!("/v2/team/app/{path}"), &[], &[])?;
            assert_eq!(answer.status, *status, "{method} {path}: {}", answer.text());
        }
    }
    Ok(())
}

#[test]
fn data_of_a_blob_is_gone() -> Result<()> {
    let tree = Tree::new()?;
    let layer = digest(&tree.image.blobs[1]);
    let (server, _dir) = tree.with(|root| Ok(std::fs::remove_file(root.join(blob_file(&layer)))?))?;
    expect(&server.client(), &[(&format!("blobs/{layer}"), 404), ("manifests/1", 200), ("manifests/other", 200)])?;
    // Pushed again it is back.
    server.client().push_image("team/app", "1", &Image::new(1, &[1000, 2000]))?;
    expect(&server.client(), &[(&format!("blobs/{layer}"), 200)])?;
    Ok(())
}

#[test]
fn data_of_a_manifest_is_gone() -> Result<()> {
    let tree = Tree::new()?;
    let manifest = digest(&tree.image.manifest);
    let (server, _dir) = tree.with(|root| Ok(std::fs::remove_file(root.join(blob_file(&manifest)))?))?;
    let client = server.client();
    expect(&client, &[("manifests/1", 404), (&format!("manifests/{manifest}"), 404), ("manifests/other", 200)])?;
    assert_eq!(client.get("/v2/team/app/tags/list")?.status, 200);
    assert_eq!(client.get("/v2/_catalog")?.json()["repositories"], serde_json::json!(["team/app"]));
    // The tag can be removed and set again.
    assert_eq!(client.delete("/v2/team/app/manifests/2")?.status, 202);
    client.push_image("team/app", "1", &Image::new(1, &[1000, 2000]))?;
    expect(&client, &[("manifests/1", 200)])?;
    Ok(())
}

/// What a full disk or a power cut leaves of an older registry's writes.
#[test]
fn links_are_empty_or_damaged() -> Result<()> {
    for text in ["", "sha256:", "sha256:abc", "nonsense\n", "\0\0\0\0", "sha256:../../../../etc/passwd"] {
        let tree = Tree::new()?;
        let (manifest, layer) = (digest(&tree.image.manifest), digest(&tree.image.blobs[1]));
        let (server, _dir) = tree.with(|root| {
            let repo = root.join("repositories/team/app");
            std::fs::write(repo.join("_manifests/tags/1/current/link"), text)?;
            std::fs::write(repo.join(format!("_layers/sha256/{}/link", hex(&layer))), text)?;
            Ok(())
        })?;
        let client = server.client();
        expect(&client, &[("manifests/1", 404), ("manifests/2", 200), ("manifests/other", 200)])?;
        expect(&client, &[(&format!("blobs/{layer}"), 404), (&format!("manifests/{manifest}"), 200)])?;
        assert_eq!(client.get("/v2/team/app/tags/list")?.status, 200, "{text:?}");
        assert_eq!(client.get("/v2/_catalog")?.status, 200, "{text:?}");
        assert_eq!(client.get(&format!("/v2/team/app/referrers/{manifest}"))?.status, 200, "{text:?}");
        client.push_image("team/app", "1", &Image::new(1, &[1000, 2000]))?;
        expect(&client, &[("manifests/1", 200), (&format!("blobs/{layer}"), 200)])?;
    }
    Ok(())
}

#[test]
fn revision_link_is_empty() -> Result<()> {
    let tree = Tree::new()?;
    let manifest = digest(&tree.image.manifest);
    let (server, _dir) = tree.with(|root| {
        let link = format!("repositories/team/app/_manifests/revisions/sha256/{}/link", hex(&manifest));
        Ok(std::fs::write(root.join(link), "")?)
    })?;
    let client = server.client();
    expect(&client, &[(&format!("manifests/{manifest}"), 404), ("manifests/1", 404), ("manifests/other", 200)])?;
    Ok(())
}

/// A tag without `current`, a repository without anything, files of interrupted writes, old signatures, other files.
#[test]
fn leftovers() -> Result<()> {
    let tree = Tree::new()?;
    let manifest = digest(&tree.image.manifest);
    let (server, _dir) = tree.with(|root| {
        let repo = root.join("repositories/team/app");
        let tags = repo.join("_manifests/tags");
        for folder in ["half/index", "empty"] {
            std::fs::create_dir_all(tags.join(folder))?;
        }
        let signatures = format!("_manifests/revisions/sha256/{}/signatures/sha256/abc", hex(&manifest));
        std::fs::create_dir_all(repo.join(signatures))?;
        std::fs::create_dir_all(root.join("repositories/nothing/here"))?;
        std::fs::create_dir_all(root.join("repositories/uploads/_uploads/0191d1f4-0000-7000-8000-000000000000"))?;
        for file in [
            "repositories/team/app/_manifests/tags/1/current/link.0191d1f4-0000-7000-8000-000000000001.tmp",
            "repositories/team/app/_manifests/tags/stray.tmp",
            "repositories/stray.tmp",
            "repositories/team/.DS_Store",
            "blobs/sha256/stray.tmp",
            "stray",
        ] {
            std::fs::write(root.join(file), "stray")?;
        }
        std::fs::write(root.join("../../../scheduler-state.json"), "{}")?;
        std::fs::create_dir_all(root.join("../../../lost+found"))?;
        Ok(())
    })?;
    let client = server.client();
    expect(
        &client,
        &[("manifests/1", 200), ("manifests/half", 404), ("manifests/empty", 404), ("manifests/stray.tmp", 404)],
    )?;
    let catalog = client.get("/v2/_catalog")?;
    assert_eq!((catalog.status, catalog.json()["repositories"].to_string()), (200, "[\"team/app\"]".to_owned()));
    let tags = client.get("/v2/team/app/tags/list")?;
    assert_eq!(tags.status, 200);
    let listed = tags.json()["tags"].to_string();
    assert!(listed.contains("\"1\"") && !listed.contains("stray.tmp"), "{listed}");
    Ok(())
}

/// Bytes of a manifest that are cut off, or another one's.
#[test]
fn data_of_a_manifest_is_something_else() -> Result<()> {
    for content in ["", "nonsense", "{}"] {
        let tree = Tree::new()?;
        let manifest = digest(&tree.image.manifest);
        let (server, _dir) = tree.with(|root| Ok(std::fs::write(root.join(blob_file(&manifest)), content)?))?;
        let client = server.client();
        expect(&client, &[("manifests/1", 404), (&format!("manifests/{manifest}"), 404), ("manifests/other", 200)])?;
        assert_eq!(client.get("/v2/team/app/tags/list")?.status, 200);
        assert_eq!(client.get(&format!("/v2/team/app/referrers/{manifest}"))?.status, 200);
        let again = Image::new(1, &[1000, 2000]);
        client.push_image("team/app", "1", &again)?;
        assert_eq!(client.get("/v2/team/app/manifests/1")?.body, again.manifest);
    }
    Ok(())
}

/// Manifests whose digest is right, of formats that nobody serves any more.
#[test]
fn manifests_of_old_formats() -> Result<()> {
    let schema1 = r#"{"schemaVersion":1,"name":"team/app","tag":"1","fsLayers":[],"history":[],"signatures":[]}"#;
    for content in ["", "nonsense", "[]", "{}", schema1] {
        let manifest = digest(content.as_bytes());
        let (server, _dir) = Tree::new()?.with(|root| {
            let manifests = root.join("repositories/team/app/_manifests");
            let (data, revision) =
                (root.join(blob_file(&manifest)), manifests.join("revisions/sha256").join(hex(&manifest)));
            for (file, text) in [
                (data, content),
                (revision.join("link"), &manifest),
                (manifests.join("tags/1/current/link"), &manifest),
            ] {
                std::fs::create_dir_all(file.parent().context("a file has a folder")?)?;
                std::fs::write(file, text)?;
            }
            Ok(())
        })?;
        let client = server.client();
        expect(&client, &[("manifests/1", 404), (&format!("manifests/{manifest}"), 404)])?;
        expect(&client, &[("manifests/2", 200), ("manifests/other", 200)])?;
    }
    Ok(())
}
