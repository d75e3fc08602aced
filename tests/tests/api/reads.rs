//! Reading: ranges, conditions, HEAD, connections.

use crate::support::{Raw, blob_path, open, push_referrer, raw, refused, serve};
use anyhow::{Context, Result};
use e2e::{Answer, Image, digest, random};
use std::collections::BTreeMap;

const SIZE: usize = 1_000_000;

#[test]
fn one_range() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(1, SIZE);
    client.push_blob("a", &content)?;
    let url = blob_path("a", &content);
    for (range, start, end) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=500000-", 500_000, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-47", SIZE - 47, SIZE - 1),
        ("bytes=-99999999", 0, SIZE - 1),
        ("bytes=999999-99999999999999999999", SIZE - 1, SIZE - 1),
        (" bytes=5-6 ", 5, 6),
        ("bytes=5-6,2000000-", 5, 6),
    ] {
        let got = client.send("GET", &url, &[("range", range)], &[])?;
        assert_eq!(got.status, 206, "{range}");
        assert_eq!(got.header("content-range"), format!("bytes {start}-{end}/{SIZE}"));
        assert_eq!(got.header("content-length"), (end - start + 1).to_string());
        assert_eq!(got.header("docker-content-digest"), digest(&content));
        assert!(got.body == content[start..=end], "{range}");
    }
    for range in ["bytes=1000000-", "bytes=1000000-1000001", "bytes=-0", "bytes=9-0", "bytes=99999999999999999999-"] {
        let got = client.send("GET", &url, &[("range", range)], &[])?;
        refused(&got, 416, "RANGE_INVALID");
        assert_eq!(got.header("content-range"), format!("bytes */{SIZE}"));
    }
    for range in ["bytes", "bytes=", "bytes=x", "bytes=1-x", "lines=0-1", "bytes=0-999999,0-999999", "", "bytes=0-1-2"]
    {
        let got = client.send("GET", &url, &[("range", range)], &[])?;
        assert_eq!((got.status, got.body.len()), (200, SIZE), "{range}");
        assert!(got.header("content-range").is_empty());
    }
    Ok(())
}

/// Takes a `multipart/byteranges` apart: `Content-Range` and content of each part.
fn parts(answer: &Answer) -> Result<Vec<(String, Vec<u8>)>> {
    let kind = answer.header("content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").context(kind.to_owned())?;
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let mut rest = answer.body.as_slice();
    let mut found = Vec::new();
    rest = rest.strip_prefix(format!("--{boundary}").as_bytes()).context("no first boundary")?;
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head = find(part, b"\r\n\r\n").context("no end of a head")?;
        let text = std::str::from_utf8(&part[..head])?;
        let range = text.lines().find_map(|line| line.strip_prefix("Content-Range: ")).context(text.to_owned())?;
        let body = &part[head + 4..];
        let end = find(body, format!("\r\n--{boundary}").as_bytes()).context("no end of a part")?;
        found.push((range.to_owned(), body[..end].to_vec()));
        rest = &body[end + 4 + boundary.len()..];
    }
    anyhow::ensure!(rest == b"--\r\n", "ends with {rest:?}");
    Ok(found)
}

#[test]
fn podman_zstd_chunked_asks_for_several_ranges_at_once() -> Result<()> {
    let server = open()?;
    let client = server.client();
    // Above and below the size from which bytes leave by sendfile.
    for size in [5_000, SIZE] {
        let content = random(2, size);
        client.push_blob("a", &content)?;
        let url = blob_path("a", &content);
        let wanted = [(0, 0), (10, 99), (size / 2, size / 2 + 700), (size - 5, size - 1), (3, 4)];
        let list: Vec<_> = wanted.iter().map(|(start, end)| format!("{start}-{end}")).collect();
        let got = client.send("GET", &url, &[("range", &format!("bytes={}", list.join(", ")))], &[])?;
        assert_eq!(got.status, 206);
        assert_eq!(got.header("content-length"), got.body.len().to_string());
        assert!(got.header("content-range").is_empty());
        let expected: Vec<_> = wanted
            .iter()
            .map(|(start, end)| (format!("bytes {start}-{end}/{size}"), content[*start..=*end].to_vec()))
            .collect();
        assert!(parts(&got)? == expected, "{size}");
        // More than we give at once: the client splits.
        let many = format!("bytes={}", "1-1,".repeat(2000));
        refused(&client.send("GET", &url, &[("range", &many)], &[])?, 400, "RANGE_INVALID");
    }
    Ok(())
}

