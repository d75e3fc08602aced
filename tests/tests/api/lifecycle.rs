//! Start, stop, restart, several processes on one folder.

use crate::support::{BASE, Raw, Registry, begin, blob_path, open, refused, serve, until, with};
use anyhow::Result;
use e2e::{Client, Image, Server, digest, random};
use std::path::Path;

const SECRET: &str = "homeport: {token: {secrets: ['the secret of all replicas']}}\n";

fn files(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.to_string_lossy().into_owned(), entry.metadata().map_or(0, |data| data.len()))),
        }
    }
    found
}

/// No journal, no unfinished file.
fn check_clean(data: &Path) {
    for (path, size) in files(&data.join("homeport")) {
        let fine = path.contains("/sessions/") || path.contains("/referrers/") || path.contains("/aliases/");
        assert!(
            fine || path.ends_with("/secret") || size == 0 || path.contains("/uploads/"),
            "{path} has {size} bytes"
        );
    }
    assert!(files(&data.join("homeport/v1/journal")).iter().all(|(_, size)| *size == 0));
}

#[test]
fn a_stop_waits_for_running_transfers() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let config = format!("{BASE}http: {{draintimeout: 20s}}\n{SECRET}");
    let server = Registry::start(Server::builder().config(&config).data(&data))?;
    let client = server.client();
    let (down, up) = (random(1, 24 << 20), random(2, 3 << 20));
    let image = Image::new(3, &[500]);
    client.push_image("a", "v1", &image)?;
    client.push_blob("a", &down)?;
    let mut download = Raw::connect(server.address())?;
    download.request(&format!("GET {}", blob_path("a", &down)), &[])?;
    assert_eq!(download.head()?.status, 200);
    let mut upload = Raw::connect(server.address())?;
    let location = begin(&client, "a")?;
    upload.request(
        &format!("PATCH {location}"),
        &[("content-length", &(2 << 20).to_string()), ("expect", "100-continue")],
    )?;
    assert_eq!(upload.head()?.status, 100);
    upload.send(&up[..1 << 20])?;
    // An idle connection does not hold it up.
    let mut idle = Raw::connect(server.address())?;
    idle.request("GET /v2/", &[])?;
    assert_eq!(idle.answer()?.status, 200);

    server.signal("TERM")?;
    server.wait_for_log("running requests are finished first")?;
    until("new connections are refused", || Raw::connect(server.address()).is_err())?;
    assert!(idle.rest()?.is_empty());
    let mut body = vec![0; down.len()];
    download.read(&mut body)?;
    assert!(body == down);
    upload.send(&up[1 << 20..2 << 20])?;
    let taken = upload.answer()?;
    assert_eq!(taken.status, 202);
    let stopped = server.stop()?;
    assert!(stopped.log.contains("cut=0"), "{}", stopped.log);
    check_clean(&data);

    // The session goes on in the next process.
    let server = Registry::start(Server::builder().config(&config).data(&data))?;
    let put = with(taken.header("location"), &format!("digest={}", digest(&up)));
    let put = server.client().send("PUT", &put, &[], &up[2 << 20..])?;
    assert_eq!(put.status, 201, "{}", put.text());
    assert!(server.client().get(&blob_path("a", &up))?.body == up);
    assert_eq!(server.client().get("/v2/a/manifests/v1")?.body, image.manifest);
    Ok(())
}

#[test]
fn a_stop_does_not_wait_for_ever() -> Result<()> {
    let server = serve("http: {draintimeout: 200ms}\n")?;
    // The only connection that there has been: an idle one may be cut, too.
    let mut upload = Raw::connect(server.address())?;
    upload.request("POST /v2/a/blobs/uploads/", &[("content-length", "0")])?;
    let begun = upload.answer()?;
    assert_eq!(begun.status, 202);
    let line = format!("PATCH {}", begun.header("location"));
    upload.request(&line, &[("content-length", "100"), ("expect", "100-continue")])?;
    assert_eq!(upload.head()?.status, 100);
    let stopped = server.stop()?;
    assert!(stopped.log.contains("cut=1"), "{}", stopped.log);
    Ok(())
}

