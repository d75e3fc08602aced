//! After all: what every replica serves, and every object in the storage.

use crate::actor::{REPOS, TAGS};
use crate::cluster::{Cluster, Replica};
use crate::history::{self, Event, Op};
use crate::known::{Known, MEMORY, Removal};
use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::digest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the tags are, in the end.
pub(crate) type Tags = BTreeMap<(String, String), Option<String>>;

fn wrong(fault: crate::cluster::Fault) -> anyhow::Error {
    match fault {
        crate::cluster::Fault::Lost => anyhow!("a replica is gone"),
        crate::cluster::Fault::Wrong(error) => error,
    }
}

/// Until then whoever has deleted a tag, and was not killed, has removed what a push of another replica has left of it.
const REMAINS: Duration = Duration::from_secs(15);

/// Every replica serves what was acknowledged, and the same.
pub(crate) fn served(cluster: &Cluster<'_>, known: &Known, has_locks: bool) -> Result<Tags> {
    let mut tags: Option<Tags> = None;
    let until = Instant::now() + if has_locks { Duration::ZERO } else { REMAINS };
    for replica in cluster.all()? {
        let found = loop {
            match tags_of(&replica, known) {
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
                Err(_) if !has_locks => {
                    clear_remains(&replica, known)?;
                    break tags_of(&replica, known)?;
                }
                other => break other?,
            }
        };
        let first = tags.get_or_insert_with(|| found.clone());
        ensure!(*first == found, "replicas differ: {first:?} and {found:?}");
        blobs(&replica, known)?;
        manifests(&replica, known)?;
    }
    tags.context("no replica")
}

/// What is left of deleted tags by whoever was killed goes with one more deletion.
fn clear_remains(replica: &Replica, known: &Known) -> Result<()> {
    for repo in REPOS {
        let begun = known.now();
        let listed = listed(replica, repo)?;
        let ended = Some(known.now());
        for tag in &listed {
            let path = format!("/v2/{repo}/manifests/{tag}");
            if replica.send("HEAD", &path, &[], &[]).map_err(wrong)?.status == 404 {
                known.saw(repo, tag, Op::Listed(true), begun, ended);
                let answer = replica.send("DELETE", &path, &[], &[]).map_err(wrong)?;
                ensure!(answer.status == 404, "DELETE {repo}:{tag}: {} {}", answer.status, answer.text());
            }
        }
    }
    Ok(())
}

fn listed(replica: &Replica, repo: &str) -> Result<BTreeSet<String>> {
    let answer = replica.send("GET", &format!("/v2/{repo}/tags/list"), &[], &[]).map_err(wrong)?;
    let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
    Ok(tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect())
}

fn tags_of(replica: &Replica, known: &Known) -> Result<Tags> {
    let mut tags = Tags::new();
    for repo in REPOS {
        for tag in TAGS {
            let begun = known.now();
            let answer = replica.send("GET", &format!("/v2/{repo}/manifests/{tag}"), &[], &[]).map_err(wrong)?;
            let seen = match answer.status {
                200 => Some(answer.header("docker-content-digest").to_owned()),
                404 => None,
                status => bail!("{repo}:{tag}: {status}"),
            };
            ensure!(seen.as_ref().is_none_or(|seen| digest(&answer.body) == *seen), "{repo}:{tag} has other bytes");
            let ended = Some(known.now());
            known.saw(repo, tag, Op::Read(seen.clone().map(Into::into)), begun, ended);
            tags.insert((repo.to_owned(), tag.to_owned()), seen);
        }
        let listed = listed(replica, repo)?;
        let there = tags.iter().filter(|((of, _), seen)| of == repo && seen.is_some());
        let there: BTreeSet<String> = there.map(|((_, tag), _)| tag.clone()).collect();
        ensure!(listed == there, "{repo}: {listed:?} are listed, {there:?} are there");
    }
    Ok(tags)
}

fn blobs(replica: &Replica, known: &Known) -> Result<()> {
    for ((repo, name), length) in known.blobs() {
        let answer = replica.send("GET", &format!("/v2/{repo}/blobs/{name}"), &[], &[]).map_err(wrong)?;
        ensure!(answer.status == 200, "blob {repo}@{name}: {} {}", answer.status, answer.text());
        ensure!(answer.body.len() == length && digest(&answer.body) == name, "blob {repo}@{name} has other bytes");
    }
    Ok(())
}

