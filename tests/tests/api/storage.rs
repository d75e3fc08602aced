//! Storage that is full, read-only, gone or damaged.

use crate::support::{BASE, EMPTY, Mount, Raw, Registry, begin, blob_path, open, refused, run, serve, until, with};
use anyhow::{Context, Result};
use e2e::{Client, Image, Server, digest, random};
use std::path::Path;

/// Everything of an image can be read.
fn check_image(client: &Client, repo: &str, tag: &str, image: &Image) -> Result<()> {
    let manifest = client.get(&format!("/v2/{repo}/manifests/{tag}"))?;
    assert!(manifest.status == 200 && manifest.body == image.manifest, "{}", manifest.text());
    for blob in &image.blobs {
        assert!(client.get(&blob_path(repo, blob))?.body == *blob);
    }
    Ok(())
}

#[test]
fn a_full_disk_refuses_and_keeps_all_that_was_acknowledged() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk)?;
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "-o", "size=24m", "tmpfs"], &disk) else { return Ok(()) };
    let data = disk.join("data");
    let server = Registry::start(Server::builder().data(&data))?;
    let client = server.client();
    let mut kept = Vec::new();
    let mut refusals = 0;
    for seed in 0..40 {
        let image = Image::new(seed, &[2 << 20, 5000]);
        let tag = format!("t{seed}");
        let mut complete = true;
        for blob in &image.blobs {
            let put = with(&begin(&client, "a")?, &format!("digest={}", digest(blob)));
            let put = client.send("PUT", &put, &[], blob)?;
            if put.status != 201 {
                assert!([507, 503].contains(&put.status), "{} {}", put.status, put.text());
                assert_eq!(put.code(), "UNAVAILABLE");
                assert!(put.status != 507 || put.text().contains("no space left"), "{}", put.text());
                assert_eq!(client.head(&blob_path("a", blob))?.status, 404);
                refusals += 1;
                complete = false;
            }
        }
        if complete && client.push_manifest("a", &tag, Image::MEDIA_TYPE, &image.manifest).is_ok() {
            kept.push((tag, image));
        }
        if refusals > 5 {
            break;
        }
    }
    assert!(refusals > 0 && kept.len() > 2, "{refusals} refusals, {} kept", kept.len());
    for (tag, image) in &kept {
        check_image(&client, "a", tag, image)?;
    }
    assert_eq!(client.get("/v2/a/tags/list")?.json()["tags"].as_array().map(Vec::len), Some(kept.len()));
    assert_eq!(client.get("/livez")?.status, 200);
    // Sessions in chunks are refused too, and a restart finds everything again.
    let chunk = client.send("PATCH", &begin(&client, "a")?, &[], &random(99, 8 << 20))?;
    assert_eq!(chunk.status, 507, "{}", chunk.text());
    // Also those of which nobody knows beforehand how long they are, as Docker sends them.
    let mut raw = Raw::connect(server.address())?;
    raw.request(&format!("PATCH {}", begin(&client, "a")?), &[("transfer-encoding", "chunked")])?;
    for chunk in random(98, 6 << 20).chunks(1 << 20) {
        raw.send(format!("{:x}\r\n", chunk.len()))?;
        raw.send(chunk)?;
        raw.send("\r\n")?;
    }
    raw.send("0\r\n\r\n")?;
    let chunk = raw.answer()?;
    assert_eq!(chunk.status, 507, "{}", chunk.text());
    drop(server.kill()?);
    let server = Registry::start(Server::builder().data(&data))?;
    for (tag, image) in &kept {
        check_image(&server.client(), "a", tag, image)?;
    }
    Ok(())
}

#[test]
fn a_folder_that_becomes_read_only_still_serves() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk)?;
    let Some(_mount) = Mount::new(&["-t", "tmpfs", "tmpfs"], &disk) else { return Ok(()) };
    let data = disk.join("data");
    let image = Image::new(1, &[100_000]);
    let server = Registry::start(Server::builder().data(&data))?;
    server.client().push_image("a", "v1", &image)?;
    server.stop()?;
    run("mount", &["-o", "remount,ro", &disk.to_string_lossy()])?;
    // Told so, it starts and serves.
    let config = format!("{BASE}homeport: {{readOnly: true, token: {{secrets: ['0123456789abcdef']}}}}\n");
    let server = Registry::start(Server::builder().data(&data).config(&config))?;
    check_image(&server.client(), "a", "v1", &image)?;
    refused(&server.client().send("POST", "/v2/a/blobs/uploads/", &[], &[])?, 405, "UNSUPPORTED");
    drop(server);
    // Not told so, it says what to do.
    let refusal = Server::builder().data(&data).start().err().context("it starts on a read-only folder")?;
    assert!(refusal.to_string().contains("let the user that homeport runs as write there"), "{refusal}");

    run("mount", &["-o", "remount,rw", &disk.to_string_lossy()])?;
    let server = Registry::start(Server::builder().data(&data))?;
    // A bind mount in front of it is what changes under a server with open files; so does a remount by force.
    if run("mount", &["-o", "remount,ro,force", &disk.to_string_lossy()]).is_ok() {
        check_image(&server.client(), "a", "v1", &image)?;
        let blob = random(2, 1000);
        let put = with(&begin(&server.client(), "a")?, &format!("digest={}", digest(&blob)));
        refused(&server.client().send("PUT", &put, &[], &blob)?, 503, "UNAVAILABLE");
        run("mount", &["-o", "remount,rw", &disk.to_string_lossy()])?;
    }
    Ok(())
}

