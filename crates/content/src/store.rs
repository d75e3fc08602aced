//! The content store: one value that all operations hang on.

use crate::cache::{Caches, GrantKind};
use crate::changes::{Change, Changes, Noting, Sharing, Standing, ToEnd, UnderWay};
use crate::lists::Lists;
use crate::remains::Remains;
use crate::{Error, ImmutableTags, Result, layout, session};
use bytes::Bytes;
use oci::{Digest, RepoName};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use storage::{Addresses, Batch, BufferPool, Driver};

/// Unused upload buffers of 1 MiB that are kept: what eight uploads at full speed have under way.
const IDLE_BUFFERS: usize = 32;

/// Looks at a service under way at once, for one request.
const LOOKS_MAX: usize = 16;

/// What an administrator may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest manifest in bytes that is read or written.
    pub manifest_bytes_max: usize,
    /// How long a session may rest, and how long a ticket for one is good.
    pub upload_expiry: Duration,
    /// Where clients fetch blobs, if not at the addresses that storage gives out itself.
    pub addresses: Option<Arc<dyn Addresses>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { manifest_bytes_max: 4 << 20, upload_expiry: Duration::from_secs(7 * 24 * 3600), addresses: None }
    }
}

/// Hits and misses.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheCounts {
    /// Of content by its digest.
    pub by_digest: (u64, u64),
    /// Of what a repository has.
    pub by_repository: (u64, u64),
    /// Of lists of names.
    pub lists: (u64, u64),
}

/// The content store on a driver.
pub struct Store {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) caches: Caches,
    pub(crate) lists: Arc<Lists>,
    pub(crate) settings: Settings,
    pub(crate) buffers: Arc<BufferPool>,
    pub(crate) sessions: session::Sessions,
    pub(crate) changes: Arc<Changes>,
    pub(crate) sharing: Sharing,
    pub(crate) standing: Arc<Standing>,
    pub(crate) immutable: RwLock<Arc<ImmutableTags>>,
    pub(crate) remains: Remains,
}

