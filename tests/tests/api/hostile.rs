//! Input that no honest client sends, and connections that break.

use crate::support::{Raw, begin, blob_path, open, raw, refused, serve, until, users, with};
use anyhow::{Result, ensure};
use e2e::{Client, Image, digest, random};

#[test]
fn paths_that_lead_elsewhere() -> Result<()> {
    let server = open()?;
    server.client().push_image("a", "v1", &Image::new(1, &[10]))?;
    std::fs::write(server.dir().join("secret"), "secret")?;
    let overlong = "a".repeat(300);
    let digest = digest(b"x");
    for path in [
        "/../../etc/passwd".to_owned(),
        "/v2/../../../../etc/passwd".to_owned(),
        "/v2/a/../../../secret/manifests/v1".to_owned(),
        "/v2/%2e%2e/%2e%2e/secret/manifests/v1".to_owned(),
        "/v2/a%2F..%2F..%2Fsecret/tags/list".to_owned(),
        "/v2/..%2f..%2f/tags/list".to_owned(),
        "/v2/a/manifests/..".to_owned(),
        "/v2/a/manifests/..%2f..%2fv1".to_owned(),
        "/v2/a/manifests/%2e%2e%2fv1".to_owned(),
        "/v2/a/manifests/v1%00".to_owned(),
        "/v2/a%00/manifests/v1".to_owned(),
        "/v2/%c0%ae%c0%ae/manifests/v1".to_owned(),
        "/v2/%ff/manifests/v1".to_owned(),
        "/v2/a/manifests/%ff".to_owned(),
        "/v2/\u{e4}/manifests/v1".to_owned(),
        "/v2/%C3%A4/manifests/v1".to_owned(),
        "/v2/A/manifests/v1".to_owned(),
        "/v2/a//manifests/v1".to_owned(),
        "/v2//a/manifests/v1".to_owned(),
        "/v2/_a/manifests/v1".to_owned(),
        "/v2/a/_layers/manifests/v1".to_owned(),
        "/v2/a/_manifests/tags/v1/current/link".to_owned(),
        "/v2/a\\b/manifests/v1".to_owned(),
        format!("/v2/{overlong}/manifests/v1"),
        format!("/v2/{}/manifests/v1", "a/".repeat(5000)),
        format!("/v2/a/manifests/{}", "t".repeat(50_000)),
        format!("/v2/a/blobs/{}", digest.to_uppercase()),
        "/v2/a/blobs/sha256:../../../../secret".to_owned(),
        "/v2/a/blobs/sha256:%2e%2e%2fsecret".to_owned(),
        format!("/v2/a/blobs/sha256:{}", "0".repeat(63)),
        format!("/v2/a/referrers/sha256:{}", "g".repeat(64)),
        "/v2/a/blobs/uploads/..".to_owned(),
        "/v2/a/blobs/uploads/%2e%2e%2f%2e%2e".to_owned(),
        "/v3/".to_owned(),
        "/v2x".to_owned(),
        "//v2/".to_owned(),
        "/healthz/../v2/a/manifests/none".to_owned(),
    ] {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
            let answer = raw(server.address(), &format!("{method} {path}"), &[("content-length", "0")])?;
            let shown = &path[..path.len().min(60)];
            assert!((400..500).contains(&answer.status), "{method} {shown}: {}", answer.status);
            assert!(!answer.text().contains("secret\""), "{shown}");
            if method == "GET" && answer.status != 414 && answer.status != 431 && !answer.body.is_empty() {
                assert!(!answer.code().is_empty(), "{shown}: {}", answer.text());
            }
        }
    }
    // What is only written in another way is the same thing.
    for path in ["/v2/a/manifests/%76%31", "/%76%32/a/manifests/v1"] {
        assert_eq!(raw(server.address(), &format!("GET {path}"), &[])?.status, 200, "{path}");
    }
    let mut names: Vec<_> = std::fs::read_dir(server.dir())?.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.retain(|name| name != "data");
    assert_eq!(names, ["secret"], "nothing appears beside the data folder");
    Ok(())
}