#[test]
fn a_data_folder_that_vanishes_is_never_not_found() -> Result<()> {
    if !e2e::place::is_folder("a data folder that vanishes") {
        return Ok(());
    }
    let server = serve("health: {storagedriver: {enabled: true, interval: 50ms, threshold: 1}}\n")?;
    let client = server.client();
    let image = Image::new(3, &[100_000]);
    let name = client.push_image("a", "v1", &image)?;
    until("it is ready", || client.get("/readyz").is_ok_and(|answer| answer.status == 200))?;
    // The server may be writing its probe into what is being removed.
    until("the folder is gone", || std::fs::remove_dir_all(server.data()).is_ok())?;
    // 404 would make a mirror's client believe it, and a kubelet give up.
    for path in [
        "/v2/a/manifests/v1".to_owned(),
        "/v2/a/manifests/other".to_owned(),
        format!("/v2/a/manifests/{}", digest(b"other")),
        format!("/v2/a/blobs/{}", digest(b"other")),
        "/v2/a/tags/list".to_owned(),
        "/v2/other/tags/list".to_owned(),
        "/v2/_catalog".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = client.send(method, &path, &[], &[])?;
            assert_eq!(answer.status, 503, "{method} {path}: {}", answer.text());
            assert!(!answer.header("retry-after").is_empty());
        }
    }
    // What is in memory or in an open file may still be given out, but never denied.
    for path in [format!("/v2/a/manifests/{name}"), blob_path("a", &image.blobs[1]), format!("/v2/a/referrers/{name}")]
    {
        assert_ne!(client.get(&path)?.status, 404, "{path}");
    }
    let put = with(&begin(&client, "a")?, &format!("digest={}", digest(b"x")));
    refused(&client.send("PUT", &put, &[], b"x")?, 503, "UNAVAILABLE");
    until("it is not ready", || client.get("/readyz").is_ok_and(|answer| answer.status == 503))?;
    assert_eq!(client.get("/healthz")?.status, 200, "a restart would not help");
    Ok(())
}

fn link(data: &Path, repo: &str, rest: &str) -> std::path::PathBuf {
    data.join("docker/registry/v2/repositories").join(repo).join(rest).join("link")
}

#[test]
fn damaged_links_are_not_found_and_can_be_repaired_by_a_push() -> Result<()> {
    for damage in [&b""[..], b"garbage", b"sha256:", b"\xff\xfe\0", &[b'a'; 5000], digest(b"dangling").as_bytes()] {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let image = Image::new(4, &[5000]);
        let server = Registry::start(Server::builder().data(&data))?;
        let client = server.client();
        let name = client.push_image("tag", "v1", &image)?;
        client.push_image("revision", "v1", &image)?;
        client.push_image("layer", "v1", &image)?;
        // A clean stop: what a journal still holds would undo the damage.
        server.stop()?;
        let hex = name.trim_start_matches("sha256:");
        let layer = digest(&image.blobs[1]);
        std::fs::write(link(&data, "tag", "_manifests/tags/v1/current"), damage)?;
        std::fs::write(link(&data, "revision", &format!("_manifests/revisions/sha256/{hex}")), damage)?;
        std::fs::write(link(&data, "layer", &format!("_layers/{}", layer.replace(':', "/"))), damage)?;

        let server = Registry::start(Server::builder().data(&data))?;
        let client = server.client();
        for path in [
            "/v2/tag/manifests/v1".to_owned(),
            "/v2/revision/manifests/v1".to_owned(),
            format!("/v2/revision/manifests/{name}"),
            format!("/v2/layer/blobs/{layer}"),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = client.send(method, &path, &[], &[])?;
                assert_eq!(answer.status, 404, "{path} with {:?}", String::from_utf8_lossy(damage));
            }
        }
        assert_eq!(client.get("/v2/tag/tags/list")?.status, 200);
        assert_eq!(client.get("/v2/_catalog")?.status, 200);
        client.push_image("tag", "v1", &image)?;
        check_image(&client, "tag", "v1", &image)?;
        client.push_image("layer", "v1", &image)?;
        check_image(&client, "layer", "v1", &image)?;
        client.push_image("revision", "v1", &image)?;
        check_image(&client, "revision", "v1", &image)?;
    }
    Ok(())
}

