//! Lists in pieces.

use crate::world::{API, Project, shared};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

const REPOSITORIES: u64 = 6;
const TAGS: u64 = 7;

fn fill(project: &Project) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for repository in (0..REPOSITORIES).map(|index| format!("team/r{index}")) {
        for tag in 0..TAGS {
            project.push(&repository, &format!("t{tag}"), tag)?;
            all.insert(format!("{repository}:t{tag}"));
        }
    }
    Ok(all)
}

#[test]
fn every_size_of_a_page_lists_the_same() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let all = fill(&project)?;
    let base = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let direct = world.direct().token(&project.token);
    for limit in [1, 5, 7, 41, 42, 43, 500] {
        let (mut seen, mut path, mut versions) = (Vec::new(), format!("{base}?limit={limit}"), BTreeSet::new());
        loop {
            let reply = direct.get(&path)?;
            assert_eq!(reply.status, 200, "{}", reply.text);
            let page = reply.json();
            let items = page["items"].as_array().context("items")?;
            assert!(items.len() <= limit, "{} of {limit}", items.len());
            seen.extend(items.iter().map(|item| {
                let of = |field: &str| item["status"][field].as_str().unwrap_or_default().to_owned();
                format!("{}:{}", of("repository"), of("tag"))
            }));
            versions.insert(page["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned());
            if let Some(left) = page["metadata"]["remainingItemCount"].as_u64() {
                assert_eq!(usize::try_from(left)?, all.len() - seen.len());
            }
            let Some(next) = page["metadata"]["continue"].as_str().filter(|next| !next.is_empty()) else { break };
            assert_eq!(items.len(), limit, "a page before the last one is full");
            path = format!("{base}?limit={limit}&continue={next}");
        }
        assert_eq!(seen.len(), all.len(), "limit {limit}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all, "limit {limit}");
        assert_eq!(versions.len(), 1, "one list has one version: {versions:?}");
    }
    let whole = world.kube.ok(&format!("-n {} get prt -o name", project.name()))?;
    let pieces = world.kube.ok(&format!("-n {} get prt -o name --chunk-size=2", project.name()))?;
    assert_eq!((whole.lines().count(), &whole), (all.len(), &pieces));
    // The registry's own lists.
    for repository in 0..REPOSITORIES {
        let tags = project.tags(&format!("team/r{repository}"))?;
        assert_eq!(tags.len() as u64, TAGS);
        assert!(tags.iter().all(|tag| all.contains(&format!("team/r{repository}:{tag}"))));
    }
    Ok(())
}

/// Between two pages the list changes before and behind the place.
#[test]
fn a_list_goes_on_behind_what_was_deleted() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project)?;
    let base = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let direct = world.direct().token(&project.token);
    let first = direct.get(&format!("{base}?limit=10"))?.json();
    let next = first["metadata"]["continue"].as_str().context("more")?;
    // The ten are the whole first repository and three of the second: the place itself goes, and one on each side.
    for (repository, tag) in [("team/r1", "t2"), ("team/r0", "t0"), ("team/r1", "t3")] {
        project.delete(repository, tag)?;
    }
    let rest = direct.get(&format!("{base}?limit=500&continue={next}"))?.json();
    let items = rest["items"].as_array().context("items")?;
    assert_eq!(items.len(), 42 - 10 - 1);
    assert_eq!((&items[0]["status"]["repository"], &items[0]["status"]["tag"]), (&"team/r1".into(), &"t4".into()));
    Ok(())
}
