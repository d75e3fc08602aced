//! Pushing, reading and deleting manifests.

use crate::support::{EMPTY, OCI_INDEX, OCI_MANIFEST, Raw, child, index, manifest, open, put, refused, serve, sha512};
use anyhow::Result;
use e2e::{Client, Image, digest, random};
use serde_json::json;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A manifest whose blob is in the repository.
fn small(client: &Client, repo: &str, more: serde_json::Value) -> Result<Vec<u8>> {
    client.push_blob(repo, EMPTY)?;
    Ok(manifest(EMPTY, &[EMPTY], more))
}

fn tags(client: &Client, repo: &str) -> Result<Vec<String>> {
    Ok(serde_json::from_value(client.get(&format!("/v2/{repo}/tags/list"))?.json()["tags"].clone())?)
}

#[test]
fn by_tag_and_by_digest() -> Result<()> {
    let server = open()?;
    let client = server.client();
    // White space, order and unknown fields are kept to the byte.
    let plain = String::from_utf8(small(&client, "a", json!({"x-unknown": [1, null]}))?)?;
    let bytes = plain.replace(',', " ,\n\t").into_bytes();
    let name = digest(&bytes);
    for reference in ["v1", &name] {
        let stored = put(&client, "a", reference, OCI_MANIFEST, &bytes)?;
        assert_eq!(stored.status, 201, "{}", stored.text());
        assert_eq!(stored.header("location"), format!("/v2/a/manifests/{name}"));
        assert_eq!(stored.header("docker-content-digest"), name);
        assert!(stored.all("oci-tag").is_empty() && stored.header("oci-subject").is_empty());
    }
    for reference in ["v1", &name] {
        let got = client.get(&format!("/v2/a/manifests/{reference}"))?;
        assert_eq!((got.status, got.header("content-type")), (200, OCI_MANIFEST));
        assert_eq!(got.header("docker-content-digest"), name);
        assert_eq!(got.body, bytes);
    }
    refused(&client.get("/v2/a/manifests/v2")?, 404, "MANIFEST_UNKNOWN");
    refused(&client.get(&format!("/v2/b/manifests/{name}"))?, 404, "MANIFEST_UNKNOWN");
    Ok(())
}

#[test]
fn sha512_is_as_good_as_sha256() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let bytes = small(&client, "a", json!({}))?;
    let long = sha512(&bytes);
    let stored = put(&client, "a", &format!("{long}?tag=long"), OCI_MANIFEST, &bytes)?;
    assert_eq!((stored.status, stored.header("docker-content-digest")), (201, long.as_str()));
    assert_eq!(stored.all("oci-tag"), ["long"]);
    for reference in [&long, "long", &digest(&bytes)] {
        let got = client.get(&format!("/v2/a/manifests/{reference}"))?;
        assert_eq!((got.status, &got.body), (200, &bytes));
    }
    assert_eq!(client.get("/v2/a/manifests/long")?.header("docker-content-digest"), long);
    refused(&put(&client, "a", &sha512(b"x"), OCI_MANIFEST, &bytes)?, 400, "DIGEST_INVALID");
    Ok(())
}

#[test]
fn a_manifest_deleted_by_either_digest_takes_all_its_tags_along() -> Result<()> {
    for by_long in [false, true] {
        let server = open()?;
        let client = server.client();
        let bytes = small(&client, "a", json!({}))?;
        let (short, long) = (digest(&bytes), sha512(&bytes));
        assert_eq!(put(&client, "a", "short", OCI_MANIFEST, &bytes)?.status, 201);
        assert_eq!(put(&client, "a", &format!("{long}?tag=long"), OCI_MANIFEST, &bytes)?.status, 201);
        let name = if by_long { &long } else { &short };
        assert_eq!(client.delete(&format!("/v2/a/manifests/{name}"))?.status, 202);
        // What is still listed can be pulled, and what was deleted cannot.
        for tag in tags(&client, "a")? {
            assert_eq!(client.get(&format!("/v2/a/manifests/{tag}"))?.status, 200, "{tag} dangles, by_long {by_long}");
        }
        assert_eq!(client.get(&format!("/v2/a/manifests/{name}"))?.status, 404);
    }
    Ok(())
}

