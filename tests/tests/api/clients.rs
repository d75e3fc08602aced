//! What clients rely on beyond the specification, each rule with the client that needs it.

use crate::support::{
    BASE, EMPTY, OCI_INDEX, OCI_MANIFEST, Raw, begin, blob_path, child, index, manifest, open, push_referrer, put, raw,
    refused, serve, users, with,
};
use anyhow::Result;
use e2e::{Image, digest, random};
use serde_json::json;

fn private() -> String {
    format!("homeport:\n{}", users(&[("ci", &[("p", "*", "FULL")])]))
}

#[test]
fn docker_login_is_challenged_at_the_base_endpoint() -> Result<()> {
    let closed = serve(&private())?;
    for anonymous in ["none", "pull"] {
        let more = format!("homeport:\n  anonymous: {anonymous}\n{}", users(&[("ci", &[("p", "*", "FULL")])]));
        let server = serve(&more)?;
        let answer = server.client().get("/v2/")?;
        refused(&answer, 401, "UNAUTHORIZED");
        // Docker sends credentials only where it was asked for them here.
        assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"http://127.0.0.1:"), "{answer:?}");
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    }
    assert_eq!(closed.user("ci").get("/v2/")?.status, 200);
    assert_eq!(closed.user("ci").get("/v2")?.status, 200);
    assert_eq!(open()?.client().get("/v2/")?.status, 200);
    Ok(())
}

#[test]
fn docker_behind_an_ingress_gets_the_realm_of_the_address_it_knows() -> Result<()> {
    let server = serve(&private())?;
    let challenge = |headers: &[(&str, &str)]| -> Result<String> {
        let answer = server.client().send("GET", "/v2/p/a/manifests/x", headers, &[])?;
        Ok(answer.header("www-authenticate").to_owned())
    };
    assert_eq!(
        challenge(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "registry.example.com")])?,
        "Bearer realm=\"https://registry.example.com/token\",service=\"homeport\",scope=\"repository:p/a:pull\""
    );
    assert!(
        challenge(&[("x-forwarded-proto", "https, http"), ("x-forwarded-host", "a.test, b.test")])?
            .contains("\"https://a.test/token\"")
    );
    let injected = challenge(&[("x-forwarded-host", "evil\",service=\"x"), ("x-forwarded-proto", "javascript")])?;
    assert!(injected.starts_with("Bearer realm=\"http://localhost/token\",service=\"homeport\""), "{injected}");
    Ok(())
}

#[test]
fn docker_push_patch_without_content_range_answers_range_0_n() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let layer = random(1, 3_000_000);
    let location = begin(&client, "a")?;
    let mut raw = Raw::connect(server.address())?;
    raw.request(&format!("PATCH {location}"), &[("transfer-encoding", "chunked")])?;
    for chunk in layer.chunks(32 * 1024) {
        raw.send(format!("{:x}\r\n", chunk.len()))?;
        raw.send(chunk)?;
        raw.send("\r\n")?;
    }
    raw.send("0\r\n\r\n")?;
    let taken = raw.answer()?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-2999999"));
    assert_eq!(taken.header("content-length"), "0");
    assert!(location.contains(taken.header("docker-upload-uuid")));
    let finish = with(taken.header("location"), &format!("digest={}", digest(&layer)));
    raw.request(&format!("PUT {finish}"), &[("content-length", "0")])?;
    assert_eq!(raw.answer()?.status, 201, "on the same connection");
    assert!(client.get(&blob_path("a", &layer))?.body == layer);
    Ok(())
}

#[test]
fn docker_push_goes_on_with_the_202_of_a_refused_mount() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let layer = random(2, 1000);
    let name = digest(&layer);
    let begun = client.send("POST", &format!("/v2/a/blobs/uploads/?from=b&mount={name}"), &[], &[])?;
    assert_eq!((begun.status, begun.header("range")), (202, "0-0"));
    let taken = client.send("PATCH", begun.header("location"), &[], &layer)?;
    let finish = with(taken.header("location"), &format!("digest={name}"));
    assert_eq!(client.send("PUT", &finish, &[], &[])?.status, 201);
    Ok(())
}

