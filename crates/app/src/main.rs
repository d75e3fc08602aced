//! The one binary: arguments, settings, wiring of tasks.

mod cli;
mod cmd;
mod environment;
mod logging;
mod settings;
mod wiring;

use std::process::ExitCode;

/// Small answers are most of the work: this allocator serves about a tenth more of them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Buffers of uploads come and go by the megabyte; in huge pages they take half as much memory again. Kernels without
    // huge pages do not know the call.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    cli::run()
}
