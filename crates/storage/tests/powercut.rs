//! A power cut at any moment loses nothing that was acknowledged.
//!
//! The driver runs under an observer that records every change of the disk and every promise. A model of a disk (see
//! [`disk`]) then builds what may be left of it after a cut at some event, the driver is started on that, and every
//! promise is checked. `HOMEPORT_POWERCUT_ROUNDS` multiplies the number of states, `HOMEPORT_POWERCUT_SEED` selects them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "assertions")]

#[path = "powercut/check.rs"]
mod check;
#[path = "powercut/disk.rs"]
mod disk;
#[path = "powercut/random.rs"]
mod random;
#[path = "powercut/recorder.rs"]
mod recorder;
#[path = "powercut/workload.rs"]
mod workload;

use check::{Verdict, check, check_keys, check_plain, folder, open};
use disk::{Disk, Fate, Snapshot, describe, put_in_order};
use random::Random;
use recorder::{Log, Recorder, is_journal};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use storage::fs::{DiskEvent, FsDriver, FsOptions};
use storage::{Batch, Driver};
use tokio::runtime::Runtime;

fn rounds() -> usize {
    std::env::var("HOMEPORT_POWERCUT_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn seed() -> u64 {
    let chosen = std::env::var("HOMEPORT_POWERCUT_SEED").ok().and_then(|text| text.parse().ok());
    chosen.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs `work` on an empty folder and returns what happened.
fn record<F: Future<Output = ()>>(work: impl FnOnce(Arc<FsDriver>, Arc<Recorder>) -> F) -> Log {
    let dir = folder();
    let recorder = Arc::new(Recorder::slow());
    let runtime = runtime();
    let driver = Arc::new(open(dir.path(), Some(Arc::clone(&recorder))).unwrap());
    runtime.block_on(work(Arc::clone(&driver), Arc::clone(&recorder)));
    let mut log = recorder.log().clone();
    drop(driver);
    put_in_order(&Snapshot::empty(), &mut log);
    log
}

/// Cuts to try: after promises, where there is most to lose, and anywhere.
fn cuts(log: &Log, random: &mut Random, count: usize) -> Vec<usize> {
    let promises = log.promises();
    let mut cuts: Vec<usize> = (0..count)
        .map(|index| match index % 2 {
            0 if !promises.is_empty() => promises[random.below(promises.len())],
            _ => random.below(log.events.len() + 1),
        })
        .collect();
    cuts.push(log.events.len());
    cuts
}

struct Trial<'a> {
    runtime: &'a Runtime,
    name: &'a str,
    base: &'a Snapshot,
    /// What is cut.
    events: &'a [DiskEvent],
    /// What was promised, and until when.
    promises: &'a Log,
    random: Random,
    seed: u64,
    checked: usize,
}

impl Trial<'_> {
    /// Checks states after a cut; `promised`: the position in the log of promises.
    fn cut(&mut self, cut: usize, promised: usize, states: usize) -> Verdict {
        let disk = Disk::new(self.base, &self.events[..cut]);
        for fates in disk.states(&mut self.random, states) {
            let dir = folder();
            disk.build(&fates, dir.path());
            self.checked += 1;
            self.runtime
                .block_on(check(dir.path(), self.promises, promised, self.checked.is_multiple_of(4)))
                .map_err(|text| self.explain(cut, &fates, &text))?;
        }
        Ok(())
    }

    fn explain(&self, cut: usize, fates: &[Fate], text: &str) -> String {
        let tail = self.events[cut.saturating_sub(25)..cut].iter().map(describe).collect::<Vec<_>>().join("\n  ");
        let fates = &fates[fates.len().saturating_sub(30)..];
        let (name, seed, of) = (self.name, self.seed, self.events.len());
        format!("{name}, seed {seed}, cut at {cut} of {of}: {text}\nlast events:\n  {tail}\nlast fates: {fates:?}")
    }
}

/// Checks `count` cuts with some states each; the number of states that passed, or the first violation.
fn search(name: &str, log: &Log, count: usize, states: usize) -> Result<usize, String> {
    let seed = seed();
    let (runtime, base) = (runtime(), Snapshot::empty());
    let random = Random::new(seed);
    let mut trial =
        Trial { runtime: &runtime, name, base: &base, events: &log.events, promises: log, random, seed, checked: 0 };
    for cut in cuts(log, &mut Random::new(seed + 1), count) {
        trial.cut(cut, cut, states)?;
    }
    Ok(trial.checked)
}

