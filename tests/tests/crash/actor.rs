//! A client that pushes and deletes at random, and keeps account of what was acknowledged.

use crate::known::{Known, Manifest, Register, Session};
use crate::random::Random;
use anyhow::{anyhow, ensure};
use e2e::{Answer, Client, Image, digest, random};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Blobs of up to this many bytes are "small".
const SMALL_MAX: usize = 5000;
const MEDIUM_MIN: usize = 200 << 10;
const MEDIUM_MAX: usize = 3 << 20;
/// Different contents that all clients push.
const SHARED_CONTENTS: u64 = 4;
pub(crate) const SHARED: &str = "shared/all";

/// Why a client stops.
pub(crate) enum Stop {
    /// The server was killed.
    Killed,
    Wrong(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Wrong(error)
    }
}

type Outcome<T = ()> = Result<T, Stop>;

/// One server process, as clients see it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) client: Client,
    /// Set before the kill: an error that comes earlier is the server's fault.
    pub(crate) killed: Arc<AtomicBool>,
}

impl Target {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, killed: Arc::default() }
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8], status: u16) -> Outcome<Answer> {
        let answer = match self.client.send(method, path, headers, body) {
            Ok(answer) => answer,
            Err(_) if self.killed.load(Ordering::SeqCst) => return Err(Stop::Killed),
            Err(error) => return Err(Stop::Wrong(error)),
        };
        if answer.status != status {
            return Err(anyhow!("{method} {path}: {} {}", answer.status, answer.text()).into());
        }
        Ok(answer)
    }
}

pub(crate) struct Actor {
    id: usize,
    random: Random,
    pub(crate) known: Known,
    /// Requests that were acknowledged.
    pub(crate) acknowledged: usize,
}

/// How a blob is sent.
#[derive(Clone, Copy)]
enum Way {
    OnePost,
    PostPut,
    PatchPut,
    Chunks,
}

impl Actor {
    pub(crate) fn new(id: usize, seed: u64) -> Self {
        Self { id, random: Random::new(seed), known: Known::default(), acknowledged: 0 }
    }

    /// Works until the server dies.
    pub(crate) fn work(&mut self, target: &Target) -> anyhow::Result<()> {
        loop {
            match self.step(target) {
                Ok(()) => self.acknowledged += 1,
                Err(Stop::Killed) => return Ok(()),
                Err(Stop::Wrong(error)) => return Err(error),
            }
        }
    }

    fn step(&mut self, target: &Target) -> Outcome {
        let repo = self.repo();
        match self.random.below(20) {
            0..=3 => self.small(target, &repo).map(drop),
            4..=5 => self.medium(target, &repo),
            6..=7 => self.chunked(target, &repo),
            8 => self.shared(target),
            9 => self.delete_blob(target),
            10 => self.mount(target),
            11..=15 => self.manifest(target, &repo),
            16..=17 => self.delete_tag(target),
            18 => self.delete_manifest(target, &repo),
            _ => self.leave_open(target, &repo),
        }
    }

    fn repo(&mut self) -> String {
        if self.random.one_in(3) { SHARED.to_owned() } else { format!("team{}/app", self.id) }
    }

    fn content(&mut self, len: usize) -> Vec<u8> {
        random(self.random.next(), len)
    }

    fn small(&mut self, target: &Target, repo: &str) -> Outcome<String> {
        let len = self.random.below(SMALL_MAX);
        let content = self.content(len);
        let way = [Way::OnePost, Way::PostPut, Way::PatchPut][self.random.below(3)];
        self.push(target, repo, &content, way)
    }

    fn medium(&mut self, target: &Target, repo: &str) -> Outcome {
        let len = MEDIUM_MIN + self.random.below(MEDIUM_MAX - MEDIUM_MIN);
        let content = self.content(len);
        let way = [Way::OnePost, Way::PostPut, Way::PatchPut][self.random.below(3)];
        let digest = self.push(target, repo, &content, way)?;
        self.known.loose.push((repo.to_owned(), digest));
        Ok(())
    }

    fn chunked(&mut self, target: &Target, repo: &str) -> Outcome {
        let len_max = if self.random.one_in(2) { SMALL_MAX } else { MEDIUM_MIN * 4 };
        let len = self.random.below(len_max);
        let content = self.content(len);
        self.push(target, repo, &content, Way::Chunks).map(drop)
    }

    /// Content that several clients push at the same time.
    fn shared(&mut self, target: &Target) -> Outcome {
        let seed = self.random.next() % SHARED_CONTENTS;
        let content = random(seed + 1, if seed.is_multiple_of(2) { SMALL_MAX } else { MEDIUM_MIN + 1 });
        self.push(target, SHARED, &content, Way::PatchPut).map(drop)
    }

