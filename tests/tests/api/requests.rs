//! How often storage is asked. Figures that grow are a mistake.

use crate::support::{OCI_MANIFEST, Registry, begin, blob_path, path, until, with};
use anyhow::{Context, Result, ensure};
use e2e::line::Line;
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest};
use std::collections::BTreeMap;

/// The registry asks for its own ends too, now and then: the least of so many rounds counts.
const ROUNDS: u64 = 6;

/// To be told that it is not there, its bytes, its link, and that link once more for the manifest. The same whether the
/// digest comes with the bytes or after them.
const PER_BLOB: u64 = 4;
/// Three more in pieces: a record is made, read and removed.
const PER_BLOB_IN_PIECES: u64 = 7;
/// With the one by which replicas tell each other of it.
const PER_MANIFEST: u64 = 5;

/// What replicas ask for by themselves: who else there is, what they tell each other, and whether somebody copies.
const BY_THEMSELVES: [&str; 3] = ["list-type=2", "/homeport/v1/changes/", "/homeport/v1/copied"];

fn start(s3: &S3, more: &str) -> Result<Registry> {
    Registry::start(Server::builder().config(&s3.config(more)).no_folder())
}

/// Requests to the service since the start, by what they are.
type Asked = BTreeMap<String, u64>;

fn asked(client: &Client) -> Result<Asked> {
    let text = client.get("/extensions/v2/metrics")?.text();
    let mut counts = Asked::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("homeport_storage_requests_total{")) {
        let (labels, count) = line.split_once("} ").context("a figure")?;
        counts.insert(labels.to_owned(), count.parse()?);
    }
    ensure!(counts.values().any(|count| *count > 0), "nothing is counted:\n{text}");
    Ok(counts)
}

/// The least number of requests that `work` needs, and which they are.
fn cost(client: &Client, work: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    least(|| asked(client), work)
}

/// The same of a push, which lists nothing: what is listed meanwhile is whether there are other replicas.
fn cost_of_push(client: &Client, work: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    least(|| Ok(without(asked(client)?, &["operation=\"list\""])), work)
}

fn without(mut asked: Asked, skipped: &[&str]) -> Asked {
    asked.retain(|what, _| !skipped.iter().any(|skipped| what.contains(skipped)));
    asked
}

fn least(asked: impl Fn() -> Result<Asked>, mut work: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    let rounds: Result<Vec<_>> = (0..ROUNDS).map(|round| once(&asked, || work(round))).collect();
    rounds?.into_iter().min_by_key(|(count, _)| *count).context("no round")
}

fn once(asked: impl Fn() -> Result<Asked>, work: impl FnOnce() -> Result<()>) -> Result<(u64, String)> {
    let before = asked()?;
    work()?;
    let (mut sum, mut kinds) = (0, Vec::new());
    for (what, after) in asked()? {
        let more = after - before.get(&what).copied().unwrap_or(0);
        if more > 0 {
            kinds.push(format!("{more} {what}"));
            sum += more;
        }
    }
    Ok((sum, kinds.join("; ")))
}

#[track_caller]
fn at_most(what: &str, limit: u64, (count, kinds): &(u64, String)) {
    println!("{what}: {count} of at most {limit} ({kinds})");
    assert!(*count <= limit, "{what}: {count} requests, at most {limit}: {kinds}");
}

fn image(round: u64, layers: usize) -> Image {
    Image::new(1000 * layers as u64 + round, &vec![200_000; layers])
}

/// As containerd and BuildKit do it: look whether it is there, then send it at once.
fn push(client: &Client, repo: &str, image: &Image) -> Result<()> {
    for blob in &image.blobs {
        assert_eq!(client.head(&blob_path(repo, blob))?.status, 404);
        client.push_blob(repo, blob)?;
    }
    client.push_manifest(repo, "v1", OCI_MANIFEST, &image.manifest)?;
    Ok(())
}

