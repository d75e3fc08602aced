//! `cargo xtask bench`: homeport against its peers, on the same machine in the same run.
//!
//! Two processes. The outer one builds optimised programs and waits; the inner one ([`worker`])
//! measures, in a process group of its own. When the outer one goes, by Ctrl-C or otherwise, the
//! inner one sees its input end, stops its servers and removes its folder.

mod api;
mod cells;
mod measure;
mod peers;
mod plan;
mod report;
mod s3;
mod scripts;
mod setup;
mod soak;
mod special;
mod store;
mod verdict;
pub mod worker;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::succeeds;
use crate::places;

#[derive(clap::Args, Clone)]
pub struct Args {
    /// Three short rounds instead of five, without the largest cells
    #[arg(long)]
    quick: bool,
    /// Only cells whose name begins with one of these; `*` stands for anything
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    cells: Vec<String>,
    /// How often every cell is measured
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Servers to compare with: distribution, zot, nginx
    #[arg(long, value_delimiter = ',', default_value = "distribution,zot,nginx")]
    peers: Vec<String>,
    /// A zot to compare with; without it, one that `cargo xtask tools zot` has built
    #[arg(long)]
    zot: Option<PathBuf>,
    /// A homeport to measure; without it, an optimised one is built
    #[arg(long)]
    homeport: Option<PathBuf>,
    /// Measure the peers only
    #[arg(long, conflicts_with = "homeport")]
    no_homeport: bool,
    /// Where the figures of every round go
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder for the temporary stores; several gigabytes
    #[arg(long)]
    dir: Option<PathBuf>,
    /// List the cells and measure nothing
    #[arg(long)]
    list: bool,
}

pub fn run(args: &Args) -> Result<bool> {
    let chosen = cells::select(&args.cells, args.quick);
    if args.list {
        chosen.iter().for_each(|cell| println!("{}", cell.name));
        return Ok(true);
    }
    if chosen.is_empty() {
        bail!("no cell matches; `cargo xtask bench --list` names them");
    }
    // A load generator that is not optimised would be what is measured.
    build("xtask")?;
    if args.homeport.is_none() && !args.no_homeport {
        build("homeport")?;
    }
    let mut command = Command::new(places::target().join("release/xtask"));
    command.arg("bench-worker").args(arguments());
    // The pipe is never written to: its end tells the worker that we are gone. Kept here, since
    // waiting would close it.
    let mut worker = command.stdin(Stdio::piped()).process_group(0).spawn().context("start the worker")?;
    let _alive = worker.stdin.take();
    Ok(worker.wait().context("wait for the worker")?.success())
}

/// Our own arguments, for the worker.
fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(2)
}

fn build(package: &str) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(places::workspace()).args(["build", "--release", "--quiet", "-p", package]);
    if !succeeds(&mut command)? {
        bail!("{package} does not build");
    }
    Ok(())
}