    fn push(&mut self, target: &Target, repo: &str, content: &[u8], way: Way) -> Outcome<String> {
        let digest = digest(content);
        let item = (repo.to_owned(), digest.clone());
        if let Way::OnePost = way {
            self.known.blob(item.clone()).attempt(true);
            target.send("POST", &format!("/v2/{repo}/blobs/uploads/?digest={digest}"), &[], content, 201)?;
        } else {
            let begun = target.send("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[], 202)?;
            let session = Session {
                repo: repo.to_owned(),
                location: begun.header("location").to_owned(),
                content: content.to_vec(),
                offset: Register::new(Some(0)),
            };
            self.known.sessions.push(session);
            let count = match way {
                Way::PatchPut => 1,
                Way::Chunks => 2 + self.random.below(3),
                Way::OnePost | Way::PostPut => 0,
            };
            for _ in 0..count {
                self.chunk(target, count)?;
            }
            self.known.blob(item.clone()).attempt(true);
            self.finish(target)?;
        }
        self.known.blob(item).settle(true);
        Ok(digest)
    }

    /// Sends a part of the youngest session.
    fn chunk(&mut self, target: &Target, count: usize) -> Outcome {
        let Some(session) = self.known.sessions.last_mut() else { return Ok(()) };
        let start = session.offset.settled().copied().flatten().unwrap_or(0);
        let from = usize::try_from(start).unwrap_or(0);
        let to = (from + session.content.len().div_ceil(count)).min(session.content.len());
        // One byte cannot be told from none in the answer.
        if to < from + 2 || to == 1 {
            return Ok(());
        }
        session.offset.attempt(Some(to as u64));
        let range = format!("{from}-{}", to - 1);
        let headers = [("content-range", range.as_str())];
        let sent = target.send("PATCH", &session.location, &headers, &session.content[from..to], 202)?;
        session.offset.settle(Some(to as u64));
        session.location = sent.header("location").to_owned();
        Ok(())
    }

    /// Ends the youngest session.
    fn finish(&mut self, target: &Target) -> Outcome {
        let Some(session) = self.known.sessions.last_mut() else { return Ok(()) };
        let from = usize::try_from(session.offset.settled().copied().flatten().unwrap_or(0)).unwrap_or(0);
        session.offset.attempt(None);
        let path = format!("{}&digest={}", session.location, digest(&session.content));
        target.send("PUT", &path, &[], &session.content[from..], 201)?;
        self.known.sessions.pop();
        Ok(())
    }

    fn leave_open(&mut self, target: &Target, repo: &str) -> Outcome {
        let len = 10 + self.random.below(MEDIUM_MIN * 4);
        let content = self.content(len);
        let begun = target.send("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[], 202)?;
        let location = begun.header("location").to_owned();
        let offset = Register::new(Some(0));
        self.known.sessions.push(Session { repo: repo.to_owned(), location, content, offset });
        for _ in 0..self.random.below(3) {
            self.chunk(target, 3)?;
        }
        if self.random.one_in(4) {
            let Some(session) = self.known.sessions.last_mut() else { return Ok(()) };
            session.offset.attempt(None);
            target.send("DELETE", &session.location, &[], &[], 204)?;
            session.offset.settle(None);
        }
        Ok(())
    }

    fn delete_blob(&mut self, target: &Target) -> Outcome {
        if self.known.loose.is_empty() {
            return Ok(());
        }
        let item = self.known.loose.swap_remove(self.random.below(self.known.loose.len()));
        self.known.blob(item.clone()).attempt(false);
        target.send("DELETE", &format!("/v2/{}/blobs/{}", item.0, item.1), &[], &[], 202)?;
        self.known.blob(item).settle(false);
        Ok(())
    }

    fn mount(&mut self, target: &Target) -> Outcome {
        let own = format!("team{}/app", self.id);
        let from: Vec<_> =
            self.known.blobs.iter().filter(|((repo, _), there)| *repo == own && there.is(&true)).collect();
        let Some(((_, digest), _)) = self.random.pick(&from) else { return Ok(()) };
        let item = (SHARED.to_owned(), digest.clone());
        self.known.blob(item.clone()).attempt(true);
        let path = format!("/v2/{SHARED}/blobs/uploads/?mount={}&from={own}", item.1);
        target.send("POST", &path, &[], &[], 201)?;
        self.known.blob(item).settle(true);
        Ok(())
    }

    fn manifest(&mut self, target: &Target, repo: &str) -> Outcome {
        let config = self.small(target, repo)?;
        let there = self.known.manifests_in(repo);
        let subject = if self.random.one_in(3) { self.random.pick(&there).cloned() } else { None };
        let descriptor = |media_type: &str, digest: &str| serde_json::json!({ "mediaType": media_type, "digest": digest, "size": 1 });
        let mut manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": Image::MEDIA_TYPE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [],
        });
        if let Some(subject) = &subject {
            manifest["subject"] = descriptor(Image::MEDIA_TYPE, subject);
        }
        if self.random.one_in(10) {
            // Larger than what goes through the journal.
            manifest["annotations"] = serde_json::json!({ "filler": "x".repeat(150_000) });
        }
        let bytes = manifest.to_string().into_bytes();
        let name = digest(&bytes);
        // Few tags, so that most pushes move one.
        let tags: Vec<String> =
            (0..self.random.below(3)).map(|_| format!("t{}-{}", self.id, self.random.below(4))).collect();
        let first = tags.first().cloned().unwrap_or_else(|| name.clone());
        let further: Vec<String> = tags.iter().skip(1).map(|tag| format!("tag={tag}")).collect();
        let path = format!("/v2/{repo}/manifests/{first}?{}", further.join("&"));
        let present = Register::new(false);
        let entry = self.known.manifests.entry((repo.to_owned(), name.clone()));
        entry.or_insert(Manifest { present, subject }).present.attempt(true);
        for tag in &tags {
            self.known.tag((repo.to_owned(), tag.clone())).attempt(Some(name.clone()));
        }
        target.send("PUT", &path, &[("content-type", Image::MEDIA_TYPE)], &bytes, 201)?;
        for tag in tags {
            self.known.tag((repo.to_owned(), tag)).settle(Some(name.clone()));
        }
        if let Some(manifest) = self.known.manifests.get_mut(&(repo.to_owned(), name)) {
            manifest.present.settle(true);
        }
        Ok(())
    }

