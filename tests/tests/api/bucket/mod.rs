//! Content in a bucket: what is asked of several services alike, and what each has of its own.

mod azure;
mod gcs;
mod s3;
mod swift;

use crate::support::{OCI_MANIFEST, Raw, Registry, begin, blob_path, path, push_referrer, refused, until, with};
use anyhow::{Context, Result, ensure};
use e2e::{Client, Image, Server, digest, random};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes pass through, so that any client can read them here.
const PASS: &str = "redirect: {disable: true}";

fn start(config: &str) -> Result<Registry> {
    Registry::start(Server::builder().config(config).no_folder())
}

fn check_image(client: &Client, repo: &str, tag: &str, image: &Image) -> Result<()> {
    let accept = [("accept", Image::MEDIA_TYPE)];
    let manifest = client.send("GET", &format!("/v2/{repo}/manifests/{tag}"), &accept, &[])?;
    assert!(manifest.status == 200 && manifest.body == image.manifest, "{repo}:{tag}: {}", manifest.text());
    for blob in &image.blobs {
        assert!(client.get(&blob_path(repo, blob))?.body == *blob, "{repo}:{tag}");
    }
    Ok(())
}

/// An upload goes on at another replica whenever one dies, between requests and within one. `keys` lists the bucket.
fn an_upload_wanders(start: impl Fn() -> Result<Registry>, keys: impl FnOnce() -> Result<Vec<String>>) -> Result<()> {
    let blob = random(1, 23_000_001);
    let (first, second) = (9_000_001, 16_500_000);
    let (a, b) = (start()?, start()?);
    let location = begin(&a.client(), "team/app")?;
    let taken = a.client().send("PATCH", &location, &[], &blob[..first])?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-9000000"));
    drop(a.kill()?);

    let here = path(taken.header("location"));
    let begun = b.client().get(here)?;
    assert_eq!((begun.status, begun.header("range")), (204, "0-9000000"));
    let again = b.client().send("PATCH", here, &[("content-range", "0-99")], &blob[..100])?;
    assert_eq!(again.status, 416, "what was taken is not taken twice");
    let range = format!("{first}-{}", second - 1);
    let taken = b.client().send("PATCH", here, &[("content-range", &range)], &blob[first..second])?;
    assert_eq!((taken.status, taken.header("range")), (202, "0-16499999"), "{}", taken.text());
    // It dies in the middle of the next one.
    let next = path(taken.header("location")).to_owned();
    let mut cut = Raw::connect(b.address())?;
    let length = (blob.len() - second).to_string();
    cut.request(&format!("PATCH {next}"), &[("content-length", &length), ("expect", "100-continue")])?;
    assert_eq!(cut.head()?.status, 100);
    cut.send(&blob[second..second + 6_000_000])?;
    drop(b.kill()?);

    let c = start()?;
    let begun = c.client().get(&next)?;
    assert_eq!((begun.status, begun.header("range")), (204, "0-16499999"), "{}", begun.text());
    let finish = with(path(begun.header("location")), &format!("digest={}", digest(&blob)));
    let put = c.client().send("PUT", &finish, &[], &blob[second..])?;
    assert_eq!(put.status, 201, "{}", put.text());
    assert!(c.client().get(&blob_path("team/app", &blob))?.body == blob);
    let keys = keys()?;
    assert!(keys.iter().any(|key| key.ends_with("/data")), "{keys:?}");
    let unfinished = ["/uploads/", "/sessions/", "-unfinished/"];
    let left: Vec<&String> = keys.iter().filter(|key| unfinished.iter().any(|place| key.contains(place))).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// Tags, referrers and deletions are the same for all replicas, and after a restart.
fn replicas_agree(start: impl Fn() -> Result<Registry>) -> Result<()> {
    let (a, b) = (start()?, start()?);
    let images: Vec<Image> = (0..4).map(|seed| Image::new(seed, &[2000, 300_000])).collect();
    // Names that a bucket sorts otherwise than a folder.
    let tags = ["1", "1-a", "1.a", "1_a"];
    for (tag, image) in tags.iter().zip(&images) {
        a.client().push_image("team/app", tag, image)?;
        b.client().push_image("team/app-2/sub", tag, image)?;
    }
    let sbom = push_referrer(&b.client(), "team/app", &images[0].manifest, "application/x-sbom")?;
    let seen = |client: &Client| -> Result<()> {
        assert_eq!(client.get("/v2/team/app/tags/list")?.json()["tags"], serde_json::json!(tags));
        let page = client.get("/v2/team/app/tags/list?n=2&last=1")?;
        assert_eq!(page.json()["tags"], serde_json::json!(["1-a", "1.a"]));
        let catalog = client.get("/v2/_catalog")?.json();
        assert_eq!(catalog["repositories"], serde_json::json!(["team/app", "team/app-2/sub"]));
        let referrers = client.get(&format!("/v2/team/app/referrers/{}", digest(&images[0].manifest)))?.json();
        assert_eq!(referrers["manifests"][0]["digest"], digest(&sbom), "{referrers}");
        for (tag, image) in tags.iter().zip(&images) {
            check_image(client, "team/app", tag, image)?;
        }
        Ok(())
    };
    seen(&a.client())?;
    seen(&b.client())?;
    a.stop()?;
    drop(b.kill()?);
    let (a, b) = (start()?, start()?);
    seen(&a.client())?;
    let name = digest(&images[3].manifest);
    assert_eq!(a.client().delete("/v2/team/app/manifests/1-a")?.status, 202);
    assert_eq!(a.client().delete(&format!("/v2/team/app/manifests/{name}"))?.status, 202);
    let tags = b.client().get("/v2/team/app/tags/list")?.json();
    assert_eq!(tags["tags"], serde_json::json!(["1", "1.a"]));
    refused(&b.client().get("/v2/team/app/manifests/1_a")?, 404, "MANIFEST_UNKNOWN");
    let moved = b.client().push_manifest("team/app", "1", OCI_MANIFEST, &images[2].manifest)?;
    assert_eq!(a.client().head("/v2/team/app/manifests/1")?.header("docker-content-digest"), moved);
    check_image(&a.client(), "team/app-2/sub", "1_a", &images[3])
}

/// What was said of the content before the bytes came is not true: nothing is left of them.
fn another_content_than_said_leaves_nothing(
    server: &Registry,
    keys: impl FnOnce() -> Result<Vec<String>>,
) -> Result<()> {
    let client = server.client();
    for size in [1000, 3 << 20, 20 << 20] {
        let (blob, other) = (random(1, size), random(2, size));
        let put = with(&begin(&client, "a")?, &format!("digest={}", digest(&other)));
        refused(&client.send("PUT", &put, &[], &blob)?, 400, "DIGEST_INVALID");
        for content in [&blob, &other] {
            assert_eq!(client.head(&blob_path("a", content))?.status, 404);
        }
    }
    let data: Vec<String> = keys()?.into_iter().filter(|key| key.ends_with("/data")).collect();
    assert!(data.is_empty(), "{data:?}");
    Ok(())
}

/// `end` ends the service and `again`, where it keeps what it has, starts it once more.
fn a_service_that_is_gone_is_never_not_found<S>(
    service: &mut S,
    config: &str,
    end: impl FnOnce(&mut S) -> Result<()>,
    again: Option<fn(&mut S) -> Result<()>>,
) -> Result<()> {
    let server =
        start(&format!("{config}health: {{storagedriver: {{enabled: true, interval: 50ms, threshold: 1}}}}\n"))?;
    let client = server.client();
    let image = Image::new(1, &[100_000]);
    client.push_image("a", "v1", &image)?;
    end(service)?;
    for path in
        ["/v2/a/manifests/v1".to_owned(), "/v2/a/tags/list".to_owned(), format!("/v2/a/blobs/{}", digest(b"other"))]
    {
        let answer = client.get(&path)?;
        refused(&answer, 503, "UNAVAILABLE");
        assert!(!answer.header("retry-after").is_empty());
    }
    let put = with(&begin(&client, "a")?, &format!("digest={}", digest(b"x")));
    refused(&client.send("PUT", &put, &[], b"x")?, 503, "UNAVAILABLE");
    until("it is not ready", || client.get("/readyz").is_ok_and(|answer| answer.status == 503))?;
    assert_eq!(client.get("/livez")?.status, 200, "a restart would not help");
    let Some(again) = again else { return Ok(()) };
    again(service)?;
    until("it is ready again", || client.get("/readyz").is_ok_and(|answer| answer.status == 200))?;
    check_image(&client, "a", "v1", &image)
}

/// Each case exchanges something in the configuration, and one line of the error says what; none says `hidden`.
fn wrong_settings_are_named(config: &str, hidden: &str, cases: &[(&str, &str, &str)]) -> Result<()> {
    for (from, to, said) in cases {
        ensure!(config.contains(from), "{from} is not in {config}");
        let server = Server::builder().config(&config.replace(from, to)).no_folder().start();
        let error = server.err().with_context(|| format!("it starts with {to}"))?.to_string();
        assert_eq!(error.lines().filter(|line| line.contains(said)).count(), 1, "{said}\n{error}");
        assert!(!error.contains(hidden), "{error}");
    }
    Ok(())
}

/// A registry of distribution on the same bucket. It ends when dropped.
struct Old {
    child: Child,
    client: Client,
    _dir: tempfile::TempDir,
}

impl Old {
    /// `config` is all but the address.
    fn start(program: &Path, config: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let address = e2e::free_local_address()?;
        let (file, log) = (dir.path().join("config.yml"), dir.path().join("log"));
        std::fs::write(&file, format!("{config}http: {{addr: '{address}'}}\n"))?;
        let output = std::fs::File::create(&log)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.env("OTEL_TRACES_EXPORTER", "none").envs(environment.iter().copied());
        let client = Client::new(&format!("http://{address}"));
        let mut old = Self { child: command.spawn()?, client, _dir: dir };
        let deadline = Instant::now() + Duration::from_secs(180);
        while TcpStream::connect(address).is_err() {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            ensure!(old.child.try_wait()?.is_none(), "it has ended: {}", said());
            ensure!(Instant::now() < deadline, "it does not answer: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(old)
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
