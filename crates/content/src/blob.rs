//! Blobs of a repository: look, read, mount, remove.

use crate::cache::GrantKind;
use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use oci::{Digest, Hasher, RepoName};
use std::time::Duration;
use storage::{Batch, Object};

/// What is known of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// The digest that was asked for.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// A blob, opened.
#[derive(Debug)]
pub struct Blob {
    /// The digest that was asked for.
    pub digest: Digest,
    /// Its bytes.
    pub object: Object,
}

/// How long an address is good: a slow client gets the time that it needs for a large blob, and to take up a transfer that
/// broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressLife {
    /// For the smallest blobs.
    pub least: Duration,
    /// For the largest, and for those whose size is not known.
    pub most: Duration,
}

/// What the slowest client fetches in a second, in bytes: 100 MiB in a minute.
const SLOWEST: u64 = (100 << 20) / 60;

impl AddressLife {
    fn of(self, size: Option<u64>) -> Duration {
        size.map_or(self.most, |size| (self.least + Duration::from_secs(size / SLOWEST)).min(self.most))
    }
}

impl Store {
    /// Length of a blob.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::Storage`].
    pub async fn blob_stat(&self, repo: RepoName<'_>, digest: Digest) -> Result<BlobInfo> {
        let canonical = self.grant(GrantKind::Layer, repo, &digest).await?;
        let size = match self.caches.size(&canonical) {
            Some(size) => size,
            None => self.blob_size_at_the_truth(&canonical).await?,
        };
        Ok(BlobInfo { digest, size })
    }

    pub(crate) async fn blob_size_at_the_truth(&self, canonical: &Digest) -> Result<u64> {
        let stat = self.driver.stat(&layout::blob_data(canonical)).await;
        let size = stat.map_err(|error| Error::or(error, Error::BlobUnknown))?.size;
        self.caches.put_size(*canonical, size);
        Ok(size)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::Storage`].
    pub async fn blob_open(&self, repo: RepoName<'_>, digest: Digest) -> Result<Blob> {
        let canonical = self.grant(GrantKind::Layer, repo, &digest).await?;
        let object = self.driver.open(&layout::blob_data(&canonical)).await.map_err(|error| {
            self.caches.forget_content(&canonical);
            Error::or(error, Error::BlobUnknown)
        })?;
        Ok(Blob { digest, object })
    }

    /// Where a client fetches a blob of the repository itself, without credentials; `None`: storage gives out no addresses. Only the repository's link is looked at: where it dangles, there is nothing at the address.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::Storage`].
    pub async fn blob_address(&self, repo: RepoName<'_>, digest: Digest, life: AddressLife) -> Result<Option<String>> {
        let canonical = self.grant(GrantKind::Layer, repo, &digest).await?;
        let size = self.caches.likely_size(&canonical).or_else(|| self.caches.likely_size(&digest));
        let (key, life) = (layout::blob_data(&canonical), life.of(size));
        match &self.settings.addresses {
            Some(addresses) => Ok(Some(addresses.address(&key, life)?)),
            None => Ok(self.driver.presign(&key, life).await?),
        }
    }

    /// A whole small blob, such as the configuration of an image.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], also when it is longer than `max` bytes or damaged; [`Error::Storage`].
    pub async fn blob_small(&self, repo: RepoName<'_>, digest: Digest, max: usize) -> Result<Bytes> {
        let canonical = self.grant_look(GrantKind::Layer, repo, &digest).await?;
        let bytes = self.driver.get(&layout::blob_data(&canonical), max).await.map_err(|error| match error.kind {
            storage::ErrorKind::TooLarge => Error::BlobUnknown,
            _ => Error::or(error, Error::BlobUnknown),
        })?;
        if Hasher::digest(canonical.algorithm(), &bytes) != canonical {
            tracing::error!(digest = %canonical, "stored blob is damaged: its content does not have its digest");
            return Err(Error::BlobUnknown);
        }
        Ok(bytes)
    }

    /// Gives `to` a blob that `from` has; without `from`, one that anybody has. `None`: it is not there.
    ///
    /// The caller has checked that whoever asks may read `from`, or everything.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn blob_mount(
        &self,
        to: RepoName<'_>,
        digest: Digest,
        from: Option<RepoName<'_>>,
    ) -> Result<Option<BlobInfo>> {
        let found = match from {
            Some(from) => self.grant_at_the_truth(GrantKind::Layer, from, &digest).await,
            None => self.canonical_anywhere(&digest).await,
        };
        let size = match found {
            Ok(canonical) => self.blob_size_at_the_truth(&canonical).await.map(|size| (canonical, size)),
            Err(error) => Err(error),
        };
        let (canonical, size) = match size {
            Ok(found) => found,
            Err(Error::BlobUnknown) => return Ok(None),
            Err(error) => return Err(error),
        };
        let as_of = self.caches.grants_as_of();
        self.driver.apply(self.link_layer(Batch::new(), to, &digest, &canonical)).await?;
        self.caches.put_grant(as_of, GrantKind::Layer, to.as_str(), &digest, canonical);
        Ok(Some(BlobInfo { digest, size }))
    }

    /// The canonical digest of a blob that any repository may have.
    async fn canonical_anywhere(&self, digest: &Digest) -> Result<Digest> {
        if digest.algorithm() == oci::Algorithm::Sha256 {
            return Ok(*digest);
        }
        let text = self.driver.get(&layout::alias(digest), layout::LINK_MAX).await;
        let text = text.map_err(|error| Error::or(error, Error::BlobUnknown))?;
        layout::parse_link(&text).ok_or(Error::BlobUnknown)
    }

    /// Adds the links of a blob; the canonical one too when it was pushed under another algorithm.
    pub(crate) fn link_layer(&self, batch: Batch, repo: RepoName<'_>, digest: &Digest, canonical: &Digest) -> Batch {
        let text = canonical.to_string();
        batch.at_once(|mut batch| {
            for digest in [Some(canonical), Some(digest).filter(|digest| *digest != canonical)].into_iter().flatten() {
                batch = batch.keep(layout::layer_link(repo, digest), text.clone());
                batch = batch.lock(layout::layer_lock(repo, digest));
            }
            if digest == canonical { batch } else { batch.keep(layout::alias(digest), text) }
        })
    }

    /// Takes a blob from a repository; its bytes stay until the garbage collection.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], [`Error::Storage`].
    pub async fn blob_delete(&self, repo: RepoName<'_>, digest: Digest) -> Result<()> {
        self.grant_at_the_truth(GrantKind::Layer, repo, &digest).await?;
        let batch = Batch::new().delete(layout::layer_link(repo, &digest)).lock(layout::layer_lock(repo, &digest));
        self.driver.apply(batch).await?;
        self.caches.drop_grant(GrantKind::Layer, repo.as_str(), &digest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blobs_have_more_time() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let life = AddressLife { least: minutes(20), most: minutes(120) };
        assert_eq!(life.of(Some(0)), minutes(20));
        assert_eq!(life.of(Some(1 << 30)).as_secs() / 60, 30);
        assert_eq!(life.of(Some(u64::MAX)), minutes(120));
        assert_eq!(life.of(None), minutes(120));
        let short = AddressLife { least: minutes(5), most: minutes(5) };
        assert_eq!(short.of(Some(50 << 30)), minutes(5));
    }
}
