//! Content in a bucket.

use crate::support::{OCI_MANIFEST, Raw, Registry, begin, blob_path, path, push_referrer, refused, until, with};
use anyhow::{Context, Result, ensure};
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest, random};
use std::process::Command;

/// Bytes pass through, so that any client can read them here.
const PASS: &str = "redirect: {disable: true}";

fn start(s3: &S3) -> Result<Registry> {
    Registry::start(Server::builder().config(&s3.config(PASS)).no_folder())
}

fn check_image(client: &Client, repo: &str, tag: &str, image: &Image) -> Result<()> {
    let manifest = client.get(&format!("/v2/{repo}/manifests/{tag}"))?;
    assert!(manifest.status == 200 && manifest.body == image.manifest, "{}", manifest.text());
    for blob in &image.blobs {
        assert!(client.get(&blob_path(repo, blob))?.body == *blob);
    }
    Ok(())
}

#[test]
fn crane_pushes_and_pulls() -> Result<()> {
    let (Some(s3), Some(crane)) = (S3::start()?, e2e::tool("crane")) else { return Ok(()) };
    // As most run it: crane follows redirects.
    let server = Registry::start(Server::builder().config(&s3.config("")).no_folder())?;
    let dir = tempfile::tempdir()?;
    let crane = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(&crane);
        let output = command.args(arguments).env("DOCKER_CONFIG", dir.path()).current_dir(dir.path()).output()?;
        ensure!(output.status.success(), "crane {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    std::fs::write(dir.path().join("content"), random(1, 12 << 20))?;
    crate::support::run(
        "tar",
        &["-C", &dir.path().to_string_lossy(), "-cf", &dir.path().join("layer.tar").to_string_lossy(), "content"],
    )?;
    let to = format!("{}/team/app", server.address());
    crane(&["append", "--oci-empty-base", "--new_layer", "layer.tar", "--new_tag", &format!("{to}:v1")])?;
    crane(&["validate", "--remote", &format!("{to}:v1")])?;
    crane(&["copy", &format!("{to}:v1"), &format!("{}/other/app:v2", server.address())])?;
    crane(&["pull", "--format", "oci", &format!("{to}:v1"), "layout"])?;
    crane(&["push", "layout", &format!("{to}:again")])?;
    assert_eq!(crane(&["digest", &format!("{to}:again")])?, crane(&["digest", &format!("{to}:v1")])?);
    assert_eq!(crane(&["ls", &to])?, "again\nv1\n");
    assert_eq!(crane(&["catalog", server.address()])?, "other/app\nteam/app\n");
    Ok(())
}

#[test]
fn an_upload_wanders_from_replica_to_replica() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let blob = random(1, 23_000_001);
    let (first, second) = (9_000_001, 16_500_000);
    let a = start(&s3)?;
    let b = start(&s3)?;
    let location = begin(&a.client(), "team/app")?;
    let taken = a.client().send("PATCH", &location, &[], &blob[..first])?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-9000000"));
    drop(a.kill()?);

    let here = path(taken.header("location"));
    let begun = b.client().get(here)?;
    assert_eq!((begun.status, begun.header("range")), (204, "0-9000000"));
    let again = b.client().send("PATCH", here, &[("content-range", "0-99")], &blob[..100])?;
    assert_eq!(again.status, 416, "what was taken is not taken twice");
    let range = format!("{first}-{}", second - 1);
    let taken = b.client().send("PATCH", here, &[("content-range", &range)], &blob[first..second])?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-16499999"), "{}", taken.text());
    // It dies in the middle of the next one.
    let next = path(taken.header("location")).to_owned();
    let mut cut = Raw::connect(b.address())?;
    let length = (blob.len() - second).to_string();
    cut.request(&format!("PATCH {next}"), &[("content-length", &length), ("expect", "100-continue")])?;
    assert_eq!(cut.head()?.status, 100);
    cut.send(&blob[second..second + 6_000_000])?;
    drop(b.kill()?);

    let c = start(&s3)?;
    let begun = c.client().get(&next)?;
    assert_eq!((begun.status, begun.header("range")), (204, "0-16499999"), "{}", begun.text());
    let finish = with(path(begun.header("location")), &format!("digest={}", digest(&blob)));
    let put = c.client().send("PUT", &finish, &[], &blob[second..])?;
    assert_eq!(put.status, 201, "{}", put.text());
    assert!(c.client().get(&blob_path("team/app", &blob))?.body == blob);
    let left: Vec<String> =
        s3.keys().into_iter().filter(|key| key.contains("/uploads/") || key.contains("/sessions/")).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn another_content_than_said_leaves_nothing() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3)?;
    let client = server.client();
    for size in [1000, 3 << 20, 20 << 20] {
        let (blob, other) = (random(1, size), random(2, size));
        let put = with(&begin(&client, "a")?, &format!("digest={}", digest(&other)));
        refused(&client.send("PUT", &put, &[], &blob)?, 400, "DIGEST_INVALID");
        for content in [&blob, &other] {
            assert_eq!(client.head(&blob_path("a", content))?.status, 404);
        }
    }
    let data: Vec<String> = s3.keys().into_iter().filter(|key| key.ends_with("/data")).collect();
    assert!(data.is_empty(), "{data:?}");
    Ok(())
}