#[test]
fn several_tags_in_one_request() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let bytes = small(&client, "a", json!({}))?;
    let name = digest(&bytes);
    let stored = put(&client, "a", &format!("{name}?tag=1.2.3&tag=1.2&tag=1&tag=latest&tag=1"), OCI_MANIFEST, &bytes)?;
    assert_eq!(stored.status, 201);
    assert_eq!(stored.all("oci-tag"), ["1.2.3", "1.2", "1", "latest"]);
    assert_eq!(tags(&client, "a")?, ["1", "1.2", "1.2.3", "latest"]);
    let both = put(&client, "a", "main?tag=extra", OCI_MANIFEST, &bytes)?;
    assert_eq!((both.status, both.all("oci-tag")), (201, vec!["main", "extra"]));
    for tag in ["latest", "main", "extra"] {
        assert_eq!(client.head(&format!("/v2/a/manifests/{tag}"))?.header("docker-content-digest"), name);
    }
    // All or nothing.
    refused(&put(&client, "a", &format!("{name}?tag=fine&tag=not%20fine"), OCI_MANIFEST, &bytes)?, 400, "TAG_INVALID");
    assert_eq!(client.head("/v2/a/manifests/fine")?.status, 404);
    let many: Vec<_> = (0..101).map(|number| format!("tag=t{number}")).collect();
    let refusal = put(&client, "a", &format!("{name}?{}", many.join("&")), OCI_MANIFEST, &bytes)?;
    assert_eq!((refusal.status, refusal.code()), (414, "TAG_INVALID".to_owned()));
    let fits = put(&client, "a", &format!("{name}?{}", many[..100].join("&")), OCI_MANIFEST, &bytes)?;
    assert_eq!((fits.status, fits.all("oci-tag").len()), (201, 100));
    Ok(())
}

#[test]
fn a_tag_moves_and_the_old_manifest_stays() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let (first, second) = (small(&client, "a", json!({"n": 1}))?, small(&client, "a", json!({"n": 2}))?);
    for bytes in [&first, &second, &first, &second] {
        client.push_manifest("a", "latest", OCI_MANIFEST, bytes)?;
        assert_eq!(&client.get("/v2/a/manifests/latest")?.body, bytes);
    }
    assert_eq!(client.get(&format!("/v2/a/manifests/{}", digest(&first)))?.body, first);
    Ok(())
}

#[test]
fn sizes_up_to_4_mib() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let limit = 4 << 20;
    let sized = |size: usize| -> Result<Vec<u8>> {
        let empty = small(&client, "a", json!({"annotations": {"pad": ""}}))?.len();
        small(&client, "a", json!({"annotations": {"pad": "x".repeat(size - empty)}}))
    };
    let fits = sized(limit)?;
    assert_eq!(fits.len(), limit);
    client.push_manifest("a", "fits", OCI_MANIFEST, &fits)?;
    assert!(client.get("/v2/a/manifests/fits")?.body == fits);
    let large = sized(limit + 1)?;
    refused(&put(&client, "a", "large", OCI_MANIFEST, &large)?, 413, "SIZE_INVALID");
    // Without a length.
    let mut raw = Raw::connect(server.address())?;
    raw.request("PUT /v2/a/manifests/large", &[("transfer-encoding", "chunked"), ("content-type", OCI_MANIFEST)])?;
    raw.send(format!("{:x}\r\n", large.len()))?;
    raw.send(&large)?;
    raw.send("\r\n0\r\n\r\n")?;
    refused(&raw.answer()?, 413, "SIZE_INVALID");
    assert_eq!(client.head("/v2/a/manifests/large")?.status, 404);

    let server = serve("homeport: {limits: {manifestBytes: 64KiB}}\n")?;
    let large = manifest(EMPTY, &[], json!({"annotations": {"pad": "x".repeat(64 << 10)}}));
    refused(&put(&server.client(), "a", "large", OCI_MANIFEST, &large)?, 413, "SIZE_INVALID");
    Ok(())
}