#[test]
fn if_range() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(3, 1000);
    let name = client.push_blob("a", &content)?;
    for (condition, status) in [
        (format!("\"{name}\""), 206),
        (name.clone(), 206),
        (format!("\"{}\"", digest(b"other")), 200),
        ("Sat, 29 Oct 1994 19:43:31 GMT".to_owned(), 200),
        (format!("W/\"{name}\""), 200),
    ] {
        let headers = [("range", "bytes=0-9"), ("if-range", condition.as_str())];
        assert_eq!(client.send("GET", &blob_path("a", &content), &headers, &[])?.status, status, "{condition}");
    }
    Ok(())
}

#[test]
fn flux_and_argo_get_304_for_what_they_know() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(4, &[1000]);
    let name = client.push_image("a", "v1", &image)?;
    let layer = digest(&image.blobs[1]);
    for (url, tag) in [
        ("/v2/a/manifests/v1".to_owned(), name.clone()),
        (format!("/v2/a/manifests/{name}"), name.clone()),
        (format!("/v2/a/blobs/{layer}"), layer.clone()),
    ] {
        assert_eq!(client.get(&url)?.header("etag"), format!("\"{tag}\""));
        for method in ["GET", "HEAD"] {
            for known in
                [format!("\"{tag}\""), tag.clone(), format!("W/\"{tag}\""), format!("\"x\", \"{tag}\""), "*".into()]
            {
                let got = client.send(method, &url, &[("if-none-match", &known)], &[])?;
                assert_eq!((got.status, got.body.len()), (304, 0), "{method} {url} {known}");
                assert_eq!(got.header("etag"), format!("\"{tag}\""));
                assert_eq!(got.header("docker-content-digest"), tag);
            }
            for other in [digest(b"other"), String::new(), "\"".into()] {
                assert_eq!(client.send(method, &url, &[("if-none-match", &other)], &[])?.status, 200, "{other}");
            }
        }
        // A condition wins over a range.
        let headers = [("if-none-match", tag.as_str()), ("range", "bytes=0-1")];
        assert_eq!(client.send("GET", &url, &headers, &[])?.status, 304);
    }
    // Lists of tags too; they change.
    let list = client.get("/v2/a/tags/list")?;
    let tag = list.header("etag").to_owned();
    for known in [tag.clone(), tag.trim_matches('"').to_owned()] {
        assert_eq!(client.send("GET", "/v2/a/tags/list", &[("if-none-match", &known)], &[])?.status, 304);
    }
    client.push_manifest("a", "v2", Image::MEDIA_TYPE, &image.manifest)?;
    let list = client.send("GET", "/v2/a/tags/list", &[("if-none-match", &tag)], &[])?;
    assert_eq!((list.status, list.header("etag") == tag), (200, false));
    // A page is another list.
    let tag = list.header("etag");
    assert_eq!(client.send("GET", "/v2/a/tags/list?n=1", &[("if-none-match", tag)], &[])?.status, 200);
    Ok(())
}

fn headers(answer: &Answer) -> BTreeMap<String, String> {
    answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect()
}

#[test]
fn head_equals_get() -> Result<()> {
    let server = serve("http: {headers: {X-Own: [one]}}\n")?;
    let client = server.client();
    let image = Image::new(5, &[100, 200_000]);
    let name = client.push_image("a", "v1", &image)?;
    client.push_manifest("a", "v2", Image::MEDIA_TYPE, &image.manifest)?;
    push_referrer(&client, "a", &image.manifest, "a/b")?;
    for url in [
        "/v2/".to_owned(),
        "/v2/a/manifests/v1".to_owned(),
        format!("/v2/a/manifests/{name}"),
        "/v2/a/manifests/none".to_owned(),
        format!("/v2/a/blobs/{}", digest(&image.blobs[1])),
        format!("/v2/a/blobs/{}", digest(&image.blobs[2])),
        format!("/v2/a/blobs/{}", digest(b"none")),
        "/v2/a/blobs/sha256:x".to_owned(),
        "/v2/a/tags/list".to_owned(),
        "/v2/a/tags/list?n=1".to_owned(),
        "/v2/none/tags/list".to_owned(),
        "/v2/_catalog?n=1".to_owned(),
        format!("/v2/a/referrers/{name}"),
        format!("/v2/a/referrers/{name}?artifactType=a/b"),
        "/nothing".to_owned(),
        "/".to_owned(),
        "/healthz".to_owned(),
        "/readyz".to_owned(),
    ] {
        let (get, head) = (client.get(&url)?, client.head(&url)?);
        assert_eq!(get.status, head.status, "{url}");
        assert_eq!(headers(&get), headers(&head), "{url}");
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{url}");
        assert!(head.body.is_empty());
        if url.starts_with("/v2") {
            assert_eq!(get.header("docker-distribution-api-version"), "registry/2.0", "{url}");
        }
    }
    Ok(())
}

