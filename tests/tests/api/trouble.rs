//! A storage service that fails in the middle of work.

use crate::support::{OCI_MANIFEST, Registry, begin, blob_path, refused, with};
use anyhow::{Context, Result, ensure};
use e2e::line::{Fault, Line};
use e2e::s3::S3;
use e2e::{Answer, Client, Image, Server, digest, random};
use std::time::{Duration, Instant};

const ALL: &[&str] = &["GET", "HEAD", "PUT", "POST", "DELETE"];
const WRITES: &[&str] = &["PUT", "POST"];
/// More than anybody tries.
const ALWAYS: usize = usize::MAX;

/// A registry whose service is at the end of a line.
fn start(s3: &S3) -> Result<(Registry, Line)> {
    let line = Line::to(&s3.endpoint())?;
    let config = s3.config("redirect: {disable: true}").replace(&s3.endpoint(), &line.endpoint());
    let config = config.replace("rootdirectory", "chunksize: 5242880, rootdirectory");
    Ok((Registry::start(Server::builder().config(&config).no_folder())?, line))
}

fn put(client: &Client, repo: &str, blob: &[u8]) -> Result<Answer> {
    let finish = with(&begin(client, repo)?, &format!("digest={}", digest(blob)));
    client.send("PUT", &finish, &[], blob)
}

fn in_chunks(client: &Client, repo: &str, blob: &[u8]) -> Result<Answer> {
    let mut location = begin(client, repo)?;
    for chunk in blob.chunks(4_000_000) {
        let taken = client.send("PATCH", &location, &[], chunk)?;
        if taken.status != 202 {
            return Ok(taken);
        }
        taken.header("location").clone_into(&mut location);
    }
    client.send("PUT", &with(&location, &format!("digest={}", digest(blob))), &[], &[])
}

fn check_image(client: &Client, tag: &str, image: &Image) -> Result<()> {
    let manifest = client.get(&format!("/v2/a/manifests/{tag}"))?;
    assert!(manifest.status == 200 && manifest.body == image.manifest, "{}", manifest.text());
    for blob in &image.blobs {
        assert!(client.get(&blob_path("a", blob))?.body == *blob);
    }
    Ok(())
}

