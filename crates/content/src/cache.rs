//! What may be remembered: immutable content by digest, and for a moment which repository has what.

use oci::{Digest, Manifest, RepoName};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::manifest::StoredManifest;
use crate::referrers::ReferrerList;
use crate::{Error, Namespace, layout};

/// A deletion by this process is seen at once; one by another process within this time. What was stored so short a time
/// ago is there.
pub(crate) const GRANT_LIFE: Duration = Duration::from_secs(5);
/// Content that a repository has is not removed: that it is there need not be looked up again so soon.
const SEEN_LIFE: Duration = Duration::from_secs(5 * 60);
const GRANTS: usize = 20_000;
const SIZES: usize = 20_000;
const MANIFEST_BYTES: u64 = 12 << 20;
const REFERRER_BYTES: u64 = 8 << 20;

/// Which kind of link a grant stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GrantKind {
    Layer,
    Revision,
}

impl GrantKind {
    pub(crate) fn link(self, repo: RepoName<'_>, digest: &Digest) -> String {
        match self {
            Self::Layer => layout::layer_link(repo, digest),
            Self::Revision => layout::revision_link(repo, digest),
        }
    }

    /// What a client is told when there is no such link.
    pub(crate) fn missing(self) -> Error {
        match self {
            Self::Layer => Error::BlobUnknown,
            Self::Revision => Error::ManifestUnknown,
        }
    }
}

#[derive(PartialEq, Eq)]
struct GrantKey {
    repo: Box<str>,
    digest: Digest,
    kind: GrantKind,
}

struct GrantRef<'a>(&'a str, &'a Digest, GrantKind);

impl Hash for GrantKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        GrantRef(&self.repo, &self.digest, self.kind).hash(state);
    }
}

impl Hash for GrantRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.as_bytes().hash(state);
        self.2.hash(state);
    }
}

impl Equivalent<GrantKey> for GrantRef<'_> {
    fn equivalent(&self, key: &GrantKey) -> bool {
        *self.0 == *key.repo && *self.1 == key.digest && self.2 == key.kind
    }
}

#[derive(Clone, Copy)]
struct Grant {
    canonical: Digest,
    until: Instant,
}

/// A moment in the history of dropped grants.
#[derive(Clone, Copy)]
pub(crate) struct GrantsAsOf {
    drops: u64,
    at: Instant,
}

#[derive(Clone)]
struct ManifestWeight;

impl Weighter<Digest, Arc<StoredManifest>> for ManifestWeight {
    fn weight(&self, _: &Digest, manifest: &Arc<StoredManifest>) -> u64 {
        manifest.bytes.len() as u64 + 256
    }
}

#[derive(Clone)]
struct ReferrersWeight;

impl Weighter<Box<str>, Arc<ReferrerList>> for ReferrersWeight {
    fn weight(&self, key: &Box<str>, list: &Arc<ReferrerList>) -> u64 {
        key.len() as u64 + list.weight
    }
}

