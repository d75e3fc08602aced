//! All repositories.

use crate::each::each;
use crate::gone::{self, Compared};
use crate::links::{self, Which};
use crate::report::{Kind, add};
use crate::side::Side;
use crate::{Job, Result, referrers, tags};
use content::layout;
use oci::RepoName;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Deeper names than a repository name can have parts do not exist.
const DEPTH_MAX: usize = 128;

/// Uploads of distribution on their way; of use to no other place.
const UPLOADS: &str = "_uploads";

/// Copies every repository; returns the names of all.
pub(crate) async fn copy(job: &Arc<Job>) -> Result<Vec<String>> {
    let (names, unknown) = walk(job, |job| &job.source).await?;
    for key in unknown {
        job.progress.find(Kind::Unknown, key, "");
    }
    job.progress.repositories.store(names.len() as u64, Ordering::Relaxed);
    let work = |name: String| {
        let job = Arc::clone(job);
        async move { repository(&job, &name).await }
    };
    each(job.options.jobs, names.clone(), work).await?;
    Ok(names)
}

/// What is named is read after what names it, and written before it; see the crate.
async fn repository(job: &Arc<Job>, name: &str) -> Result<()> {
    // The walk found names of repositories only.
    let Ok(repo) = RepoName::parse(name) else { return Ok(()) };
    let mut tags = tags::compare(job, repo).await?;
    let mut referrers = referrers::compare(job, repo).await?;
    let mut revisions = links::compare(job, repo, Which::Revisions).await?;
    let mut layers = links::compare(job, repo, Which::Layers).await?;
    if !(layers.is_complete() && revisions.is_complete() && referrers.is_complete() && tags.is_complete()) {
        job.still_ours().await?;
    }
    layers.write(job).await?;
    revisions.write(job).await?;
    referrers.write(job, &revisions.there).await?;
    tags.write(job, repo, &revisions.there).await?;
    if job.options.delete {
        gone::remove(job, repo, Compared { tags, referrers, revisions, layers }).await?;
    }
    add(&job.progress.repositories_done, 1);
    Ok(())
}

/// The names of the repositories of a place, and the keys of what is none.
pub(crate) async fn walk(job: &Arc<Job>, side: fn(&Job) -> &Side) -> Result<(Vec<String>, Vec<String>)> {
    let (mut names, mut unknown) = (Vec::new(), Vec::new());
    let mut level = vec![String::new()];
    for _ in 0..DEPTH_MAX {
        let look = |path: String| {
            let job = Arc::clone(job);
            async move { look(side(&job), path).await }
        };
        let found = each(job.width(), level, look).await?;
        level = Vec::new();
        for folder in found {
            names.extend(folder.repository);
            unknown.extend(folder.unknown);
            level.extend(folder.below);
        }
        if level.is_empty() {
            break;
        }
    }
    Ok((names, unknown))
}

#[derive(Default)]
struct Folder {
    repository: Option<String>,
    below: Vec<String>,
    unknown: Vec<String>,
}

async fn look(side: &Side, path: String) -> Result<Folder> {
    let key = if path.is_empty() { layout::REPOSITORIES.to_owned() } else { layout::repository(&path) };
    let mut folder = Folder::default();
    let mut is_repository = false;
    for name in side.names(&key).await?.iter() {
        let below = if path.is_empty() { name.text.to_owned() } else { format!("{path}/{}", name.text) };
        match name.text {
            layout::LAYERS | layout::MANIFESTS if name.is_prefix && !path.is_empty() => is_repository = true,
            UPLOADS if name.is_prefix && !path.is_empty() => {}
            _ if name.is_prefix && RepoName::parse(&below).is_ok() => folder.below.push(below),
            _ => folder.unknown.push(format!("{key}/{}", name.text)),
        }
    }
    folder.repository = is_repository.then_some(path);
    Ok(folder)
}
