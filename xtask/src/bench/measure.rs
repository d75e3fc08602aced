//! One cell on one server.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::api::{self, Api};
use super::cells::{Cell, Unit, Work};
use super::peers::{Kind, Peer};
use super::plan::{self, PUSH, Plan};
use super::store::Content;
use super::{s3, setup, soak, special};
use crate::load::{self, Client, Exchange, Outcome};
use crate::server::usage::{Watch, cpu, own_cpu};

/// The figures of one round.
#[derive(Clone, Default, Serialize)]
pub(super) struct Sample {
    /// In the cell's unit.
    pub(super) value: f64,
    pub(super) p99_ms: f64,
    pub(super) peak_mib: f64,
    /// Processor time of the server per operation.
    pub(super) cpu_us: f64,
    /// Processor time of the load generator per operation: what the figures must not be about.
    pub(super) generator_us: f64,
    pub(super) operations: usize,
    /// What the value is compared with, where that is not another server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<f64>,
}

/// What all measurements of a run share.
pub(super) struct Bench {
    pub(super) content: Content,
    pub(super) quick: bool,
    /// The run's own folder.
    pub(super) folder: PathBuf,
    /// The program under test, for cells that start their own instance.
    pub(super) programs: Vec<(Kind, PathBuf)>,
    /// Cells whose content has been verified on a server.
    pub(super) verified: HashSet<(String, Kind)>,
    /// Servers that have the referrers.
    pub(super) referrers: HashSet<Kind>,
    pub(super) seed: u64,
    /// The cluster and the stores of the cells that need one; made by the first of them.
    pub(super) api: Option<Result<Api, String>>,
    /// The registries on a bucket; made by the first cell of theirs.
    pub(super) s3: Option<Result<s3::World, String>>,
    /// A chosen cell asks them for lists.
    pub(super) s3_lists: bool,
}

/// Whether the cell says anything about this kind of server.
pub(super) fn applies(cell: &Cell, kind: Kind) -> bool {
    match cell.work {
        Work::S3(part, _) => part.applies(kind),
        Work::Referrers => matches!(kind, Kind::Homeport | Kind::Zot),
        Work::Basic | Work::MemoryUpload | Work::MemoryDownload | Work::Soak | Work::Api(_) => kind == Kind::Homeport,
        Work::BlobHead
        | Work::ManifestHeadTag
        | Work::ManifestGetTag
        | Work::ManifestGetDigest
        | Work::BlobGet(_)
        | Work::Range
        | Work::ImagePull => true,
        _ => kind.is_registry(),
    }
}

pub(super) fn measure(bench: &mut Bench, cell: &Cell, peer: &mut Peer) -> Result<Sample> {
    bench.seed += 1;
    match cell.work {
        Work::Startup => special::startup(peer),
        Work::MemoryIdle => special::memory_idle(bench, peer.kind),
        Work::MemoryStore => special::memory_store(peer),
        Work::MemoryUpload | Work::MemoryDownload => special::memory_transfers(bench, cell, peer),
        Work::Basic => special::basic(bench, cell, peer),
        Work::Soak => soak::soak(bench, cell, peer),
        Work::Api(part) => api::measure(bench, part),
        Work::S3(part, delayed) => s3::measure(bench, cell, peer.kind, part, delayed),
        _ => regular(bench, cell, peer),
    }
}

pub(super) fn regular(bench: &mut Bench, cell: &Cell, peer: &mut Peer) -> Result<Sample> {
    let server = peer.running()?;
    let (port, pid) = (server.port, server.pid());
    let mut client = Client::new(port);
    if cell.work == Work::Referrers && !bench.referrers.contains(&peer.kind) {
        setup::referrers(&bench.content, &mut client)?;
        bench.referrers.insert(peer.kind);
    }
    let mut plan = plan::plan(cell, &bench.content, &mut client, bench.seed)?;
    let first = bench.verified.insert((cell.name.clone(), peer.kind));
    if first {
        verify(&mut client, &plan.checks)?;
    }
    let sample = timed(bench, cell, port, pid, &mut plan)?;
    if let Some(pushed) = plan.pushed {
        let digests = pushed.take();
        if first {
            let sample = digests.first().context("nothing was pushed")?;
            let get = Exchange::get(&format!("/v2/{PUSH}/blobs/{sample}"), "", 200, None);
            verify(&mut client, &[(get, sample.clone())])?;
        }
        if !matches!(cell.work, Work::Push(super::cells::Size::Small, _)) {
            peer.discard(PUSH, &digests);
        }
    }
    Ok(sample)
}

/// The timed section with what the server used in it.
pub(super) fn timed(bench: &Bench, cell: &Cell, port: u16, pid: u32, plan: &mut Plan) -> Result<Sample> {
    let budget = plan::budget(cell, bench.quick);
    if plan.pushed.is_none() && !budget.time.is_zero() {
        let warm = load::Budget { time: Duration::from_millis(150), least: 1, ..budget };
        load::run(port, cell.clients, warm, plan.script.as_mut())?;
    }
    let (before, own, watch) = (cpu(pid), own_cpu(), Watch::start(pid));
    let outcome = load::run(port, cell.clients, budget, plan.script.as_mut())?;
    let (used, own) = (cpu(pid).saturating_sub(before), own_cpu().saturating_sub(own));
    if outcome.operations == 0 {
        bail!("nothing was done within {} s", budget.limit.as_secs());
    }
    let mut sample = sample(cell, &outcome, used, watch.finish());
    sample.generator_us = sample.cpu_us * own.as_secs_f64() / used.as_secs_f64().max(1e-6);
    Ok(sample)
}

fn sample(cell: &Cell, outcome: &Outcome, cpu: Duration, peak: u64) -> Sample {
    let seconds = outcome.elapsed.as_secs_f64().max(1e-6);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (operations, bytes, peak) = (outcome.operations as f64, outcome.bytes as f64, peak as f64);
    let value = match cell.unit() {
        Unit::Megabytes => bytes / seconds / 1e6,
        _ => operations / seconds,
    };
    Sample {
        value,
        p99_ms: outcome.p99().as_secs_f64() * 1e3,
        peak_mib: peak / f64::from(1 << 20),
        cpu_us: cpu.as_secs_f64() * 1e6 / operations,
        generator_us: 0.0,
        operations: outcome.operations,
        reference: None,
    }
}

/// Asks outside the timed section and compares the content with its digest.
pub(super) fn verify(client: &mut Client, checks: &[(Exchange, String)]) -> Result<()> {
    for (exchange, digest) in checks {
        let reply = client.ask(exchange)?;
        if reply.status != exchange.status || reply.digest != *digest {
            bail!("wrong content: status {}, {} bytes, {} instead of {digest}", reply.status, reply.size, reply.digest);
        }
    }
    Ok(())
}
