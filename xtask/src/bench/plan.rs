//! From a cell to the script that runs it, and to what proves that the answers were right.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::cells::{Cell, Size, Work};
use super::scripts::{Beside, Push, Pushed, PutManifests, Rotate, Sequence};
use super::store::content::{HUGE, LARGE, MANIFEST_TYPE, SMALL, manifest_bytes};
use super::store::{self, Content, Manifest, READ, REPOSITORY_COUNT, TAG_COUNT, TAGS};
use crate::load::{Budget, Client, Exchange, Script, digest_text};

/// Where pushes go.
pub(super) const PUSH: &str = "bench/push";
const MIB: u64 = 1 << 20;

pub(super) struct Plan {
    pub(super) script: Box<dyn Script>,
    /// Requests whose answers are known: looked at before the timed section.
    pub(super) checks: Vec<(Exchange, String)>,
    /// Filled while the script runs.
    pub(super) pushed: Option<Pushed>,
}

impl Plan {
    pub(super) fn of(script: impl Script + 'static) -> Self {
        Self { script: Box::new(script), checks: Vec::new(), pushed: None }
    }
}

/// The plan of a cell that reads or pushes; `seed` makes its pushes unlike all others.
pub(super) fn plan(cell: &Cell, content: &Content, client: &mut Client, seed: u64) -> Result<Plan> {
    match cell.work {
        Work::Push(size, mode) => {
            let (push, pushed) = Push::new(PUSH, bytes(size), mode, cell.clients, seed);
            Ok(Plan { pushed: Some(pushed), ..Plan::of(push) })
        }
        Work::ManifestPut(count) => put_manifests(count, content, client, seed),
        Work::Mixed(pushers) => {
            let (push, pushed) = Push::new(PUSH, 10 * MIB, super::cells::Mode::Patch, cell.clients, seed);
            let pull = Sequence::new(image(content)?);
            Ok(Plan { pushed: Some(pushed), ..Plan::of(Beside { pushers, push, pull }) })
        }
        Work::ImagePull | Work::MemoryDownload | Work::Referrers => sequence(cell.work, content),
        _ => reads(cell.work, content, ""),
    }
}

pub(super) fn bytes(size: Size) -> u64 {
    match size {
        Size::Small => SMALL,
        Size::Large => LARGE,
        Size::Huge => HUGE,
    }
}

fn sequence(work: Work, content: &Content) -> Result<Plan> {
    let requests = match work {
        Work::ImagePull => image(content)?,
        Work::Referrers => vec![Exchange::get(&referrers_path(content)?, "", 200, None)],
        _ => content.huge.iter().map(|blob| get_blob(&blob.digest, blob.size)).collect(),
    };
    Ok(Plan::of(Sequence::new(requests)))
}

/// Requests in turn. `headers` go with each, a password for example.
pub(super) fn reads(work: Work, content: &Content, headers: &str) -> Result<Plan> {
    let manifests = format!("/v2/{READ}/manifests");
    let accept = format!("Accept: {MANIFEST_TYPE}\r\n{headers}");
    let get_manifest = |reference: &str, manifest: &Manifest| {
        let size = Some(manifest.bytes.len() as u64);
        Exchange::get(&format!("{manifests}/{reference}"), &accept, 200, size)
    };
    let stored = || content.manifests.iter();
    let requests: Vec<Exchange> = match work {
        Work::BlobHead => {
            let blobs = content.small.iter();
            blobs.map(|blob| Exchange::head(&format!("/v2/{READ}/blobs/{}", blob.digest), headers)).collect()
        }
        Work::ManifestHeadTag => (0..content.manifests.len())
            .map(|index| Exchange::head(&format!("{manifests}/{}", store::tag(index)), &accept))
            .collect(),
        Work::ManifestGetTag | Work::Basic => {
            stored().enumerate().map(|(index, manifest)| get_manifest(&store::tag(index), manifest)).collect()
        }
        Work::ManifestGetDigest => stored().map(|manifest| get_manifest(&manifest.digest, manifest)).collect(),
        Work::BlobGet(size) => {
            let blobs = match size {
                Size::Small => &content.small,
                Size::Large => &content.large,
                Size::Huge => &content.huge,
            };
            blobs.iter().map(|blob| get_blob(&blob.digest, blob.size)).collect()
        }
        Work::Range => return ranges(content),
        Work::TagsPage => pages(&format!("/v2/{TAGS}/tags/list"), TAG_COUNT, store::tag),
        Work::CatalogPage => pages("/v2/_catalog", REPOSITORY_COUNT, store::repository),
        Work::TagsFull => vec![Exchange::get(&format!("/v2/{TAGS}/tags/list"), "", 200, None)],
        other => bail!("{other:?} is no cell of plain reads"),
    };
    let checks = check_first(work, content, &requests);
    Ok(Plan { checks, ..Plan::of(Rotate::new(requests)) })
}