#[test]
fn docker_pull_resumes_a_download_with_a_range() -> Result<()> {
    let server = open()?;
    let layer = random(3, 4 << 20);
    server.client().push_blob("a", &layer)?;
    let mut broken = Raw::connect(server.address())?;
    broken.request(&format!("GET {}", blob_path("a", &layer)), &[])?;
    let head = broken.head()?;
    assert_eq!(head.header("content-length"), layer.len().to_string());
    let mut first = vec![0; 1 << 20];
    broken.read(&mut first)?;
    drop(broken);
    let range = format!("bytes={}-", first.len());
    let rest = raw(server.address(), &format!("GET {}", blob_path("a", &layer)), &[("range", &range)])?;
    assert_eq!(rest.status, 206);
    assert!([first, rest.body].concat() == layer);
    Ok(())
}

#[test]
fn docker_manifest_of_the_first_schema_is_refused_politely() -> Result<()> {
    let server = open()?;
    let old =
        json!({"schemaVersion": 1, "name": "a", "tag": "v1", "fsLayers": [{"blobSum": digest(b"x")}], "history": []});
    for kind in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/json",
    ] {
        let refusal = put(&server.client(), "a", "v1", kind, old.to_string().as_bytes())?;
        refused(&refusal, 400, "MANIFEST_INVALID");
        assert!(refusal.text().contains("schema 1 manifests are not accepted"), "{}", refusal.text());
    }
    Ok(())
}

#[test]
fn docker_with_containerd_store_pushes_attestations_and_sparse_indexes() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(4, &[100]);
    client.push_image("a", &image_digest(&image), &image)?;
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#;
    client.push_blob("a", statement)?;
    client.push_blob("a", EMPTY)?;
    let mut layer = child("application/vnd.in-toto+json", statement);
    layer["annotations"] = json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"});
    let attestation = manifest(EMPTY, &[], json!({"layers": [layer]}));
    client.push_manifest("a", &digest(&attestation), OCI_MANIFEST, &attestation)?;
    let mut entry = child(OCI_MANIFEST, &attestation);
    entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let whole =
        index(&[child(OCI_MANIFEST, &image.manifest), entry.clone(), child(OCI_MANIFEST, b"arm64 was not pulled")]);
    client.push_manifest("a", "v1", OCI_INDEX, &whole)?;
    assert_eq!(client.get("/v2/a/manifests/v1")?.body, whole);
    Ok(())
}

fn image_digest(image: &Image) -> String {
    digest(&image.manifest)
}

#[test]
fn buildkit_cache_of_both_forms_is_accepted() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let (config, layer) = (br#"{"layers":[],"records":[]}"#.as_slice(), random(5, 5000));
    client.push_blob("cache", config)?;
    client.push_blob("cache", &layer)?;
    // The old form is an index that lists layers and the cache's config as its manifests.
    let old = index(&[
        child("application/vnd.oci.image.layer.v1.tar+gzip", &layer),
        child("application/vnd.buildkit.cacheconfig.v0", config),
    ]);
    client.push_manifest("cache", "old", OCI_INDEX, &old)?;
    let new = manifest(config, &[&layer], json!({"config": child("application/vnd.buildkit.cacheconfig.v0", config)}));
    client.push_manifest("cache", "new", OCI_MANIFEST, &new)?;
    assert_eq!(client.get("/v2/cache/manifests/old")?.body, old);
    assert_eq!(client.get("/v2/cache/manifests/new")?.body, new);

    // Also where the children of an index must be there: a layer is there as a blob.
    let strict = serve("validation: {manifests: {indexes: {platforms: all}}}\n")?;
    strict.client().push_blob("cache", config)?;
    strict.client().push_blob("cache", &layer)?;
    strict.client().push_manifest("cache", "old", OCI_INDEX, &old)?;
    Ok(())
}

#[test]
fn containerd_resolves_with_head_alone() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(6, &[100]);
    let name = client.push_image("a", "v1", &image)?;
    let accept = [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        OCI_MANIFEST,
        OCI_INDEX,
        "*/*",
    ];
    let head = client.send("HEAD", "/v2/a/manifests/v1", &[("accept", &accept.join(", "))], &[])?;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("docker-content-digest"), name);
    assert_eq!(head.header("content-type"), OCI_MANIFEST);
    assert_eq!(head.header("content-length"), image.manifest.len().to_string());
    Ok(())
}

