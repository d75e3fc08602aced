//! How often storage is asked. Figures that grow are a mistake.

use crate::support::{OCI_MANIFEST, Registry, begin, blob_path, with};
use anyhow::{Context, Result, ensure};
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest};

/// The registry asks for its own ends too, now and then: the least of so many rounds counts.
const ROUNDS: u64 = 6;

/// To be told that it is not there, to send it, and to have it checked by the manifest.
const PER_BLOB: u64 = 6;
/// The same of a blob that is too large for the record of its session, and of one that is not.
const PER_BLOB_IN_STEPS: u64 = 12;
const PER_CONFIG_IN_STEPS: u64 = 9;
/// With the one by which replicas tell each other of it.
const PER_MANIFEST: u64 = 6;

fn start(s3: &S3, more: &str) -> Result<Registry> {
    Registry::start(Server::builder().config(&s3.config(more)).no_folder())
}

/// Requests to the service since the start, by operation.
fn asked(client: &Client) -> Result<Vec<(String, u64)>> {
    let text = client.get("/extensions/v2/metrics")?.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("homeport_storage_requests_total{"));
    let mut counts = Vec::new();
    for line in lines {
        let (labels, count) = line.split_once("} ").context("a figure")?;
        counts.push((labels.to_owned(), count.parse()?));
    }
    ensure!(counts.iter().any(|(_, count)| *count > 0), "nothing is counted:\n{text}");
    Ok(counts)
}

/// The least number of requests that `work` needs, and which they are.
fn cost(client: &Client, work: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    cost_without("nothing", client, work)
}

/// The same of a push, which lists nothing: what is listed meanwhile is whether there are other replicas.
fn cost_of_push(client: &Client, work: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    cost_without("operation=\"list\"", client, work)
}

fn cost_without(skipped: &str, client: &Client, mut work: impl FnMut(u64) -> Result<()>) -> Result<(u64, String)> {
    let mut least: Option<(u64, String)> = None;
    for round in 0..ROUNDS {
        let before = asked(client)?;
        work(round)?;
        let mut kinds = Vec::new();
        let mut sum = 0;
        for (labels, after) in asked(client)? {
            let before = before.iter().find(|(found, _)| *found == labels).map_or(0, |(_, count)| *count);
            if after > before && !labels.contains(skipped) {
                kinds.push(format!("{} {labels}", after - before));
                sum += after - before;
            }
        }
        if least.as_ref().is_none_or(|(fewest, _)| sum < *fewest) {
            least = Some((sum, kinds.join("; ")));
        }
    }
    least.context("no round")
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

/// As Docker, Podman and crane do it: the digest comes when everything is there.
fn push_in_steps(client: &Client, repo: &str, image: &Image) -> Result<()> {
    for blob in &image.blobs {
        assert_eq!(client.head(&blob_path(repo, blob))?.status, 404);
        let taken = client.send("PATCH", &begin(client, repo)?, &[], blob)?;
        assert_eq!(taken.status, 202, "{}", taken.text());
        let put = with(taken.header("location"), &format!("digest={}", digest(blob)));
        assert_eq!(client.send("PUT", &put, &[], &[])?.status, 201);
    }
    client.push_manifest(repo, "v1", OCI_MANIFEST, &image.manifest)?;
    Ok(())
}

#[test]
fn pushes() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = start(&s3, "")?;
    let client = server.client();
    for layers in [1, 3, 8] {
        let pushed =
            cost_of_push(&client, |round| push(&client, &format!("a{layers}/r{round}"), &image(round, layers)))?;
        at_most(&format!("push of {layers} layers"), PER_BLOB * (layers as u64 + 1) + PER_MANIFEST, &pushed);
        let in_steps = cost_of_push(&client, |round| {
            push_in_steps(&client, &format!("b{layers}/r{round}"), &image(100 + round, layers))
        })?;
        let limit = PER_BLOB_IN_STEPS * layers as u64 + PER_CONFIG_IN_STEPS + PER_MANIFEST;
        at_most(&format!("push of {layers} layers in steps"), limit, &in_steps);
    }
    let again = cost_of_push(&client, |round| {
        client.push_manifest(&format!("a3/r{round}"), "v2", OCI_MANIFEST, &image(round, 3).manifest).map(drop)
    })?;
    at_most("another tag for an image of 3 layers", 2 * 4 + 8, &again);
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
    at_most("manifest by tag, cold", 3, &cost(&client, by_tag)?);
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
