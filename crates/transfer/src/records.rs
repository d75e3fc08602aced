//! Our own records beside distribution's tree.

use crate::each::each;
use crate::report::{Kind, add};
use crate::{Error, Job, Result, removal};
use content::layout;
use std::sync::Arc;
use storage::Batch;

/// Folders of records that are copied, and records; what else is there beside [`layout::PASSING`] is unknown.
const COPIED: &[&str] = &["aliases", "cluster", "namespaces", "referrers"];

/// Whose content the namespaces hold: before the content, so that nothing is ever there without its owner.
pub(crate) async fn owners(job: &Arc<Job>) -> Result<()> {
    find_unknown(job).await?;
    job.still_ours().await?;
    if job.mixed && differ(job, layout::CLUSTER).await? {
        return Err(Error::OtherCluster);
    }
    if job.source.record(layout::CLUSTER).await?.is_some() {
        copy(job, layout::CLUSTER).await?;
    }
    let names = job.source.names(layout::NAMESPACES).await?;
    let names: Vec<String> = names.iter().map(|name| name.text.to_owned()).collect();
    each(job.width(), names, |name| owner(Arc::clone(job), name)).await.map(drop)
}

/// A namespace of the same name but with another owner is another namespace: what the former one had must not be seen in it.
async fn owner(job: Arc<Job>, name: String) -> Result<()> {
    let key = layout::namespace(&name);
    if differ(&job, &key).await? {
        if job.mixed {
            return Err(Error::OtherOwner(name));
        }
        job.still_ours().await?;
        removal::namespace(&job, &name).await?;
    }
    copy(&job, &key).await
}

/// Before anything is changed: where there was something before, nothing of it is removed for the sake of an owner.
pub(crate) async fn refuse_other_owners(job: &Arc<Job>) -> Result<()> {
    if !job.mixed {
        return Ok(());
    }
    if differ(job, layout::CLUSTER).await? {
        return Err(Error::OtherCluster);
    }
    let (source, destination) =
        tokio::try_join!(job.source.names(layout::NAMESPACES), job.destination.names(layout::NAMESPACES))?;
    let both = source.iter().filter(|name| destination.contains(name.text)).map(|name| name.text.to_owned());
    let look = |name: String| {
        let job = Arc::clone(job);
        async move { if differ(&job, &layout::namespace(&name)).await? { Err(Error::OtherOwner(name)) } else { Ok(()) } }
    };
    each(job.width(), both, look).await.map(drop)
}

/// Both have the record, and not the same.
async fn differ(job: &Job, key: &str) -> Result<bool> {
    let (source, destination) = tokio::try_join!(job.source.record(key), job.destination.record(key))?;
    Ok(source.is_some() && destination.is_some() && source != destination)
}

/// Other names of blobs. They are of no use without the blobs, and nothing depends on them.
pub(crate) async fn aliases(job: &Arc<Job>) -> Result<()> {
    job.still_ours().await?;
    for algorithm in job.source.names(layout::ALIASES).await?.iter() {
        let prefix = format!("{}/{}", layout::ALIASES, algorithm.text);
        let shards = job.source.names(&prefix).await?;
        let shards: Vec<String> = shards.iter().map(|name| format!("{prefix}/{}", name.text)).collect();
        each(job.options.jobs, shards, |prefix| alias_shard(Arc::clone(job), prefix)).await?;
    }
    Ok(())
}

async fn alias_shard(job: Arc<Job>, prefix: String) -> Result<()> {
    let (source, destination) = tokio::try_join!(job.source.names(&prefix), job.destination.names(&prefix))?;
    for name in source.iter() {
        if destination.contains(name.text) && !job.options.verify {
            add(&job.progress.links_there, 1);
        } else {
            copy(&job, &format!("{prefix}/{}", name.text)).await?;
        }
    }
    Ok(())
}

/// Copies a record if it is another one.
pub(crate) async fn copy(job: &Job, key: &str) -> Result<()> {
    let (source, destination) = tokio::try_join!(job.source.record(key), job.destination.record(key))?;
    let Some(source) = source else { return Ok(()) };
    if destination.as_ref() == Some(&source) {
        add(&job.progress.links_there, 1);
        return Ok(());
    }
    if !job.options.dry_run {
        job.destination.apply(Batch::new().put(key, source)).await?;
    }
    add(&job.progress.links_copied, 1);
    Ok(())
}

async fn find_unknown(job: &Job) -> Result<()> {
    for (folder, known) in
        [(layout::ROOT, &["blobs", "repositories"][..]), (layout::RECORDS, &[COPIED, layout::PASSING].concat())]
    {
        for name in job.source.names(folder).await?.iter().filter(|name| !known.contains(&name.text)) {
            job.progress.find(Kind::Unknown, format!("{folder}/{}", name.text), "");
        }
    }
    Ok(())
}
