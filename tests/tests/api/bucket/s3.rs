//! A service that speaks S3.

use super::PASS;
use crate::support::run;
use anyhow::{Result, ensure};
use e2e::random;
use e2e::s3::S3;
use std::process::Command;

#[test]
fn crane_pushes_and_pulls() -> Result<()> {
    let (Some(s3), Some(crane)) = (S3::start()?, e2e::tool("crane")) else { return Ok(()) };
    // As most run it: crane follows redirects.
    let server = super::start(&s3.config(""))?;
    let dir = tempfile::tempdir()?;
    let crane = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(&crane);
        let output = command.args(arguments).env("DOCKER_CONFIG", dir.path()).current_dir(dir.path()).output()?;
        ensure!(output.status.success(), "crane {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    std::fs::write(dir.path().join("content"), random(1, 12 << 20))?;
    run(
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
    super::an_upload_wanders(|| super::start(&s3.config(PASS)), || Ok(s3.keys()))
}

#[test]
fn another_content_than_said_leaves_nothing() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    super::another_content_than_said_leaves_nothing(&super::start(&s3.config(PASS))?, || Ok(s3.keys()))
}

#[test]
fn replicas_agree() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    super::replicas_agree(|| super::start(&s3.config(PASS)))
}

#[test]
fn a_service_that_is_gone_is_never_not_found() -> Result<()> {
    let Some(mut s3) = S3::start()? else { return Ok(()) };
    let config = s3.config(PASS);
    super::a_service_that_is_gone_is_never_not_found(&mut s3, &config, S3::kill, Some(S3::start_again))
}

#[test]
fn a_start_with_wrong_settings_names_them() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let cases = [
        ("bucket: images", "bucket: nobucket", "storage.s3.bucket: there is no bucket nobucket"),
        ("accesskey: homeport-access", "accesskey: nobody", "storage.s3.accesskey: "),
        ("secretkey: homeport-secret", "secretkey: mistaken", "storage.s3.secretkey: "),
        ("region: eu-test-1", "region: us-west-9", "storage.s3.region: "),
        (&*s3.endpoint(), "http://127.0.0.1:1", "storage.s3.regionendpoint: "),
    ];
    super::wrong_settings_are_named(&s3.config(""), "mistaken", &cases)
}
