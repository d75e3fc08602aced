//! The emulator of Google Cloud Storage.

use super::{Old, PASS, check_image};
use crate::support::{OCI_MANIFEST, Registry, blob_path, refused};
use anyhow::Result;
use e2e::gcs::Gcs;
use e2e::{Client, Image, digest, random};

/// A key of Google's own for tests, which opens nothing.
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bucket/tests/data/gcs-key.json");

fn start(gcs: &Gcs) -> Result<Registry> {
    super::start(&gcs.config(PASS, ""))
}

#[test]
fn replicas_agree() -> Result<()> {
    let Some(gcs) = Gcs::start()? else { return Ok(()) };
    super::replicas_agree(|| start(&gcs))
}

#[test]
fn an_upload_wanders_from_replica_to_replica() -> Result<()> {
    let Some(gcs) = Gcs::start()? else { return Ok(()) };
    super::an_upload_wanders(|| start(&gcs), || gcs.keys())
}

#[test]
fn another_content_than_said_leaves_nothing() -> Result<()> {
    let Some(gcs) = Gcs::start()? else { return Ok(()) };
    super::another_content_than_said_leaves_nothing(&start(&gcs)?, || gcs.keys())
}

#[test]
fn a_blob_is_fetched_from_the_service() -> Result<()> {
    let Some(gcs) = Gcs::start()? else { return Ok(()) };
    let server = super::start(&gcs.config("", &format!("keyfile: '{KEY}'")))?;
    let (client, outside) = (server.client(), Client::new(&gcs.endpoint()));
    for blob in [random(1, 3 << 20), b"{}".to_vec(), random(2, 20 << 20)] {
        client.push_blob("team/app", &blob)?;
        let sent = client.get(&blob_path("team/app", &blob))?;
        assert_eq!((sent.status, sent.body.len()), (307, 0), "{}", sent.text());
        let address = sent.header("location");
        let life = address.split_once("X-Goog-Expires=").and_then(|(_, rest)| rest.split('&').next()?.parse().ok());
        // Twenty minutes, and one more for each 100 MiB.
        assert!(life.is_some_and(|life: u64| (1200..1260).contains(&life)), "{address}");
        assert!(address.contains("X-Goog-Signature="), "{address}");
        let fetched = outside.get(address)?;
        assert!(fetched.status == 200 && fetched.body == blob, "{}", fetched.status);
    }
    // Nobody can sign: the bytes pass through.
    let without = super::start(&gcs.config("", ""))?;
    let answer = without.client().get(&blob_path("team/app", b"{}"))?;
    assert!(answer.status == 200 && answer.body == b"{}", "{}", answer.status);
    Ok(())
}

#[test]
fn a_service_that_is_gone_is_never_not_found() -> Result<()> {
    let Some(mut gcs) = Gcs::start()? else { return Ok(()) };
    let config = gcs.config(PASS, "");
    super::a_service_that_is_gone_is_never_not_found(&mut gcs, &config, Gcs::kill, None)
}

#[test]
fn a_start_with_wrong_settings_names_them() -> Result<()> {
    let Some(gcs) = Gcs::start()? else { return Ok(()) };
    let cases = [
        ("bucket: images", "bucket: nobucket", "storage.gcs.bucket: there is no bucket nobucket"),
        ("bucket: images", "bucket: images, keyfile: /nowhere", "storage.gcs.keyfile: "),
        (&*gcs.endpoint(), "http://127.0.0.1:1", "storage.gcs.endpoint: "),
    ];
    super::wrong_settings_are_named(&gcs.config("", ""), "PRIVATE KEY", &cases)
}

fn distribution(gcs: &Gcs) -> Result<Option<Old>> {
    let Some(program) = e2e::tool("distribution") else { return Ok(None) };
    let config = format!("version: 0.1\nstorage: {{gcs: {{{}}}, delete: {{enabled: true}}, {PASS}}}\n", gcs.section());
    let host = gcs.host();
    let environment = [("STORAGE_EMULATOR_HOST", host.as_str()), ("GOOGLE_APPLICATION_CREDENTIALS", KEY)];
    Old::start(&program, &config, &environment).map(Some)
}

/// There and back. The old driver sends blobs to Google itself and not to the emulator; all else it does here.
#[test]
fn distribution_reads_what_we_write_and_we_what_it_writes() -> Result<()> {
    let Some(gcs) = Gcs::start()? else { return Ok(()) };
    let Some(old) = distribution(&gcs)? else { return Ok(()) };
    let server = start(&gcs)?;
    let client = server.client();
    let images: Vec<Image> = (0..2).map(|seed| Image::new(seed, &[0, 2000, 20 << 20])).collect();
    for (tag, image) in ["one", "two"].iter().zip(&images) {
        client.push_image("team/app", tag, image)?;
        check_image(&old.client, "team/app", tag, image)?;
    }
    assert_eq!(old.client.get("/v2/team/app/tags/list")?.json()["tags"], serde_json::json!(["one", "two"]));
    assert_eq!(old.client.get("/v2/_catalog")?.json()["repositories"], serde_json::json!(["team/app"]));
    old.client.push_manifest("team/app", "two", OCI_MANIFEST, &images[0].manifest)?;
    old.client.push_manifest("team/app", "three", OCI_MANIFEST, &images[1].manifest)?;
    check_image(&client, "team/app", "two", &images[0])?;
    check_image(&client, "team/app", "three", &images[1])?;
    let gone = digest(&images[0].manifest);
    assert_eq!(old.client.delete(&format!("/v2/team/app/manifests/{gone}"))?.status, 202);
    drop(old);
    // A registry that was not there meanwhile has nothing in mind.
    let server = start(&gcs)?;
    let client = server.client();
    refused(&client.get(&format!("/v2/team/app/manifests/{gone}"))?, 404, "MANIFEST_UNKNOWN");
    check_image(&client, "team/app", "three", &images[1])
}
