//! Clients that fetch blobs from storage itself.

use crate::support::{Registry, blob_path};
use anyhow::{Context, Result};
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest, random};

fn start(s3: &S3, more: &str) -> Result<Registry> {
    Registry::start(Server::builder().config(&s3.config(more)).no_folder())
}

/// A client of the service: absolute addresses, no credentials.
fn outside(s3: &S3) -> Client {
    Client::new(&s3.endpoint())
}

#[test]
fn a_blob_is_fetched_from_the_service() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "")?;
    let (client, outside) = (server.client(), outside(&s3));
    for blob in [random(1, 3 << 20), b"{}".to_vec(), random(2, 20 << 20)] {
        client.push_blob("team/app", &blob)?;
        let path = blob_path("team/app", &blob);
        let sent = client.get(&path)?;
        assert_eq!((sent.status, sent.body.len()), (307, 0), "{}", sent.text());
        assert_eq!(sent.header("docker-content-digest"), digest(&blob));
        let fetched = outside.get(sent.header("location"))?;
        assert!(fetched.status == 200 && fetched.body == blob, "{}", fetched.status);
        // As a client does that goes on with a download.
        let sent = client.send("GET", &path, &[("range", "bytes=1-")], &[])?;
        assert_eq!(sent.status, 307);
        let rest = outside.send("GET", sent.header("location"), &[("range", "bytes=1-")], &[])?;
        assert!(rest.status == 206 && rest.body == blob[1..], "{}", rest.status);
        let head = client.head(&path)?;
        assert_eq!((head.status, head.header("content-length")), (200, blob.len().to_string().as_str()));
    }
    Ok(())
}

#[test]
fn an_address_opens_nothing_else() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "")?;
    let (client, outside) = (server.client(), outside(&s3));
    let (mine, other) = (random(1, 1000), random(2, 1000));
    client.push_blob("a", &mine)?;
    client.push_blob("b", &other)?;
    let sent = client.get(&blob_path("a", &mine))?;
    let address = sent.header("location");
    assert_eq!(outside.get(address)?.body, mine);
    let key = |blob: &[u8]| {
        let hex = digest(blob).replace("sha256:", "");
        format!("{}/{hex}", &hex[..2])
    };
    assert!(address.contains(&key(&mine)), "{address}");
    let forged = [
        address.replace(&key(&mine), &key(&other)),
        address.replace("X-Amz-Expires=1200", "X-Amz-Expires=604800"),
        address.split('?').next().unwrap().to_owned(),
    ];
    for forged in &forged {
        assert_ne!(forged, address);
        assert_eq!(outside.get(forged)?.status, 403, "{forged}");
    }
    assert_eq!(outside.send("PUT", address, &[], b"other")?.status, 403);
    assert_eq!(outside.delete(address)?.status, 403);
    // What the caller's repository has not, there is no address of.
    assert_eq!(client.get(&blob_path("a", &other))?.status, 404);
    assert!(!server.log().contains("X-Amz-Signature"), "{}", server.log());
    Ok(())
}

#[test]
fn what_the_service_cannot_answer_passes_through() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "")?;
    let client = server.client();
    let blob = random(1, 3 << 20);
    client.push_blob("a", &blob)?;
    let path = blob_path("a", &blob);
    let several = client.send("GET", &path, &[("range", "bytes=0-99,3000000-3000009")], &[])?;
    assert_eq!(several.status, 206);
    let holds = |part: &[u8]| several.body.windows(part.len()).any(|window| window == part);
    assert!(holds(&blob[..100]) && holds(&blob[3_000_000..3_000_010]));
    assert_eq!(several.header("content-length"), several.body.len().to_string());
    let tag = format!("\"{}\"", digest(&blob));
    assert_eq!(client.send("GET", &path, &[("if-none-match", &tag)], &[])?.status, 304);
    let part = client.send("GET", &path, &[("range", "bytes=5-9"), ("if-range", &tag)], &[])?;
    assert_eq!((part.status, part.body.as_slice()), (206, &blob[5..10]));
    Ok(())
}

#[test]
fn redirects_can_be_switched_off_while_it_runs() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "redirect: {disable: true}")?;
    let client = server.client();
    let image = Image::new(1, &[0, 1, 70_000, 9 << 20]);
    client.push_image("a", "v1", &image)?;
    for blob in &image.blobs {
        let got = client.get(&blob_path("a", blob))?;
        assert!(got.status == 200 && got.body == *blob, "{} of {}", got.status, blob.len());
        assert_eq!(got.header("content-length"), blob.len().to_string());
    }
    let large = &image.blobs[4];
    for (range, expected) in [("bytes=0-0", 0..1), ("bytes=8388600-8388700", 8_388_600..8_388_701)] {
        let part = client.send("GET", &blob_path("a", large), &[("range", range)], &[])?;
        assert!(part.status == 206 && part.body == large[expected.clone()], "{range}: {}", part.status);
    }
    let beyond = client.send("GET", &blob_path("a", large), &[("range", "bytes=9437184-")], &[])?;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */9437184"));
    server.reload(&s3.config("redirect: {disable: false}"))?;
    assert_eq!(client.get(&blob_path("a", large))?.status, 307);
    Ok(())
}

