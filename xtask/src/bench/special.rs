//! Cells that are more than requests to a running server: its start, its memory, passwords.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cells::{Cell, Mode, Work};
use super::measure::{Bench, Sample, timed, verify};
use super::peers::{Kind, Peer};
use super::plan::{self, PUSH, Plan};
use super::scripts::Push;
use super::store::{Content, Needs, TAGS};
use crate::load::{self, Budget, Client};
use crate::server::Server;
use crate::server::usage::{Watch, cpu, memory};

/// A user of the benchmarks only; the hash has cost 10.
const PASSWORDS: &str = "bench:$2y$10$zXcCHXRU8uBPHKESglVfc.UNfHivmOSbdpiXzKzRJ1LYvW7ypyszi\n";
/// `bench:bench-password`.
const AUTHORIZATION: &str = "Authorization: Basic YmVuY2g6YmVuY2gtcGFzc3dvcmQ=\r\n";

/// What a server does after its first answer belongs to its idle state.
const SETTLE: Duration = Duration::from_millis(500);
/// No upload is finished within [`TRANSFER_TIME`], and the room that is reserved for all of them is what a run asks for.
const UPLOAD_BYTES: u64 = 256 << 20;
/// Long enough for all transfers to be under way, and little enough on the disk.
const TRANSFER_TIME: Duration = Duration::from_secs(8);

/// From the start of the process to the first answer, with the large store.
pub(super) fn startup(peer: &mut Peer) -> Result<Sample> {
    let server = peer.restart()?;
    Ok(Sample {
        value: server.started_in.as_secs_f64() * 1e3,
        cpu_us: cpu(server.pid()).as_secs_f64() * 1e6,
        peak_mib: mib(memory(server.pid())),
        operations: 1,
        ..Sample::default()
    })
}

pub(super) fn memory_idle(bench: &Bench, kind: Kind) -> Result<Sample> {
    let folder = bench.folder.join(format!("idle{}", bench.seed));
    fs::create_dir_all(&folder)?;
    let mut peer = Peer::empty(kind, bench.program(kind)?, &folder, "")?;
    let server = peer.running()?;
    thread::sleep(SETTLE);
    Ok(of_memory(memory(server.pid()), server))
}

/// After a start with the large store and one look at each of its lists.
pub(super) fn memory_store(peer: &mut Peer) -> Result<Sample> {
    let server = peer.restart()?;
    let mut client = Client::new(server.port);
    for path in ["/v2/_catalog?n=100".to_owned(), format!("/v2/{TAGS}/tags/list?n=100")] {
        let reply = client.get(&path, "")?;
        if reply.status != 200 {
            bail!("{path}: status {}", reply.status);
        }
    }
    thread::sleep(SETTLE);
    Ok(of_memory(memory(server.pid()), server))
}

/// What each of many large transfers adds to the memory. They are broken off, not completed.
pub(super) fn memory_transfers(bench: &Bench, cell: &Cell, peer: &mut Peer) -> Result<Sample> {
    let server = peer.restart()?;
    let (port, pid) = (server.port, server.pid());
    let mut plan = match cell.work {
        Work::MemoryUpload => Plan::of(Push::new(PUSH, UPLOAD_BYTES, Mode::Patch, cell.clients, bench.seed).0),
        _ => plan::plan(cell, &bench.content, &mut Client::new(port), bench.seed)?,
    };
    let before = memory(pid);
    let watch = Watch::start(pid);
    let budget = Budget { time: TRANSFER_TIME, least: cell.clients, limit: TRANSFER_TIME };
    load::run(port, cell.clients, budget, plan.script.as_mut())?;
    let peak = watch.finish();
    let server = peer.restart()?;
    let mut sample = of_memory(peak, server);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let clients = cell.clients as f64;
    sample.value = mib(peak.saturating_sub(before)) / clients;
    remove_uploads(&peer.root);
    Ok(sample)
}

/// Sessions that were broken off hold gigabytes.
fn remove_uploads(root: &Path) {
    let uploads = root.join("docker/registry/v2/repositories").join(PUSH).join("_uploads");
    // What is not there, or not removable, is removed with the run's folder.
    let _ = fs::remove_dir_all(uploads);
}

/// Every request with a password, compared with the same requests without at the running server.
pub(super) fn basic(bench: &Bench, cell: &Cell, anonymous: &mut Peer) -> Result<Sample> {
    let folder = bench.folder.join(format!("basic{}", bench.seed));
    fs::create_dir_all(&folder)?;
    let passwords = folder.join("passwords");
    fs::write(&passwords, PASSWORDS)?;
    let auth = format!("auth:\n  htpasswd:\n    realm: bench\n    path: {}\n", passwords.display());
    let mut peer = Peer::empty(anonymous.kind, bench.program(anonymous.kind)?, &folder, &auth)?;
    let content = Content::make(&folder.join("content"), Needs::default())?;
    super::store::write_distribution(&peer.root, &content)?;

    let server = anonymous.running()?;
    let mut without = plan::reads(Work::Basic, &bench.content, "")?;
    let reference = timed(bench, cell, server.port, server.pid(), &mut without)?;
    let server = peer.running()?;
    let mut with = plan::reads(Work::Basic, &content, AUTHORIZATION)?;
    let mut client = Client::new(server.port);
    verify(&mut client, &with.checks)?;
    let refused = plan::reads(Work::Basic, &content, "")?;
    if verify(&mut client, &refused.checks).is_ok() {
        bail!("a request without the password was answered");
    }
    let sample = timed(bench, cell, server.port, server.pid(), &mut with)?;
    Ok(Sample { reference: Some(reference.value), ..sample })
}

fn of_memory(bytes: u64, server: &Server) -> Sample {
    Sample {
        value: mib(bytes),
        peak_mib: mib(bytes),
        cpu_us: cpu(server.pid()).as_secs_f64() * 1e6,
        operations: 1,
        ..Sample::default()
    }
}

pub(super) fn mib(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

impl Bench {
    pub(super) fn program(&self, kind: Kind) -> Result<&Path> {
        let program = self.programs.iter().find(|(known, _)| *known == kind);
        program.map(|(_, path)| path.as_path()).with_context(|| format!("no program of {}", kind.name()))
    }
}