#[test]
fn sigint_stops_too() -> Result<()> {
    let server = open()?;
    server.signal("INT")?;
    server.wait_for_log("msg=stopped")?;
    server.stop()?;
    Ok(())
}

#[test]
fn acknowledged_pushes_survive_a_kill() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let image = Image::new(4, &[10, 70_000, 2 << 20]);
    let server = Registry::start(Server::builder().data(&data))?;
    server.client().push_image("a", "v1", &image)?;
    let part = random(5, 200_000);
    let location =
        server.client().send("PATCH", &begin(&server.client(), "a")?, &[], &part)?.header("location").to_owned();
    server.kill()?;
    let server = Registry::start(Server::builder().data(&data))?;
    let client = server.client();
    assert_eq!(client.get("/v2/a/manifests/v1")?.body, image.manifest);
    for blob in &image.blobs {
        assert!(client.get(&blob_path("a", blob))?.body == *blob);
    }
    assert_eq!(client.get(&location)?.header("range"), "0-199999");
    let put = with(&location, &format!("digest={}", digest(&part)));
    assert_eq!(client.send("PUT", &put, &[], &[])?.status, 201);
    Ok(())
}

/// Two processes on one folder, with one secret.
fn pair(config: &str) -> Result<(tempfile::TempDir, Registry, Registry)> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let start = || Registry::start(Server::builder().config(config).data(&data));
    let (one, two) = (start()?, start()?);
    Ok((dir, one, two))
}

