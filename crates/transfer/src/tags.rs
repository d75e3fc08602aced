//! Tags, and what they have been.

use crate::blobs::{ALGORITHMS, digest};
use crate::each::each;
use crate::known::Data;
use crate::report::{Kind, add};
use crate::side::Link;
use crate::{Job, Result};
use bytes::Bytes;
use content::layout;
use oci::{Algorithm, Digest, RepoName, Tag};
use std::collections::HashSet;
use std::sync::Arc;
use storage::Batch;

/// Changes of one batch at most.
const OPS_MAX: usize = 64;

/// How the tags of a repository differ at the two places.
#[derive(Default)]
pub(crate) struct Tags {
    wanted: Vec<(String, Link)>,
    /// What those name that are the same at both.
    pub(crate) same: Vec<(String, Digest)>,
    /// Those that only the destination has.
    pub(crate) gone: Vec<String>,
    /// All of the destination.
    there: HashSet<String>,
    /// One of the destination could not be replaced by what the source has.
    pub(crate) outlives: bool,
}

enum State {
    Wanted(Link),
    Same(Digest),
    /// It cannot be read at the source.
    Damaged,
    /// There is no such tag at the source, whatever the list says.
    None,
}

/// Reads the tags of the source, and compares them.
pub(crate) async fn compare(job: &Arc<Job>, repo: RepoName<'_>) -> Result<Tags> {
    let prefix = layout::tags(repo);
    let (source, destination) = tokio::try_join!(job.source.names(&prefix), job.destination.names(&prefix))?;
    let mut names = Vec::with_capacity(source.len());
    for name in source.iter() {
        match Tag::parse(name.text) {
            Ok(_) if name.is_prefix => names.push(name.text.to_owned()),
            _ => job.progress.find(Kind::Unknown, format!("{prefix}/{}", name.text), ""),
        }
    }
    let look = |name: String| {
        let (job, key) = (Arc::clone(job), format!("{prefix}/{name}/current/link"));
        let there = destination.contains(&name);
        async move { Ok((state(&job, &key, there).await?, name)) }
    };
    let (mut tags, mut alive) = (Tags::default(), HashSet::new());
    for (state, name) in each(job.width(), names, look).await? {
        match state {
            State::Wanted(link) => {
                alive.insert(name.clone());
                tags.wanted.push((name, link));
            }
            State::Same(digest) => {
                add(&job.progress.tags_there, 1);
                alive.insert(name.clone());
                tags.same.push((name, digest));
            }
            State::Damaged => {
                tags.outlives |= destination.contains(&name);
                alive.insert(name);
            }
            State::None => {}
        }
    }
    let gone = destination.iter().filter(|name| !alive.contains(name.text) && Tag::parse(name.text).is_ok());
    tags.gone = gone.map(|name| name.text.to_owned()).collect();
    tags.there = destination.iter().map(|name| name.text.to_owned()).collect();
    Ok(tags)
}

async fn state(job: &Job, key: &str, there: bool) -> Result<State> {
    let link = match job.source.link(key).await? {
        Some(Ok(link)) => link,
        Some(Err(_)) => {
            job.progress.find(Kind::Dangling, key, "the link is damaged");
            return Ok(State::Damaged);
        }
        None => return Ok(State::None),
    };
    let same = there && !job.options.verify && job.destination.link(key).await? == Some(Ok(link.clone()));
    Ok(if same { State::Same(link.digest) } else { State::Wanted(link) })
}

impl Tags {
    pub(crate) fn is_complete(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Sets the tags whose manifests are there.
    pub(crate) async fn write(
        &mut self,
        job: &Arc<Job>,
        repo: RepoName<'_>,
        revisions: &HashSet<Digest>,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for (name, link) in std::mem::take(&mut self.wanted) {
            if revisions.contains(&link.digest) {
                wanted.push((name, link));
                continue;
            }
            self.outlives |= self.there.contains(&name);
            if job.known.get(&link.digest) != Some(Data::Broken) {
                let key = format!("{}/{name}", layout::tags(repo));
                job.progress.find(Kind::Dangling, key, "the source does not have its manifest");
            }
        }
        let set = |(name, link): (String, Link)| {
            let (job, repo) = (Arc::clone(job), repo.as_str().to_owned());
            async move { set(&job, &repo, &name, link).await }
        };
        each(job.width(), wanted, set).await.map(drop)
    }
}

/// What the tag has been goes first: when the tag is the same at both places, so is what was read of that with it.
async fn set(job: &Job, repo: &str, name: &str, link: Link) -> Result<()> {
    // Both were parsed before.
    let (Ok(repo), Ok(tag)) = (RepoName::parse(repo), Tag::parse(name)) else { return Ok(()) };
    let mut batch = Batch::new();
    for algorithm in ALGORITHMS {
        for (key, text) in history(job, repo, tag, algorithm).await? {
            batch = batch.keep(key, text);
            add(&job.progress.links_copied, 1);
            if batch.ops.len() >= OPS_MAX {
                apply(job, std::mem::take(&mut batch)).await?;
            }
        }
    }
    let key = layout::tag_current(repo, tag);
    if job.options.verify && job.destination.link(&key).await? == Some(Ok(link.clone())) {
        add(&job.progress.tags_there, 1);
        return apply(job, batch).await;
    }
    apply(job, batch.put(key, link.text)).await?;
    add(&job.progress.tags_copied, 1);
    Ok(())
}

/// What of the history of a tag the destination lacks.
async fn history(job: &Job, repo: RepoName<'_>, tag: Tag<'_>, algorithm: Algorithm) -> Result<Vec<(String, Bytes)>> {
    let prefix = layout::tag_indexes(repo, tag, algorithm);
    let (source, destination) =
        tokio::try_join!(job.source.holders(&prefix, "link"), job.destination.holders(&prefix, "link"))?;
    let there: HashSet<String> = destination.whole.into_iter().collect();
    let mut lacking = Vec::new();
    for hex in source.whole {
        let (known, Some(digest)) = (there.contains(&hex), digest(algorithm, &hex)) else { continue };
        if known && !job.options.verify {
            continue;
        }
        let key = layout::tag_index(repo, tag, &digest);
        let Some(Ok(link)) = job.source.link(&key).await? else { continue };
        if known && job.destination.link(&key).await? == Some(Ok(link.clone())) {
            continue;
        }
        // What a tag has been may be gone, with its bytes; that it has been that is still true.
        job.data(&link.digest).await?;
        lacking.push((key, link.text));
    }
    Ok(lacking)
}

async fn apply(job: &Job, batch: Batch) -> Result<()> {
    if job.options.dry_run || batch.ops.is_empty() { Ok(()) } else { job.destination.apply(batch).await }
}
