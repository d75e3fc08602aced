//! Who refers to whom in a repository.

use crate::blobs::ALGORITHMS;
use crate::each::each;
use crate::known::Data;
use crate::report::{Kind, add};
use crate::{Job, Result};
use content::layout;
use oci::{Digest, RepoName};
use std::collections::HashSet;
use std::sync::Arc;

/// How the records of a repository differ at the two places.
#[derive(Default)]
pub(crate) struct Referrers {
    wanted: Vec<(Digest, String)>,
    /// At both.
    pub(crate) there: Vec<(Digest, String)>,
    pub(crate) gone: Vec<String>,
}

/// Reads the names of the records at both places.
pub(crate) async fn compare(job: &Arc<Job>, repo: RepoName<'_>) -> Result<Referrers> {
    let mut all = Referrers::default();
    for algorithm in ALGORITHMS {
        let prefix = layout::subjects(repo, algorithm);
        let (source, destination) = tokio::try_join!(job.source.names(&prefix), job.destination.names(&prefix))?;
        let subjects: HashSet<String> =
            source.iter().chain(destination.iter()).map(|name| format!("{prefix}/{}", name.text)).collect();
        let work = |prefix| subject(Arc::clone(job), prefix);
        for found in each(job.width(), subjects, work).await? {
            all.wanted.extend(found.wanted);
            all.there.extend(found.there);
            all.gone.extend(found.gone);
        }
    }
    Ok(all)
}

async fn subject(job: Arc<Job>, prefix: String) -> Result<Referrers> {
    let (source, destination) = tokio::try_join!(job.source.names(&prefix), job.destination.names(&prefix))?;
    let mut found = Referrers::default();
    for name in source.iter() {
        let key = format!("{prefix}/{}", name.text);
        match layout::parse_referrer(name.text) {
            None => job.progress.find(Kind::Unknown, key, ""),
            Some(digest) if destination.contains(name.text) && !job.options.verify => {
                add(&job.progress.links_there, 1);
                found.there.push((digest, key));
            }
            Some(digest) => found.wanted.push((digest, key)),
        }
    }
    let gone = destination.iter().filter(|name| !source.contains(name.text));
    found.gone = gone.map(|name| format!("{prefix}/{}", name.text)).collect();
    Ok(found)
}

impl Referrers {
    pub(crate) fn is_complete(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Copies what is wanted of manifests that are there.
    pub(crate) async fn write(&mut self, job: &Arc<Job>, revisions: &HashSet<Digest>) -> Result<()> {
        let (wanted, dangling): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.wanted).into_iter().partition(|(digest, _)| revisions.contains(digest));
        for (digest, key) in dangling {
            // A broken one has been told already.
            if job.known.get(&digest) != Some(Data::Broken) {
                job.progress.find(Kind::Dangling, key, "the source does not have the manifest");
            }
        }
        let copy = |(_, key): (Digest, String)| {
            let job = Arc::clone(job);
            async move { crate::records::copy(&job, &key).await }
        };
        each(job.width(), wanted, copy).await.map(drop)
    }
}
