//! Pushing blobs: every way that the specification names.

use crate::support::{Raw, begin, blob_path, open, refused, serve, sha512, with};
use anyhow::Result;
use e2e::{Client, digest, random};

/// Kept in the session's record, and written to a file of its own.
const SIZES: [usize; 2] = [10_000, 3 << 20];

fn status(client: &Client, location: &str) -> Result<(u16, String, String)> {
    let answer = client.get(location)?;
    Ok((answer.status, answer.header("range").to_owned(), answer.header("location").to_owned()))
}

#[test]
fn post_then_put() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for size in SIZES {
        let content = random(1, size);
        let begun = client.send("POST", "/v2/a/b/blobs/uploads/", &[], &[])?;
        assert_eq!(begun.status, 202);
        assert_eq!(begun.header("range"), "0-0");
        assert!(begun.header("location").starts_with("/v2/a/b/blobs/uploads/"), "{}", begun.header("location"));
        assert!(begun.header("location").contains(begun.header("docker-upload-uuid")));
        let digest = digest(&content);
        let put = client.send("PUT", &with(begun.header("location"), &format!("digest={digest}")), &[], &content)?;
        assert_eq!(put.status, 201);
        assert_eq!(put.header("location"), format!("/v2/a/b/blobs/{digest}"));
        assert_eq!(put.header("docker-content-digest"), digest);
        assert_eq!(client.get(put.header("location"))?.body, content);
        assert_eq!(client.get(begun.header("location"))?.code(), "BLOB_UPLOAD_UNKNOWN");
    }
    Ok(())
}

#[test]
fn one_post_with_digest() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for size in SIZES {
        let content = random(2, size);
        let put = client.send("POST", &format!("/v2/a/blobs/uploads/?digest={}", digest(&content)), &[], &content)?;
        assert_eq!(put.status, 201);
        assert_eq!(put.header("docker-content-digest"), digest(&content));
        assert_eq!(client.get(&blob_path("a", &content))?.body, content);
        let other = random(3, size);
        let wrong = client.send("POST", &format!("/v2/a/blobs/uploads/?digest={}", digest(&other)), &[], &content)?;
        refused(&wrong, 400, "DIGEST_INVALID");
        assert_eq!(client.head(&blob_path("a", &other))?.status, 404);
    }
    Ok(())
}

#[test]
fn chunks_out_of_order_get_416_with_the_true_range_and_go_on_from_there() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for size in SIZES {
        let content = random(4, size);
        let (first, second) = content.split_at(size / 3);
        let patch = |location: &str, start: usize, bytes: &[u8]| {
            let range = format!("{start}-{}", start + bytes.len() - 1);
            client.send("PATCH", location, &[("content-range", &range)], bytes)
        };
        let location = begin(&client, "a")?;
        let taken = patch(&location, 0, first)?;
        let so_far = format!("0-{}", first.len() - 1);
        assert_eq!((taken.status, taken.header("range")), (202, so_far.as_str()));
        let next = taken.header("location").to_owned();
        assert!(!taken.header("docker-upload-uuid").is_empty());

        assert_eq!(status(&client, &next)?.0, 204);
        assert_eq!(status(&client, &next)?.1, so_far);
        for (address, start, bytes) in [(&next, 0, first), (&next, first.len() + 1, second), (&location, 0, first)] {
            let again = patch(address, start, bytes)?;
            refused(&again, 416, "RANGE_INVALID");
            assert_eq!(again.header("range"), so_far);
            assert_eq!(status(&client, again.header("location"))?.0, 204);
        }
        let refusal = patch(&location, 0, first)?;
        let rest = format!("{}-{}", first.len(), size - 1);
        let put = client.send(
            "PUT",
            &with(refusal.header("location"), &format!("digest={}", digest(&content))),
            &[("content-range", &rest)],
            second,
        )?;
        assert_eq!(put.status, 201, "{}", put.text());
        assert_eq!(client.get(&blob_path("a", &content))?.body, content);
    }
    Ok(())
}