#[test]
fn repository_names_at_their_limits() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for name in ["a".repeat(255), format!("{}b", "a/".repeat(127)), "a---b/c__d/e.f/0".to_owned()] {
        client.push_image(&name, &"t".repeat(128), &Image::new(2, &[10]))?;
        assert_eq!(client.get(&format!("/v2/{name}/tags/list"))?.status, 200);
        assert!(client.get("/v2/_catalog")?.text().contains(&name));
    }
    refused(&client.get(&format!("/v2/{}/tags/list", "a".repeat(256)))?, 400, "NAME_INVALID");
    refused(&client.get("/v2/a..b/tags/list")?, 400, "NAME_INVALID");
    refused(&client.get("/v2/a/manifests/-x")?, 404, "MANIFEST_UNKNOWN");
    Ok(())
}

/// The server answers with one of `statuses`, or closes without a word; it goes on in both cases.
#[track_caller]
fn survives(address: &str, bytes: &[u8], statuses: &[u16]) {
    let mut raw = Raw::connect(address).unwrap();
    // It may close before it has read everything.
    let _ = raw.send(bytes);
    let _ = raw.half_close();
    let status = raw.head().map_or(0, |answer| answer.status);
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    assert!(status == 0 || statuses.contains(&status), "{status}: {shown:?}");
}

#[test]
fn headers_that_no_client_sends() -> Result<()> {
    let server = serve(&format!("homeport:\n  anonymous: pull\n{}", users(&[("ci", &[("p", "*", "FULL")])])))?;
    let request = |headers: &str| format!("GET /v2/p/a/manifests/v1 HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes();
    let long = "x".repeat(64 * 1024);
    for headers in [
        format!("x-long: {long}\r\n"),
        format!("authorization: Bearer {long}\r\n"),
        format!("{long}: x\r\n"),
        "x: y\r\n".repeat(2000),
        "no colon\r\n".to_owned(),
        ": empty name\r\n".to_owned(),
        "content-length: -1\r\n".to_owned(),
        "content-length: 99999999999999999999999\r\n".to_owned(),
        "content-length: 5\r\ncontent-length: 6\r\n".to_owned(),
        "content-length: 5\r\ntransfer-encoding: chunked\r\n".to_owned(),
        "transfer-encoding: gzip\r\n".to_owned(),
        "x: a\0b\r\n".to_owned(),
        "x: a\rb\r\n".to_owned(),
    ] {
        survives(server.address(), &request(&headers), &[400, 404, 431]);
    }
    for (name, value, statuses) in [
        ("authorization", "Basic", &[401][..]),
        ("authorization", "Basic !!!", &[401]),
        ("authorization", "Basic eA==", &[401]),
        ("authorization", "Bearer ", &[401]),
        ("authorization", "Bearer a.b.c", &[401]),
        ("authorization", "Negotiate abc", &[401]),
        ("authorization", "\u{fc}\u{fd}", &[401]),
        ("range", "bytes=\u{fc}-", &[404]),
        ("if-none-match", "\u{fc}", &[404]),
        ("x-forwarded-proto", "\u{fc}", &[404]),
        ("accept", "\u{fc}", &[404]),
        ("user-agent", "\u{1b}[2Jevil\u{fc}", &[400, 404]),
        ("x-request-id", "a b\"c", &[404]),
    ] {
        let answer = raw(server.address(), "GET /v2/p/a/manifests/v1", &[(name, value)])?;
        assert!(statuses.contains(&answer.status), "{name}: {value}: {}", answer.status);
    }
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET",
        b"\0\0\0\0",
    ] {
        survives(server.address(), bytes, &[400]);
    }
    survives(
        server.address(),
        format!("GET /{long}{long} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(),
        &[400, 404, 414, 431],
    );
    survives(server.address(), b"GET http://other.host/v2/ HTTP/1.1\r\nhost: x\r\n\r\n", &[401, 400]);
    survives(server.address(), b"CONNECT host:443 HTTP/1.1\r\nhost: host:443\r\n\r\n", &[400, 401, 404, 405]);
    survives(server.address(), b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", &[400, 401, 404, 405]);
    assert_eq!(server.user("ci").get("/v2/")?.status, 200);
    Ok(())
}

#[test]
fn control_characters_of_a_client_do_not_forge_log_lines() -> Result<()> {
    let server = open()?;
    let agent = "x\tlevel=error msg=\"forged\"";
    raw(server.address(), "GET /v2/a/manifests/x%0a%0dtime=now%20level=error%20msg=forged", &[("user-agent", agent)])?;
    server.wait_for_log("agent=")?;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("agent=")).unwrap_or_default();
    assert!(line.starts_with("time=") && line.contains("msg=request"), "{line}");
    assert!(log.lines().all(|line| line.starts_with("time=2")), "{log}");
    Ok(())
}

#[test]
fn queries_that_no_client_sends() -> Result<()> {
    let server = open()?;
    let client = server.client();
    client.push_image("a", "v1", &Image::new(3, &[10]))?;
    let many = "x=1&".repeat(5000);
    let long = "y".repeat(30_000);
    for query in [
        "%",
        "%zz",
        "&&&===",
        "digest",
        "digest=",
        "digest=%00",
        "digest=..%2f..",
        "mount=%ff",
        "from=",
        "mount=&from=",
        &many,
        &long,
        "_state=%00",
        "n=1;last=2",
        "tag=%00",
        "tag=",
    ] {
        for (method, path) in [
            ("GET", "/v2/a/manifests/v1"),
            ("GET", "/v2/a/tags/list"),
            ("GET", "/v2/_catalog"),
            ("POST", "/v2/a/blobs/uploads/"),
            ("PUT", "/v2/a/blobs/uploads/0b1f9f9e-6f53-4b0e-9a3c-0f6c3d0d7a11"),
            ("PUT", "/v2/a/manifests/v2"),
            ("GET", "/token"),
        ] {
            let answer = raw(server.address(), &format!("{method} {path}?{query}"), &[("content-length", "0")])?;
            let shown = &query[..query.len().min(40)];
            assert!((200..500).contains(&answer.status), "{method} {path}?{shown}: {}", answer.status);
        }
    }
    Ok(())
}

#[test]
fn wrong_methods_get_405_and_the_right_ones() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let name = client.push_image("a", "v1", &Image::new(4, &[10]))?;
    for (path, allowed) in [
        ("/v2/".to_owned(), "GET, HEAD"),
        ("/v2/_catalog".to_owned(), "GET, HEAD"),
        ("/v2/a/tags/list".to_owned(), "GET, HEAD"),
        (format!("/v2/a/referrers/{name}"), "GET, HEAD"),
        ("/v2/a/manifests/v1".to_owned(), "GET, HEAD, PUT, DELETE"),
        (format!("/v2/a/blobs/{}", digest(b"x")), "GET, HEAD, DELETE"),
        ("/v2/a/blobs/uploads/".to_owned(), "POST"),
        (begin(&client, "a")?, "GET, HEAD, PATCH, PUT, DELETE"),
    ] {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allowed.split(", ").any(|one| one == method) {
                continue;
            }
            let answer = raw(server.address(), &format!("{method} {path}"), &[("content-length", "0")])?;
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
            if method != "HEAD" {
                assert_eq!(answer.code(), "UNSUPPORTED");
            }
        }
    }
    Ok(())
}

