//! Limits on requests at the same time.

use crate::support::{PASSWORD, Raw, Registry, basic, begin, blob_path, refused, serve, until, users};
use anyhow::Result;
use e2e::{Server, random};
use std::time::{Duration, Instant};

/// More than the buffers of two sockets hold.
const LARGE: usize = 24 << 20;

fn limited(server: &Server, class: &str, state: &str) -> usize {
    let text = server.client().get("/extensions/v2/metrics").map(|answer| answer.text()).unwrap_or_default();
    let name = format!("homeport_limited_requests{{class=\"{class}\",state=\"{state}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

/// A download whose client does not read: it occupies its place.
struct Hog {
    raw: Raw,
    size: usize,
}

impl Hog {
    fn start(server: &Server, path: &str, size: usize, authorization: &str) -> Result<Self> {
        let mut raw = Raw::connect(server.address())?;
        raw.request(&format!("GET {path}"), &[("authorization", authorization)])?;
        assert_eq!(raw.head()?.status, 200);
        Ok(Self { raw, size })
    }

    fn finish(mut self) -> Result<()> {
        let mut body = vec![0; self.size];
        self.raw.read(&mut body)
    }
}

fn read_limits(limits: &str) -> String {
    format!(
        "homeport:\n  metrics: {{access: open}}\n  limits: {{read: {limits}}}\n{}",
        users(&[("a", &[("p", "*", "FULL")]), ("b", &[("p", "*", "FULL")]), ("hog", &[("p", "*", "FULL")])])
    )
}

fn start(limits: &str) -> Result<(Registry, String, Vec<u8>)> {
    let server = serve(&read_limits(limits))?;
    let content = random(1, LARGE);
    server.user("a").push_blob("p/a", &content)?;
    let path = blob_path("p/a", &content);
    Ok((server, path, content))
}

#[test]
fn a_full_queue_gets_429_and_what_is_cheap_never_waits() -> Result<()> {
    let (server, path, _) = start("{maxRunning: 1, maxInQueue: 1}")?;
    let hog = Hog::start(&server, &path, LARGE, &basic("hog", PASSWORD))?;
    assert_eq!(limited(&server, "read", "running"), 1);
    let mut waiting = Raw::connect(server.address())?;
    waiting.request("GET /v2/p/a/tags/list", &[("authorization", &basic("a", PASSWORD))])?;
    until("one waits", || limited(&server, "read", "waiting") == 1)?;

    let refusal = server.user("b").get("/v2/p/a/tags/list")?;
    refused(&refusal, 429, "TOOMANYREQUESTS");
    assert!(refusal.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    for (method, free, status) in [
        ("HEAD", path.as_str(), 200),
        ("HEAD", "/v2/p/a/manifests/none", 404),
        ("GET", "/v2/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/token", 200),
        ("GET", "/extensions/v2/metrics", 200),
        // Writes have a limit of their own.
        ("POST", "/v2/p/a/blobs/uploads/", 202),
    ] {
        assert_eq!(server.user("b").send(method, free, &[], &[])?.status, status, "{method} {free}");
    }
    hog.finish()?;
    assert_eq!(waiting.answer()?.status, 200);
    until("all places are free", || limited(&server, "read", "running") == 0)?;
    assert_eq!(server.user("b").get("/v2/p/a/tags/list")?.status, 200);
    Ok(())
}

#[test]
fn a_wait_that_is_too_long_gets_429() -> Result<()> {
    let (server, path, _) = start("{maxRunning: 1, maxInQueue: 10, maxWaitInQueue: 200ms}")?;
    let hog = Hog::start(&server, &path, LARGE, &basic("hog", PASSWORD))?;
    let begun = Instant::now();
    let refusal = server.user("b").get("/v2/p/a/tags/list")?;
    refused(&refusal, 429, "TOOMANYREQUESTS");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    hog.finish()
}

#[test]
fn the_queue_is_fair_to_who_comes_with_little() -> Result<()> {
    let (server, path, _) = start("{maxRunning: 1, maxInQueue: 20}")?;
    let hog = Hog::start(&server, &path, LARGE, &basic("hog", PASSWORD))?;
    let mut waiting = Vec::new();
    for user in ["a", "a", "a", "a", "b"] {
        let mut raw = Raw::connect(server.address())?;
        raw.request("GET /v2/p/a/tags/list", &[("authorization", &basic(user, PASSWORD))])?;
        waiting.push(raw);
        until("it waits", || limited(&server, "read", "waiting") == waiting.len())?;
    }
    // A client that gives up leaves the line.
    let mut gone = Raw::connect(server.address())?;
    gone.request("GET /v2/p/a/tags/list", &[("authorization", &basic("b", PASSWORD))])?;
    until("it waits", || limited(&server, "read", "waiting") == waiting.len() + 1)?;
    drop(gone);
    until("it has left", || limited(&server, "read", "waiting") == waiting.len())?;

    hog.finish()?;
    for raw in &mut waiting {
        assert_eq!(raw.answer()?.status, 200);
    }
    until("all are in the log", || server.log().matches("path=/v2/p/a/tags/list").count() == 5)?;
    let log = server.log();
    let order: String = log
        .lines()
        .filter(|line| line.contains("path=/v2/p/a/tags/list"))
        .map(|line| if line.contains("user=b") { 'b' } else { 'a' })
        .collect();
    assert!(order.starts_with("ab") || order.starts_with("ba"), "{order}");
    Ok(())
}

#[test]
fn writes_are_limited_too_and_a_broken_one_gives_its_place_back() -> Result<()> {
    let server = serve("homeport: {metrics: {access: open}, limits: {write: {maxRunning: 1}}}\n")?;
    let client = server.client();
    let location = begin(&client, "a")?;
    let mut slow = Raw::connect(server.address())?;
    slow.request(&format!("PATCH {location}"), &[("content-length", "100"), ("expect", "100-continue")])?;
    assert_eq!(slow.head()?.status, 100);
    for (method, path) in
        [("POST", "/v2/a/blobs/uploads/"), ("PUT", "/v2/a/manifests/v1"), ("DELETE", "/v2/a/manifests/v1")]
    {
        refused(&client.send(method, path, &[], b"x")?, 429, "TOOMANYREQUESTS");
    }
    assert_eq!(client.get("/v2/_catalog")?.status, 200);
    drop(slow);
    until("the place is free", || {
        client.send("POST", "/v2/a/blobs/uploads/", &[], &[]).is_ok_and(|begun| begun.status == 202)
    })
}

#[test]
fn openshifts_names_of_the_limits_work() -> Result<()> {
    let server = serve("openshift: {version: '1.0', requests: {write: {maxrunning: 1, maxinqueue: 0}}}\n")?;
    let client = server.client();
    let mut slow = Raw::connect(server.address())?;
    slow.request(&format!("PATCH {}", begin(&client, "a")?), &[("content-length", "100"), ("expect", "100-continue")])?;
    assert_eq!(slow.head()?.status, 100);
    refused(&client.send("POST", "/v2/a/blobs/uploads/", &[], &[])?, 429, "TOOMANYREQUESTS");
    Ok(())
}

#[test]
fn limits_change_while_requests_wait() -> Result<()> {
    let (server, path, _) = start("{maxRunning: 1, maxInQueue: 10}")?;
    let hog = Hog::start(&server, &path, LARGE, &basic("hog", PASSWORD))?;
    let mut waiting = Raw::connect(server.address())?;
    waiting.request("GET /v2/p/a/tags/list", &[("authorization", &basic("a", PASSWORD))])?;
    until("one waits", || limited(&server, "read", "waiting") == 1)?;
    server.reload(&format!("{}{}", crate::support::BASE, read_limits("{maxRunning: 2, maxInQueue: 10}")))?;
    assert_eq!(waiting.answer()?.status, 200, "although the first still runs");
    hog.finish()
}