#[test]
fn an_old_address_without_content_range_does_not_corrupt() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(5, 5000);
    let location = begin(&client, "a")?;
    let taken = client.send("PATCH", &location, &[], &content)?;
    let again = client.send("PATCH", &location, &[], &content)?;
    refused(&again, 416, "RANGE_INVALID");
    let put = client.send("PUT", &with(taken.header("location"), &format!("digest={}", digest(&content))), &[], &[])?;
    assert_eq!(put.status, 201);
    Ok(())
}

#[test]
fn content_range_as_clients_write_it() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for range in ["0-9", "0-9/*", "bytes 0-9/*", "bytes 0-9/10", "bytes=0-9"] {
        let location = begin(&client, "a")?;
        let taken = client.send("PATCH", &location, &[("content-range", range)], b"0123456789")?;
        assert_eq!(taken.status, 202, "{range}");
    }
    for (range, code) in [("x", "BLOB_UPLOAD_INVALID"), ("9-0", "BLOB_UPLOAD_INVALID"), ("0-8", "SIZE_INVALID")] {
        let location = begin(&client, "a")?;
        let taken = client.send("PATCH", &location, &[("content-range", range)], b"0123456789")?;
        refused(&taken, 400, code);
        assert_eq!(status(&client, &location)?.0, 204, "the session lives");
    }
    Ok(())
}

#[test]
fn sha512_is_as_good_as_sha256() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for (index, size) in SIZES.into_iter().enumerate() {
        for announced in [true, false] {
            let content = random(6 + index as u64 * 2 + u64::from(announced), size);
            let name = sha512(&content);
            let query = if announced { "?digest-algorithm=sha512" } else { "" };
            let begun = client.send("POST", &format!("/v2/a/blobs/uploads/{query}"), &[], &[])?;
            let (head, tail) = content.split_at(size / 2);
            let taken = client.send("PATCH", begun.header("location"), &[], head)?;
            let put = client.send("PUT", &with(taken.header("location"), &format!("digest={name}")), &[], tail)?;
            assert_eq!(put.status, 201, "{}", put.text());
            assert_eq!(put.header("docker-content-digest"), name);
            for name in [name, digest(&content)] {
                let got = client.get(&format!("/v2/a/blobs/{name}"))?;
                assert_eq!(got.status, 200);
                assert_eq!(got.header("docker-content-digest"), name);
                assert!(got.body == content);
            }
            let wrong = begin(&client, "a")?;
            let put = client.send("PUT", &with(&wrong, &format!("digest={}", sha512(b"x"))), &[], &content)?;
            refused(&put, 400, "DIGEST_INVALID");
        }
    }
    let begun = client.send("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5", &[], &[])?;
    refused(&begun, 400, "DIGEST_INVALID");
    let mounted = client.send(
        "POST",
        &format!("/v2/b/blobs/uploads/?mount={}&from=a", sha512(&random(6, SIZES[0]))),
        &[],
        &[],
    )?;
    assert_eq!(mounted.status, 201, "mounts know both names");
    Ok(())
}

#[test]
fn cancelled_uploads_are_gone() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for size in [0, SIZES[0], SIZES[1]] {
        let mut location = begin(&client, "a")?;
        if size > 0 {
            location = client.send("PATCH", &location, &[], &random(8, size))?.header("location").to_owned();
        }
        assert_eq!(client.delete(&location)?.status, 204);
        refused(&client.get(&location)?, 404, "BLOB_UPLOAD_UNKNOWN");
        refused(&client.send("PATCH", &location, &[], b"x")?, 404, "BLOB_UPLOAD_UNKNOWN");
        refused(&client.delete(&location)?, 404, "BLOB_UPLOAD_UNKNOWN");
    }
    Ok(())
}