#[test]
fn clients_are_sent_there_by_their_network() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let config = |rules: &str| s3.config("").replace("homeport: {", &format!("homeport: {{redirect: {{{rules}}}, "));
    let server = Registry::start(Server::builder().config(&config("except: [127.0.0.0/8]")).no_folder())?;
    let client = server.client();
    let blob = random(1, 1000);
    client.push_blob("a", &blob)?;
    let path = blob_path("a", &blob);
    for (rules, status) in [
        ("except: [127.0.0.0/8]", 200),
        ("networks: [10.0.0.0/8, '2001:db8::/32']", 200),
        ("networks: [10.0.0.0/8, 127.0.0.1]", 307),
        ("networks: [127.0.0.0/8], except: [127.0.0.1]", 200),
        ("except: [10.0.0.0/8]", 307),
    ] {
        server.reload(&config(rules))?;
        assert_eq!(client.get(&path)?.status, status, "{rules}");
    }
    Ok(())
}

#[test]
fn the_address_of_a_large_blob_lives_longer() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "")?;
    let client = server.client();
    let seconds = |client: &Client, blob: &[u8]| -> Result<u64> {
        let sent = client.get(&blob_path("a", blob))?;
        let address = sent.header("location");
        let (_, rest) = address.split_once("X-Amz-Expires=").context("a signed address")?;
        Ok(rest.split('&').next().unwrap_or_default().parse()?)
    };
    let (small, large) = (random(1, 1000), random(2, 1000));
    client.push_blob("a", &small)?;
    client.push_blob("a", &large)?;
    // Only to whoever has not seen it otherwise.
    let layer = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&large), "size": 3_u64 << 30
    });
    let manifest = crate::support::manifest(&small, &[], serde_json::json!({ "layers": [layer] }));
    client.push_manifest("a", "v1", crate::support::OCI_MANIFEST, &manifest)?;
    assert_eq!([seconds(&client, &small)?, seconds(&client, &large)?], [20 * 60; 2]);
    let server = start(&s3, "")?;
    let client = server.client();
    assert_eq!([seconds(&client, &small)?, seconds(&client, &large)?], [2 * 3600; 2], "nobody has said it");
    assert_eq!(client.get("/v2/a/manifests/v1")?.status, 200);
    assert_eq!(seconds(&client, &small)?, 20 * 60);
    assert_eq!(seconds(&client, &large)? / 60, 20 + 30);
    server.reload(&s3.config("").replace("homeport: {", "homeport: {redirect: {life: 5m, lifeMax: 6m}, "))?;
    assert_eq!(seconds(&client, &small)?, 5 * 60);
    assert_eq!(seconds(&client, &large)?, 6 * 60);
    Ok(())
}

#[test]
fn another_network_delivers() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let middleware =
        |name: &str, options: &str| format!("middleware: {{storage: [{{name: {name}, options: {{{options}}}}}]}}\n");
    // Whatever serves the folder finds the blob at the path.
    let config = format!("{}{}", crate::support::BASE, middleware("redirect", "baseurl: 'http://files.example.com/x'"));
    let server = Registry::start(Server::builder().config(&config).data(&dir.path().join("data")))?;
    let client = server.client();
    let blob = random(1, 1000);
    client.push_blob("a", &blob)?;
    let sent = client.get(&blob_path("a", &blob))?;
    let path = sent.header("location").strip_prefix("http://files.example.com/x/").context("the base")?.to_owned();
    assert_eq!((sent.status, std::fs::read(dir.path().join("data").join(path))?), (307, blob.clone()));
    assert_eq!(client.head(&blob_path("a", &blob))?.status, 200);

    let Some(s3) = S3::start()? else { return Ok(()) };
    let key = dir.path().join("key.pem");
    let key = key.to_string_lossy();
    let made = std::process::Command::new("openssl").args(["genrsa", "-traditional", "-out", &key, "2048"]).output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("not tested: openssl makes no key");
        return Ok(());
    }
    let options =
        format!("baseurl: d1.cloudfront.net, privatekey: '{key}', keypairid: K1, duration: 5m, ipfilteredby: aws");
    let config = s3.config("") + &middleware("cloudfront", &options);
    let server = Registry::start(Server::builder().config(&config).no_folder())?;
    assert!(server.log().contains("ipfilteredby has no effect"), "{}", server.log());
    let client = server.client();
    client.push_blob("a", &blob)?;
    let hex = digest(&blob).replace("sha256:", "");
    let sent = client.get(&blob_path("a", &blob))?;
    let base = format!("https://d1.cloudfront.net/some/root/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let query = sent.header("location").strip_prefix(&format!("{base}?Expires=")).context("the base")?.to_owned();
    assert!(query.ends_with("&Key-Pair-Id=K1&Hash-Algorithm=SHA256"), "{query}");
    let several = client.send("GET", &blob_path("a", &blob), &[("range", "bytes=0-1,5-6")], &[])?;
    assert_eq!(several.status, 206);
    Ok(())
}