/// The registry has found out that its storage is back.
fn wait_for_storage(client: &Client) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while client.get("/v2/a/tags/list")?.status == 503 {
        ensure!(Instant::now() < until, "storage is not found again");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn unavailable(answer: &Answer) {
    refused(answer, 503, "UNAVAILABLE");
    assert!(!answer.header("retry-after").is_empty());
}

#[test]
fn a_few_failures_are_not_noticed_and_many_are_503() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let (server, line) = start(&s3)?;
    let client = server.client();
    let image = Image::new(1, &[12 << 20]);
    let faults =
        [Fault::Answer(500, "InternalError"), Fault::Answer(503, "SlowDown"), Fault::Cut(0), Fault::Cut(2 << 20)];
    for (seed, fault) in faults.into_iter().enumerate() {
        // In the middle of parts, when they are put together, and of small objects.
        for (methods, target) in [(&["PUT"][..], "partNumber="), (&["POST"], "uploadId="), (WRITES, "")] {
            line.fail(methods, target, fault, 2);
            let blob = random(100 + seed as u64, (11 << 20) + target.len());
            let answer = put(&client, "a", &blob)?;
            assert_eq!(answer.status, 201, "{fault:?} {target}: {}\n{}", answer.text(), server.log());
            let answer = in_chunks(&client, "b", &blob)?;
            assert_eq!(answer.status, 201, "{fault:?} {target}: {}", answer.text());
            assert_eq!(line.heal(), 2, "{fault:?} {target}");
            assert!(client.get(&blob_path("b", &blob))?.body == blob, "{fault:?} {target}");
        }
    }
    client.push_image("a", "v1", &image)?;
    let refused_blob = random(7, 6 << 20);
    for fault in [Fault::Answer(500, "InternalError"), Fault::Answer(503, "SlowDown"), Fault::Cut(0)] {
        line.fail(ALL, "", fault, ALWAYS);
        for path in ["/v2/a/manifests/v1", "/v2/a/manifests/v2", "/v2/a/tags/list", "/v2/_catalog"] {
            unavailable(&client.get(path)?);
        }
        unavailable(&put(&client, "a", &refused_blob)?);
        unavailable(&client.send("PUT", "/v2/a/manifests/v2", &[("content-type", OCI_MANIFEST)], &image.manifest)?);
        unavailable(&client.delete("/v2/a/manifests/v1")?);
        assert!(line.heal() > 0);
        wait_for_storage(&client)?;
        check_image(&client, "v1", &image)?;
        assert_eq!(client.head(&blob_path("a", &refused_blob))?.status, 404);
        refused(&client.get("/v2/a/manifests/v2")?, 404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(client.get("/livez")?.status, 200);
    Ok(())
}

#[test]
fn a_bucket_that_fills_refuses_and_serves() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let (server, line) = start(&s3)?;
    let client = server.client();
    let (image, other) = (Image::new(1, &[100_000]), Image::new(2, &[100_000]));
    client.push_image("a", "v1", &image)?;
    for blob in &other.blobs {
        client.push_blob("a", blob)?;
    }
    let before = s3.keys();
    for fault in [Fault::Answer(403, "QuotaExceeded"), Fault::Answer(507, "InsufficientStorage")] {
        line.fail(WRITES, "", fault, ALWAYS);
        for size in [10, 300_000, 12 << 20] {
            let blob = random(3, size);
            assert_eq!(put(&client, "a", &blob)?.status, 507, "{fault:?} {size}");
            assert_eq!(in_chunks(&client, "a", &blob)?.status, 507, "{fault:?} {size}");
            assert_eq!(client.head(&blob_path("a", &blob))?.status, 404);
        }
        let moved = client.send("PUT", "/v2/a/manifests/v1", &[("content-type", OCI_MANIFEST)], &other.manifest)?;
        assert_eq!(moved.status, 507, "{}", moved.text());
        check_image(&client, "v1", &image)?;
        assert!(line.heal() > 0);
        // Reading goes on, and so does making room.
        line.fail(WRITES, "", fault, ALWAYS);
        assert_eq!(client.get("/v2/a/tags/list")?.json()["tags"], serde_json::json!(["v1"]));
        line.heal();
    }
    let new: Vec<String> =
        s3.keys().into_iter().filter(|key| !before.contains(key) && !key.contains("/changes/")).collect();
    assert!(new.is_empty(), "{new:?}");
    client.push_image("a", "v1", &other)?;
    check_image(&client, "v1", &other)
}

/// Started on a bucket that is full already: what is there can be pulled, and room can be made.
#[test]
fn a_full_bucket_is_no_reason_not_to_serve() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let (server, line) = start(&s3)?;
    let (image, other) = (Image::new(1, &[100_000]), Image::new(2, &[100_000]));
    server.client().push_image("a", "v1", &image)?;
    server.client().push_image("a", "v2", &other)?;
    server.client().push_image("b", "v2", &other)?;
    drop(server);
    line.fail(&["PUT"], "", Fault::Answer(403, "QuotaExceeded"), ALWAYS);
    let config = s3.config("redirect: {disable: true}").replace(&s3.endpoint(), &line.endpoint());
    let config = format!("{config}health: {{storagedriver: {{enabled: true, interval: 100ms, threshold: 2}}}}\n");
    let server = Registry::start(Server::builder().config(&config).no_folder())?;
    let client = server.client();
    let end = Instant::now() + Duration::from_secs(60);
    while !server.log().contains("storage is full: pushes are refused with 507") {
        ensure!(Instant::now() < end, "nobody looks whether there is room");
        std::thread::sleep(Duration::from_millis(50));
    }
    check_image(&client, "v1", &image)?;
    assert_eq!(put(&client, "a", &random(3, 10))?.status, 507);
    // The other replicas could not be told of it.
    assert_eq!(client.delete("/v2/a/manifests/v2")?.status, 507);
    assert_eq!(client.get("/v2/a/manifests/v2")?.status, 200);
    // Many looks later.
    assert_eq!(client.get("/readyz")?.status, 200);
    assert!(line.heal() > 0);
    // Full for content, as a bucket is that has some bytes left.
    line.fail(&["PUT"], "/blobs/", Fault::Answer(403, "QuotaExceeded"), ALWAYS);
    assert_eq!(put(&client, "a", &random(3, 10))?.status, 507);
    let deleted = client.delete("/v2/a/manifests/v2")?;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    assert_eq!(client.get("/v2/a/tags/list")?.json()["tags"], serde_json::json!(["v1"]));
    let deleted = client.delete(&format!("/v2/b/manifests/{}", digest(&other.manifest)))?;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    refused(&client.get("/v2/b/manifests/v2")?, 404, "MANIFEST_UNKNOWN");
    assert!(line.heal() > 0);
    client.push_image("a", "v2", &other)?;
    check_image(&client, "v2", &other)
}