#[test]
fn two_clients_on_one_session_do_not_mix() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(9, 200_000);
    let (first, second) = content.split_at(100_000);
    let location = begin(&client, "a")?;
    let mut slow = Raw::connect(server.address())?;
    let length = first.len().to_string();
    slow.request(&format!("PATCH {location}"), &[("content-length", &length), ("expect", "100-continue")])?;
    // The server asks for the body: it holds the session now.
    assert_eq!(slow.head()?.status, 100);
    slow.send(&first[..50_000])?;

    for (method, parameter) in [("PATCH", "x=1".to_owned()), ("PUT", format!("digest={}", digest(b"other")))] {
        let other = client.send(method, &with(&location, &parameter), &[], b"other")?;
        refused(&other, 416, "RANGE_INVALID");
        assert!(!other.header("range").is_empty() && !other.header("location").is_empty());
    }
    assert_eq!(client.delete(&location)?.status, 416, "not under the feet of a running request");

    slow.send(&first[50_000..])?;
    let taken = slow.answer()?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-99999"));
    let put = with(taken.header("location"), &format!("digest={}", digest(&content)));
    assert_eq!(client.send("PUT", &put, &[], second)?.status, 201);
    assert!(client.get(&blob_path("a", &content))?.body == content);
    Ok(())
}

#[test]
fn the_same_blob_from_many_clients_at_once() -> Result<()> {
    let server = open()?;
    let content = random(10, 1 << 20);
    std::thread::scope(|scope| {
        let pushes: Vec<_> = (0..8).map(|_| scope.spawn(|| server.client().push_blob("a", &content))).collect();
        for push in pushes {
            assert_eq!(push.join().unwrap()?, digest(&content));
        }
        anyhow::Ok(())
    })?;
    assert!(server.client().get(&blob_path("a", &content))?.body == content);
    Ok(())
}

#[test]
fn mounts() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let content = random(11, 20_000);
    let name = client.push_blob("from/here", &content)?;
    let mount = |to: &str, query: &str| client.send("POST", &format!("/v2/{to}/blobs/uploads/?{query}"), &[], &[]);

    let mounted = mount("to/one", &format!("mount={name}&from=from/here"))?;
    assert_eq!(mounted.status, 201);
    assert_eq!(mounted.header("location"), format!("/v2/to/one/blobs/{name}"));
    assert_eq!(mounted.header("docker-content-digest"), name);
    assert_eq!(client.get(&blob_path("to/one", &content))?.body, content);

    // Everything is readable by everybody here, so any repository will do.
    assert_eq!(mount("to/two", &format!("mount={name}"))?.status, 201);
    assert_eq!(mount("to/two", &format!("from=from%2Fhere&mount={}", name.replace(':', "%3A")))?.status, 201);

    let absent = digest(b"absent");
    for (index, query) in [
        format!("mount={absent}&from=from/here"),
        format!("mount={name}&from=not/there"),
        format!("mount={name}&from=../../etc"),
        format!("mount={absent}"),
    ]
    .iter()
    .enumerate()
    {
        let other = random(12 + index as u64, 100);
        let begun = mount("to/three", query)?;
        assert_eq!(begun.status, 202, "{query}");
        let put = with(begun.header("location"), &format!("digest={}", digest(&other)));
        assert_eq!(client.send("PUT", &put, &[], &other)?.status, 201, "goes on as an upload");
    }
    refused(&mount("to/three", "mount=sha256:x&from=from/here")?, 400, "DIGEST_INVALID");
    Ok(())
}

#[test]
fn the_empty_blob() -> Result<()> {
    let server = open()?;
    let client = server.client();
    assert_eq!(client.push_blob("a", b"")?, digest(b""));
    let patched = client.send("PATCH", &begin(&client, "a")?, &[], &[])?;
    assert_eq!((patched.status, patched.header("range")), (202, "0-0"));
    let put = client.send("PUT", &with(patched.header("location"), &format!("digest={}", digest(b""))), &[], &[])?;
    assert_eq!(put.status, 201);
    let got = client.get(&blob_path("a", b""))?;
    assert_eq!((got.status, got.header("content-length"), got.body.len()), (200, "0", 0));
    assert_eq!(client.head(&blob_path("a", b""))?.header("content-length"), "0");
    let ranged = client.send("GET", &blob_path("a", b""), &[("range", "bytes=0-")], &[])?;
    refused(&ranged, 416, "RANGE_INVALID");
    Ok(())
}