fn manifests(replica: &Replica, known: &Known) -> Result<()> {
    for index in 0..known.manifests() {
        let (path, removal, acknowledged, lost) = known.look(index, |found| {
            let path = format!("/v2/{}/manifests/{}", found.repo, found.digest);
            (path, found.removal, found.acknowledged, found.lost)
        });
        // What a replica remembers of a removal by another one ends.
        let until = Instant::now() + MEMORY;
        loop {
            let answer = replica.send("GET", &path, &[], &[]).map_err(wrong)?;
            let same = known.look(index, |found| found.bytes == answer.body);
            match (answer.status, removal) {
                (200, Removal::None | Removal::Begun) if same => break,
                (404, Removal::Begun | Removal::Done(_)) => break,
                (404, Removal::None) if lost && !acknowledged => break,
                (200, Removal::Done(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(100)),
                (status, removal) => bail!("{path}: {status}, removal {removal:?}, same bytes: {same}"),
            }
        }
    }
    Ok(())
}

/// Some order of events explains what was seen of each tag, by its name and in lists.
pub(crate) fn explained(known: &Known, has_locks: bool) -> Result<usize> {
    let mut count = 0;
    for ((repo, tag), events) in known.registers() {
        count += events.len();
        let is_list = |event: &Event| matches!(event.op, Op::Listed(_));
        let is_read = |event: &Event| matches!(event.op, Op::Read(_));
        for (what, left_out) in [("reads", &is_list as &dyn Fn(&Event) -> bool), ("lists", &is_read)] {
            let mut events: Vec<Event> = events.iter().filter(|event| !left_out(event)).cloned().collect();
            if !has_locks {
                history::forget_remains(&mut events);
            }
            history::check(events).map_err(|error| anyhow!("{what} of {repo}:{tag}: {error}"))?;
        }
    }
    Ok(count)
}

/// Every object: content is what its name says, links lead to content, tags to manifests, and of uploads only those are
/// left that a kill has met. Returns how many objects there are. `kills`: processes that were killed.
pub(crate) fn objects(tree: &Path, tags: &Tags, known: &Known, kills: usize) -> Result<usize> {
    let root = tree.join("docker/registry/v2");
    let mut bytes = BTreeSet::new();
    let files = files(tree)?;
    for file in &files {
        let Ok(name) = file.strip_prefix(&root) else { continue };
        let parts: Vec<String> = name.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if let ["blobs", "sha256", shard, hex, "data"] = *parts.iter().map(String::as_str).collect::<Vec<_>>() {
            let found = digest(&std::fs::read(file)?);
            ensure!(found == format!("sha256:{hex}") && hex.starts_with(shard), "{} is {found}", file.display());
            bytes.insert(found);
        } else {
            ensure!(parts[0] == "repositories", "{}", file.display());
        }
    }
    let mut links = BTreeSet::new();
    for file in files.iter().filter(|file| file.starts_with(root.join("repositories"))) {
        let name = file.strip_prefix(root.join("repositories"))?.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file)?;
        ensure!(bytes.contains(&text), "{name} leads to {text:?}, and that is not there");
        let (_, hex) = text.split_once(':').context("a digest")?;
        let own = name.ends_with("/current/link") || name.ends_with(&format!("/sha256/{hex}/link"));
        ensure!(own, "{name} leads to {text}");
        links.insert((name, text));
    }
    for (name, text) in &links {
        let Some((repo, rest)) = name.split_once("/_manifests/tags/") else { continue };
        let (tag, of) = rest.split_once('/').context("a tag")?;
        let is = tags.get(&(repo.to_owned(), tag.to_owned())).with_context(|| format!("tag {name}"))?;
        ensure!(is.is_some(), "{name} is left of a tag that is gone");
        if of == "current/link" {
            ensure!(is.as_ref() == Some(text), "{name} is {text}, the tag was read as {is:?}");
            let hex = text.trim_start_matches("sha256:");
            let revision = format!("{repo}/_manifests/revisions/sha256/{hex}/link");
            ensure!(links.contains(&(revision, text.clone())), "{name} leads to a manifest that is not there");
        }
    }
    uploads(tree, &files, known, kills)?;
    Ok(files.len())
}

fn uploads(tree: &Path, files: &[PathBuf], known: &Known, kills: usize) -> Result<()> {
    let broken = known.broken_sessions();
    let below = |folder: &str| -> Vec<String> {
        let folder = tree.join("homeport/v1").join(folder);
        let names = files.iter().filter_map(|file| file.strip_prefix(&folder).ok());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    for session in below("sessions") {
        ensure!(broken.contains(&session), "session {session} is left, and no kill has met it");
    }
    let (left, temporary) = (below("uploads"), below("tmp"));
    let first = |name: &'_ String| name.split('.').next().map(str::to_owned);
    // A bucket has several objects of an upload, and their names begin alike.
    let uploads: BTreeSet<String> = left.iter().filter_map(first).collect();
    ensure!(uploads.len() <= known.breaks(), "{left:?} are left, and {} requests broke", known.breaks());
    // Every write and removal has temporary names, which begin with that of their process.
    let processes: BTreeSet<String> = temporary.iter().filter_map(first).collect();
    ensure!(processes.len() <= kills, "{temporary:?} are left, and {kills} processes were killed");
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
