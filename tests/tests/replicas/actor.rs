//! A client that does this and that, and tells the others what it saw.

use crate::cluster::{Cluster, Fault, Outcome};
use crate::history::Op;
use crate::known::{Known, MEMORY, Removal};
use crate::random::Random;
use anyhow::{Result, anyhow, ensure};
use e2e::{Answer, Image, digest, random};
use serde_json::json;

/// Few, so that all clients meet.
pub(crate) const REPOS: [&str; 2] = ["team/app", "team/app-2/sub"];
pub(crate) const TAGS: [&str; 2] = ["1", "1-a"];

const SMALL_MAX: usize = 4000;
/// More than a part of a bucket.
const LARGE_MIN: usize = 4 << 20;
const LARGE_MAX: usize = 12 << 20;

pub(crate) struct Actor<'a> {
    pub(crate) cluster: &'a Cluster<'a>,
    pub(crate) known: &'a Known,
    pub(crate) random: Random,
    /// Requests that were answered.
    pub(crate) answered: usize,
    pub(crate) lost: usize,
}

pub(crate) fn tags() -> Vec<String> {
    TAGS.map(str::to_owned).to_vec()
}

impl<'a> Actor<'a> {
    pub(crate) fn new(cluster: &'a Cluster<'a>, known: &'a Known, seed: u64) -> Self {
        Self { cluster, known, random: Random::new(seed), answered: 0, lost: 0 }
    }

    pub(crate) fn work(&mut self, steps: usize) -> Result<()> {
        (0..steps).try_for_each(|_| self.step())
    }

    fn step(&mut self) -> Result<()> {
        match self.random.below(24) {
            0..=3 => self.push_image(),
            4..=7 => self.move_tag(),
            8..=9 => self.delete_tag(),
            10..=11 => self.delete_manifest(),
            12..=16 => self.read_tag(),
            17..=18 => self.read_manifest(),
            19..=20 => self.list(),
            21 => self.mount(),
            _ => self.read_blob(),
        }
    }

    /// A request to any replica.
    pub(crate) fn any(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome<Answer> {
        let replica = self.cluster.any(&mut self.random)?;
        let answer = replica.send(method, path, headers, body);
        match &answer {
            Ok(_) => self.answered += 1,
            Err(_) => self.lost += 1,
        }
        answer
    }

    /// The same, and this is the answer.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        status: u16,
    ) -> Outcome<Answer> {
        let answer = self.any(method, path, headers, body)?;
        if answer.status != status {
            return Err(anyhow!("{method} {path}: {} {}", answer.status, answer.text()).into());
        }
        Ok(answer)
    }