fn assert_safe(name: &str, log: &Log, count: usize, states: usize) {
    match search(name, log, count * rounds(), states) {
        Ok(checked) => {
            println!("{name}: {} events, {} promises, {checked} states", log.events.len(), log.promises().len())
        }
        Err(text) => panic!("{text}"),
    }
}

#[test]
fn small_changes_survive() {
    assert_safe("registry", &record(workload::registry), 35, 5);
}

#[test]
fn few_changes_survive_in_every_order() {
    assert_safe("sequence", &record(workload::sequence), 15, 5);
}

#[test]
fn large_objects_survive() {
    assert_safe("large objects", &record(workload::large), 35, 5);
}

#[test]
fn changes_survive_exchanges_of_the_log() {
    assert_safe("exchanges", &record(workload::exchanges), 35, 5);
}

/// Processes come and go, and write the same keys in turn.
#[test]
fn changes_of_several_processes_survive() {
    let (dir, recorder) = (folder(), Arc::new(Recorder::slow()));
    runtime().block_on(workload::several(dir.path().to_owned(), Arc::clone(&recorder)));
    let mut log = recorder.log().clone();
    put_in_order(&Snapshot::empty(), &mut log);
    assert_safe("several processes", &log, 60, 5);
}

#[test]
fn a_closed_folder_needs_no_log() {
    let log = record(|driver, recorder| async move {
        workload::registry(Arc::clone(&driver), Arc::clone(&recorder)).await;
        workload::large(Arc::clone(&driver), recorder).await;
        driver.close().await.unwrap();
    });
    let (base, mut random) = (Snapshot::empty(), Random::new(seed()));
    let runtime = runtime();
    let _context = runtime.enter();
    let disk = Disk::new(&base, &log.events);
    for fates in disk.states(&mut random, 10) {
        let dir = folder();
        disk.build(&fates, dir.path());
        check_plain(dir.path()).unwrap();
        let options = FsOptions { read_only: true, ..FsOptions::new(dir.path()) };
        check_keys(&FsDriver::open(options).unwrap(), dir.path(), &log.allowed(log.events.len())).unwrap();
    }
    assert_safe("close", &log, 10, 5);
}

/// A power cut during the repair after a power cut.
#[test]
fn a_repair_survives_a_cut() {
    let (runtime, seed) = (runtime(), seed());
    let mut random = Random::new(seed);
    let (mut checked, mut with_two_segments) = (0, 0);
    for log in [record(workload::exchanges), record(workload::registry)] {
        let mut cuts = cuts(&log, &mut random, 5 * rounds());
        let both = log.promises_in_two_segments();
        with_two_segments += both.len();
        cuts.extend(both.iter().rev().take(6 * rounds()));
        for cut in cuts {
            let (base, repair) = repair(&log, cut, &mut random);
            let name = format!("repair after a cut at {cut}");
            let mut trial = Trial {
                runtime: &runtime,
                name: &name,
                base: &base,
                events: &repair,
                promises: &log,
                random: Random::new(random.next()),
                seed,
                checked: 0,
            };
            for index in 0..4 {
                // The removal of the log is at the end.
                let back = random.below(if index % 2 == 0 { repair.len().min(10) } else { repair.len() } + 1);
                trial.cut(repair.len() - back, cut, 2).unwrap_or_else(|text| panic!("{text}"));
            }
            checked += trial.checked;
        }
    }
    println!("repair: {checked} states");
    assert!(with_two_segments > 0, "the log was never exchanged under load");
}

