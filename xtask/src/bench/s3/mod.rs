//! Both registries on a service that speaks S3, which is on the same disk.

mod delay;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cells::{Cell, Mode, Size, Work};
use super::measure::{self, Bench, Sample};
use super::peers::{Kind, Peer};
use super::plan::{self, PUSH, Plan};
use super::scripts::Push;
use super::special::mib;
use super::store;
use crate::load::{self, Budget, Client};
use crate::server::usage::{Watch, cpu, memory};
use crate::server::{Launch, Server, free_port};
use crate::tools;

const ACCESS: &str = "homeport-access";
const SECRET: &str = "homeport-secret-of-the-benchmarks";
const REGION: &str = "us-east-1";
/// What `.20ms` in the name of a cell means.
const DELAY: Duration = Duration::from_millis(20);

/// No upload is finished within [`UPLOAD_TIME`].
const UPLOAD_BYTES: u64 = 256 << 20;
const UPLOAD_TIME: Duration = Duration::from_secs(8);
/// Longer than Homeport waits for a sign of a process that is gone.
const SILENCE: Duration = Duration::from_secs(22);
/// A whole upload, even on a slow disk.
const WHOLE_LIMIT: Duration = Duration::from_secs(180);

/// What is asked of a registry on a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Push(Size, Mode),
    Manifests,
    Tags(Pages),
    Catalog(Pages),
    /// What one upload of 1 GiB adds to the memory.
    Upload,
    /// What many uploads at once add, all together.
    Uploads,
}

/// Which pages of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    /// Those that a fresh process has not seen.
    First,
    /// Those that it was asked for a moment ago.
    Again,
}

impl Part {
    /// The same on files.
    pub(super) fn work(self) -> Work {
        match self {
            Self::Push(size, mode) => Work::Push(size, mode),
            Self::Manifests => Work::ManifestPut(1),
            Self::Tags(_) => Work::TagsPage,
            Self::Catalog(_) => Work::CatalogPage,
            Self::Upload | Self::Uploads => Work::MemoryUpload,
        }
    }

    pub(super) fn applies(self, kind: Kind) -> bool {
        match self {
            Self::Upload | Self::Uploads => kind == Kind::Homeport,
            _ => matches!(kind, Kind::Homeport | Kind::Distribution),
        }
    }
}

/// The service, and the registries on it: one of each kind at a time, since two on one bucket would talk to each other.
pub(super) struct World {
    folder: PathBuf,
    service: Server,
    /// Another way to the service, which is longer.
    far: SocketAddr,
    peers: BTreeMap<Kind, (bool, Peer)>,
}

pub(super) fn measure(bench: &mut Bench, cell: &Cell, kind: Kind, part: Part, delayed: bool) -> Result<Sample> {
    let world = bench.s3.take().unwrap_or_else(|| World::start(bench).map_err(|error| format!("{error:#}")));
    let mut world = match world {
        Ok(world) => world,
        Err(error) => {
            // What has failed once fails again, and takes its time.
            bench.s3 = Some(Err(error.clone()));
            bail!(error);
        }
    };
    let sample = world.measure(bench, cell, kind, part, delayed);
    if sample.is_err() {
        world.peers.remove(&kind);
    }
    bench.s3 = Some(Ok(world));
    sample
}

impl World {
    fn start(bench: &Bench) -> Result<Self> {
        let folder = bench.folder.join("s3");
        let data = folder.join("data");
        for (kind, _) in bench.programs.iter().filter(|(kind, _)| matches!(kind, Kind::Homeport | Kind::Distribution)) {
            let bucket = data.join(kind.name());
            store::write_distribution(&bucket, &bench.content)?;
            if bench.s3_lists {
                store::write_lists(&bucket, &bench.content)?;
            }
        }
        let program = tools::find("versitygw").context("versitygw is not here; try `cargo xtask tools versitygw`")?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let args = ["--access", ACCESS, "--secret", SECRET, "--region", REGION, "--quiet", "--keep-alive", "--port"];
        let mut args: Vec<_> = args.iter().map(Into::into).collect();
        args.extend([address.into(), "posix".into(), data.into()]);
        let launch = Launch { program, args, port, log: folder.join("log") };
        // The address of a registry is none of a bucket: whatever the service says of it, it runs.
        let service = Server::start_when(&launch, |status| (400..500).contains(&status))?;
        let far =
            delay::start(SocketAddr::from(([127, 0, 0, 1], port)), DELAY).context("the long way to the service")?;
        Ok(Self { folder, service, far, peers: BTreeMap::new() })
    }

