//! `homeport storage copy`

mod origin;
mod outcome;
mod progress;

use crate::logging::Logging;
use crate::settings::{self, Level, Log, Settings};
use crate::wiring::Storage;
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use transfer::{Options, Progress, Report};

/// More at once is no faster anywhere, and each has buffers.
const JOBS_MAX: u16 = 256;

#[derive(Args)]
pub(crate) struct Copy {
    /// Configuration file with the storage to copy from
    #[arg(long, value_name = "CONFIG")]
    from: PathBuf,
    /// Configuration file with the storage to copy to
    #[arg(long, value_name = "CONFIG")]
    to: PathBuf,
    /// Remove at the destination what is gone at the source: repositories, tags and links, but no bytes of blobs
    #[arg(long)]
    delete: bool,
    /// Only tell what would be copied and removed; blobs are not read
    #[arg(long)]
    dry_run: bool,
    /// Read again what is at the destination already, and replace what is damaged there
    #[arg(long)]
    verify: bool,
    /// Add to a destination that is not empty and no copy
    #[arg(long)]
    into_existing: bool,
    /// Large blobs to copy at once; of small requests there are eight times as many
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(JOBS_MAX)))]
    jobs: u16,
    /// How to print the result
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Copies; true when the destination is complete.
pub(crate) fn copy(arguments: Copy) -> anyhow::Result<bool> {
    let (from, to) = (load(&arguments.from)?, load(&arguments.to)?);
    Logging::start(&Log { level: Level::Warn, ..to.log.clone() })?;
    net::install_provider();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let progress = Arc::new(Progress::default());
    let shown = progress::Shown::start(&progress)?;
    let report = runtime.block_on(run(&arguments, &from, &to, progress));
    shown.end();
    let report = report?;
    let text = match arguments.output {
        Format::Text => outcome::text(&report, arguments.dry_run, &arguments.to),
        Format::Json => outcome::json(&report)?,
    };
    super::print(&text)?;
    Ok(report.is_complete())
}

fn load(path: &Path) -> anyhow::Result<Settings> {
    let (settings, warnings) = settings::load_storage(path)?;
    for warning in warnings {
        super::complain(&anyhow::anyhow!("warning: {warning}"));
    }
    Ok(settings)
}

async fn run(arguments: &Copy, from: &Settings, to: &Settings, progress: Arc<Progress>) -> anyhow::Result<Report> {
    let options = Options {
        from: origin::name(&from.storage.driver),
        jobs: arguments.jobs.into(),
        delete: arguments.delete,
        dry_run: arguments.dry_run,
        verify: arguments.verify,
        into_existing: arguments.into_existing,
    };
    let source = Storage::open_to_read(from).await.context("--from")?;
    let open = if arguments.dry_run { Storage::open_to_look(to).await } else { Storage::open_to_fill(to).await };
    let destination = open.context("--to")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let result = tokio::select! {
        result = transfer::copy(Arc::clone(&source), Arc::clone(&destination), options, progress) => {
            result.map_err(anyhow::Error::from)
        }
        _ = terminate.recv() => Err(anyhow::anyhow!("stopped by a signal; the next run goes on")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("stopped by a signal; the next run goes on")),
    };
    let closed = destination.close().await;
    drop(source.close().await);
    let report = result?;
    closed.context("cannot leave the destination in order; the next run or start repairs it")?;
    Ok(report)
}