/// How often memory had the answer.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counter {
    fn count<T>(&self, found: Option<T>) -> Option<T> {
        match found {
            Some(found) => Some(self.hit(found)),
            None => {
                self.miss();
                None
            }
        }
    }

    pub(crate) fn hit<T>(&self, found: T) -> T {
        self.hits.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

pub(crate) struct Caches {
    /// Look-ups of content by its digest.
    pub(crate) by_digest: Counter,
    /// Look-ups of what a repository has.
    pub(crate) by_repository: Counter,
    grants: Cache<GrantKey, Grant>,
    /// Grants dropped so far.
    drops: AtomicU64,
    /// Lengths, and when storage told them.
    sizes: Cache<Digest, (u64, Instant)>,
    /// Sizes of blobs as manifests say them, which may be wrong.
    said_sizes: Cache<Digest, u64>,
    manifests: Cache<Digest, Arc<StoredManifest>, ManifestWeight>,
    referrers: Cache<Box<str>, Arc<ReferrerList>, ReferrersWeight>,
}

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            by_digest: Counter::default(),
            by_repository: Counter::default(),
            grants: Cache::new(GRANTS),
            drops: AtomicU64::new(0),
            sizes: Cache::new(SIZES),
            said_sizes: Cache::new(SIZES),
            manifests: Cache::with_weighter(4000, MANIFEST_BYTES, ManifestWeight),
            referrers: Cache::with_weighter(100, REFERRER_BYTES, ReferrersWeight),
        }
    }

    /// The canonical digest, if the grant was seen a moment ago.
    pub(crate) fn grant(&self, kind: GrantKind, repo: &str, digest: &Digest) -> Option<Digest> {
        let grant = self.grants.get(&GrantRef(repo, digest, kind)).filter(|grant| Instant::now() < grant.until);
        self.by_repository.count(grant).map(|grant| grant.canonical)
    }

    /// Taken before storage is asked, for [`Caches::put_grant`].
    pub(crate) fn grants_as_of(&self) -> GrantsAsOf {
        GrantsAsOf { drops: self.drops.load(Ordering::SeqCst), at: Instant::now() }
    }

    /// Remembers a grant, unless grants were dropped since `as_of`: then it may be what was dropped.
    pub(crate) fn put_grant(&self, as_of: GrantsAsOf, kind: GrantKind, repo: &str, digest: &Digest, canonical: Digest) {
        let key = GrantKey { repo: repo.into(), digest: *digest, kind };
        self.grants.insert(key, Grant { canonical, until: as_of.at + GRANT_LIFE });
        // In this order: whoever drops it from now on finds it.
        if self.drops.load(Ordering::SeqCst) != as_of.drops {
            self.grants.remove(&GrantRef(repo, digest, kind));
        }
    }

    pub(crate) fn drop_grant(&self, kind: GrantKind, repo: &str, digest: &Digest) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.grants.remove(&GrantRef(repo, digest, kind));
    }

    /// Forgets what the repositories of a namespace have.
    pub(crate) fn drop_namespace(&self, namespace: Namespace<'_>) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.grants.retain(|key, _| !namespace.has(&key.repo));
    }

    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        let size = self.sizes.get(digest).filter(|(_, seen)| seen.elapsed() < GRANT_LIFE);
        self.by_digest.count(size).map(|(size, _)| size)
    }

    /// Storage had the content a while ago, at the latest when a link to it was made that is still there.
    pub(crate) fn was_seen(&self, digest: &Digest, linked: SystemTime) -> bool {
        // The service's clock may be a little ahead.
        linked.elapsed().unwrap_or_else(|ahead| ahead.duration()) < SEEN_LIFE
            || self.sizes.get(digest).is_some_and(|(_, seen)| seen.elapsed() < SEEN_LIFE)
    }

    pub(crate) fn put_size(&self, digest: Digest, size: u64) {
        self.sizes.insert(digest, (size, Instant::now()));
    }

    /// Whoever reads a manifest wants the blobs next.
    pub(crate) fn note_said_sizes(&self, manifest: &Manifest) {
        for descriptor in manifest.config.iter().chain(&manifest.layers) {
            if let Ok(size) = u64::try_from(descriptor.size) {
                self.said_sizes.insert(descriptor.digest, size);
            }
        }
    }

    /// A size that nothing may rely on.
    pub(crate) fn likely_size(&self, digest: &Digest) -> Option<u64> {
        self.sizes.get(digest).map(|(size, _)| size).or_else(|| self.said_sizes.get(digest))
    }

    /// Storage turned out not to have the content any more.
    pub(crate) fn forget_content(&self, digest: &Digest) {
        self.sizes.remove(digest);
        self.manifests.remove(digest);
    }

    pub(crate) fn manifest(&self, canonical: &Digest) -> Option<Arc<StoredManifest>> {
        self.by_digest.count(self.manifests.get(canonical))
    }

    pub(crate) fn put_manifest(&self, canonical: Digest, manifest: Arc<StoredManifest>) {
        self.manifests.insert(canonical, manifest);
    }

    pub(crate) fn referrers(&self, key: &str) -> Option<Arc<ReferrerList>> {
        self.referrers.get(key)
    }

    pub(crate) fn put_referrers(&self, key: &str, list: Arc<ReferrerList>) {
        self.referrers.insert(key.into(), list);
    }
}