#[test]
fn containerd_mirror_requests_name_their_registry() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(7, &[100]);
    client.push_image("library/alpine", "v1", &image)?;
    let foreign = client.get("/v2/library/alpine/manifests/v1?ns=docker.io")?;
    assert_eq!((foreign.status, foreign.header("oci-namespace")), (200, ""));
    let own = client.get(&format!("/v2/library/alpine/manifests/v1?ns={}", server.address()))?;
    assert_eq!(own.header("oci-namespace"), server.address());
    // What a mirror does not have is 404, so that containerd goes on to the next host.
    for path in
        ["manifests/none".to_owned(), format!("blobs/{}", digest(b"none")), format!("manifests/{}", digest(b"none"))]
    {
        assert_eq!(client.get(&format!("/v2/library/alpine/{path}?ns=docker.io"))?.status, 404);
        assert_eq!(client.get(&format!("/v2/never/pushed/{path}?ns=docker.io"))?.status, 404);
    }
    Ok(())
}

#[test]
fn containerd_pushes_with_one_put() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let layer = random(8, 2 << 20);
    let exists = client.send("HEAD", &blob_path("a", &layer), &[("accept", "application/octet-stream, */*")], &[])?;
    assert_eq!(exists.status, 404);
    let put = with(&begin(&client, "a")?, &format!("digest={}", digest(&layer).replace(':', "%3A")));
    let put = client.send("PUT", &put, &[("content-type", "application/octet-stream")], &layer)?;
    assert_eq!(put.status, 201);
    assert_eq!(put.header("docker-content-digest"), digest(&layer));
    Ok(())
}

#[test]
fn containerd_layers_in_parallel_ranges_make_the_whole() -> Result<()> {
    let server = open()?;
    let layer = random(9, 3 << 20);
    server.client().push_blob("a", &layer)?;
    let part = 1 << 20;
    let parts = std::thread::scope(|scope| {
        let fetch = |index: usize| {
            let range = format!("bytes={}-{}", index * part, (index + 1) * part - 1);
            raw(server.address(), &format!("GET {}", blob_path("a", &layer)), &[("range", &range)])
        };
        let fetches: Vec<_> = (0..3).map(|index| scope.spawn(move || fetch(index))).collect();
        fetches.into_iter().map(|fetch| Ok(fetch.join().unwrap()?.body)).collect::<Result<Vec<_>>>()
    })?;
    assert!(parts.concat() == layer);
    Ok(())
}

#[test]
fn skopeo_cancels_the_session_of_an_ignored_mount_with_push_rights_only() -> Result<()> {
    // No deletion anywhere: cancelling belongs to pushing.
    let config = format!("version: 0.1\nhomeport:\n{}", users(&[("ci", &[("p", "*", "FULL")])]));
    let server = crate::support::Registry::start(e2e::Server::builder().config(&config))?;
    let client = server.user("ci");
    let begun = client.send("POST", &format!("/v2/p/a/blobs/uploads/?mount={}&from=p/b", digest(b"x")), &[], &[])?;
    assert_eq!(begun.status, 202);
    assert_eq!(client.delete(begun.header("location"))?.status, 204);
    assert_eq!(client.get(begun.header("location"))?.status, 404);
    Ok(())
}

#[test]
fn crane_checks_its_rights_with_an_upload_that_it_abandons() -> Result<()> {
    let server =
        serve(&format!("homeport:\n{}", users(&[("reader", &[("p", "*", "READ")]), ("ci", &[("p", "*", "FULL")])])))?;
    assert_eq!(server.user("ci").send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?.status, 202);
    refused(&server.user("reader").send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?, 403, "DENIED");
    let sessions = server.data().join("homeport/v1/sessions");
    assert_eq!(std::fs::read_dir(sessions).map_or(0, Iterator::count), 0, "an empty session costs nothing");
    Ok(())
}

#[test]
fn kaniko_cache_repositories_are_nested_below_images() -> Result<()> {
    let server = open()?;
    let client = server.client();
    client.push_image("team/app", "v1", &Image::new(10, &[10]))?;
    client.push_image("team/app/cache", "4f5d", &Image::new(11, &[10]))?;
    assert_eq!(client.get("/v2/_catalog")?.json()["repositories"], json!(["team/app", "team/app/cache"]));
    assert_eq!(client.get("/v2/team/app/tags/list")?.json()["tags"], json!(["v1"]));
    Ok(())
}