#[test]
fn what_is_no_manifest_is_refused_with_a_reason() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let good = small(&client, "a", json!({}))?;
    let bomb = |open: &str, close: &str| {
        format!(r#"{{"schemaVersion":2,"annotations":{}1{}}}"#, open.repeat(200_000), close.repeat(200_000))
            .into_bytes()
    };
    for (content_type, bytes, word) in [
        (OCI_INDEX, good.clone(), "mediaType"),
        (DOCKER_MANIFEST, good.clone(), "mediaType"),
        (OCI_MANIFEST, Vec::new(), "valid"),
        (OCI_MANIFEST, b"null".to_vec(), ""),
        (OCI_MANIFEST, b"\xff\xfe{}".to_vec(), "valid"),
        (OCI_MANIFEST, good[..good.len() - 1].to_vec(), "valid"),
        (OCI_MANIFEST, br#"{"schemaVersion":2}"#.to_vec(), "config"),
        (OCI_MANIFEST, br#"{"schemaVersion":3,"config":{"digest":"x","size":1}}"#.to_vec(), ""),
        (OCI_MANIFEST, bomb("[", "]"), ""),
        (OCI_MANIFEST, bomb("{\"a\":", "}"), ""),
        ("application/vnd.docker.distribution.manifest.v1+json", br#"{"schemaVersion":1}"#.to_vec(), "schema 1"),
        (OCI_MANIFEST, manifest(EMPTY, &[], json!({"manifests": []})), "manifests"),
        (OCI_INDEX, br#"{"schemaVersion":2}"#.to_vec(), ""),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let refusal = put(&client, "a", "bad", content_type, &bytes)?;
        assert_eq!((refusal.status, refusal.code().as_str()), (400, "MANIFEST_INVALID"), "{content_type} {shown}");
        assert!(refusal.text().contains(word), "{shown}: {}", refusal.text());
        assert!(refusal.text().len() < 2000, "{shown}");
    }
    refused(&put(&client, "a", &digest(b"x"), OCI_MANIFEST, &good)?, 400, "DIGEST_INVALID");
    refused(&put(&client, "a", "sha256:x", OCI_MANIFEST, &good)?, 400, "DIGEST_INVALID");
    refused(&put(&client, "a", "-bad", OCI_MANIFEST, &good)?, 400, "TAG_INVALID");
    refused(&put(&client, "a", &"t".repeat(129), OCI_MANIFEST, &good)?, 400, "TAG_INVALID");
    // Without a type, or with parameters, the body decides.
    assert_eq!(client.send("PUT", "/v2/a/manifests/plain", &[], &good)?.status, 201);
    assert_eq!(put(&client, "a", "charset", &format!("{OCI_MANIFEST}; charset=utf-8"), &good)?.status, 201);
    assert_eq!(client.head("/v2/a/manifests/charset")?.header("content-type"), OCI_MANIFEST);
    Ok(())
}

#[test]
fn missing_references_are_named() -> Result<()> {
    let server = open()?;
    let client = server.client();
    client.push_blob("a", b"here")?;
    client.push_blob("b", b"elsewhere")?;
    let bytes = manifest(b"here", &[b"elsewhere", b"nowhere", b"here"], json!({}));
    let refusal = put(&client, "a", "v1", OCI_MANIFEST, &bytes)?;
    refused(&refusal, 400, "MANIFEST_BLOB_UNKNOWN");
    let message = refusal.json()["errors"][0]["message"].to_string();
    assert!(message.contains(&digest(b"elsewhere")) && message.contains(&digest(b"nowhere")), "{message}");
    assert!(!message.contains(&digest(b"here")), "{message}");
    assert_eq!(refusal.json()["errors"][0]["detail"]["missing"], json!([digest(b"elsewhere"), digest(b"nowhere")]));
    assert_eq!(client.head("/v2/a/manifests/v1")?.status, 404);
    assert_eq!(tags(&client, "a")?, [""; 0]);
    Ok(())
}

#[test]
fn docker_manifests_and_lists() -> Result<()> {
    let server = open()?;
    let client = server.client();
    client.push_blob("a", EMPTY)?;
    let image = manifest(EMPTY, &[EMPTY], json!({"mediaType": DOCKER_MANIFEST}));
    client.push_manifest("a", "image", DOCKER_MANIFEST, &image)?;
    let mut entry = child(DOCKER_MANIFEST, &image);
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry]}).to_string();
    client.push_manifest("a", "list", DOCKER_LIST, list.as_bytes())?;
    for (tag, kind, bytes) in [("image", DOCKER_MANIFEST, image.as_slice()), ("list", DOCKER_LIST, list.as_bytes())] {
        let got = client.get(&format!("/v2/a/manifests/{tag}"))?;
        assert_eq!((got.header("content-type"), got.body.as_slice()), (kind, bytes));
    }
    Ok(())
}

#[test]
fn nested_and_sparse_indexes() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = small(&client, "a", json!({}))?;
    client.push_manifest("a", "image", OCI_MANIFEST, &image)?;
    let inner = index(&[child(OCI_MANIFEST, &image)]);
    client.push_manifest("a", "inner", OCI_INDEX, &inner)?;
    let outer = index(&[child(OCI_INDEX, &inner), child(OCI_MANIFEST, &image), child(OCI_MANIFEST, b"not here")]);
    client.push_manifest("a", "outer", OCI_INDEX, &outer)?;
    assert_eq!(client.get("/v2/a/manifests/outer")?.body, outer);
    client.push_manifest("a", "empty", OCI_INDEX, &index(&[]))?;
    Ok(())
}