#[test]
fn two_processes_on_one_folder_share_uploads() -> Result<()> {
    // Also without a configured secret: the folder keeps one.
    for config in [format!("{BASE}{SECRET}"), BASE.to_owned()] {
        let (_dir, one, two) = pair(&config)?;
        let (one, two) = (one.client(), two.client());
        for size in [9_000, 3 << 20] {
            let content = random(6 + size as u64, size);
            let parts: Vec<_> = content.chunks(size / 3).collect();
            let mut location = begin(&one, "a")?;
            for (index, part) in parts.iter().enumerate() {
                let client = if index % 2 == 0 { &two } else { &one };
                let taken = client.send("PATCH", &location, &[], part)?;
                assert_eq!(taken.status, 202, "{}", taken.text());
                location = taken.header("location").to_owned();
                assert_eq!(one.get(&location)?.header("range"), two.get(&location)?.header("range"));
            }
            // An old address tells the other process where it stands.
            let status = one.get(&location)?;
            assert_eq!(status.header("range"), format!("0-{}", size - 1));
            let put = two.send("PUT", &with(&location, &format!("digest={}", digest(&content))), &[], &[])?;
            assert_eq!(put.status, 201, "{}", put.text());
            assert!(one.get(&blob_path("a", &content))?.body == content);
            refused(&one.get(&location)?, 404, "BLOB_UPLOAD_UNKNOWN");
        }
        // Cancelled in one, with or without bytes, gone in the other.
        for bytes in [&b""[..], b"abc"] {
            let mut location = begin(&one, "a")?;
            if !bytes.is_empty() {
                location = one.send("PATCH", &location, &[], bytes)?.header("location").to_owned();
            }
            assert_eq!(one.delete(&location)?.status, 204);
            refused(&two.get(&location)?, 404, "BLOB_UPLOAD_UNKNOWN");
            refused(&two.send("PATCH", &location, &[], b"x")?, 404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    Ok(())
}

fn status(client: &Client, path: &str) -> u16 {
    client.get(path).map_or(0, |answer| answer.status)
}

#[test]
fn two_processes_on_one_folder_see_each_other() -> Result<()> {
    let (_dir, one, two) = pair(&format!("{BASE}{SECRET}"))?;
    let (one, two) = (one.client(), two.client());
    let (first, second) = (Image::new(7, &[1000]), Image::new(8, &[1000]));
    for round in 0..3 {
        let name = one.push_image("a", "v1", &first)?;
        assert_eq!(two.get("/v2/a/manifests/v1")?.body, first.manifest, "round {round}");
        assert_eq!(two.get("/v2/a/tags/list")?.json()["tags"][0], "v1");
        two.push_image("a", "v1", &second)?;
        assert_eq!(one.get("/v2/a/manifests/v1")?.body, second.manifest);
        assert_eq!(one.get(&format!("/v2/a/manifests/{name}"))?.body, first.manifest);
        assert_eq!(two.delete("/v2/a/manifests/v1")?.status, 202);
        assert_eq!(status(&one, "/v2/a/manifests/v1"), 404);
        assert_eq!(one.get("/v2/a/tags/list")?.json()["tags"], serde_json::json!([]));
    }
    // What is asked for by digest may be remembered for some seconds, not longer.
    let (name, blob) = (digest(&first.manifest), blob_path("a", &first.blobs[1]));
    assert_eq!((status(&one, &format!("/v2/a/manifests/{name}")), status(&one, &blob)), (200, 200));
    assert_eq!((two.delete(&format!("/v2/a/manifests/{name}"))?.status, two.delete(&blob)?.status), (202, 202));
    until("the other process has forgotten", || {
        (status(&one, &format!("/v2/a/manifests/{name}")), status(&one, &blob)) == (404, 404)
    })?;
    // A manifest is checked against storage, never against memory.
    let refusal = crate::support::put(&one, "a", "v2", Image::MEDIA_TYPE, &first.manifest)?;
    refused(&refusal, 400, "MANIFEST_BLOB_UNKNOWN");
    Ok(())
}

#[test]
fn one_session_in_two_processes_at_once_is_never_mixed() -> Result<()> {
    let (_dir, one, two) = pair(&format!("{BASE}{SECRET}"))?;
    let content = random(9, 2 << 20);
    for round in 0..5 {
        let location = begin(&one.client(), "a")?;
        let answers: Vec<_> = std::thread::scope(|scope| {
            let sends =
                [&one, &two].map(|server| scope.spawn(|| server.client().send("PATCH", &location, &[], &content)));
            sends.into_iter().map(|send| send.join().unwrap()).collect::<Result<_>>()
        })?;
        let winner = answers.iter().find(|answer| answer.status == 202);
        assert!(winner.is_some(), "round {round}: {answers:?}");
        let next = one.client().get(&location)?;
        assert_eq!(next.header("range"), format!("0-{}", content.len() - 1));
        let put = with(next.header("location"), &format!("digest={}", digest(&content)));
        assert_eq!(two.client().send("PUT", &put, &[], &[])?.status, 201, "round {round}");
        assert!(one.client().get(&blob_path("a", &content))?.body == content);
        one.client().delete(&blob_path("a", &content))?;
    }
    Ok(())
}

#[test]
fn abandoned_uploads_expire() -> Result<()> {
    let server = Registry::start(
        Server::builder()
            .config("version: 0.1\nstorage: {maintenance: {uploadpurging: {enabled: true, age: 10s, interval: 1s}}}\n"),
    )?;
    let client = server.client();
    let mut locations = vec![begin(&client, "a")?];
    for size in [1000, 3 << 20] {
        let content = random(10, size);
        let taken = client.send("PATCH", &begin(&client, "a")?, &[], &content)?;
        locations.push(taken.header("location").to_owned());
    }
    for location in &locations {
        until("it has expired", || status(&client, location) == 404)?;
        refused(&client.send("PATCH", location, &[], b"x")?, 404, "BLOB_UPLOAD_UNKNOWN");
    }
    until("nothing is left of them", || {
        ["sessions", "uploads"].iter().all(|name| files(&server.data().join("homeport/v1").join(name)).is_empty())
    })?;
    server.wait_for_log("expired uploads removed")
}

#[test]
fn a_port_that_is_taken_is_an_error() -> Result<()> {
    let server = open()?;
    let output = crate::support::homeport(
        &["serve", "--listen", server.address(), "--data", &server.dir().join("other").to_string_lossy()],
        &[],
        "",
    )?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains(server.address()), "{error}");
    Ok(())
}