/// As Docker, Podman and crane do it: the digest comes when everything is there. Each request goes to the next replica.
fn push_in_steps(replicas: &[&Client], headers: &[(&str, &str)], repo: &str, image: &Image) -> Result<()> {
    let mut replicas = replicas.iter().cycle();
    let mut next = || replicas.next().context("a replica");
    for blob in &image.blobs {
        assert_eq!(next()?.head(&blob_path(repo, blob))?.status, 404);
        let begun = begin(next()?, repo)?;
        let taken = next()?.send("PATCH", path(&begun), headers, blob)?;
        assert_eq!(taken.status, 202, "{}", taken.text());
        let put = with(path(taken.header("location")), &format!("digest={}", digest(blob)));
        assert_eq!(next()?.send("PUT", &put, &[], &[])?.status, 201);
    }
    next()?.push_manifest(repo, "v1", OCI_MANIFEST, &image.manifest)?;
    Ok(())
}

#[test]
fn pushes() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "")?;
    let client = server.client();
    for layers in [1, 3, 8] {
        let blobs = layers as u64 + 1;
        assert!(PER_BLOB * blobs + PER_MANIFEST <= 6 * layers as u64 + 8, "more than is allowed");
        let pushed =
            cost_of_push(&client, |round| push(&client, &format!("a{layers}/r{round}"), &image(round, layers)))?;
        at_most(&format!("push of {layers} layers"), PER_BLOB * blobs + PER_MANIFEST, &pushed);
        let in_steps = cost_of_push(&client, |round| {
            push_in_steps(&[&client], &[], &format!("b{layers}/r{round}"), &image(100 + round, layers))
        })?;
        at_most(&format!("push of {layers} layers in steps"), PER_BLOB * blobs + PER_MANIFEST, &in_steps);
    }
    let in_pieces = cost_of_push(&client, |round| {
        let image = Image::new(200 + round, &[]);
        let range = format!("0-{}", image.blobs[0].len() - 1);
        push_in_steps(&[&client], &[("content-range", &range)], &format!("c/r{round}"), &image)
    })?;
    at_most("push of a blob in pieces", PER_BLOB_IN_PIECES + PER_MANIFEST, &in_pieces);
    let again = cost_of_push(&client, |round| {
        client.push_manifest(&format!("a3/r{round}"), "v2", OCI_MANIFEST, &image(round, 3).manifest).map(drop)
    })?;
    at_most("another tag for an image of 3 layers", 4 + PER_MANIFEST, &again);
    Ok(())
}

#[test]
fn pushes_over_replicas_cost_no_more() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let line = Line::to(&s3.endpoint())?;
    let config = s3.config("").replace(&s3.endpoint(), &line.endpoint());
    let start = || Registry::start(Server::builder().config(&config).no_folder());
    let servers = [start()?, start()?, start()?];
    let clients: Vec<Client> = servers.iter().map(|server| server.client()).collect();
    let clients: Vec<&Client> = clients.iter().collect();
    let asked = || Ok(without(line.asked(), &BY_THEMSELVES));
    let pushed = least(asked, |round| {
        push_in_steps(&clients, &[], &format!("a/r{round}"), &image(round, 3))?;
        // The push itself does not wait for this one.
        let history = format!("/a/r{round}/_manifests/tags/v1/index/");
        until("the history of the tag is written", || s3.keys().iter().any(|key| key.contains(&history)))
    })?;
    // Without what they tell each other of the manifest.
    at_most("push of 3 layers over 3 replicas", PER_BLOB * 4 + PER_MANIFEST - 1, &pushed);
    for client in clients {
        assert_eq!(client.get("/v2/a/r0/manifests/v1")?.body, image(0, 3).manifest);
    }
    Ok(())
}