#[test]
fn tags_referrers_and_deletions_are_the_same_for_all_replicas_and_after_a_restart() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let (a, b) = (start(&s3)?, start(&s3)?);
    let images: Vec<Image> = (0..4).map(|seed| Image::new(seed, &[2000, 300_000])).collect();
    // Names that a bucket sorts otherwise than a folder.
    let tags = ["1", "1-a", "1.a", "1_a"];
    for (tag, image) in tags.iter().zip(&images) {
        a.client().push_image("team/app", tag, image)?;
        b.client().push_image("team/app-2/sub", tag, image)?;
    }
    let sbom = push_referrer(&b.client(), "team/app", &images[0].manifest, "application/x-sbom")?;
    let seen = |client: &Client| -> Result<()> {
        assert_eq!(client.get("/v2/team/app/tags/list")?.json()["tags"], serde_json::json!(tags));
        let page = client.get("/v2/team/app/tags/list?n=2&last=1")?;
        assert_eq!(page.json()["tags"], serde_json::json!(["1-a", "1.a"]));
        let catalog = client.get("/v2/_catalog")?.json();
        assert_eq!(catalog["repositories"], serde_json::json!(["team/app", "team/app-2/sub"]));
        let referrers = client.get(&format!("/v2/team/app/referrers/{}", digest(&images[0].manifest)))?.json();
        assert_eq!(referrers["manifests"][0]["digest"], digest(&sbom), "{referrers}");
        for (tag, image) in tags.iter().zip(&images) {
            check_image(client, "team/app", tag, image)?;
        }
        Ok(())
    };
    seen(&a.client())?;
    seen(&b.client())?;
    a.stop()?;
    drop(b.kill()?);
    let (a, b) = (start(&s3)?, start(&s3)?);
    seen(&a.client())?;
    let name = digest(&images[3].manifest);
    assert_eq!(a.client().delete("/v2/team/app/manifests/1-a")?.status, 202);
    assert_eq!(a.client().delete(&format!("/v2/team/app/manifests/{name}"))?.status, 202);
    let tags = b.client().get("/v2/team/app/tags/list")?.json();
    assert_eq!(tags["tags"], serde_json::json!(["1", "1.a"]));
    refused(&b.client().get("/v2/team/app/manifests/1_a")?, 404, "MANIFEST_UNKNOWN");
    let moved = b.client().push_manifest("team/app", "1", OCI_MANIFEST, &images[2].manifest)?;
    assert_eq!(a.client().head("/v2/team/app/manifests/1")?.header("docker-content-digest"), moved);
    check_image(&a.client(), "team/app-2/sub", "1_a", &images[3])
}

#[test]
fn a_service_that_is_gone_is_never_not_found() -> Result<()> {
    let Some(mut s3) = S3::start()? else { return Ok(()) };
    let config = s3.config(PASS) + "health: {storagedriver: {enabled: true, interval: 50ms, threshold: 1}}\n";
    let server = Registry::start(Server::builder().config(&config).no_folder())?;
    let client = server.client();
    let image = Image::new(1, &[100_000]);
    client.push_image("a", "v1", &image)?;
    s3.kill()?;
    for path in
        ["/v2/a/manifests/v1".to_owned(), "/v2/a/tags/list".to_owned(), format!("/v2/a/blobs/{}", digest(b"other"))]
    {
        let answer = client.get(&path)?;
        refused(&answer, 503, "UNAVAILABLE");
        assert!(!answer.header("retry-after").is_empty());
    }
    let put = with(&begin(&client, "a")?, &format!("digest={}", digest(b"x")));
    refused(&client.send("PUT", &put, &[], b"x")?, 503, "UNAVAILABLE");
    until("it is not ready", || client.get("/readyz").is_ok_and(|answer| answer.status == 503))?;
    assert_eq!(client.get("/livez")?.status, 200, "a restart would not help");
    s3.start_again()?;
    until("it is ready again", || client.get("/readyz").is_ok_and(|answer| answer.status == 200))?;
    check_image(&client, "a", "v1", &image)
}

#[test]
fn a_start_with_wrong_settings_names_them() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let config = s3.config("");
    for (from, to, said) in [
        ("bucket: images", "bucket: nobucket", "storage.s3.bucket: there is no bucket nobucket"),
        ("accesskey: homeport-access", "accesskey: nobody", "storage.s3.accesskey: "),
        ("secretkey: homeport-secret", "secretkey: mistaken", "storage.s3.secretkey: "),
        ("region: eu-test-1", "region: us-west-9", "storage.s3.region: "),
        (&*s3.endpoint(), "http://127.0.0.1:1", "storage.s3.regionendpoint: "),
    ] {
        ensure!(config.contains(from));
        let server = Server::builder().config(&config.replace(from, to)).no_folder().start();
        let error = server.err().with_context(|| format!("it starts with {to}"))?.to_string();
        let lines: Vec<&str> = error.lines().filter(|line| line.contains(said)).collect();
        assert_eq!(lines.len(), 1, "{said}\n{error}");
        assert!(!error.contains("mistaken"), "{error}");
    }
    Ok(())
}