#[test]
fn cosign_signatures_by_tag_and_as_referrers() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(12, &[10]);
    let name = client.push_image("a", "v1", &image)?;
    client.push_blob("a", b"signature")?;
    let signature = manifest(EMPTY, &[b"signature"], json!({}));
    client.push_blob("a", EMPTY)?;
    for suffix in [".sig", ".att", ".sbom"] {
        client.push_manifest("a", &format!("{}{suffix}", name.replace(':', "-")), OCI_MANIFEST, &signature)?;
    }
    let bundle = push_referrer(&client, "a", &image.manifest, "application/vnd.dev.sigstore.bundle.v0.3+json")?;
    let found = client.get(&format!("/v2/a/referrers/{name}"))?.json();
    assert_eq!(found["manifests"][0]["digest"], json!(digest(&bundle)));
    assert_eq!(found["manifests"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[test]
fn oras_artifact_with_the_empty_config() -> Result<()> {
    let server = open()?;
    let client = server.client();
    assert_eq!(digest(EMPTY), "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    client.push_blob("a", EMPTY)?;
    let bytes = manifest(
        EMPTY,
        &[],
        json!({
            "artifactType": "application/vnd.example+type",
            "config": child("application/vnd.oci.empty.v1+json", EMPTY),
            "layers": [child("application/vnd.oci.empty.v1+json", EMPTY)],
        }),
    );
    client.push_manifest("a", "v1", OCI_MANIFEST, &bytes)?;
    Ok(())
}

#[test]
fn helm_chart_with_plus_as_underscore() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let (config, chart) = (br#"{"name":"c","version":"1.0.0+b1"}"#.as_slice(), random(13, 500));
    client.push_blob("charts/c", config)?;
    client.push_blob("charts/c", &chart)?;
    let bytes = manifest(
        config,
        &[],
        json!({
            "config": child("application/vnd.cncf.helm.config.v1+json", config),
            "layers": [child("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart)],
        }),
    );
    client.push_manifest("charts/c", "1.0.0_b1", OCI_MANIFEST, &bytes)?;
    assert_eq!(client.get("/v2/charts/c/tags/list")?.json()["tags"], json!(["1.0.0_b1"]));
    refused(&put(&client, "charts/c", "1.0.0%2Bb1", OCI_MANIFEST, &bytes)?, 400, "TAG_INVALID");
    Ok(())
}

#[test]
fn regclient_deletes_tags_by_name_and_sees_no_minimum_chunk() -> Result<()> {
    let server = open()?;
    let client = server.client();
    client.push_image("a", "v1", &Image::new(14, &[10]))?;
    let begun = client.send("POST", "/v2/a/blobs/uploads/", &[], &[])?;
    assert!(begun.header("oci-chunk-min-length").is_empty());
    // One byte at a time is fine.
    let mut location = begun.header("location").to_owned();
    for (at, byte) in b"abc".iter().enumerate() {
        let taken = client.send("PATCH", &location, &[("content-range", &format!("{at}-{at}"))], &[*byte])?;
        assert_eq!((taken.status, taken.header("range")), (202, format!("0-{at}").as_str()));
        location = taken.header("location").to_owned();
    }
    assert_eq!(client.send("PUT", &with(&location, &format!("digest={}", digest(b"abc"))), &[], &[])?.status, 201);
    assert_eq!(client.delete("/v2/a/manifests/v1")?.status, 202);
    Ok(())
}

#[test]
fn kubernetes_tokens_in_headers_may_be_long() -> Result<()> {
    let server = serve(&private())?;
    let long = "x".repeat(20_000);
    let answer = server.client().send("GET", "/v2/", &[("authorization", &format!("Bearer {long}"))], &[])?;
    refused(&answer, 401, "UNAUTHORIZED");
    let padded = server.user("ci").send("GET", "/v2/", &[("x-remote-groups", &long)], &[])?;
    assert_eq!(padded.status, 200);
    Ok(())
}

#[test]
fn relative_locations_by_default_and_absolute_ones_on_request() -> Result<()> {
    let server = open()?;
    assert!(begin(&server.client(), "a")?.starts_with("/v2/a/"));
    let config = format!("{BASE}http: {{host: 'https://registry.example.com'}}\n");
    let server = crate::support::Registry::start(e2e::Server::builder().config(&config))?;
    assert!(begin(&server.client(), "a")?.starts_with("https://registry.example.com/v2/a/blobs/uploads/"));
    Ok(())
}
