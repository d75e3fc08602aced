//! Three registries on one storage: clients ask any of them at random, replicas are killed in the middle, and what was seen
//! must be what one registry could have shown.
//!
//! `HOMEPORT_REPLICAS_STEPS` sets how much each client does, `HOMEPORT_REPLICAS_KILLS` how many kills there are at least,
//! `HOMEPORT_REPLICAS_SEED` repeats a run (as far as threads and the disk allow), `HOMEPORT_TEST_STORAGE` names one more
//! storage to run on, see [`e2e::place`].

mod actor;
mod check;
mod cluster;
mod history;
mod known;
#[path = "../crash/random.rs"]
mod random;
mod steps;
mod upload;

use actor::Actor;
use anyhow::{Context, Result, anyhow};
use cluster::{Cluster, REPLICAS};
use e2e::place::Place;
use known::Known;
use random::Random;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

const CLIENTS: usize = 6;
const STEPS: usize = 50;
const KILLS: usize = 6;
const BETWEEN_KILLS_MS_MAX: usize = 1200;
/// Whatever happens, no more work begins after this.
const WORK_MAX: Duration = Duration::from_secs(240);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn size(name: &str, default: usize) -> usize {
    number(name).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
}

#[derive(Default, Debug)]
struct Totals {
    kills: usize,
    answered: usize,
    lost: usize,
    events: usize,
    blobs: usize,
    manifests: usize,
    objects: usize,
}

fn run(place: &Place, kills: usize) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let seed = number("HOMEPORT_REPLICAS_SEED").unwrap_or(u64::try_from(now & u128::from(u64::MAX))?);
    let totals = consistent(place, kills, seed).with_context(|| format!("HOMEPORT_REPLICAS_SEED={seed}"))?;
    println!("HOMEPORT_REPLICAS_SEED={seed} {totals:?}");
    Ok(())
}

fn consistent(place: &Place, kills: usize, seed: u64) -> Result<Totals> {
    let mut random = Random::new(seed);
    let (cluster, known) = (Cluster::start(place)?, Known::default());
    let steps = size("HOMEPORT_REPLICAS_STEPS", STEPS);
    let mut actors: Vec<Actor<'_>> = (0..CLIENTS).map(|_| Actor::new(&cluster, &known, random.next())).collect();
    let mut totals = Totals::default();
    let working = AtomicBool::new(true);
    std::thread::scope(|scope| -> Result<()> {
        let killer = scope.spawn(|| kill(&cluster, &working, kills, Random::new(seed)));
        let workers: Vec<_> = actors.iter_mut().map(|actor| scope.spawn(|| work(actor, steps, &working))).collect();
        let done: Vec<Result<()>> =
            workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a client panicked"))?).collect();
        working.store(false, Ordering::SeqCst);
        totals.kills = killer.join().map_err(|_| anyhow!("the killer panicked"))??;
        done.into_iter().collect()
    })?;
    totals.answered = actors.iter().map(|actor| actor.answered).sum();
    totals.lost = actors.iter().map(|actor| actor.lost).sum();
    let tags = check::served(&cluster, &known, place.has_locks())?;
    totals.events = check::explained(&known, place.has_locks())?;
    (totals.blobs, totals.manifests) = (known.blobs().len(), known.manifests());
    cluster.stop()?;
    if let Some(tree) = place.tree() {
        totals.objects = check::objects(tree, &tags, &known, totals.kills)?;
    }
    Ok(totals)
}

/// In pieces, so that a client that has failed ends the work of all.
fn work(actor: &mut Actor<'_>, steps: usize, working: &AtomicBool) -> Result<()> {
    let until = Instant::now() + WORK_MAX;
    for _ in 0..steps {
        if Instant::now() > until || !working.load(Ordering::SeqCst) {
            break;
        }
        if let Err(error) = actor.work(1) {
            working.store(false, Ordering::SeqCst);
            return Err(error);
        }
    }
    Ok(())
}

fn kill(cluster: &Cluster<'_>, working: &AtomicBool, kills: usize, mut random: Random) -> Result<usize> {
    for count in 0..kills {
        let pause = Duration::from_millis(100 + random.below(BETWEEN_KILLS_MS_MAX) as u64);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if !working.load(Ordering::SeqCst) {
                return Ok(count);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        cluster.kill(random.below(REPLICAS))?;
    }
    Ok(kills)
}

fn kills() -> usize {
    size("HOMEPORT_REPLICAS_KILLS", KILLS)
}

#[test]
fn replicas_on_s3_are_like_one() -> Result<()> {
    let Some(place) = Place::s3()? else { return Ok(()) };
    run(&place, kills())
}

#[test]
fn replicas_on_files_are_like_one() -> Result<()> {
    run(&Place::files()?, kills())
}

#[test]
fn replicas_on_a_named_storage_are_like_one() -> Result<()> {
    let Some(place) = Place::named()? else { return Ok(()) };
    run(&place, kills())
}
