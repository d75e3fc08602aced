//! A storage service that goes and comes back while clients work.

use crate::support::{OCI_MANIFEST, Registry, begin, blob_path, refused, until, with};
use anyhow::{Result, ensure};
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest, random};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const OPENED: &str = "requests fail at once until it does";
const CLOSED: &str = "the storage service answers again";
/// A request that waits for a service takes 15 seconds; one that is refused at once may wait for a busy machine only.
const FAST: Duration = Duration::from_secs(5);

/// A request of the load: when it began and ended, and its status.
type Sample = (Instant, Instant, u16);

fn load(
    server: &Registry,
    stop: &Arc<AtomicBool>,
    samples: &Arc<Mutex<Vec<Sample>>>,
) -> Vec<std::thread::JoinHandle<()>> {
    (0..8)
        .map(|number| {
            let (client, stop, samples) = (server.client(), Arc::clone(stop), Arc::clone(samples));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    let path = if number % 2 == 0 { "/v2/team/app/manifests/v1" } else { "/v2/team/app/tags/list" };
                    let status = client.get(path).map_or(0, |answer| answer.status);
                    samples.lock().unwrap().push((begun, Instant::now(), status));
                }
            })
        })
        .collect()
}

#[test]
fn requests_fail_fast_and_come_back_soon() -> Result<()> {
    let Some(mut s3) = S3::start()? else { return Ok(()) };
    let server = Registry::start(Server::builder().config(&s3.config("")).no_folder())?;
    let client = server.client();
    client.push_image("team/app", "v1", &Image::new(1, &[1000]))?;
    let (stop, samples) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Sample>>>::default());
    let loaders = load(&server, &stop, &samples);
    until("the load runs", || samples.lock().unwrap().len() > 50)?;
    s3.kill()?;
    let gone = Instant::now();
    until("it is known", || server.log().contains(OPENED))?;
    let opened = Instant::now();
    until("readiness follows", || client.get("/readyz").is_ok_and(|answer| answer.status == 503))?;
    println!("known after {:?}, not ready {:?} later", opened - gone, opened.elapsed());
    let metric = |name: &str| -> Result<f64> {
        let page = client.get("/extensions/v2/metrics")?.text();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.ok_or_else(|| anyhow::anyhow!("no {name} in {page}"))
    };
    assert!(metric("homeport_storage_circuit_open")? > 0.0);
    while opened.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.get("/livez")?.status, 200);
        assert_eq!(client.get("/readyz")?.status, 503);
    }
    let back = Instant::now();
    s3.start_again()?;
    until("readiness is back", || client.get("/readyz").is_ok_and(|answer| answer.status == 200))?;
    println!("ready {:?} after the start", back.elapsed());
    until("requests succeed", || client.get("/v2/team/app/tags/list").is_ok_and(|answer| answer.status == 200))?;
    stop.store(true, Ordering::SeqCst);
    for loader in loaders {
        ensure!(loader.join().is_ok(), "a client has ended");
    }
    assert!(metric("homeport_storage_circuit_open")? < 1.0);
    assert!(metric("homeport_storage_requests_refused_total")? > 50.0);
    let samples = samples.lock().unwrap();
    let during: Vec<&Sample> = samples.iter().filter(|(begun, ended, _)| *begun > opened && *ended < back).collect();
    let slowest = during.iter().map(|(begun, ended, _)| *ended - *begun).max().unwrap_or_default();
    println!("{} requests while it was away, the slowest took {slowest:?}", during.len());
    assert!(during.len() > 50 && slowest < FAST);
    assert!(during.iter().all(|(_, _, status)| *status == 503), "{during:?}");
    assert!(samples.iter().all(|(_, _, status)| matches!(status, 200 | 503)));
    server.wait_for_log(CLOSED)?;
    assert_eq!((server.log().matches(OPENED).count(), server.log().matches(CLOSED).count()), (1, 1));
    Ok(())
}

