//! What is gone at the source. Bytes of blobs stay: they may be another's, and the garbage collection knows.

use crate::each::each;
use crate::report::add;
use crate::repositories::walk;
use crate::{Error, Job, Result};
use content::layout;
use oci::RepoName;
use std::collections::HashSet;
use std::sync::Arc;
use storage::{Batch, Op};

/// Removes repositories that the source does not have: neither among `names` nor now. A source without any is rather a wrong one.
pub(crate) async fn repositories(job: &Arc<Job>, names: &[String]) -> Result<()> {
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    let (found, _) = walk(job, |job| &job.destination).await?;
    if names.is_empty() && !found.is_empty() {
        return Err(Error::NoRepositories);
    }
    for name in found.iter().filter(|name| !there.contains(name.as_str())) {
        let [manifests, layers] = [layout::MANIFESTS, layout::LAYERS].map(|part| repository_part(name, part));
        // Pushed after the names were read.
        if job.source.is_prefix(&manifests).await? || job.source.is_prefix(&layers).await? {
            continue;
        }
        let Ok(repo) = RepoName::parse(name) else { continue };
        let referrers = crate::blobs::ALGORITHMS.map(|algorithm| layout::subjects(repo, algorithm));
        let mut batch = Batch::new().delete_tree(manifests);
        for tree in referrers {
            batch = batch.delete_tree(tree);
        }
        job.still_ours().await?;
        remove(job, batch.delete_tree(layers)).await?;
    }
    Ok(())
}

fn repository_part(name: &str, part: &str) -> String {
    format!("{}/{part}", layout::repository(name))
}

/// Removes the records of namespaces that the source does not have.
pub(crate) async fn owners(job: &Arc<Job>) -> Result<()> {
    let (source, destination) =
        tokio::try_join!(job.source.names(layout::NAMESPACES), job.destination.names(layout::NAMESPACES))?;
    let gone = destination.iter().filter(|name| !source.contains(name.text));
    job.still_ours().await?;
    objects(job, gone.map(|name| layout::namespace(name.text)).collect()).await
}

/// Removes everything that a namespace has.
pub(crate) async fn namespace(job: &Job, name: &str) -> Result<()> {
    let batch = Batch::new().delete_tree(layout::repository(name)).delete_tree(layout::namespace_referrers(name));
    remove(job, batch).await
}

pub(crate) async fn trees(job: &Arc<Job>, prefixes: Vec<String>) -> Result<()> {
    batches(job, prefixes.into_iter().map(|prefix| Op::DeleteTree { prefix })).await
}

pub(crate) async fn objects(job: &Arc<Job>, keys: Vec<String>) -> Result<()> {
    batches(job, keys.into_iter().map(|key| Op::Delete { key })).await
}

async fn batches(job: &Arc<Job>, ops: impl Iterator<Item = Op>) -> Result<()> {
    let work = |op| {
        let job = Arc::clone(job);
        async move { remove(&job, Batch { ops: vec![op], ..Batch::new() }).await }
    };
    each(job.width(), ops, work).await.map(drop)
}

async fn remove(job: &Job, batch: Batch) -> Result<()> {
    if !job.options.dry_run {
        job.destination.apply(batch).await?;
    }
    add(&job.progress.removed, 1);
    Ok(())
}
