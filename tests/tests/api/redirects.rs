//! Clients that fetch blobs from storage itself.

use crate::support::{Registry, blob_path};
use anyhow::Result;
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
