//! What says that a destination is a copy, and of what.
//!
//! It keeps a wrong `--to` from mixing two registries, and `--delete` from removing what was pushed to the new registry: a
//! registry that writes removes the mark ([`forget`]), and a copy that no longer finds its own ends.

use crate::side::Side;
use crate::{Error, Job, Options, Result};
use bytes::Bytes;
use content::layout;
use oci::Algorithm;
use serde::{Deserialize, Serialize};
use storage::{Batch, Driver, ErrorKind, INLINE_MAX};
use uuid::Uuid;

#[derive(Serialize, Deserialize)]
struct Mark {
    /// Which place the source is.
    from: String,
    /// Of this run: whoever finds it at the source has found the destination.
    run: Uuid,
    /// There was something else before the first copy.
    mixed: bool,
}

/// What there is before a copy.
pub(crate) struct Found {
    /// The mark of this run.
    pub(crate) mark: Bytes,
    pub(crate) mixed: bool,
    /// There is a mark already.
    pub(crate) is_marked: bool,
    pub(crate) was_empty: bool,
}

/// Looks at both places.
pub(crate) async fn look(source: &Side, destination: &Side, options: &Options) -> Result<Found> {
    if !has_images(source).await? {
        return Err(Error::NothingThere(options.from.clone()));
    }
    let old = destination.record(layout::COPIED).await?;
    let (is_marked, was_empty) = (old.is_some(), !has_images(destination).await?);
    let old: Option<Mark> = old.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mixed = if was_empty {
        false
    } else {
        match old {
            Some(old) if old.from == options.from => old.mixed,
            _ if options.into_existing => true,
            Some(old) => return Err(Error::OtherSource(old.from)),
            None => return Err(Error::NotEmpty),
        }
    };
    if mixed && options.delete {
        return Err(Error::MixedDelete);
    }
    let mark = Mark { from: options.from.clone(), run: Uuid::new_v4(), mixed };
    // Three plain fields are always JSON.
    let mark = Bytes::from(serde_json::to_vec(&mark).unwrap_or_default());
    Ok(Found { mark, mixed, is_marked, was_empty })
}

/// Marks the destination.
pub(crate) async fn write(job: &Job, is_marked: bool) -> Result<()> {
    if job.options.dry_run {
        return Ok(());
    }
    let (batch, mark) = (Batch::new(), job.mark.clone());
    let batch = if is_marked { batch.put(layout::COPIED, mark) } else { batch.create(layout::COPIED, mark) };
    match job.destination.apply(batch).await {
        Err(Error::Storage { error, .. }) if error.kind == ErrorKind::Conflict => return Err(Error::TakenOver),
        other => other?,
    }
    if job.source.record(layout::COPIED).await?.as_ref() == Some(&job.mark) {
        job.destination.apply(Batch::new().delete(layout::COPIED)).await?;
        return Err(Error::SamePlace);
    }
    Ok(())
}

impl Job {
    /// To be asked before what is at the destination is overwritten or removed: it may be another's by now.
    pub(crate) async fn still_ours(&self) -> Result<()> {
        if self.options.dry_run || self.destination.record(layout::COPIED).await?.as_ref() == Some(&self.mark) {
            return Ok(());
        }
        Err(Error::TakenOver)
    }
}

async fn has_images(side: &Side) -> Result<bool> {
    for prefix in [layout::REPOSITORIES.to_owned(), layout::blobs(Algorithm::Sha256), layout::blobs(Algorithm::Sha512)]
    {
        if side.is_prefix(&prefix).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// From now on this is no copy any more but a registry of its own. To be called before one writes, and again and again while
/// it does: a copy that is begun there ends then. Says whether there was a mark.
///
/// # Errors
/// Storage failed.
pub async fn forget(driver: &dyn Driver) -> storage::Result<bool> {
    match driver.get(layout::COPIED, INLINE_MAX).await {
        Ok(_) => driver.apply(Batch::new().delete(layout::COPIED)).await.map(|()| true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
