//! `kill -9` at random moments while clients push and delete: after each restart everything that was acknowledged is there,
//! what was deleted stays deleted, and nothing is half there.
//!
//! `HOMEPORT_CRASH_ROUNDS` sets the number of kills under load, `HOMEPORT_CRASH_SEED` repeats a run (as far as threads and
//! the disk allow).

mod actor;
mod check;
mod known;
mod random;

use actor::{Actor, Target};
use anyhow::{Context, Result, anyhow, ensure};
use check::Depth;
use e2e::Server;
use random::Random;
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

const ROUNDS: usize = 8;
/// After so many rounds the folder is checked as a whole, and a new one begins.
const ROUNDS_PER_FOLDER: usize = 20;
const CLIENTS: usize = 4;
const LIFE_MS_MAX: usize = 700;
const PURGE_MAX: Duration = Duration::from_secs(90);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[derive(Default, Debug)]
struct Totals {
    kills: usize,
    kills_while_starting: usize,
    acknowledged: usize,
    blobs_hashed: usize,
}

#[test]
fn nothing_acknowledged_is_lost() -> Result<()> {
    let rounds = number("HOMEPORT_CRASH_ROUNDS").and_then(|rounds| usize::try_from(rounds).ok()).unwrap_or(ROUNDS);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let seed = number("HOMEPORT_CRASH_SEED").unwrap_or(u64::try_from(now & u128::from(u64::MAX))?);
    let mut random = Random::new(seed);
    let mut totals = Totals::default();
    let mut left = rounds;
    while left > 0 {
        let count = left.min(ROUNDS_PER_FOLDER);
        folder(&mut random, count, &mut totals).with_context(|| format!("HOMEPORT_CRASH_SEED={seed}, {totals:?}"))?;
        left -= count;
    }
    println!("{totals:?}");
    Ok(())
}

fn start(data: &Path) -> Result<Server> {
    // A line for each request would hide the ones that matter.
    Server::builder().data(data).env("REGISTRY_LOG_ACCESSLOG_DISABLED", "true").start()
}

/// Some rounds on one folder.
fn folder(random: &mut Random, rounds: usize, totals: &mut Totals) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut actors: Vec<Actor> = (0..CLIENTS).map(|id| Actor::new(id, random.next())).collect();
    let mut hashed = HashSet::new();
    let mut server = start(&data)?;
    for round in 0..rounds {
        let life = Duration::from_millis(random.below(LIFE_MS_MAX) as u64);
        server = load_and_kill(server, &mut actors, life, &data, random, totals)?;
        check::check(&server.client(), &mut actors, Depth::Fresh)
            .and_then(|()| check::tree(&data, &mut hashed))
            .map(|count| totals.blobs_hashed += count)
            .with_context(|| format!("after round {round}, killed after {life:?}; log:\n{}", server.log()))?;
    }
    check::check(&server.client(), &mut actors, Depth::Everything).context("at the end")?;
    server.stop()?;
    check::clean(&data)?;
    totals.blobs_hashed += check::tree(&data, &mut HashSet::new())?;
    totals.acknowledged += actors.iter().map(|actor| actor.acknowledged).sum::<usize>();
    purge(&data, &mut actors)
}

/// Lets the clients work for a while, kills the server, and starts it again.
fn load_and_kill(
    server: Server,
    actors: &mut [Actor],
    life: Duration,
    data: &Path,
    random: &mut Random,
    totals: &mut Totals,
) -> Result<Server> {
    let program = std::fs::read_link(format!("/proc/{}/exe", server.pid()))?;
    let target = Target::new(server.client());
    std::thread::scope(|scope| {
        let workers: Vec<_> = actors.iter_mut().map(|actor| scope.spawn(|| actor.work(&target))).collect();
        std::thread::sleep(life);
        target.killed.store(true, Ordering::SeqCst);
        let log = server.log();
        let killed = server.kill();
        for worker in workers {
            let result = worker.join().map_err(|_| anyhow!("a client panicked"))?;
            result.with_context(|| format!("before the kill; log:\n{log}"))?;
        }
        killed
    })?;
    totals.kills += 1;
    // A repair can be killed too.
    while random.one_in(3) {
        let mut starting = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(random.below(40) as u64));
        starting.kill()?;
        starting.wait()?;
        totals.kills_while_starting += 1;
    }
    start(data)
}

/// What the kills left of uploads ends with time; nothing else does.
fn purge(data: &Path, actors: &mut [Actor]) -> Result<()> {
    let config = "version: 0.1\nstorage:\n  filesystem: {}\n  delete:\n    enabled: true\n  maintenance:\n    uploadpurging:\n      enabled: true\n      age: 1s\n      interval: 1s\n";
    let server = Server::builder().config(config).data(data).start()?;
    let until = Instant::now() + PURGE_MAX;
    while !check::uploads(data)?.is_empty() {
        ensure!(Instant::now() < until, "never purged: {:?}\n{}", check::uploads(data)?, server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    check::check(&server.client(), actors, Depth::Everything).context("after the purge")?;
    server.stop()?;
    check::clean(data)
}