impl Store {
    /// A store on `driver`.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, settings: Settings) -> Arc<Self> {
        let (changes, standing, lists) = (Changes::new(), Arc::default(), Lists::new());
        Arc::new(Self {
            driver,
            caches: Caches::new(),
            settings,
            buffers: BufferPool::new(IDLE_BUFFERS),
            sessions: session::Sessions::default(),
            sharing: Sharing::new(&changes, &standing, &lists),
            lists,
            standing,
            changes,
            immutable: RwLock::default(),
            remains: Remains::default(),
        })
    }

    /// Checks that storage answers.
    ///
    /// # Errors
    /// What storage said.
    pub async fn probe(&self) -> Result<()> {
        Ok(self.driver.probe().await?)
    }

    /// What happened to tags, for those who watch them.
    #[must_use]
    pub fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Carries out what changes tags, and notes it. Once begun both happen, also when nobody waits for it any more.
    pub(crate) async fn apply_noted(
        &self,
        under_way: &Arc<UnderWay>,
        batch: Batch,
        changes: Vec<Change>,
    ) -> storage::Result<()> {
        self.apply_noting(batch, self.noting(under_way, changes)).await
    }

    /// What is to be noted after the last batch of it.
    pub(crate) fn noting(&self, under_way: &Arc<UnderWay>, changes: Vec<Change>) -> Arc<Noting> {
        Arc::new(Noting::new(&self.changes, changes, Arc::clone(under_way)))
    }

    /// The same as [`Store::apply_noted`] with one batch of several.
    pub(crate) async fn apply_noting(&self, batch: Batch, noting: Arc<Noting>) -> storage::Result<()> {
        let (driver, under_way) = (Arc::clone(&self.driver), Arc::clone(noting.under_way()));
        let applied = ToEnd::new(async move {
            let result = driver.apply(batch).await;
            drop(noting);
            result
        });
        let result = applied.await;
        self.tell_again(&under_way).await;
        result
    }

    /// Lists of a service are kept: others must know of a change before it is made.
    pub(crate) fn keeps_lists(&self) -> bool {
        self.driver.is_remote() && !self.driver.lists_may_lag()
    }

    /// Largest manifest that is taken, in bytes.
    #[must_use]
    pub fn manifest_bytes_max(&self) -> usize {
        self.settings.manifest_bytes_max
    }

    /// Hits and misses of the caches since the start.
    #[must_use]
    pub fn cache_counts(&self) -> CacheCounts {
        CacheCounts {
            by_digest: self.caches.by_digest.read(),
            by_repository: self.caches.by_repository.read(),
            lists: self.lists.asked.read(),
        }
    }

    /// How many looks at storage one request has under way at once.
    pub(crate) fn looks_at_once(&self) -> usize {
        if self.driver.is_remote() { LOOKS_MAX } else { 1 }
    }

    /// The canonical digest behind a link, from memory if it was seen a moment ago.
    pub(crate) async fn grant(&self, kind: GrantKind, repo: RepoName<'_>, digest: &Digest) -> Result<Digest> {
        if let Some(canonical) = self.caches.grant(kind, repo.as_str(), digest) {
            return Ok(canonical);
        }
        let as_of = self.caches.grants_as_of();
        let canonical = self.grant_at_the_truth(kind, repo, digest).await?;
        self.caches.put_grant(as_of, kind, repo.as_str(), digest, canonical);
        Ok(canonical)
    }

    /// The same without remembering it, for whoever looks at everything once.
    pub(crate) async fn grant_look(&self, kind: GrantKind, repo: RepoName<'_>, digest: &Digest) -> Result<Digest> {
        match self.caches.grant(kind, repo.as_str(), digest) {
            Some(canonical) => Ok(canonical),
            None => self.grant_at_the_truth(kind, repo, digest).await,
        }
    }

    /// The canonical digest behind a link, from storage.
    pub(crate) async fn grant_at_the_truth(
        &self,
        kind: GrantKind,
        repo: RepoName<'_>,
        digest: &Digest,
    ) -> Result<Digest> {
        let key = kind.link(repo, digest);
        granted(kind, &key, self.driver.get(&key, layout::LINK_MAX).await)
    }

    /// True when storage itself says now that the repository has a link to the content, and, now or lately, that the content
    /// is there.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) async fn has(&self, kind: GrantKind, repo: RepoName<'_>, digest: &Digest) -> Result<bool> {
        let key = kind.link(repo, digest);
        let (text, made) = if self.driver.is_remote() {
            match self.driver.read(&key, layout::LINK_MAX).await {
                Ok((stat, text)) => (Ok(text), Some(stat.modified)),
                Err(error) => (Err(error), None),
            }
        } else {
            // The look at the content costs next to nothing.
            (self.driver.get(&key, layout::LINK_MAX).await, None)
        };
        let found = match granted(kind, &key, text) {
            // A link is made to content that is there, and as long as a repository has one, nobody should remove that.
            Ok(canonical) if made.is_some_and(|made| self.caches.was_seen(&canonical, made)) => return Ok(true),
            Ok(canonical) => self.blob_size_at_the_truth(&canonical).await.map(drop),
            Err(error) => Err(error),
        };
        match found {
            Ok(()) => Ok(true),
            Err(Error::BlobUnknown | Error::ManifestUnknown) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What a link says.
fn granted(kind: GrantKind, key: &str, text: storage::Result<Bytes>) -> Result<Digest> {
    let text = match text {
        Ok(text) => text,
        // A link that is longer than any digest is as good as none.
        Err(error) if error.kind == storage::ErrorKind::TooLarge => return Err(kind.missing()),
        Err(error) => return Err(Error::or(error, kind.missing())),
    };
    layout::parse_link(&text).ok_or_else(|| {
        tracing::warn!(key, "empty or damaged link, treated as missing");
        kind.missing()
    })
}