    fn measure(&mut self, bench: &mut Bench, cell: &Cell, kind: Kind, part: Part, delayed: bool) -> Result<Sample> {
        let root = self.root(kind);
        let peer = self.peer(bench, kind, delayed)?;
        let inner = Cell { work: part.work(), ..cell.clone() };
        match part {
            Part::Upload | Part::Uploads => {
                let sample = uploads(bench, cell.clients, part, peer);
                remove_uploads(&root);
                sample
            }
            Part::Tags(Pages::First) | Part::Catalog(Pages::First) => {
                peer.restart()?;
                measure::regular(bench, &inner, peer)
            }
            Part::Tags(Pages::Again) | Part::Catalog(Pages::Again) => {
                let port = peer.running()?.port;
                let mut plan = plan::plan(&inner, &bench.content, &mut Client::new(port), bench.seed)?;
                // What a process before this one has pushed counts as going on until its record is given up.
                let time = if kind == Kind::Homeport { SILENCE } else { Duration::ZERO };
                let all = Budget { time, least: plan::PAGES, limit: WHOLE_LIMIT };
                load::run(port, 1, all, plan.script.as_mut())?;
                measure::regular(bench, &inner, peer)
            }
            _ => measure::regular(bench, &inner, peer),
        }
    }

    fn root(&self, kind: Kind) -> PathBuf {
        self.folder.join("data").join(kind.name())
    }

    fn peer(&mut self, bench: &Bench, kind: Kind, delayed: bool) -> Result<&mut Peer> {
        if self.peers.get(&kind).is_none_or(|(known, _)| *known != delayed) {
            self.peers.remove(&kind);
            let folder = self.folder.join(format!("{}{}", kind.name(), if delayed { "-far" } else { "" }));
            fs::create_dir_all(&folder)?;
            let port = if delayed { self.far.port() } else { self.service.port };
            let storage = storage(kind, port);
            let peer = Peer::on(kind, bench.program(kind)?, &folder, self.root(kind), &storage)?;
            self.peers.insert(kind, (delayed, peer));
        }
        self.peers.get_mut(&kind).map(|(_, peer)| peer).context("it was just put there")
    }
}

/// Keys of `storage`. Bytes pass through, as they do where a client cannot reach the service.
fn storage(kind: Kind, port: u16) -> String {
    format!(
        "  s3:\n    accesskey: {ACCESS}\n    secretkey: {SECRET}\n    region: {REGION}\n    bucket: {}\n\
         \x20   regionendpoint: http://127.0.0.1:{port}\n    forcepathstyle: true\n    secure: false\n\
         \x20 redirect:\n    disable: true\n",
        kind.name()
    )
}

/// By how many MiB the memory of a fresh process grows.
fn uploads(bench: &Bench, clients: usize, part: Part, peer: &mut Peer) -> Result<Sample> {
    let server = peer.restart()?;
    let (port, pid) = (server.port, server.pid());
    let (size, budget) = match part {
        Part::Upload => (1 << 30, Budget { time: Duration::ZERO, least: 1, limit: WHOLE_LIMIT }),
        _ => (UPLOAD_BYTES, Budget { time: UPLOAD_TIME, least: clients, limit: UPLOAD_TIME }),
    };
    let (push, pushed) = Push::new(PUSH, size, Mode::Patch, clients, bench.seed);
    let mut plan = Plan::of(push);
    let before = memory(pid);
    let watch = Watch::start(pid);
    let outcome = load::run(port, clients, budget, plan.script.as_mut())?;
    let peak = watch.finish();
    let used = cpu(pid);
    // What was broken off goes on in the process for a while; the next cell begins with a fresh one.
    peer.server = None;
    peer.discard(PUSH, &pushed.take());
    Ok(Sample {
        value: mib(peak.saturating_sub(before)),
        peak_mib: mib(peak),
        cpu_us: used.as_secs_f64() * 1e6,
        operations: outcome.operations.max(1),
        ..Sample::default()
    })
}

/// Sessions that were broken off hold gigabytes: as objects, and as parts where this service keeps them.
fn remove_uploads(bucket: &Path) {
    for folder in [".sgwtmp", "homeport/v1/uploads", "homeport/v1/sessions"] {
        // What is not there, or not removable, is removed with the run's folder.
        let _ = fs::remove_dir_all(bucket.join(folder));
    }
}