#[test]
fn pulls() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let pusher = start(&s3, "")?;
    let images: Vec<Image> = (0..ROUNDS).map(|round| image(round, 1)).collect();
    for (round, image) in images.iter().enumerate() {
        pusher.client().push_image(&format!("a/r{round}"), "v1", image)?;
    }
    // It has seen nothing of them.
    let server = start(&s3, "")?;
    let client = server.client();
    let manifest = |round: u64, reference: &str| -> Result<()> {
        let got = client.get(&format!("/v2/a/r{round}/manifests/{reference}"))?;
        assert_eq!(got.status, 200, "{}", got.text());
        Ok(())
    };
    let name = |round: u64| digest(&images[usize::try_from(round).unwrap()].manifest);
    let blob = |round: u64| -> Result<()> {
        let image = &images[usize::try_from(round).unwrap()];
        let got = client.get(&blob_path(&format!("a/r{round}"), &image.blobs[1]))?;
        assert_eq!(got.status, 307, "{}", got.text());
        Ok(())
    };
    at_most("manifest by digest, cold", 2, &cost(&client, |round| manifest(round, &name(round)))?);
    at_most("manifest by digest, warm", 0, &cost(&client, |_| manifest(0, &name(0)))?);
    at_most("manifest by tag, warm", 1, &cost(&client, |_| manifest(0, "v1"))?);
    at_most("blob by redirect, cold", 1, &cost(&client, blob)?);
    at_most("blob by redirect, warm", 0, &cost(&client, |_| blob(0))?);
    let fresh = start(&s3, "redirect: {disable: true}")?;
    let client = fresh.client();
    let by_tag = |round: u64| -> Result<()> {
        let got = client.get(&format!("/v2/a/r{round}/manifests/v1"))?;
        assert_eq!(got.status, 200, "{}", got.text());
        Ok(())
    };
    at_most("manifest by tag, cold", 2, &cost(&client, by_tag)?);
    let through = cost(&client, |round| {
        let image = &images[usize::try_from(round).unwrap()];
        let got = client.get(&blob_path(&format!("a/r{round}"), &image.blobs[1]))?;
        assert!(got.body == image.blobs[1]);
        Ok(())
    })?;
    at_most("blob through the registry, cold", 3, &through);
    at_most(
        "tag list",
        1,
        &cost(&client, |round| {
            assert_eq!(client.get(&format!("/v2/a/r{round}/tags/list"))?.status, 200);
            Ok(())
        })?,
    );
    Ok(())
}

/// Pages that are kept cost a look at what the other replica says.
#[test]
fn pages_of_lists() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let [pusher, reader] = [start(&s3, "")?, start(&s3, "")?];
    for round in 0..3 {
        pusher.client().push_image(&format!("a/r{round}"), "v1", &image(round, 1))?;
    }
    let client = reader.client();
    let repositories = |_| -> Result<()> {
        assert_eq!(client.get("/v2/_catalog?n=100")?.json()["repositories"].as_array().map(Vec::len), Some(3));
        Ok(())
    };
    let tags = |_| -> Result<()> {
        assert_eq!(client.get("/v2/a/r0/tags/list?n=100")?.status, 200);
        Ok(())
    };
    // The namespaces, the repositories of one of them, what each has, and its tags: nothing is kept yet.
    let first = once(|| asked(&client), || repositories(0).and_then(|()| tags(0)))?;
    assert!(first.0 >= 6, "{first:?}");
    // Some seconds after the last push.
    let is_cheap = |cost: Result<(u64, String)>| cost.is_ok_and(|(count, _)| count <= 2);
    until("lists are kept", || is_cheap(cost(&client, repositories)) && is_cheap(cost(&client, tags)))?;
    at_most("repositories that are kept", 2, &cost(&client, repositories)?);
    at_most("tags that are kept", 2, &cost(&client, tags)?);
    pusher.client().push_image("a/r3", "v1", &image(3, 1))?;
    let names = client.get("/v2/_catalog?n=100")?.json();
    assert_eq!(names["repositories"].as_array().map(Vec::len), Some(4), "{names}");
    Ok(())
}
