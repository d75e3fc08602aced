//! What of a repository is gone at the source.

use crate::links::{Links, Which};
use crate::referrers::Referrers;
use crate::report::add;
use crate::tags::Tags;
use crate::{Job, Result, removal};
use content::layout;
use oci::{Digest, RepoName, Tag};
use std::collections::HashSet;
use std::sync::Arc;

/// How a repository differs at the two places, after it was written.
pub(crate) struct Compared {
    pub(crate) tags: Tags,
    pub(crate) referrers: Referrers,
    pub(crate) revisions: Links,
    pub(crate) layers: Links,
}

/// Removes it at the destination: first what names something, then what is named.
pub(crate) async fn remove(job: &Arc<Job>, repo: RepoName<'_>, mut all: Compared) -> Result<()> {
    let below = !(all.referrers.gone.is_empty() && all.revisions.gone.is_empty() && all.layers.gone.is_empty());
    if all.tags.gone.is_empty() && !below {
        return Ok(());
    }
    let dangling = if below { unneeded(job, repo, &all).await? } else { Some(Vec::new()) };
    let held = dangling.is_none();
    job.still_ours().await?;
    let names = all.tags.gone.iter().chain(dangling.iter().flatten());
    let tags = names.filter_map(|name| Tag::parse(name).ok()).map(|tag| layout::tag(repo, tag));
    removal::trees(job, tags.collect()).await?;
    if held {
        add(&job.progress.repositories_held, 1);
        return Ok(());
    }
    let manifests: HashSet<Digest> = all.revisions.gone.iter().map(|(digest, _)| *digest).collect();
    let without = all.referrers.there.into_iter().filter(|(digest, _)| manifests.contains(digest));
    all.referrers.gone.extend(without.map(|(_, key)| key));
    removal::objects(job, all.referrers.gone).await?;
    for links in [all.revisions, all.layers] {
        removal::objects(job, links.gone.into_iter().map(|(_, key)| key).collect()).await?;
    }
    Ok(())
}

/// Whether nothing that stays at the destination needs what would go; then the tags of the source that lead nowhere there, and
/// here too from then on. `None`: something does, or may since clients are changing it; the next run looks again.
async fn unneeded(job: &Job, repo: RepoName<'_>, all: &Compared) -> Result<Option<Vec<String>>> {
    if all.tags.outlives || all.revisions.outlives {
        return Ok(None);
    }
    let manifests: HashSet<&Digest> = all.revisions.gone.iter().map(|(digest, _)| digest).collect();
    let mut dangling = Vec::new();
    for (name, digest) in all.tags.same.iter().filter(|(_, digest)| manifests.contains(digest)) {
        let Ok(tag) = Tag::parse(name) else { continue };
        match job.source.link(&layout::tag_current(repo, tag)).await? {
            Some(Ok(link)) if link.digest == *digest => dangling.push(name.clone()),
            _ => return Ok(None),
        }
    }
    let moved = all.revisions.have_moved(job, repo, Which::Revisions).await?
        || all.layers.have_moved(job, repo, Which::Layers).await?;
    Ok((!moved).then_some(dangling))
}