/// Method, path, headers, body.
type Request<'a> = (&'a str, String, &'a [(&'a str, &'a str)], &'a [u8]);

/// Every request whose outcome depends on storage.
fn all_requests(client: &Client, image: &Image, upload: &str) -> Result<()> {
    let other = random(9, 1000);
    let (blob, manifest) = (digest(&other), digest(&image.manifest));
    let (content_type, chunk) = ([("content-type", OCI_MANIFEST)], random(3, 1 << 20));
    let finish = with(upload, &format!("digest={blob}"));
    let requests: Vec<Request<'_>> = vec![
        ("GET", "/v2/team/app/manifests/v1".to_owned(), &[], &[]),
        ("HEAD", "/v2/team/app/manifests/v1".to_owned(), &[], &[]),
        ("GET", format!("/v2/team/app/manifests/{blob}"), &[], &[]),
        ("PUT", "/v2/team/app/manifests/v2".to_owned(), &content_type, &image.manifest),
        ("PUT", "/v2/team/app/manifests/v1".to_owned(), &content_type, &image.manifest),
        ("DELETE", "/v2/team/app/manifests/v1".to_owned(), &[], &[]),
        ("DELETE", format!("/v2/team/app/manifests/{manifest}"), &[], &[]),
        ("GET", blob_path("team/app", &other), &[], &[]),
        ("HEAD", blob_path("team/app", &other), &[], &[]),
        ("DELETE", blob_path("team/app", &other), &[], &[]),
        ("POST", format!("/v2/team/new/blobs/uploads/?mount={blob}&from=team/app"), &[], &[]),
        ("POST", format!("/v2/team/new/blobs/uploads/?digest={blob}"), &[], &other),
        ("PATCH", upload.to_owned(), &[], &chunk),
        ("PUT", finish, &[], &other),
        ("DELETE", upload.to_owned(), &[], &[]),
        ("GET", "/v2/team/app/tags/list".to_owned(), &[], &[]),
        ("GET", "/v2/team/none/tags/list".to_owned(), &[], &[]),
        ("GET", "/v2/_catalog".to_owned(), &[], &[]),
        ("GET", format!("/v2/team/app/referrers/{blob}"), &[], &[]),
    ];
    for (method, path, headers, body) in requests {
        let answer = client.send(method, &path, headers, body)?;
        assert!(!answer.header("retry-after").is_empty(), "{method} {path}: {} {}", answer.status, answer.text());
        match method {
            "HEAD" => assert_eq!(answer.status, 503, "{path}"),
            _ => refused(&answer, 503, "UNAVAILABLE"),
        }
    }
    Ok(())
}

#[test]
fn no_request_is_told_something_false() -> Result<()> {
    let Some(mut s3) = S3::start()? else { return Ok(()) };
    for redirect in ["", "redirect: {disable: true}"] {
        let server = Registry::start(Server::builder().config(&s3.config(redirect)).no_folder())?;
        let client = server.client();
        let image = Image::new(1, &[1000]);
        client.push_image("team/app", "v1", &image)?;
        let location = begin(&client, "team/app")?;
        let upload = client.send("PATCH", &location, &[], &random(2, 1 << 20))?;
        assert_eq!(upload.status, 202);
        let upload = crate::support::path(upload.header("location")).to_owned();
        s3.kill()?;
        // Before it is known, with every attempt, and after that.
        all_requests(&client, &image, &upload)?;
        until("it is known", || {
            drop(client.get("/v2/_catalog"));
            server.log().contains(OPENED)
        })?;
        all_requests(&client, &image, &upload)?;
        s3.start_again()?;
        until("it is back", || client.get("/v2/team/app/manifests/v1").is_ok_and(|answer| answer.status == 200))?;
        assert_eq!(client.get("/v2/team/app/tags/list")?.json()["tags"], serde_json::json!(["v1"]));
    }
    Ok(())
}