#[test]
fn indexes_may_have_to_be_complete() -> Result<()> {
    let platform = |architecture: &str, bytes: &[u8]| {
        let mut entry = child(OCI_MANIFEST, bytes);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let server = serve("validation: {manifests: {indexes: {platforms: all}}}\n")?;
    let client = server.client();
    let image = small(&client, "a", json!({}))?;
    client.push_manifest("a", "image", OCI_MANIFEST, &image)?;
    let sparse = index(&[platform("amd64", &image), platform("arm64", b"not here")]);
    let refusal = put(&client, "a", "sparse", OCI_INDEX, &sparse)?;
    refused(&refusal, 400, "MANIFEST_BLOB_UNKNOWN");
    assert!(refusal.text().contains(&digest(b"not here")));
    client.push_manifest("a", "complete", OCI_INDEX, &index(&[platform("amd64", &image)]))?;

    let server = serve(
        "validation: {manifests: {indexes: {platforms: list, platformlist: [{os: linux, architecture: amd64}]}}}\n",
    )?;
    let client = server.client();
    let image = small(&client, "a", json!({}))?;
    client.push_manifest("a", "image", OCI_MANIFEST, &image)?;
    client.push_manifest("a", "sparse", OCI_INDEX, &sparse)?;
    let refusal = put(&client, "a", "other", OCI_INDEX, &index(&[platform("amd64", b"not here")]))?;
    refused(&refusal, 400, "MANIFEST_BLOB_UNKNOWN");
    Ok(())
}

#[test]
fn any_artifact_type_is_welcome() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let unknown = "application/vnd.example.thing.v7+json";
    let bytes = small(&client, "a", json!({"mediaType": unknown, "things": {"deep": [1, 2, {"x": null}]}}))?;
    client.push_manifest("a", "thing", unknown, &bytes)?;
    let got = client.get("/v2/a/manifests/thing")?;
    assert_eq!((got.header("content-type"), &got.body), (unknown, &bytes));
    let artifact = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/vnd.example.old",
        "blobs": [child("application/octet-stream", EMPTY)],
    });
    client.push_manifest(
        "a",
        "old-oras",
        "application/vnd.oci.artifact.manifest.v1+json",
        artifact.to_string().as_bytes(),
    )?;
    // A type that the bytes do not tell could not be answered later.
    let untyped = serde_json::json!({"schemaVersion": 2, "config": child("x/y", EMPTY), "layers": []}).to_string();
    refused(&put(&client, "a", "untyped", unknown, untyped.as_bytes())?, 400, "MANIFEST_INVALID");
    Ok(())
}

#[test]
fn layers_that_are_elsewhere_need_not_be_here() -> Result<()> {
    let server = open()?;
    let client = server.client();
    client.push_blob("a", EMPTY)?;
    let layer = |kind: &str, urls: &[&str]| {
        let mut layer = child(kind, b"windows base");
        layer["urls"] = json!(urls);
        layer
    };
    for (tag, layer) in [
        ("foreign", layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &["https://mcr.test/x"])),
        ("oci", layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", &[])),
        ("urls", layer("application/vnd.oci.image.layer.v1.tar", &["https://mcr.test/x"])),
    ] {
        client.push_manifest("a", tag, OCI_MANIFEST, &manifest(EMPTY, &[], json!({"layers": [layer]})))?;
    }

    let server = serve("validation: {manifests: {urls: {allow: ['^https://good[.]test/'], deny: ['secret']}}}\n")?;
    let client = server.client();
    client.push_blob("a", EMPTY)?;
    for (url, status) in
        [("https://good.test/x", 201), ("https://bad.test/x", 400), ("https://good.test/secret", 400), ("ftp://x", 400)]
    {
        let layer = layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &[url]);
        let bytes = manifest(EMPTY, &[], json!({"layers": [layer]}));
        let stored = put(&client, "a", "v1", OCI_MANIFEST, &bytes)?;
        assert_eq!(stored.status, status, "{url}: {}", stored.text());
        assert!(status == 201 || stored.text().contains(url));
    }
    Ok(())
}

