//! Under which addresses the registry is found, and which ones it gives out.

use crate::support::{Raw, begin, path, refused, serve, with};
use anyhow::Result;
use e2e::digest;

#[test]
fn a_prefix_is_in_front_of_everything() -> Result<()> {
    let server = serve("http: {prefix: /registry/here/}\n")?;
    let client = server.client();
    assert_eq!(client.get("/registry/here/v2/")?.status, 200);
    let begun = client.send("POST", "/registry/here/v2/a/blobs/uploads/", &[], &[])?;
    let location = begun.header("location").to_owned();
    assert!(location.starts_with("/registry/here/v2/a/blobs/uploads/"), "{location}");
    let put = client.send("PUT", &with(&location, &format!("digest={}", digest(b"{}"))), &[], b"{}")?;
    assert_eq!(put.header("location"), format!("/registry/here/v2/a/blobs/{}", digest(b"{}")));
    let bytes = crate::support::manifest(b"{}", &[], serde_json::json!({}));
    for tag in ["v1", "v2"] {
        let answer = client.send("PUT", &format!("/registry/here/v2/a/manifests/{tag}"), &[], &bytes)?;
        assert_eq!(answer.status, 201);
        assert!(answer.header("location").starts_with("/registry/here/v2/a/manifests/sha256:"));
    }
    let list = client.get("/registry/here/v2/a/tags/list?n=1")?;
    assert_eq!(list.header("link"), "</registry/here/v2/a/tags/list?last=v1&n=1>; rel=\"next\"");
    assert_eq!(client.get("/registry/here/v2/a/tags/list?last=v1&n=1")?.json()["tags"][0], "v2");
    assert_eq!(client.get("/registry/here/healthz")?.status, 200);
    assert_eq!(client.get("/registry/herev2/")?.status, 404);
    Ok(())
}

#[test]
fn a_public_address_is_given_out() -> Result<()> {
    for (host, relative) in [
        ("https://registry.example.com", false),
        ("https://registry.example.com:8443", false),
        ("https://registry.example.com", true),
    ] {
        let server = serve(&format!("http: {{host: '{host}', relativeurls: {relative}}}\n"))?;
        let client = server.client();
        let front = if relative { "" } else { host };
        let location = begin(&client, "a")?;
        assert!(location.starts_with(&format!("{front}/v2/a/blobs/uploads/")), "{location}");
        let put = client.send("PUT", &with(path(&location), &format!("digest={}", digest(b"x"))), &[], b"x")?;
        assert_eq!(put.header("location"), format!("{front}/v2/a/blobs/{}", digest(b"x")));
        for tag in ["v1", "v2"] {
            let bytes = crate::support::manifest(b"x", &[], serde_json::json!({}));
            client.send("PUT", &format!("/v2/a/manifests/{tag}"), &[], &bytes)?;
        }
        assert!(client.get("/v2/a/tags/list?n=1")?.header("link").starts_with(&format!("<{front}/v2/a/tags/list?")));
    }
    Ok(())
}

#[test]
fn configured_headers_are_on_every_answer() -> Result<()> {
    let server = serve("http: {headers: {X-Content-Type-Options: [nosniff], X-Two: [one, two]}}\n")?;
    let client = server.client();
    for path in ["/v2/", "/v2/a/manifests/x", "/v2/_catalog", "/nothing", "/v2/A/tags/list"] {
        let answer = client.get(path)?;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.all("x-two"), ["one", "two"], "{path}");
    }
    Ok(())
}

#[test]
fn variables_of_distributions_image_are_read() -> Result<()> {
    let server = crate::support::Registry::start(
        e2e::Server::builder()
            .config("version: 0.1\nhttp: {headers: {X-File: [file]}}\n")
            .env("REGISTRY_STORAGE_DELETE_ENABLED", "true")
            .env("REGISTRY_HTTP_PREFIX", "/p/")
            .env("REGISTRY_HTTP_HEADERS_X-ENV", "[variable]")
            .env("REGISTRY_CATALOG_MAXENTRIES", "1")
            .env("REGISTRY_NO_SUCH_KEY", "1")
            .env("REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
    )?;
    let answer = server.client().get("/p/v2/")?;
    assert_eq!((answer.status, answer.header("x-env"), answer.header("x-file")), (200, "variable", "file"));
    let deleted = server.client().delete(&format!("/p/v2/a/blobs/{}", digest(b"x")))?;
    refused(&deleted, 404, "BLOB_UNKNOWN");
    assert!(
        server.log().contains("REGISTRY_NO_SUCH_KEY") && !server.log().contains("REGISTRY_PORT"),
        "{}",
        server.log()
    );
    Ok(())
}

#[test]
fn h2c_only_where_it_is_switched_on() -> Result<()> {
    for enabled in [false, true] {
        let server = serve(&format!("http: {{h2c: {{enabled: {enabled}}}}}\n"))?;
        let mut raw = Raw::connect(server.address())?;
        // The preface and an empty SETTINGS frame.
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
        let mut frame = [0; 9];
        let is_settings = raw.read(&mut frame).is_ok() && frame[3] == 4;
        assert_eq!(is_settings, enabled);
        assert_eq!(server.client().get("/v2/")?.status, 200, "HTTP/1.1 works beside it");
    }
    Ok(())
}