#[test]
fn damaged_content_is_not_given_out_as_a_manifest() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let image = Image::new(5, &[5000]);
    let server = Registry::start(Server::builder().data(&data))?;
    let name = server.client().push_image("a", "v1", &image)?;
    server.stop()?;
    let hex = name.trim_start_matches("sha256:");
    let file = data.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    let mut bytes = std::fs::read(&file)?;
    bytes[20] ^= 1;
    std::fs::write(&file, bytes)?;
    let server = Registry::start(Server::builder().data(&data))?;
    refused(&server.client().get("/v2/a/manifests/v1")?, 404, "MANIFEST_UNKNOWN");
    server.wait_for_log("stored manifest is damaged")?;
    assert_eq!(server.client().delete(&format!("/v2/a/manifests/{name}"))?.status, 202, "it can be removed");
    Ok(())
}

#[test]
fn bytes_that_are_missing_behind_a_link_are_not_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let image = Image::new(6, &[5000]);
    let server = Registry::start(Server::builder().data(&data))?;
    server.client().push_image("a", "v1", &image)?;
    server.stop()?;
    std::fs::remove_dir_all(data.join("docker/registry/v2/blobs"))?;
    let server = Registry::start(Server::builder().data(&data))?;
    let client = server.client();
    refused(&client.get("/v2/a/manifests/v1")?, 404, "MANIFEST_UNKNOWN");
    refused(&client.get(&blob_path("a", &image.blobs[1]))?, 404, "BLOB_UNKNOWN");
    assert_eq!(client.head(&blob_path("a", &image.blobs[1]))?.status, 404, "so that clients push it again");
    client.push_image("a", "v1", &image)?;
    check_image(&client, "a", "v1", &image)?;
    Ok(())
}

#[test]
fn a_folder_of_distribution_is_served_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let manifest = crate::support::manifest(EMPTY, &[], serde_json::json!({}));
    let root = data.join("docker/registry/v2");
    let write = |path: String, bytes: &[u8]| -> Result<()> {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().context("no parent")?)?;
        Ok(std::fs::write(path, bytes)?)
    };
    for blob in [EMPTY, &manifest] {
        let hex = digest(blob).replace("sha256:", "");
        write(format!("blobs/sha256/{}/{hex}/data", &hex[..2]), blob)?;
    }
    let name = digest(&manifest);
    let hex = name.replace("sha256:", "");
    let repo = "repositories/old/app";
    write(format!("{repo}/_layers/sha256/{}/link", digest(EMPTY).replace("sha256:", "")), digest(EMPTY).as_bytes())?;
    write(format!("{repo}/_manifests/revisions/sha256/{hex}/link"), name.as_bytes())?;
    write(format!("{repo}/_manifests/tags/v1/current/link"), name.as_bytes())?;
    write(format!("{repo}/_manifests/tags/v1/index/sha256/{hex}/link"), name.as_bytes())?;
    write(format!("{repo}/_uploads/0b1f9f9e-6f53-4b0e-9a3c-0f6c3d0d7a11/startedat"), b"2020-01-01T00:00:00Z")?;
    let server = Registry::start(Server::builder().data(&data))?;
    let client = server.client();
    assert_eq!(client.get("/v2/_catalog")?.json()["repositories"], serde_json::json!(["old/app"]));
    assert_eq!(client.get("/v2/old/app/tags/list")?.json()["tags"], serde_json::json!(["v1"]));
    assert_eq!(client.get("/v2/old/app/manifests/v1")?.body, manifest);
    assert_eq!(client.get(&blob_path("old/app", EMPTY))?.body, EMPTY);
    Ok(())
}

#[test]
fn a_second_start_on_the_same_folder_finds_everything() -> Result<()> {
    let server = open()?;
    let image = Image::new(7, &[1, 70_000]);
    server.client().push_image("a", "v1", &image)?;
    let data = server.data().to_owned();
    let _dir = server.kill()?;
    let server = Registry::start(Server::builder().data(&data))?;
    check_image(&server.client(), "a", "v1", &image)
}
