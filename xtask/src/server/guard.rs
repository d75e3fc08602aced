//! `xtask guard PROGRAM ARGS`: the program, bound to the life of whoever started it.
//!
//! The kernel sends the signal when the parent is gone, so that no server outlives the harness
//! whatever ends it. The process id stays the same, since the program replaces this one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

#[derive(clap::Args)]
#[command(trailing_var_arg = true)]
pub struct Args {
    /// The process that is expected to be the parent
    #[arg(long)]
    parent: i32,
    /// The program and its arguments
    #[arg(required = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub fn run(args: &Args) -> Result<bool> {
    // TERM, not KILL: a server with workers of its own must be able to end them.
    set_parent_process_death_signal(Some(Signal::TERM)).context("bind to the parent")?;
    if getppid().map(rustix::process::Pid::as_raw_pid) != Some(args.parent) {
        // The parent went before we were bound to it.
        return Ok(false);
    }
    let (program, rest) = args.command.split_first().context("no program")?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
