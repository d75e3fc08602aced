//! Debian's Swift.

use super::{Old, PASS, check_image};
use crate::support::{Registry, blob_path, refused};
use anyhow::Result;
use e2e::swift::Swift;
use e2e::{Image, digest};

fn start(swift: &Swift, more: &str) -> Result<Registry> {
    super::start(&swift.config(more))
}

fn segments(swift: &Swift) -> Result<Vec<String>> {
    Ok(swift.names()?.into_iter().filter(|name| name.starts_with("segments/")).collect())
}

#[test]
fn images_are_pushed_pulled_and_deleted() -> Result<()> {
    let Some(swift) = Swift::start()? else { return Ok(()) };
    let (direct, through) = (start(&swift, "")?, start(&swift, PASS)?);
    let image = Image::new(1, &[2000, 12 << 20]);
    direct.client().push_image("team/app", "v1", &image)?;
    check_image(&through.client(), "team/app", "v1", &image)?;
    assert_eq!(segments(&swift)?.len(), 2);
    for blob in &image.blobs[1..] {
        let answer = direct.client().get(&blob_path("team/app", blob))?;
        assert_eq!(answer.status, 307);
        let (status, text) = swift.get(answer.header("location"))?;
        assert!(status == 200 && text.contains(&format!("Content-Length: {}", blob.len())), "{}", &text[..500]);
    }
    let tags = through.client().get("/v2/team/app/tags/list")?.json();
    assert_eq!(tags["tags"], serde_json::json!(["v1"]));
    assert_eq!(through.client().delete(&format!("/v2/team/app/manifests/{}", digest(&image.manifest)))?.status, 202);
    refused(&direct.client().get("/v2/team/app/manifests/v1")?, 404, "MANIFEST_UNKNOWN");
    Ok(())
}

#[test]
fn an_upload_wanders_from_replica_to_replica() -> Result<()> {
    let Some(swift) = Swift::start()? else { return Ok(()) };
    super::an_upload_wanders(|| start(&swift, PASS), || swift.names())
}

#[test]
fn a_service_that_is_gone_is_never_not_found() -> Result<()> {
    let Some(mut swift) = Swift::start()? else { return Ok(()) };
    let config = swift.config(PASS);
    let end = |swift: &mut Swift| {
        swift.kill();
        Ok(())
    };
    super::a_service_that_is_gone_is_never_not_found(&mut swift, &config, end, Some(Swift::start_again))
}

#[test]
fn a_start_with_wrong_settings_names_them() -> Result<()> {
    let Some(swift) = Swift::start()? else { return Ok(()) };
    let cases = [
        ("username: 'test:tester'", "username: nobody", "storage.swift.username: "),
        ("/auth/v1.0", "/auth", "storage.swift.authversion: "),
        ("/auth/v1.0", "/identity/v3", "storage.swift.authurl: "),
    ];
    super::wrong_settings_are_named(&swift.config(""), e2e::swift::PASSWORD, &cases)
}

/// Segments of the old one are 20 MiB long.
#[test]
fn from_docker_registry_and_back() -> Result<()> {
    let (Some(swift), Some(program)) = (Swift::start()?, e2e::tool("docker-registry")) else { return Ok(()) };
    let old = || Old::start(&program, &swift.storage(PASS), &[]);
    let (theirs, ours) = (Image::new(1, &[1000, 22 << 20]), Image::new(2, &[2000, 11 << 20]));
    let before = old()?;
    before.client.push_image("team/app", "theirs", &theirs)?;
    drop(before);
    let dynamic = segments(&swift)?;
    assert!(dynamic.len() >= 4, "every blob of theirs is in segments: {dynamic:?}");

    let server = start(&swift, PASS)?;
    check_image(&server.client(), "team/app", "theirs", &theirs)?;
    server.client().push_image("team/app", "ours", &ours)?;
    server.stop()?;

    let after = old()?;
    check_image(&after.client, "team/app", "theirs", &theirs)?;
    check_image(&after.client, "team/app", "ours", &ours)?;
    let tags = after.client.get("/v2/team/app/tags/list")?.json();
    let mut tags: Vec<&str> = tags["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
    tags.sort_unstable();
    assert_eq!(tags, ["ours", "theirs"]);
    Ok(())
}