#[test]
fn deletes_are_202_and_then_404() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let (one, two) = (Image::new(20, &[500]), Image::new(21, &[500]));
    let name = client.push_image("a", "v1", &one)?;
    client.push_manifest("a", "v2", OCI_MANIFEST, &one.manifest)?;
    client.push_image("a", "other", &two)?;

    assert_eq!(client.delete("/v2/a/manifests/v1")?.status, 202);
    refused(&client.delete("/v2/a/manifests/v1")?, 404, "MANIFEST_UNKNOWN");
    assert_eq!(client.get(&format!("/v2/a/manifests/{name}"))?.status, 200, "a tag is not its manifest");
    assert_eq!(tags(&client, "a")?, ["other", "v2"]);

    assert_eq!(client.delete(&format!("/v2/a/manifests/{name}"))?.status, 202);
    refused(&client.delete(&format!("/v2/a/manifests/{name}"))?, 404, "MANIFEST_UNKNOWN");
    for reference in ["v2", &name] {
        assert_eq!(client.get(&format!("/v2/a/manifests/{reference}"))?.status, 404);
    }
    assert_eq!(tags(&client, "a")?, ["other"]);

    let blob = format!("/v2/a/blobs/{}", digest(&one.blobs[1]));
    assert_eq!(client.delete(&blob)?.status, 202);
    refused(&client.delete(&blob)?, 404, "BLOB_UNKNOWN");
    for method in ["GET", "HEAD"] {
        assert_eq!(client.send(method, &blob, &[], &[])?.status, 404);
    }
    // Pushed again, it is there again.
    client.push_image("a", "v1", &one)?;
    assert_eq!(client.get(&blob)?.body, one.blobs[1]);
    Ok(())
}

#[test]
fn deletes_can_be_switched_off() -> Result<()> {
    let server = crate::support::Registry::start(e2e::Server::builder().config("version: 0.1\n"))?;
    let client = server.client();
    let image = Image::new(22, &[100]);
    let name = client.push_image("a", "v1", &image)?;
    for path in [
        "/v2/a/manifests/v1".to_owned(),
        format!("/v2/a/manifests/{name}"),
        format!("/v2/a/blobs/{}", digest(&image.blobs[1])),
    ] {
        let refusal = client.delete(&path)?;
        refused(&refusal, 405, "UNSUPPORTED");
        assert!(refusal.text().contains("storage.delete.enabled"), "{}", refusal.text());
    }
    assert_eq!(client.get("/v2/a/manifests/v1")?.status, 200);
    Ok(())
}

#[test]
fn the_same_tag_from_many_clients_at_once_is_one_of_theirs() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let manifests: Vec<_> = (0..8).map(|n| small(&client, "a", json!({"n": n}))).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        for bytes in &manifests {
            let client = client.clone();
            scope
                .spawn(move || (0..5).for_each(|_| drop(client.push_manifest("a", "t", OCI_MANIFEST, bytes).unwrap())));
        }
    });
    let got = client.get("/v2/a/manifests/t")?;
    assert!(manifests.contains(&got.body));
    assert_eq!(got.header("docker-content-digest"), digest(&got.body));
    Ok(())
}

#[test]
fn layers_larger_than_memory_buffers_read_back() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(23, &[1, 65_535, 65_536, 65_537, 5 << 20]);
    let name = client.push_image("deep/er/repo", "v1", &image)?;
    assert_eq!(client.get(&format!("/v2/deep/er/repo/manifests/{name}"))?.body, image.manifest);
    for blob in &image.blobs {
        assert!(client.get(&format!("/v2/deep/er/repo/blobs/{}", digest(blob)))?.body == *blob);
    }
    let big = random(24, 100);
    assert_eq!(client.head(&format!("/v2/deep/er/repo/blobs/{}", digest(&big)))?.status, 404);
    Ok(())
}

#[test]
fn missing_blobs_are_accepted_where_the_configuration_says_so() -> Result<()> {
    let server = serve("homeport: {missingBlobs: accept}\n")?;
    let client = server.client();
    let bytes = manifest(b"not here", &[b"nor this"], json!({}));
    client.push_manifest("a", "v1", OCI_MANIFEST, &bytes)?;
    assert_eq!(client.get("/v2/a/manifests/v1")?.body, bytes);
    assert_eq!(client.head(&crate::support::blob_path("a", b"nor this"))?.status, 404);
    Ok(())
}
