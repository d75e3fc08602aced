//! The one binary: arguments, settings, wiring of tasks.

mod cli;
mod cmd;
mod logging;
mod settings;
mod wiring;

use std::process::ExitCode;

/// Small answers are most of the work: this allocator serves about a tenth more of them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
