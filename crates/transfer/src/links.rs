//! What a repository has: the links to its blobs and manifests.

use crate::blobs::{ALGORITHMS, digest};
use crate::each::each;
use crate::known::Data;
use crate::report::{Kind, add};
use crate::{Job, Result};
use content::layout;
use oci::{Algorithm, Digest, RepoName};
use std::collections::HashSet;
use std::sync::Arc;
use storage::Batch;

/// Which links.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    Layers,
    Revisions,
}

impl Which {
    fn prefix(self, repo: RepoName<'_>, algorithm: Algorithm) -> String {
        match self {
            Self::Layers => layout::layers(repo, algorithm),
            Self::Revisions => layout::revisions(repo, algorithm),
        }
    }

    fn key(self, repo: RepoName<'_>, digest: &Digest) -> String {
        match self {
            Self::Layers => layout::layer_link(repo, digest),
            Self::Revisions => layout::revision_link(repo, digest),
        }
    }
}

/// How the links of a repository differ at the two places.
#[derive(Default)]
pub(crate) struct Links {
    /// To be copied.
    wanted: Vec<(Digest, String)>,
    /// At both.
    pub(crate) there: HashSet<Digest>,
    /// Those that only the destination has, with their keys.
    pub(crate) gone: Vec<(Digest, String)>,
    /// All that the source named.
    named: HashSet<Digest>,
    /// At the destination there is one that is damaged at the source.
    pub(crate) outlives: bool,
}

/// Reads the names of the links at both places.
pub(crate) async fn compare(job: &Job, repo: RepoName<'_>, which: Which) -> Result<Links> {
    let mut links = Links::default();
    for algorithm in ALGORITHMS {
        let prefix = which.prefix(repo, algorithm);
        let (source, destination) =
            tokio::try_join!(job.source.holders(&prefix, "link"), job.destination.holders(&prefix, "link"))?;
        let mut known: HashSet<Digest> = destination.whole.iter().filter_map(|name| digest(algorithm, name)).collect();
        for name in source.whole {
            let Some(digest) = digest(algorithm, &name) else {
                job.progress.find(Kind::Unknown, format!("{prefix}/{name}"), "");
                continue;
            };
            links.named.insert(digest);
            if known.remove(&digest) && !job.options.verify {
                links.there.insert(digest);
            } else {
                links.wanted.push((digest, which.key(repo, &digest)));
            }
        }
        for digest in source.empty.iter().filter_map(|name| digest(algorithm, name)) {
            links.named.insert(digest);
            if known.remove(&digest) {
                links.there.insert(digest);
                links.outlives = true;
            }
        }
        links.gone.extend(known.into_iter().map(|digest| (digest, which.key(repo, &digest))));
    }
    add(&job.progress.links_there, links.there.len() as u64);
    Ok(links)
}

impl Links {
    pub(crate) fn is_complete(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The source no longer names all that it named, or again something that was gone.
    pub(crate) async fn have_moved(&self, job: &Job, repo: RepoName<'_>, which: Which) -> Result<bool> {
        let mut now = HashSet::new();
        for algorithm in ALGORITHMS {
            let holders = job.source.holders(&which.prefix(repo, algorithm), "link").await?;
            now.extend(holders.whole.iter().chain(&holders.empty).filter_map(|name| digest(algorithm, name)));
        }
        Ok(!self.named.is_subset(&now) || self.gone.iter().any(|(digest, _)| now.contains(digest)))
    }

    /// Copies what is wanted; then `there` is all that both have.
    pub(crate) async fn write(&mut self, job: &Arc<Job>) -> Result<()> {
        let copy = |(digest, key): (Digest, String)| {
            let job = Arc::clone(job);
            async move { Ok(copy(&job, &key).await?.then_some(digest)) }
        };
        let written = each(job.width(), std::mem::take(&mut self.wanted), copy).await?;
        self.there.extend(written.into_iter().flatten());
        Ok(())
    }
}

/// Copies a link whose data is at the destination, or can be brought there; says whether it is there now.
async fn copy(job: &Job, key: &str) -> Result<bool> {
    let link = match job.source.link(key).await? {
        Some(Ok(link)) => link,
        Some(Err(_)) => {
            job.progress.find(Kind::Dangling, key, "the link is damaged");
            return Ok(false);
        }
        None => return Ok(false),
    };
    match job.data(&link.digest).await? {
        Data::There => {}
        Data::Missing => {
            job.progress.find(Kind::Dangling, key, "the source does not have what it names");
            return Ok(false);
        }
        // Told already, with the blob.
        Data::Broken => return Ok(false),
    }
    if job.options.verify && job.destination.link(key).await? == Some(Ok(link.clone())) {
        add(&job.progress.links_there, 1);
        return Ok(true);
    }
    if !job.options.dry_run {
        job.destination.apply(Batch::new().keep(key, link.text)).await?;
    }
    add(&job.progress.links_copied, 1);
    Ok(true)
}
