//! Azure Blob storage, on Azurite.

use super::{Old, PASS, check_image};
use crate::support::{Registry, blob_path};
use anyhow::Result;
use e2e::azure::Azure;
use e2e::{Client, Image, digest, random};

fn start(azure: &Azure) -> Result<Registry> {
    super::start(&azure.config(PASS))
}

#[test]
fn an_upload_wanders_from_replica_to_replica() -> Result<()> {
    let Some(azure) = Azure::start()? else { return Ok(()) };
    super::an_upload_wanders(|| start(&azure), || azure.keys())
}

#[test]
fn another_content_than_said_leaves_nothing() -> Result<()> {
    let Some(azure) = Azure::start()? else { return Ok(()) };
    super::another_content_than_said_leaves_nothing(&start(&azure)?, || azure.keys())
}

#[test]
fn replicas_agree() -> Result<()> {
    let Some(azure) = Azure::start()? else { return Ok(()) };
    super::replicas_agree(|| start(&azure))
}

#[test]
fn a_blob_is_fetched_from_the_service() -> Result<()> {
    let Some(azure) = Azure::start()? else { return Ok(()) };
    let server = super::start(&azure.config(""))?;
    let (client, outside) = (server.client(), Client::new(&azure.endpoint()));
    for blob in [b"{}".to_vec(), random(2, 20 << 20)] {
        client.push_blob("team/app", &blob)?;
        let path = blob_path("team/app", &blob);
        let sent = client.get(&path)?;
        assert_eq!((sent.status, sent.body.len()), (307, 0), "{}", sent.text());
        let address = sent.header("location");
        let fetched = outside.get(address)?;
        assert!(fetched.status == 200 && fetched.body == blob, "{}", fetched.status);
        let rest = outside.send("GET", address, &[("range", "bytes=1-")], &[])?;
        assert!(rest.status == 206 && rest.body == blob[1..], "{}", rest.status);
        assert_eq!(outside.delete(address)?.status, 403, "it is good for reading only");
        assert_eq!(client.head(&path)?.status, 200);
    }
    Ok(())
}

#[test]
fn a_service_that_is_gone_is_never_not_found() -> Result<()> {
    let Some(mut azure) = Azure::start()? else { return Ok(()) };
    let config = azure.config(PASS);
    super::a_service_that_is_gone_is_never_not_found(&mut azure, &config, Azure::kill, None)
}

#[test]
fn a_start_with_wrong_settings_names_them() -> Result<()> {
    let Some(azure) = Azure::start()? else { return Ok(()) };
    let cases = [
        ("container: images", "container: nocontainer", "storage.azure.container: there is no container nocontainer"),
        ("accountkey: aG9tZ", "accountkey: bWlzd", "storage.azure.accountkey: the service does not accept it"),
        (&*azure.endpoint(), "http://127.0.0.1:1", "storage.azure.serviceurl: 127.0.0.1:1 does not answer"),
    ];
    super::wrong_settings_are_named(&azure.config(""), "bWlzd", &cases)
}

#[test]
fn data_of_distribution_is_served_and_handed_back() -> Result<()> {
    let (Some(azure), Some(program)) = (Azure::start()?, e2e::tool("distribution")) else { return Ok(()) };
    let images: Vec<Image> = (0..4).map(|seed| Image::new(seed, &[0, 2000, 9_000_000])).collect();
    let old = Old::start(&program, &azure.storage(PASS), &[])?;
    old.client.push_image("team/app", "v1", &images[0])?;
    old.client.push_image("team/app", "moved", &images[0])?;
    old.client.push_image("gone/app", "v1", &images[1])?;
    drop(old);

    let server = start(&azure)?;
    let client = server.client();
    assert_eq!(client.get("/v2/_catalog")?.json()["repositories"], serde_json::json!(["gone/app", "team/app"]));
    check_image(&client, "team/app", "v1", &images[0])?;
    client.push_image("team/app", "v2", &images[2])?;
    // Over links and blobs that distribution wrote.
    client.push_image("team/app", "moved", &images[2])?;
    client.push_image("other/app", "v1", &images[0])?;
    let name = digest(&images[1].manifest);
    assert_eq!(client.delete(&format!("/v2/gone/app/manifests/{name}"))?.status, 202);
    server.stop()?;

    let old = Old::start(&program, &azure.storage(PASS), &[])?;
    for (repo, tag, image) in
        [("team/app", "v1", 0), ("team/app", "v2", 2), ("team/app", "moved", 2), ("other/app", "v1", 0)]
    {
        check_image(&old.client, repo, tag, &images[image])?;
    }
    assert_eq!(old.client.get("/v2/gone/app/manifests/v1")?.status, 404);
    old.client.push_image("team/app", "v3", &images[3])?;
    drop(old);
    check_image(&start(&azure)?.client(), "team/app", "v3", &images[3])
}
