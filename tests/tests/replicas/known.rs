//! What all clients together know.

use crate::history::{Event, Op, Value};
use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A replica may remember for so long what another one has removed (`content::cache`), and a bit.
pub(crate) const MEMORY: Duration = Duration::from_millis(5500);

/// Tags are moved to the youngest, and of these some are removed: then what is removed is often what a tag is.
const RECENT: usize = 4;

/// A manifest that was acknowledged, or may be there.
pub(crate) struct Manifest {
    pub(crate) repo: String,
    pub(crate) digest: Value,
    pub(crate) bytes: Vec<u8>,
    pub(crate) acknowledged: bool,
    /// Pushes of it that run.
    pushing: usize,
    /// A push of it may still take effect.
    pub(crate) lost: bool,
    pub(crate) removal: Removal,
}

/// Nobody pushes what somebody removes: then a deletion would have two meanings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Removal {
    None,
    Begun,
    Done(Instant),
}

#[derive(Default)]
struct Inner {
    manifests: Vec<Manifest>,
    /// Acknowledged blobs: repository, digest, length.
    blobs: BTreeMap<(String, String), usize>,
    registers: BTreeMap<(String, String), Vec<Event>>,
    /// Uploads that a kill has met.
    broken: BTreeSet<String>,
    /// Requests of uploads that a kill has met.
    breaks: usize,
}

#[derive(Default)]
pub(crate) struct Known {
    clock: AtomicU64,
    inner: Mutex<Inner>,
}

impl Known {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of this moment.
    pub(crate) fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn saw(&self, repo: &str, tag: &str, op: Op, begun: u64, ended: Option<u64>) {
        let key = (repo.to_owned(), tag.to_owned());
        self.inner().registers.entry(key).or_default().push(Event { op, begun, ended });
    }

    /// The same for every tag of a repository that anybody has touched, or will: all of `tags`.
    pub(crate) fn saw_all(&self, repo: &str, tags: &[String], op: impl Fn(&str) -> Op, begun: u64, ended: Option<u64>) {
        for tag in tags {
            self.saw(repo, tag, op(tag), begun, ended);
        }
    }

    pub(crate) fn registers(&self) -> BTreeMap<(String, String), Vec<Event>> {
        self.inner().registers.clone()
    }

    pub(crate) fn blob(&self, repo: &str, digest: &str, length: usize) {
        self.inner().blobs.insert((repo.to_owned(), digest.to_owned()), length);
    }

    pub(crate) fn blobs(&self) -> BTreeMap<(String, String), usize> {
        self.inner().blobs.clone()
    }

    pub(crate) fn any_blob(&self, random: &mut Random) -> Option<(String, String)> {
        let inner = self.inner();
        inner.blobs.keys().nth(random.below(inner.blobs.len())).cloned()
    }

    /// A kill has met a request of an upload; of this one, where it has a name yet.
    pub(crate) fn broken(&self, session: Option<&str>) {
        let mut inner = self.inner();
        inner.breaks += 1;
        inner.broken.extend(session.map(str::to_owned));
    }

    pub(crate) fn breaks(&self) -> usize {
        self.inner().breaks
    }

    pub(crate) fn broken_sessions(&self) -> BTreeSet<String> {
        self.inner().broken.clone()
    }

    /// A push of a new manifest begins; returns its number.
    pub(crate) fn push(&self, repo: &str, digest: &str, bytes: &[u8]) -> usize {
        let mut inner = self.inner();
        inner.manifests.push(Manifest {
            repo: repo.to_owned(),
            digest: digest.into(),
            bytes: bytes.to_vec(),
            acknowledged: false,
            pushing: 1,
            lost: false,
            removal: Removal::None,
        });
        inner.manifests.len() - 1
    }

    /// A push of a manifest that is there begins.
    pub(crate) fn push_again(&self, random: &mut Random) -> Option<(usize, String, Value, Vec<u8>)> {
        let mut inner = self.inner();
        let (index, manifest) = pick(&mut inner.manifests, random, |found| found.acknowledged)?;
        manifest.pushing += 1;
        Some((index, manifest.repo.clone(), manifest.digest.clone(), manifest.bytes.clone()))
    }

    pub(crate) fn pushed(&self, index: usize, acknowledged: bool) {
        let manifest = &mut self.inner().manifests[index];
        manifest.pushing -= 1;
        manifest.acknowledged |= acknowledged;
        manifest.lost |= !acknowledged;
    }

    /// A removal begins.
    pub(crate) fn remove(&self, random: &mut Random) -> Option<(usize, String, Value)> {
        let mut inner = self.inner();
        let free = |found: &Manifest| found.acknowledged && found.pushing == 0 && !found.lost;
        let (index, manifest) = pick(&mut inner.manifests, random, free)?;
        manifest.removal = Removal::Begun;
        Some((index, manifest.repo.clone(), manifest.digest.clone()))
    }

    pub(crate) fn removed(&self, index: usize) {
        self.inner().manifests[index].removal = Removal::Done(Instant::now());
    }

    /// One that was acknowledged, whatever became of it.
    pub(crate) fn any_manifest(&self, random: &mut Random) -> Option<usize> {
        let inner = self.inner();
        let there: Vec<usize> = (0..inner.manifests.len()).filter(|at| inner.manifests[*at].acknowledged).collect();
        random.pick(&there).copied()
    }

    pub(crate) fn look<T>(&self, index: usize, look: impl FnOnce(&Manifest) -> T) -> T {
        look(&self.inner().manifests[index])
    }

    pub(crate) fn manifests(&self) -> usize {
        self.inner().manifests.len()
    }
}

fn pick<'a>(
    manifests: &'a mut [Manifest],
    random: &mut Random,
    want: impl Fn(&Manifest) -> bool,
) -> Option<(usize, &'a mut Manifest)> {
    let found = |manifest: &Manifest| manifest.removal == Removal::None && want(manifest);
    let there: Vec<usize> = (0..manifests.len()).filter(|at| found(&manifests[*at])).collect();
    let index = *random.pick(&there[there.len().saturating_sub(RECENT)..])?;
    Some((index, &mut manifests[index]))
}
