//! Copies what a registry has stored from one place to another, whatever they are, while it is being served.
//!
//! The destination is sound at every moment, whenever the copy is cut and whatever clients do at the source: a link is
//! written after the bytes that it names. To get there a repository is read from the top to the bottom, tags, referrers,
//! manifests, blobs, so that all that is named by what was read is read later; and it is written from the bottom to the top.
//!
//! Nothing is remembered but a mark at the destination: what is there already is found by listing both sides. Bytes are
//! hashed on their way, and what is not what its name says stays behind.

mod blob;
mod blobs;
mod each;
mod error;
mod gone;
mod known;
mod links;
mod mark;
mod records;
mod referrers;
mod removal;
mod report;
mod repositories;
mod side;
mod tags;

pub use error::{Error, Result};
pub use mark::forget as forget_mark;
pub use report::{Finding, Kind, Progress, Report};

use bytes::Bytes;
use known::Known;
use side::Side;
use std::sync::Arc;
use storage::{BufferPool, Driver};
use tokio::sync::Semaphore;

/// Requests for small things under way at once, for each large object that may be.
const SMALL_PER_JOB: usize = 8;

/// Buffers that wait for their next use, for each large object under way.
const BUFFERS_PER_JOB: usize = 4;

/// What to copy, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which place the source is, in words that are the same the next time.
    pub from: String,
    /// Large objects under way at once.
    pub jobs: usize,
    /// What is gone at the source goes at the destination: repositories, tags, links and records, but no bytes.
    pub delete: bool,
    /// Changes nothing, and reads no bytes of blobs.
    pub dry_run: bool,
    /// What is there already is read and compared, not believed.
    pub verify: bool,
    /// The destination may hold what was not copied there.
    pub into_existing: bool,
}

/// One copy on its way.
struct Job {
    source: Side,
    destination: Side,
    options: Options,
    /// What the destination says while it is this run's.
    mark: Bytes,
    /// The destination had something else before the first copy.
    mixed: bool,
    progress: Arc<Progress>,
    known: Known,
    large: Semaphore,
    small: Semaphore,
    buffers: Arc<BufferPool>,
}

impl Job {
    /// How many small things to have in hand at once.
    fn width(&self) -> usize {
        self.options.jobs.saturating_mul(SMALL_PER_JOB)
    }
}

/// Copies everything that the destination lacks. It may be repeated, and cut at any point.
///
/// The caller closes both drivers, after an error too.
///
/// # Errors
/// See [`Error`]. Damaged content of the source is no error but a part of the report.
pub async fn copy(
    source: Arc<dyn Driver>,
    destination: Arc<dyn Driver>,
    options: Options,
    progress: Arc<Progress>,
) -> Result<Report> {
    let jobs = options.jobs.max(1);
    let requests = jobs.saturating_mul(SMALL_PER_JOB);
    let (source, destination) = (Side::source(source, requests), Side::destination(destination, requests));
    let found = mark::look(&source, &destination, &options).await?;
    // What comes to an empty place while it is being filled is not the copy's to remove.
    let options = Options { jobs, delete: options.delete && !found.was_empty, ..options };
    let job = Arc::new(Job {
        source,
        destination,
        mark: found.mark,
        mixed: found.mixed,
        known: Known::default(),
        large: Semaphore::new(jobs),
        small: Semaphore::new(requests),
        buffers: BufferPool::new(jobs.saturating_mul(BUFFERS_PER_JOB)),
        progress: Arc::clone(&progress),
        options,
    });
    records::refuse_other_owners(&job).await?;
    mark::write(&job, found.is_marked).await?;
    blobs::copy(&job).await?;
    records::owners(&job).await?;
    let names = repositories::copy(&job).await?;
    records::aliases(&job).await?;
    if job.options.delete {
        removal::repositories(&job, &names).await?;
        removal::owners(&job).await?;
    }
    Ok(progress.report())
}

#[cfg(test)]
mod tests;