#[test]
fn containerd_offers_encodings_and_gets_blobs_as_they_are() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let image = Image::new(6, &[100_000]);
    let name = client.push_image("a", "v1", &image)?;
    for url in [
        "/v2/a/manifests/v1".to_owned(),
        format!("/v2/a/blobs/{}", digest(&image.blobs[1])),
        "/v2/a/tags/list".to_owned(),
        "/v2/_catalog".to_owned(),
        format!("/v2/a/referrers/{name}"),
    ] {
        let got = client.send("GET", &url, &[("accept-encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")], &[])?;
        assert_eq!(got.status, 200);
        assert!(got.all("content-encoding").is_empty() && got.all("transfer-encoding").is_empty(), "{url}");
    }
    Ok(())
}

#[test]
fn estargz_reads_footer_and_parts_over_one_connection() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(7, 300_000);
    client.push_blob("a", &content)?;
    let line = format!("GET {}", blob_path("a", &content));
    let mut raw = Raw::connect(server.address())?;
    for round in 0..50 {
        let start = round * 1000;
        let range = if round == 0 { "bytes=-1000".to_owned() } else { format!("bytes={start}-{}", start + 999) };
        raw.request(&line, &[("range", &range)])?;
        let got = raw.answer()?;
        let expected = if round == 0 { &content[299_000..] } else { &content[start..start + 1000] };
        assert!(got.status == 206 && got.body == expected, "{range}");
        assert_eq!(got.header("accept-ranges"), "bytes");
        assert_eq!(got.header("cache-control"), "private, max-age=31536000, immutable");
    }
    Ok(())
}

#[test]
fn connections_are_kept_after_every_kind_of_answer() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(8, 100_000);
    client.push_blob("a", &content)?;
    let mut raw = Raw::connect(server.address())?;
    for _ in 0..3 {
        for (line, body, status) in [
            (format!("GET {}", blob_path("a", &content)), "", 200),
            (format!("HEAD {}", blob_path("a", &content)), "", 200),
            ("GET /v2/a/manifests/none".to_owned(), "", 404),
            ("PUT /v2/a/manifests/v1".to_owned(), "not json", 400),
            ("POST /v2/".to_owned(), "surplus", 405),
            ("PATCH /v2/a/blobs/uploads/none".to_owned(), "surplus", 404),
            ("DELETE /v2/a/blobs/sha256:x".to_owned(), "", 400),
            ("GET /healthz".to_owned(), "", 200),
            ("GET /v2/a/tags/list".to_owned(), "", 200),
        ] {
            raw.request(&line, &[("content-length", &body.len().to_string())])?;
            raw.send(body)?;
            let answer = if line.starts_with("HEAD") { raw.head()? } else { raw.answer()? };
            assert_eq!(answer.status, status, "{line}");
            assert_ne!(answer.header("connection"), "close", "{line}");
        }
    }
    // HTTP/1.0 without keep-alive is closed.
    let mut old = Raw::connect(server.address())?;
    old.send(format!("GET {} HTTP/1.0\r\n\r\n", blob_path("a", &content)))?;
    let answer = old.answer()?;
    assert!(answer.status == 200 && answer.body == content);
    assert!(old.rest()?.is_empty());
    Ok(())
}

#[test]
fn requests_in_a_row_without_waiting_are_answered_in_order() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let contents: Vec<_> = (0..5).map(|seed| random(10 + seed, 50_000)).collect();
    let mut raw = Raw::connect(server.address())?;
    for content in &contents {
        client.push_blob("a", content)?;
    }
    let mut all = String::new();
    for content in &contents {
        all += &format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", blob_path("a", content));
    }
    raw.send(all)?;
    for content in &contents {
        assert!(raw.answer()?.body == *content);
    }
    Ok(())
}

#[test]
fn a_large_blob_read_by_many_at_once() -> Result<()> {
    let server = open()?;
    let content = random(16, 8 << 20);
    server.client().push_blob("a", &content)?;
    std::thread::scope(|scope| {
        let reads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| raw(server.address(), &format!("GET {}", blob_path("a", &content)), &[])))
            .collect();
        for read in reads {
            assert!(read.join().unwrap()?.body == content);
        }
        anyhow::Ok(())
    })
}
