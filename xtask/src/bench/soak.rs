//! An hour of everything: memory must not grow.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cells::{Cell, Mode, Size, Work};
use super::measure::{Bench, Sample};
use super::peers::Peer;
use super::plan;
use crate::load::{self, Budget, Client};
use crate::server::usage::{cpu, memory};

const LENGTH: Duration = Duration::from_secs(3600);
/// The pauses between the bursts are as long as three of them: caches, buffers and connections are given back in between,
/// and whoever works on the machine can go on.
const BURST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(3);
/// Caches have bounds, and fill in the first third; of the rest, the first and the last sixth are compared.
const WARM_UP: usize = 3;
const PART: usize = 6;

/// What one burst does, in turn.
const WORKS: &[(Work, usize)] = &[
    (Work::ManifestGetTag, 8),
    (Work::BlobGet(Size::Small), 64),
    (Work::Push(Size::Large, Mode::Patch), 4),
    (Work::ManifestPut(8), 8),
    (Work::BlobGet(Size::Large), 8),
    (Work::Push(Size::Small, Mode::Put), 8),
    (Work::TagsPage, 8),
    (Work::CatalogPage, 1),
    (Work::ImagePull, 8),
];

/// The value is by how many MiB the median of the last part is above that of the first.
pub(super) fn soak(bench: &mut Bench, cell: &Cell, peer: &mut Peer) -> Result<Sample> {
    let server = peer.restart()?;
    let (port, pid) = (server.port, server.pid());
    let mut resident = Vec::new();
    let mut operations = 0;
    let begun = Instant::now();
    for (work, clients) in WORKS.iter().cycle() {
        if begun.elapsed() >= LENGTH || load::stopped() {
            break;
        }
        bench.seed += 1;
        let step = Cell { work: *work, clients: *clients, ..cell.clone() };
        let mut plan = plan::plan(&step, &bench.content, &mut Client::new(port), bench.seed)?;
        let budget = Budget { time: BURST, least: *clients, limit: Duration::from_secs(90) };
        operations += load::run(port, *clients, budget, plan.script.as_mut())?.operations;
        if let Some(pushed) = plan.pushed {
            peer.discard(plan::PUSH, &pushed.take());
        }
        thread::sleep(PAUSE);
        let bytes = memory(pid);
        resident.push(bytes);
        if resident.len() % (WORKS.len() * 10) == 0 {
            eprintln!("{:<24} {:>5} s {} MiB", cell.name, begun.elapsed().as_secs(), bytes >> 20);
        }
    }
    let peak = resident.iter().copied().max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Sample {
        value: mib(growth(&resident)),
        peak_mib: mib(peak),
        cpu_us: cpu(pid).as_secs_f64() * 1e6,
        operations,
        ..Sample::default()
    })
}

fn growth(resident: &[u64]) -> u64 {
    let samples = resident.get(resident.len() / WARM_UP..).unwrap_or_default();
    let part = (samples.len() / PART).max(1).min(samples.len());
    median(&samples[samples.len() - part..]).saturating_sub(median(&samples[..part]))
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_and_warm_up_is_not() {
        let warm = 0..30;
        let flat: Vec<u64> = warm.clone().chain([50; 60]).collect();
        assert_eq!(growth(&flat), 0);
        let leak: Vec<u64> = warm.chain(0..60).collect();
        assert_eq!(growth(&leak), 50);
        assert_eq!(growth(&[]), 0);
        assert_eq!(growth(&[7]), 0);
    }
}