/// A state after a cut, and what its repair does.
fn repair(log: &Log, cut: usize, random: &mut Random) -> (Snapshot, Vec<DiskEvent>) {
    let empty = Snapshot::empty();
    let disk = Disk::new(&empty, &log.events[..cut]);
    let mut states = disk.states(random, 2);
    let state = states.swap_remove(random.below(states.len()));
    let dir = folder();
    disk.build(&state, dir.path());
    let base = Snapshot::read(dir.path());
    let recorder = Arc::new(Recorder::default());
    drop(open(dir.path(), Some(Arc::clone(&recorder))).unwrap());
    let events = recorder.log().events.clone();
    let of_locks = |event: &DiskEvent| match event {
        DiskEvent::MakeDir { .. } => true,
        DiskEvent::Write { data, .. } => data.is_empty(),
        _ => false,
    };
    assert!(!base.is_empty() || events.iter().all(of_locks));
    (base, events)
}

/// A repair that is killed is repeated by the next start, on the same run of the machine.
#[test]
fn a_repair_survives_a_kill() {
    let runtime = runtime();
    let mut random = Random::new(seed());
    let log = record(workload::exchanges);
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("dies here on purpose") {
            eprintln!("{text}");
        }
    }));
    let mut killed = 0;
    for cut in cuts(&log, &mut random, 10 * rounds()) {
        let empty = Snapshot::empty();
        let disk = Disk::new(&empty, &log.events[..cut]);
        for fates in disk.states(&mut random, 2).into_iter().skip(1).take(4) {
            let dir = folder();
            disk.build(&fates, dir.path());
            for _ in 0..2 {
                let recorder = Arc::new(Recorder::dying_at(random.below(60)));
                let opened = std::panic::catch_unwind(AssertUnwindSafe(|| open(dir.path(), Some(recorder))));
                killed += usize::from(opened.is_err());
            }
            runtime
                .block_on(check(dir.path(), &log, cut, true))
                .unwrap_or_else(|text| panic!("killed repair after a cut at {cut}: {text}\n{fates:?}"));
        }
    }
    println!("repair: {killed} kills");
}

/// A folder may move to a machine that was started before the records were written, as volumes of a cluster do.
#[test]
fn a_moved_volume_is_repaired() {
    let dir = folder();
    let runtime = runtime();
    let driver = open(dir.path(), None).unwrap();
    runtime.block_on(driver.apply(Batch::new().put("tag/link", "right").keep("blob/data", "content"))).unwrap();
    drop(driver);
    for (key, torn) in [("tag/link", [0; 5].as_slice()), ("blob/data", &[0; 7])] {
        let file = std::fs::File::options().write(true).open(dir.path().join(key)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, torn, 0).unwrap();
        file.set_modified(modified).unwrap();
    }
    let driver = open(dir.path(), None).unwrap();
    assert_eq!(&runtime.block_on(driver.get("tag/link", 10)).unwrap()[..], b"right");
    assert_eq!(&runtime.block_on(driver.get("blob/data", 10)).unwrap()[..], b"content");
}

/// The test can fail: without one kind of sync it does.
#[test]
fn every_sync_is_needed() {
    let exchanges = record(workload::exchanges);
    let large = record(workload::large);
    type Filter = fn(&DiskEvent) -> bool;
    let mutations: [(&str, &Log, Filter); 5] = [
        ("no sync of the log", &exchanges, |event| {
            matches!(event, DiskEvent::SyncAll { .. })
                || matches!(event, DiskEvent::SyncFile { path, .. } if is_journal(path))
        }),
        (
            "no sync of records",
            &exchanges,
            |event| matches!(event, DiskEvent::SyncFile { path, .. } if is_journal(path)),
        ),
        ("no sync before the log is emptied", &exchanges, |event| matches!(event, DiskEvent::SyncAll { .. })),
        (
            "no sync of large objects",
            &large,
            |event| matches!(event, DiskEvent::SyncFile { path, .. } if path.starts_with("homeport/v1/uploads/")),
        ),
        ("no sync of directories", &large, |event| matches!(event, DiskEvent::SyncDir { .. })),
    ];
    for (name, log, skipped) in mutations {
        let mut log = log.clone();
        for event in &mut log.events {
            let skipped = skipped(event);
            match event {
                DiskEvent::SyncFile { before, .. }
                | DiskEvent::SyncDir { before, .. }
                | DiskEvent::SyncAll { before }
                    if skipped =>
                {
                    *before = 0;
                }
                _ => {}
            }
        }
        assert!(search(name, &log, 40, 5).is_err(), "{name}: not noticed");
    }
}
