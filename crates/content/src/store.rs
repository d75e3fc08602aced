//! The content store: one value that all operations hang on.

use crate::cache::{Caches, GrantKind};
use crate::changes::{Change, Changes, Noting, Sharing, Standing, ToEnd};
use crate::{Error, Result, layout, session};
use oci::{Digest, RepoName};
use std::sync::Arc;
use std::time::Duration;
use storage::{Batch, BufferPool, Driver};

/// Unused upload buffers of 1 MiB that are kept: what eight uploads at full speed have under way.
const IDLE_BUFFERS: usize = 32;

/// What an administrator may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest manifest in bytes that is read or written.
    pub manifest_bytes_max: usize,
    /// How long a session may rest, and how long a ticket for one is good.
    pub upload_expiry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { manifest_bytes_max: 4 << 20, upload_expiry: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// Hits and misses.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheCounts {
    /// Of content by its digest.
    pub by_digest: (u64, u64),
    /// Of what a repository has.
    pub by_repository: (u64, u64),
}

/// The content store on a driver.
pub struct Store {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) caches: Caches,
    pub(crate) settings: Settings,
    pub(crate) buffers: Arc<BufferPool>,
    pub(crate) sessions: session::Sessions,
    pub(crate) changes: Arc<Changes>,
    pub(crate) sharing: tokio::sync::Mutex<Sharing>,
    pub(crate) standing: Arc<Standing>,
}

impl Store {
    /// A store on `driver`.
    #[must_use]
    pub fn new(driver: Arc<dyn Driver>, settings: Settings) -> Arc<Self> {
        let (changes, standing) = (Changes::new(), Arc::default());
        Arc::new(Self {
            driver,
            caches: Caches::new(),
            settings,
            buffers: BufferPool::new(IDLE_BUFFERS),
            sessions: session::Sessions::default(),
            sharing: tokio::sync::Mutex::new(Sharing::new(&changes, &standing)),
            standing,
            changes,
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
    pub(crate) async fn apply_noted(&self, batch: Batch, changes: Vec<Change>) -> storage::Result<()> {
        let noting = self.noting(changes).await;
        self.apply_noting(batch, noting).await
    }

    /// What is to be noted after the last batch of it. From now on others find out if this process dies.
    pub(crate) async fn noting(&self, changes: Vec<Change>) -> Arc<Noting> {
        let under_way = if changes.is_empty() { None } else { Some(self.under_way().await) };
        Arc::new(Noting::new(&self.changes, changes, under_way))
    }

    /// The same as [`Store::apply_noted`] with one batch of several.
    pub(crate) async fn apply_noting(&self, batch: Batch, noting: Arc<Noting>) -> storage::Result<()> {
        let (driver, is_noted) = (Arc::clone(&self.driver), !noting.is_empty());
        let applied = ToEnd::new(async move {
            let result = driver.apply(batch).await;
            drop(noting);
            result
        });
        let result = applied.await;
        if is_noted {
            // Those who have come meanwhile look for the record, too.
            self.appear().await;
        }
        result
    }

    /// Largest manifest that is taken, in bytes.
    #[must_use]
    pub fn manifest_bytes_max(&self) -> usize {
        self.settings.manifest_bytes_max
    }

    /// Hits and misses of the caches since the start.
    #[must_use]
    pub fn cache_counts(&self) -> CacheCounts {
        CacheCounts { by_digest: self.caches.by_digest.read(), by_repository: self.caches.by_repository.read() }
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
        let key = match kind {
            GrantKind::Layer => layout::layer_link(repo, digest),
            GrantKind::Revision => layout::revision_link(repo, digest),
        };
        let text = match self.driver.get(&key, layout::LINK_MAX).await {
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
}