    fn delete_tag(&mut self, target: &Target) -> Outcome {
        let set: Vec<_> =
            self.known.tags.iter().filter(|(_, value)| value.settled().is_some_and(Option::is_some)).collect();
        let Some((item, _)) = self.random.pick(&set) else { return Ok(()) };
        let item = (*item).clone();
        self.known.tag(item.clone()).attempt(None);
        target.send("DELETE", &format!("/v2/{}/manifests/{}", item.0, item.1), &[], &[], 202)?;
        self.known.tag(item).settle(None);
        Ok(())
    }

    fn delete_manifest(&mut self, target: &Target, repo: &str) -> Outcome {
        let there = self.known.manifests_in(repo);
        let Some(name) = self.random.pick(&there).cloned() else { return Ok(()) };
        let tags = self.known.tags_of(repo, &name);
        let item = (repo.to_owned(), name);
        if let Some(manifest) = self.known.manifests.get_mut(&item) {
            manifest.present.attempt(false);
        }
        for tag in &tags {
            self.known.tag((repo.to_owned(), tag.clone())).attempt(None);
        }
        target.send("DELETE", &format!("/v2/{repo}/manifests/{}", item.1), &[], &[], 202)?;
        for tag in tags {
            self.known.tag((repo.to_owned(), tag)).settle(None);
        }
        if let Some(manifest) = self.known.manifests.get_mut(&item) {
            manifest.present.settle(false);
        }
        Ok(())
    }

    /// Goes on with every session that the server has acknowledged.
    pub(crate) fn go_on(&mut self, client: &Client) -> anyhow::Result<()> {
        for session in std::mem::take(&mut self.known.sessions) {
            let digest = digest(&session.content);
            if resume(client, &session, &digest)? {
                self.known.blob((session.repo, digest)).attempt(true);
            }
        }
        Ok(())
    }
}

/// True when the upload went on and ended well.
fn resume(client: &Client, session: &Session, digest: &str) -> anyhow::Result<bool> {
    let may_be_over = session.offset.may_be(&None);
    let status = client.get(&session.location)?;
    if status.status == 404 && may_be_over {
        return Ok(false);
    }
    let whole = session.content.len();
    ensure!(status.status == 204, "{} of {whole} bytes: {} {}", session.location, status.status, status.text());
    let end: u64 = status.header("range").strip_prefix("0-").and_then(|end| end.parse().ok()).unwrap_or(u64::MAX);
    let offset = if end == 0 { 0 } else { end + 1 };
    ensure!(
        session.offset.may_be(&Some(offset)),
        "{} stands at {offset}, possible is {:?}",
        session.location,
        session.offset
    );
    let from = usize::try_from(offset)?;
    let path = format!("{}&digest={digest}", status.header("location"));
    let ended = client.send("PUT", &path, &[], &session.content[from..])?;
    if ended.status == 404 && may_be_over {
        return Ok(false);
    }
    ensure!(ended.status == 201, "{path} from {offset}: {} {}", ended.status, ended.text());
    Ok(true)
}
