//! All blobs, whoever has them.

use crate::each::each;
use crate::report::{Kind, add};
use crate::{Job, Result};
use content::layout;
use oci::{Algorithm, Digest};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Content is stored under these.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

pub(crate) async fn copy(job: &Arc<Job>) -> Result<()> {
    let mut shards = Vec::new();
    for algorithm in ALGORITHMS {
        let prefix = layout::blobs(algorithm);
        for name in job.source.names(&prefix).await?.iter() {
            let shard = format!("{prefix}/{}", name.text);
            let digits = name.text.len() == 2 && name.text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if name.is_prefix && digits {
                shards.push((algorithm, shard));
            } else {
                job.progress.find(Kind::Unknown, shard, "");
            }
        }
    }
    job.progress.shards.store(shards.len() as u64, Ordering::Relaxed);
    let work = |(algorithm, prefix)| shard(Arc::clone(job), algorithm, prefix);
    each(job.options.jobs, shards, work).await.map(drop)
}

async fn shard(job: Arc<Job>, algorithm: Algorithm, prefix: String) -> Result<()> {
    let (names, there) = tokio::try_join!(job.source.names(&prefix), job.destination.names(&prefix))?;
    let mut digests = Vec::with_capacity(names.len());
    for name in names.iter() {
        match digest(algorithm, name.text) {
            Some(digest) if name.is_prefix => digests.push((digest, !there.contains(name.text))),
            _ => job.progress.find(Kind::Unknown, format!("{prefix}/{}", name.text), ""),
        }
    }
    let copy = |(digest, absent)| {
        let job = Arc::clone(&job);
        async move { job.data_unless(&digest, absent).await.map(drop) }
    };
    each(job.width(), digests, copy).await?;
    add(&job.progress.shards_done, 1);
    Ok(())
}

/// The digest of a name of digits.
pub(crate) fn digest(algorithm: Algorithm, hex: &str) -> Option<Digest> {
    Digest::parse(&[algorithm.name(), ":", hex].concat()).ok()
}