fn check_first(work: Work, content: &Content, requests: &[Exchange]) -> Vec<(Exchange, String)> {
    let digest = match work {
        Work::ManifestGetTag | Work::ManifestGetDigest | Work::Basic => {
            content.manifests.first().map(|manifest| &manifest.digest)
        }
        Work::BlobGet(Size::Small) => content.small.first().map(|blob| &blob.digest),
        Work::BlobGet(Size::Large) => content.large.first().map(|blob| &blob.digest),
        Work::BlobGet(Size::Huge) => content.huge.first().map(|blob| &blob.digest),
        _ => None,
    };
    requests.first().cloned().zip(digest.cloned()).into_iter().collect()
}

fn get_blob(digest: &str, size: u64) -> Exchange {
    Exchange::get(&format!("/v2/{READ}/blobs/{digest}"), "", 200, Some(size))
}

/// How many pages of a list are asked for.
pub(super) const PAGES: usize = 100;

/// Pages of a hundred, spread over the whole list.
fn pages(path: &str, count: usize, name: fn(usize) -> String) -> Vec<Exchange> {
    (0..PAGES)
        .map(|page| format!("{path}?n=100&last={}", name(page * (count / PAGES)).replace('/', "%2F")))
        .map(|path| Exchange::get(&path, "", 200, None))
        .collect()
}

fn ranges(content: &Content) -> Result<Plan> {
    let blob = content.huge.first().context("no large blob")?;
    let path = format!("/v2/{READ}/blobs/{}", blob.digest);
    // A step that visits all parts of the blob in an order that read-ahead does not guess.
    let starts = (0..256).map(|index| index * 389 % (HUGE / MIB) * MIB);
    let requests: Vec<Exchange> = starts
        .map(|start| format!("Range: bytes={start}-{}\r\n", start + MIB - 1))
        .map(|range| Exchange::get(&path, &range, 206, Some(MIB)))
        .collect();
    let mut first = vec![0; 1 << 20];
    File::open(content.file(&blob.digest))?.read_exact_at(&mut first, 0)?;
    let checks = vec![(requests[0].clone(), digest_text(&Sha256::digest(&first)))];
    Ok(Plan { checks, ..Plan::of(Rotate::new(requests)) })
}

fn image(content: &Content) -> Result<Vec<Exchange>> {
    let manifest = content.image.as_ref().context("no image")?;
    let accept = format!("Accept: {MANIFEST_TYPE}\r\n");
    let size = Some(manifest.bytes.len() as u64);
    let mut requests = vec![Exchange::get(&format!("/v2/{READ}/manifests/image"), &accept, 200, size)];
    requests.push(get_blob(&content.config.digest, content.config.size));
    requests.extend(content.layers.iter().map(|layer| get_blob(&layer.digest, layer.size)));
    Ok(requests)
}

pub(super) fn referrers_path(content: &Content) -> Result<String> {
    let subject = content.manifests.first().context("no subject")?;
    Ok(format!("/v2/{}/referrers/{}", store::REFERRERS, subject.digest))
}

/// Fresh repositories, so that every round begins with empty ones.
fn put_manifests(count: usize, content: &Content, client: &mut Client, seed: u64) -> Result<Plan> {
    const MARK: &str = "@unique@";
    let layer = content.small.first().context("no layer")?.clone();
    let names: Vec<String> = (0..count).map(|index| format!("bench/put{seed}x{index}")).collect();
    for name in &names {
        for blob in [&content.config, &layer] {
            let path = format!("/v2/{name}/blobs/uploads/?mount={}&from={READ}", blob.digest);
            let reply = client.send("POST", &path, "", b"")?;
            if reply.status != 201 {
                bail!("mounting a blob into {name}: status {}", reply.status);
            }
        }
    }
    // Unlike all that were put before: a manifest that is there already is another kind of work.
    let template = manifest_bytes(&content.config, &[layer], &format!("{seed} {MARK}"));
    Ok(Plan::of(PutManifests::new(names, &template, MARK, MANIFEST_TYPE)))
}

/// How long and how often, so that a cell of the whole table takes about two seconds.
pub(super) fn budget(cell: &Cell, quick: bool) -> Budget {
    let least = match (cell.work, cell.clients) {
        (Work::Push(Size::Huge, _), _) | (Work::ImagePull, _) => 2,
        (Work::BlobGet(Size::Huge), clients) => clients.max(2),
        (Work::Push(Size::Large, _), 1) => 4,
        (Work::Push(Size::Large, _), clients) => clients.max(16),
        (Work::BlobGet(Size::Large), clients) => clients * 3,
        // Every client once, so that pulls and pushes are always beside each other.
        (Work::Mixed(_), clients) => clients,
        _ => 3,
    };
    let time = match cell.work {
        Work::Push(Size::Large | Size::Huge, _) => Duration::ZERO,
        _ if quick => Duration::from_millis(700),
        _ => Duration::from_secs(2),
    };
    // The slowest of the known figures, 64 pushes of 100 MiB, takes about ten seconds.
    Budget { time, least, limit: Duration::from_secs(90) }
}
