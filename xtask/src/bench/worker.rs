//! The process that measures.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::cells::{self, Cell};
use super::measure::{Bench, applies, measure};
use super::peers::{Kind, Peer};
use super::report::{self, Row};
use super::store::{Content, Needs};
use super::verdict::Results;
use super::{Args, places};
use crate::{load, tools};

/// For the stores and for what 64 pushes of 100 MiB leave until they are removed.
const ROOM: u64 = 16 << 30;

pub fn run(args: &Args) -> Result<bool> {
    end_with_the_caller();
    let chosen = cells::select(&args.cells, args.quick);
    let programs = programs(args)?;
    let base = args.dir.clone().unwrap_or_else(|| places::target().join("bench"));
    fs::create_dir_all(&base).with_context(|| format!("create {}", base.display()))?;
    check_room(&base)?;
    let folder = Folder::make(&base.canonicalize()?)?;
    let rows = measure_all(args, chosen, &programs, folder.path.path())?;

    let kinds: Vec<Kind> = programs.iter().map(|(kind, _)| *kind).collect();
    println!("\n{}", report::markdown(&rows, &kinds, kinds.contains(&Kind::Zot)));
    if let Some(path) = &args.json {
        report::write_json(path, &rows)?;
    }
    Ok(report::passed(&rows))
}

/// Whoever started us holds the other end of our input.
fn end_with_the_caller() {
    thread::spawn(|| {
        // Any end of the stream means the same.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        eprintln!("xtask: stopping");
        load::stop();
    });
}

/// The folder of one run: removed when it is dropped, on failure too.
struct Folder {
    path: tempfile::TempDir,
    /// Held as long as we live, so that the next run can tell what a killed one has left.
    _lock: File,
}

impl Folder {
    const PREFIX: &str = "run-";

    fn make(base: &Path) -> Result<Self> {
        for entry in fs::read_dir(base)? {
            let entry = entry?;
            let ours = entry.file_name().to_string_lossy().starts_with(Self::PREFIX);
            let left = ours && Self::lock(&entry.path()).is_ok();
            if left {
                eprintln!("removing {}, which a killed run has left", entry.path().display());
                fs::remove_dir_all(entry.path())?;
            }
        }
        let path = tempfile::Builder::new().prefix(Self::PREFIX).tempdir_in(base)?;
        let lock = Self::lock(path.path())?;
        Ok(Self { path, _lock: lock })
    }

    fn lock(folder: &Path) -> Result<File> {
        let file = File::create(folder.join("lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }
}

fn programs(args: &Args) -> Result<Vec<(Kind, PathBuf)>> {
    let mut programs = Vec::new();
    if !args.no_homeport {
        let built = places::target().join("release/homeport");
        programs.push((Kind::Homeport, args.homeport.clone().unwrap_or(built)));
    }
    for name in &args.peers {
        let (kind, program) = match name.as_str() {
            "distribution" => (Kind::Distribution, tools::find("distribution")),
            "zot" => (Kind::Zot, args.zot.clone().or_else(|| tools::find("zot"))),
            "nginx" => (Kind::Nginx, tools::find("nginx")),
            other => bail!("no peer named {other}; there are distribution, zot and nginx"),
        };
        match program {
            Some(path) => programs.push((kind, path)),
            None => eprintln!("{name} is not there and will not be measured; try `cargo xtask tools`"),
        }
    }
    for (kind, path) in &programs {
        if !path.is_file() {
            bail!("{}: there is no program {}", kind.name(), path.display());
        }
    }
    Ok(programs)
}

fn check_room(folder: &Path) -> Result<()> {
    let stat = rustix::fs::statvfs(folder).with_context(|| format!("look at {}", folder.display()))?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < ROOM {
        bail!("{} has {} GiB free, {} are needed; choose another --dir", folder.display(), free >> 30, ROOM >> 30);
    }
    Ok(())
}

fn measure_all(args: &Args, chosen: Vec<Cell>, programs: &[(Kind, PathBuf)], folder: &Path) -> Result<Vec<Row>> {
    let begun = Instant::now();
    let content = Content::make(&folder.join("content"), needs(&chosen))?;
    let mut peers = Vec::new();
    for (kind, program) in programs {
        let own = folder.join(kind.name());
        fs::create_dir_all(&own)?;
        peers.push(Peer::prepare(*kind, program, &own, &content)?);
    }
    settle();
    for peer in &mut peers {
        peer.running()?;
    }
    eprintln!("stores written and servers started in {:.0} s", begun.elapsed().as_secs_f64());
    let mut bench = Bench {
        s3_lists: chosen.iter().any(|cell| cell.work.lists_a_bucket()),
        content,
        quick: args.quick,
        folder: folder.to_owned(),
        programs: programs.to_vec(),
        verified: Default::default(),
        referrers: Default::default(),
        seed: 0,
        api: None,
        s3: None,
    };
    let mut rows: Vec<Row> = chosen.into_iter().map(|cell| Row { cell, results: Results::new() }).collect();
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 5 });
    for round in 0..rounds {
        for (index, row) in rows.iter_mut().enumerate() {
            measure_row(&mut bench, row, &mut peers, round as usize + index)?;
        }
        eprintln!("round {} of {rounds} done after {:.0} s", round + 1, begun.elapsed().as_secs_f64());
    }
    Ok(rows)
}

/// The servers in turn, beginning with another one each time.
fn measure_row(bench: &mut Bench, row: &mut Row, peers: &mut [Peer], turn: usize) -> Result<()> {
    let count = peers.len();
    for offset in 0..count {
        let peer = &mut peers[(turn + offset) % count];
        if !applies(&row.cell, peer.kind) {
            continue;
        }
        let sample = measure(bench, &row.cell, peer);
        if load::stopped() {
            bail!("stopped");
        }
        let series = row.results.entry(peer.kind).or_default();
        match sample {
            Ok(sample) => {
                let figures = report::brief(&row.cell, &sample);
                let (name, own) = (&row.cell.name, sample.generator_us);
                eprintln!("{name:<24} {:<9} {figures} (generator {own:.0} µs)", peer.kind.name());
                series.rounds.push(sample);
            }
            Err(error) => {
                eprintln!("{:<24} {:<9} {error:#}", row.cell.name, peer.kind.name());
                series.errors.push(format!("{error:#}"));
                // The next cell begins with a fresh process, whatever state this one is in.
                peer.server = None;
            }
        }
    }
    Ok(())
}

fn needs(cells: &[Cell]) -> Needs {
    cells.iter().map(Cell::needs).fold(Needs::default(), |all, one| Needs {
        large: all.large || one.large,
        huge: all.huge || one.huge,
        image: all.image || one.image,
        many: all.many || one.many,
        referrers: all.referrers || one.referrers,
    })
}

/// Lets the machine write back what the set-up has made, so that the first cell does not pay for it.
fn settle() {
    rustix::fs::sync();
    thread::sleep(Duration::from_millis(500));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_run_has_left_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let left = base.path().join("run-left");
        fs::create_dir(&left).unwrap();
        fs::create_dir(base.path().join("other")).unwrap();
        let first = Folder::make(base.path()).unwrap();
        let second = Folder::make(base.path()).unwrap();
        assert!(!left.exists());
        assert!(base.path().join("other").exists());
        assert!(first.path.path().exists() && second.path.path().exists());
    }
}