/// What the server has of a session.
fn received(client: &Client, location: &str) -> Result<(String, String)> {
    let status = client.get(location)?;
    assert_eq!(status.status, 204, "{}", status.text());
    Ok((status.header("range").to_owned(), status.header("location").to_owned()))
}

/// A PATCH that ends in the middle keeps what came, and the upload goes on from there.
fn cut_patch(size: usize, cut: impl FnOnce(Raw) -> Result<()>) -> Result<()> {
    let server = serve("homeport:\n  anonymous: all\n  limits: {bodyIdle: 5s}\n")?;
    let client = server.client();
    let content = random(5, size);
    let sent = size / 2;
    let location = begin(&client, "a")?;
    let mut raw = Raw::connect(server.address())?;
    raw.request(&format!("PATCH {location}"), &[("content-length", &size.to_string())])?;
    raw.send(&content[..sent])?;
    cut(raw)?;
    let range = format!("0-{}", sent - 1);
    until("the first half is there", || client.get(&location).is_ok_and(|status| status.header("range") == range))?;
    // Its line is written when nobody holds the session any more.
    server.wait_for_log("method=PATCH")?;
    let (_, next) = received(&client, &location)?;
    let put = with(&next, &format!("digest={}", digest(&content)));
    let rest = format!("{sent}-{}", size - 1);
    let put = client.send("PUT", &put, &[("content-range", &rest)], &content[sent..])?;
    assert_eq!(put.status, 201, "{}", put.text());
    assert!(client.get(&blob_path("a", &content))?.body == content);
    Ok(())
}

const SMALL: usize = 20_000;
const LARGE: usize = 3_000_000;