#[test]
fn wrong_digests_leave_nothing() -> Result<()> {
    let server = open()?;
    let client = server.client();
    for size in SIZES {
        let content = random(13, size);
        let claimed = digest(b"something else");
        let location = client.send("PATCH", &begin(&client, "a")?, &[], &content)?.header("location").to_owned();
        let put = client.send("PUT", &with(&location, &format!("digest={claimed}")), &[], &[])?;
        refused(&put, 400, "DIGEST_INVALID");
        assert!(put.text().contains(&claimed) && put.text().contains(&digest(&content)), "{}", put.text());
        for name in [claimed, digest(&content)] {
            assert_eq!(client.head(&format!("/v2/a/blobs/{name}"))?.status, 404);
        }
        refused(&client.get(&location)?, 404, "BLOB_UPLOAD_UNKNOWN");
    }
    Ok(())
}

#[test]
fn the_end_needs_a_good_digest() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let location = begin(&client, "a")?;
    for parameter in ["x=1", "digest=", "digest=sha256:abc", "digest=md5:d41d8cd98f00b204e9800998ecf8427e"] {
        refused(&client.send("PUT", &with(&location, parameter), &[], b"x")?, 400, "DIGEST_INVALID");
    }
    assert_eq!(client.send("PUT", &with(&location, &format!("digest={}", digest(b"x"))), &[], b"x")?.status, 201);
    Ok(())
}

#[test]
fn addresses_of_sessions_cannot_be_made_up() -> Result<()> {
    let server = open()?;
    let client = server.client();
    let location = begin(&client, "a")?;
    let (session, state) = location.split_once("?_state=").unwrap();
    let forged = format!("{}A", &state[..state.len() - 1]);
    let forged = if forged == state { format!("{}B", &state[..state.len() - 1]) } else { forged };
    for address in [
        session.to_owned(),
        format!("{session}?_state={forged}"),
        format!("{session}?_state="),
        format!("{session}?_state={}", "A".repeat(10_000)),
        location.replace("/v2/a/", "/v2/b/"),
        format!("/v2/a/blobs/uploads/0b1f9f9e-6f53-4b0e-9a3c-0f6c3d0d7a11?_state={state}"),
        format!("/v2/a/blobs/uploads/x?_state={state}"),
        format!("/v2/a/blobs/uploads/..%2f..%2fx?_state={state}"),
    ] {
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = client.send(method, &address, &[], &[])?;
            assert_eq!(answer.status, 404, "{method} {address}: {}", answer.text());
        }
    }
    assert_eq!(client.get(&location)?.status, 204);

    // With bytes in storage the session is found by its name, in its repository.
    assert_eq!(client.send("PATCH", &location, &[], b"abc")?.status, 202);
    let found = client.get(session)?;
    assert_eq!((found.status, found.header("range")), (204, "0-2"));
    refused(&client.get(&session.replace("/v2/a/", "/v2/b/"))?, 404, "BLOB_UPLOAD_UNKNOWN");
    Ok(())
}

#[test]
fn too_large_blobs_get_413() -> Result<()> {
    let server = serve("homeport: {limits: {maxUploadBytes: 1MiB}}\n")?;
    let client = server.client();
    let fits = random(14, 1 << 20);
    client.push_blob("a", &fits)?;
    let large = random(15, (1 << 20) + 1);
    refused(&client.send("PATCH", &begin(&client, "a")?, &[], &large)?, 413, "SIZE_INVALID");
    let one = format!("/v2/a/blobs/uploads/?digest={}", digest(&large));
    refused(&client.send("POST", &one, &[], &large)?, 413, "SIZE_INVALID");
    // In two steps, of which each fits.
    let (first, second) = large.split_at(700_000);
    let taken = client.send("PATCH", &begin(&client, "a")?, &[], first)?;
    let put = with(taken.header("location"), &format!("digest={}", digest(&large)));
    refused(&client.send("PUT", &put, &[], second)?, 413, "SIZE_INVALID");
    // Without a length.
    let mut raw = Raw::connect(server.address())?;
    raw.request(&format!("PATCH {}", begin(&client, "a")?), &[("transfer-encoding", "chunked")])?;
    for _ in 0..3 {
        raw.send(format!("{:x}\r\n", 500_000))?;
        raw.send(&large[..500_000])?;
        raw.send("\r\n")?;
    }
    raw.send("0\r\n\r\n")?;
    refused(&raw.answer()?, 413, "SIZE_INVALID");
    assert_eq!(client.head(&blob_path("a", &large))?.status, 404);
    Ok(())
}