    fn repo(&mut self) -> &'static str {
        REPOS[self.random.below(REPOS.len())]
    }

    fn tag(&mut self) -> &'static str {
        TAGS[self.random.below(TAGS.len())]
    }

    fn content(&mut self) -> Vec<u8> {
        let large = self.random.one_in(8);
        let len =
            if large { LARGE_MIN + self.random.below(LARGE_MAX - LARGE_MIN) } else { self.random.below(SMALL_MAX) };
        random(self.random.next(), len)
    }

    fn push_image(&mut self) -> Result<()> {
        let (repo, tag) = (self.repo(), self.tag());
        let (config, layer) = (format!("{{\"n\":{}}}", self.random.next()).into_bytes(), self.content());
        for blob in [&config, &layer] {
            self.push(repo, blob)?;
        }
        let descriptor =
            |kind: &str, blob: &[u8]| json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Image::MEDIA_TYPE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let bytes = manifest.to_string().into_bytes();
        let name = digest(&bytes);
        let index = self.known.push(repo, &name, &bytes);
        self.put_manifest(index, repo, tag, &name, &bytes)
    }

    fn move_tag(&mut self) -> Result<()> {
        let Some((index, repo, digest, bytes)) = self.known.push_again(&mut self.random) else { return Ok(()) };
        let tag = self.tag();
        self.put_manifest(index, &repo, tag, &digest, &bytes)
    }

    fn put_manifest(&mut self, index: usize, repo: &str, tag: &str, digest: &str, bytes: &[u8]) -> Result<()> {
        let begun = self.known.now();
        let path = format!("/v2/{repo}/manifests/{tag}");
        let put = self.ask("PUT", &path, &[("content-type", Image::MEDIA_TYPE)], bytes, 201);
        let acknowledged = put.is_ok();
        let ended = acknowledged.then(|| self.known.now());
        self.known.saw(repo, tag, Op::Write(digest.into()), begun, ended);
        self.known.pushed(index, acknowledged);
        or_lost(put)
    }

    fn delete_tag(&mut self) -> Result<()> {
        let (repo, tag) = (self.repo(), self.tag());
        let begun = self.known.now();
        let answer = self.any("DELETE", &format!("/v2/{repo}/manifests/{tag}"), &[], &[]);
        let ended = answer.is_ok().then(|| self.known.now());
        let op = match &answer {
            Ok(answer) if answer.status == 404 => Op::Read(None),
            Ok(answer) => {
                ensure!(answer.status == 202, "DELETE {repo}:{tag}: {} {}", answer.status, answer.text());
                Op::Delete
            }
            Err(_) => Op::Delete,
        };
        self.known.saw(repo, tag, op, begun, ended);
        or_lost(answer)
    }

    /// With every tag that names it.
    fn delete_manifest(&mut self) -> Result<()> {
        let Some((index, repo, digest)) = self.known.remove(&mut self.random) else { return Ok(()) };
        let begun = self.known.now();
        let answer = self.ask("DELETE", &format!("/v2/{repo}/manifests/{digest}"), &[], &[], 202);
        let ended = answer.is_ok().then(|| self.known.now());
        self.known.saw_all(&repo, &tags(), |_| Op::DeleteIf(digest.clone()), begun, ended);
        if answer.is_ok() {
            self.known.removed(index);
        }
        or_lost(answer)
    }

    fn read_tag(&mut self) -> Result<()> {
        let (repo, tag) = (self.repo(), self.tag());
        let method = if self.random.one_in(3) { "HEAD" } else { "GET" };
        let begun = self.known.now();
        let answer = match self.any(method, &format!("/v2/{repo}/manifests/{tag}"), &[], &[]) {
            Err(Fault::Lost) => return Ok(()),
            Err(Fault::Wrong(error)) => return Err(error),
            Ok(answer) => answer,
        };
        let ended = Some(self.known.now());
        let seen = match answer.status {
            200 => Some(answer.header("docker-content-digest").to_owned()),
            404 => None,
            status => return Err(anyhow!("{method} {repo}:{tag}: {status} {}", answer.text())),
        };
        if let Some(seen) = seen.as_ref().filter(|_| method == "GET") {
            ensure!(digest(&answer.body) == *seen, "{repo}:{tag} has other bytes than {seen}");
        }
        self.known.saw(repo, tag, Op::Read(seen.map(Into::into)), begun, ended);
        Ok(())
    }

    fn read_manifest(&mut self) -> Result<()> {
        let Some(index) = self.known.any_manifest(&mut self.random) else { return Ok(()) };
        let (repo, name, before) = self.known.look(index, |found| {
            let gone = matches!(found.removal, Removal::Done(when) if when.elapsed() > MEMORY);
            (found.repo.clone(), found.digest.clone(), gone)
        });
        let answer = match self.any("GET", &format!("/v2/{repo}/manifests/{name}"), &[], &[]) {
            Err(Fault::Lost) => return Ok(()),
            Err(Fault::Wrong(error)) => return Err(error),
            Ok(answer) => answer,
        };
        let there = self.known.look(index, |found| found.removal == Removal::None);
        match answer.status {
            200 => ensure!(!before && digest(&answer.body) == *name, "{repo}@{name}: gone, or other bytes"),
            404 => ensure!(!there, "{repo}@{name} was acknowledged, and is unknown"),
            status => return Err(anyhow!("GET {repo}@{name}: {status} {}", answer.text())),
        }
        Ok(())
    }

    fn list(&mut self) -> Result<()> {
        let repo = self.repo();
        let begun = self.known.now();
        let answer = match self.any("GET", &format!("/v2/{repo}/tags/list"), &[], &[]) {
            Err(Fault::Lost) => return Ok(()),
            Err(Fault::Wrong(error)) => return Err(error),
            Ok(answer) => answer,
        };
        let ended = Some(self.known.now());
        ensure!(matches!(answer.status, 200 | 404), "tags of {repo}: {} {}", answer.status, answer.text());
        let listed = answer.json();
        let listed = listed["tags"].as_array().cloned().unwrap_or_default();
        self.known.saw_all(repo, &tags(), |tag| Op::Listed(listed.iter().any(|found| found == tag)), begun, ended);
        Ok(())
    }

    fn mount(&mut self) -> Result<()> {
        let Some((from, name)) = self.known.any_blob(&mut self.random) else { return Ok(()) };
        let Some(to) = REPOS.iter().find(|repo| **repo != from) else { return Ok(()) };
        let path = format!("/v2/{to}/blobs/uploads/?mount={name}&from={from}");
        let answer = self.ask("POST", &path, &[], &[], 201);
        if answer.is_ok() {
            let length = self.known.blobs().get(&(from, name.clone())).copied().unwrap_or_default();
            self.known.blob(to, &name, length);
        }
        or_lost(answer)
    }

    fn read_blob(&mut self) -> Result<()> {
        let Some((repo, name)) = self.known.any_blob(&mut self.random) else { return Ok(()) };
        match self.any("GET", &format!("/v2/{repo}/blobs/{name}"), &[], &[]) {
            Err(Fault::Lost) => Ok(()),
            Err(Fault::Wrong(error)) => Err(error),
            Ok(answer) => {
                ensure!(answer.status == 200, "{repo}@{name}: {} {}", answer.status, answer.text());
                ensure!(digest(&answer.body) == name, "{repo}@{name} has other bytes");
                Ok(())
            }
        }
    }
}

fn or_lost(answer: Outcome<Answer>) -> Result<()> {
    match answer {
        Ok(_) | Err(Fault::Lost) => Ok(()),
        Err(Fault::Wrong(error)) => Err(error),
    }
}