#[test]
fn a_half_closed_patch_keeps_what_came() -> Result<()> {
    for size in [SMALL, LARGE] {
        cut_patch(size, |mut raw| {
            raw.half_close()?;
            drop(raw.rest());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_silent_client_in_a_patch_is_told_and_keeps_what_came() -> Result<()> {
    for size in [SMALL, LARGE] {
        cut_patch(size, |mut raw| {
            let answer = raw.head()?;
            ensure!(answer.status == 408, "{}", answer.status);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_broken_connection_in_a_patch_keeps_what_came() -> Result<()> {
    for size in [SMALL, LARGE] {
        cut_patch(size, |raw| {
            drop(raw);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn broken_chunking_keeps_what_came() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let location = begin(&client, "a")?;
    let mut raw = Raw::connect(server.address())?;
    raw.request(&format!("PATCH {location}"), &[("transfer-encoding", "chunked")])?;
    raw.send("5\r\nhello\r\nnonsense\r\n")?;
    let _ = raw.rest();
    until("five bytes are there", || client.get(&location).is_ok_and(|status| status.header("range") == "0-4"))?;
    Ok(())
}

#[test]
fn a_slow_client_is_waited_for() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let location = begin(&client, "a")?;
    let mut raw = Raw::connect(server.address())?;
    for byte in format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\n\r\n").as_bytes() {
        raw.send([*byte])?;
    }
    for _ in 0..40 {
        raw.send("x")?;
        std::thread::yield_now();
    }
    let taken = raw.answer()?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-39"));
    Ok(())
}

#[test]
fn a_put_cut_in_the_middle_leaves_nothing_visible() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for size in [SMALL, LARGE] {
        let content = random(6, size);
        let location = begin(&client, "a")?;
        for target in [
            with(&location, &format!("digest={}", digest(&content))),
            with(&location, &format!("digest={}", digest(&content[..size / 2]))),
            format!("/v2/a/blobs/uploads/?digest={}", digest(&content[..size / 2])),
        ] {
            let method = if target.contains("/?") { "POST" } else { "PUT" };
            let mut raw = Raw::connect(server.address())?;
            raw.request(&format!("{method} {target}"), &[("content-length", &size.to_string())])?;
            raw.send(&content[..size / 2])?;
            raw.half_close()?;
            let _ = raw.rest();
            for part in [&content[..], &content[..size / 2]] {
                assert_eq!(client.head(&blob_path("a", part))?.status, 404, "{method}");
            }
        }
        // The same request again succeeds.
        until("the session is free", || {
            let put = with(&location, &format!("digest={}", digest(&content)));
            client.send("PUT", &put, &[], &content).is_ok_and(|put| put.status == 201)
        })?;
    }
    let image = Image::new(7, &[10]);
    client.push_image("b", "v1", &image)?;
    let mut raw = Raw::connect(server.address())?;
    raw.request("PUT /v2/b/manifests/cut", &[("content-length", &(image.manifest.len() + 1).to_string())])?;
    raw.send(&image.manifest)?;
    raw.half_close()?;
    let _ = raw.rest();
    assert_eq!(client.head("/v2/b/manifests/cut")?.status, 404);
    Ok(())
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() -> Result<()> {
    let server = serve(&format!("homeport:\n{}", users(&[("ci", &[("p", "*", "FULL")])])))?;
    let body = random(8, 2 << 20);
    let length = body.len().to_string();
    let one = format!("/v2/p/a/blobs/uploads/?digest={}", digest(b"other"));
    for (line, authorization, status) in [
        (format!("POST {one}"), "", 401),
        ("PUT /v2/p/a/manifests/v1".to_owned(), "", 401),
        (format!("POST {}", one.replace("/p/", "/q/")), "ci", 403),
        (format!("POST {one}"), "ci", 400),
        ("PUT /v2/p/a/blobs/uploads/none".to_owned(), "ci", 404),
    ] {
        let mut raw = Raw::connect(server.address())?;
        let value = crate::support::basic(authorization, crate::support::PASSWORD);
        let mut headers = vec![("content-length", length.as_str())];
        if !authorization.is_empty() {
            headers.push(("authorization", &value));
        }
        raw.request(&line, &headers)?;
        raw.send(&body)?;
        assert_eq!(raw.answer()?.status, status, "{line}");
        raw.request("GET /healthz", &[])?;
        assert_eq!(raw.answer()?.status, 200, "the connection stays: {line}");
    }
    // Who asks first is not asked to send.
    let mut raw = Raw::connect(server.address())?;
    raw.request(&format!("POST {one}"), &[("content-length", &length), ("expect", "100-continue")])?;
    assert_eq!(raw.head()?.status, 401);
    Ok(())
}