#[test]
fn credentials_that_end_are_replaced_without_a_restart() -> Result<()> {
    let Some(mut s3) = S3::start()? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("credentials");
    let write = |access: &str, secret: &str| {
        std::fs::write(&file, format!("[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"))
    };
    write("homeport-access", "homeport-secret")?;
    let config = s3.config("redirect: {disable: true}");
    let keys = "accesskey: homeport-access, secretkey: homeport-secret";
    let config = config.replace(keys, &format!("credentialsconfigpath: '{}'", file.display()));
    let server = Registry::start(Server::builder().config(&config).no_folder())?;
    let client = server.client();
    let image = Image::new(1, &[100_000]);
    client.push_image("a", "v1", &image)?;
    s3.kill()?;
    s3.start_again_with("other-access", "other-secret")?;
    for path in ["/v2/a/manifests/v1".to_owned(), "/v2/a/tags/list".to_owned(), blob_path("a", b"unknown")] {
        unavailable(&client.get(&path)?);
    }
    unavailable(&put(&client, "a", &random(1, 100))?);
    write("other-access", "other-secret")?;
    // The file is read again after half a minute.
    let end = Instant::now() + Duration::from_secs(60);
    while client.get("/v2/a/manifests/v1")?.status != 200 {
        ensure!(Instant::now() < end, "the new keys are never taken");
        std::thread::sleep(Duration::from_millis(100));
    }
    client.push_image("a", "v2", &Image::new(2, &[12 << 20]))?;
    check_image(&client, "v1", &image)
}

#[test]
fn lists_that_lag_hide_nothing_that_is_asked_for_by_name() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let (server, line) = start(&s3)?;
    let client = server.client();
    client.push_image("a", "v1", &Image::new(1, &[100_000]))?;
    let tags = || -> Result<Vec<String>> {
        let list = client.get("/v2/a/tags/list")?.json();
        let tags = list["tags"].as_array().context("tags")?.iter().filter_map(|tag| tag.as_str().map(str::to_owned));
        Ok(tags.collect())
    };
    assert_eq!(tags()?, ["v1"]);
    line.freeze_lists(true);
    let image = Image::new(2, &[100_000, 12 << 20]);
    client.push_image("a", "v2", &image)?;
    let blob = random(5, 12 << 20);
    assert_eq!(in_chunks(&client, "a", &blob)?.status, 201);
    assert!(client.get(&blob_path("a", &blob))?.body == blob);
    check_image(&client, "v2", &image)?;
    assert_eq!(client.delete("/v2/a/manifests/v1")?.status, 202);
    // A list may be old. It is no proof that a tag is there, or is not.
    refused(&client.get("/v2/a/manifests/v1")?, 404, "MANIFEST_UNKNOWN");
    check_image(&client, "v2", &image)?;
    line.freeze_lists(false);
    // Whatever an old list has hidden from the deletion goes with the next one.
    drop(client.delete("/v2/a/manifests/v1")?);
    assert_eq!(tags()?, ["v2"]);
    check_image(&client, "v2", &image)
}
