//! After a restart: everything that was acknowledged, and nothing that is half there.

use crate::actor::Actor;
use anyhow::{Context, Result, bail, ensure};
use e2e::{Client, digest};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// How much to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What was touched in this round.
    Fresh,
    Everything,
}

pub(crate) fn check(client: &Client, actors: &mut [Actor], depth: Depth) -> Result<()> {
    for actor in actors.iter_mut() {
        actor.go_on(client)?;
        blobs(client, actor, depth)?;
        manifests(client, actor, depth)?;
        tags(client, actor)?;
    }
    lists(client, actors)?;
    referrers(client, actors)
}

fn blobs(client: &Client, actor: &mut Actor, depth: Depth) -> Result<()> {
    for ((repo, name), there) in &mut actor.known.blobs {
        if depth == Depth::Fresh && !there.fresh {
            continue;
        }
        let answer = client.get(&format!("/v2/{repo}/blobs/{name}"))?;
        let found = exists(answer.status, there.may_be(&true), there.may_be(&false))
            .with_context(|| format!("blob {repo}@{name}: {there:?}"))?;
        ensure!(!found || digest(&answer.body) == *name, "blob {repo}@{name} has other bytes");
        there.settle(found);
        there.fresh = false;
    }
    Ok(())
}

fn exists(status: u16, may_be: bool, may_be_not: bool) -> Result<bool> {
    match status {
        200 if may_be => Ok(true),
        404 if may_be_not => Ok(false),
        status => bail!("status {status}"),
    }
}

fn manifests(client: &Client, actor: &mut Actor, depth: Depth) -> Result<()> {
    for ((repo, name), manifest) in &mut actor.known.manifests {
        let there = &mut manifest.present;
        if depth == Depth::Fresh && !there.fresh {
            continue;
        }
        let answer = client.get(&format!("/v2/{repo}/manifests/{name}"))?;
        let found = exists(answer.status, there.may_be(&true), there.may_be(&false))
            .with_context(|| format!("manifest {repo}@{name}: {there:?}"))?;
        ensure!(!found || digest(&answer.body) == *name, "manifest {repo}@{name} has other bytes");
        if found {
            let config = answer.json()["config"]["digest"].as_str().unwrap_or_default().to_owned();
            let blob = client.head(&format!("/v2/{repo}/blobs/{config}"))?;
            ensure!(blob.status == 200, "manifest {repo}@{name} without its config: {}", blob.status);
        }
        there.settle(found);
        there.fresh = false;
    }
    Ok(())
}

fn tags(client: &Client, actor: &mut Actor) -> Result<()> {
    for ((repo, tag), value) in &mut actor.known.tags {
        let answer = client.get(&format!("/v2/{repo}/manifests/{tag}"))?;
        let found = match answer.status {
            200 => Some(answer.header("docker-content-digest").to_owned()),
            404 => None,
            status => bail!("tag {repo}:{tag}: status {status}"),
        };
        ensure!(value.may_be(&found), "tag {repo}:{tag} is {found:?}, possible is {value:?}");
        ensure!(found.as_ref().is_none_or(|found| digest(&answer.body) == *found), "tag {repo}:{tag} has other bytes");
        value.settle(found);
    }
    Ok(())
}

/// The lists of tags and repositories say what the single questions said.
fn lists(client: &Client, actors: &[Actor]) -> Result<()> {
    let mut repositories: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut with_manifest = BTreeSet::new();
    for known in actors.iter().map(|actor| &actor.known) {
        for (repo, _) in known.blobs.keys().chain(known.manifests.keys()) {
            repositories.entry(repo.clone()).or_default();
        }
        for ((repo, tag), value) in &known.tags {
            if value.settled().is_some_and(Option::is_some) {
                repositories.entry(repo.clone()).or_default().insert(tag.clone());
            }
        }
        let there = known.manifests.iter().filter(|(_, manifest)| manifest.present.is(&true));
        with_manifest.extend(there.map(|((repo, _), _)| repo.clone()));
    }
    for (repo, tags) in &repositories {
        let answer = client.get(&format!("/v2/{repo}/tags/list"))?;
        ensure!(answer.status == 200 || (answer.status == 404 && tags.is_empty()), "{repo}: {}", answer.text());
        ensure!(strings(&answer.json()["tags"]) == *tags, "tags of {repo}: {} instead of {tags:?}", answer.text());
    }
    let answer = client.get("/v2/_catalog?n=1000")?;
    let found = strings(&answer.json()["repositories"]);
    ensure!(found.is_superset(&with_manifest), "catalog {found:?} lacks some of {with_manifest:?}");
    ensure!(found.iter().all(|repo| repositories.contains_key(repo)), "catalog {found:?} has too much");
    Ok(())
}

fn strings(value: &serde_json::Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn referrers(client: &Client, actors: &[Actor]) -> Result<()> {
    let mut expected: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for ((repo, name), manifest) in actors.iter().flat_map(|actor| &actor.known.manifests) {
        let Some(subject) = &manifest.subject else { continue };
        let referrers = expected.entry((repo.clone(), subject.clone())).or_default();
        if manifest.present.is(&true) {
            referrers.insert(name.clone());
        }
    }
    for ((repo, subject), names) in expected {
        let answer = client.get(&format!("/v2/{repo}/referrers/{subject}"))?;
        let json = answer.json();
        let found = json["manifests"].as_array().into_iter().flatten();
        let found: BTreeSet<String> =
            found.filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned)).collect();
        ensure!(found == names, "referrers of {repo}@{subject}: {found:?} instead of {names:?}");
    }
    Ok(())
}

/// Every blob in the tree has the content that its path says. Returns how many were read; `seen` ones are not read again.
pub(crate) fn tree(data: &Path, seen: &mut HashSet<PathBuf>) -> Result<usize> {
    let mut count = 0;
    for path in files(&data.join("docker/registry/v2/blobs"))? {
        if !seen.insert(path.clone()) {
            continue;
        }
        count += 1;
        let hex = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let content = std::fs::read(&path)?;
        ensure!(
            digest(&content) == format!("sha256:{hex}"),
            "half content: {} ({} bytes)",
            path.display(),
            content.len()
        );
    }
    Ok(count)
}

/// After a clean stop nothing is left that the next start would have to repair.
pub(crate) fn clean(data: &Path) -> Result<()> {
    let own = data.join("homeport/v1");
    let temporary = files(&own.join("tmp"))?;
    ensure!(temporary.is_empty(), "left in tmp: {temporary:?}");
    let logs: Vec<PathBuf> = files(&own.join("journal"))?;
    ensure!(logs.iter().all(|path| path.ends_with("lock")), "left of the journal: {logs:?}");
    Ok(())
}

/// Sessions and bytes of uploads that are still there.
pub(crate) fn uploads(data: &Path) -> Result<Vec<PathBuf>> {
    let own = data.join("homeport/v1");
    let mut found = files(&own.join("sessions"))?;
    found.extend(files(&own.join("uploads"))?);
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
