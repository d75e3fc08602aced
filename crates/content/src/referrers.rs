//! Which manifests name another one as their subject.
//!
//! Manifests that come through us leave a record per subject. What older registries and clients kept is in the fallback tag
//! `<alg>-<hex>` of the repository: its entries are merged in.

use crate::cache::GrantKind;
use crate::{Error, Result, Store, layout};
use bytes::Bytes;
use futures_util::future::try_join_all;
use oci::{Algorithm, Descriptor, Digest, Manifest, Page, RepoName, Tag};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::INLINE_MAX;

/// All referrers of a subject that come from records, as of a listing.
#[derive(Debug)]
pub(crate) struct ReferrerList {
    stamp: u64,
    entries: Vec<Entry>,
    pub(crate) weight: u64,
}

/// One referrer: what is filtered and sorted by, and the descriptor as text.
#[derive(Clone, Debug)]
struct Entry {
    digest: Digest,
    artifact_type: Option<Box<str>>,
    json: Arc<str>,
}

/// One page of referrers.
#[derive(Debug, Default)]
pub struct ReferrersPage {
    /// Descriptors in JSON, ordered by digest.
    pub descriptors: Vec<Arc<str>>,
    /// Digest to continue after, when more follow.
    pub next: Option<Digest>,
}

/// Most entries of a fallback tag that are looked at; clients rewrite the whole list for each, so honest ones are short.
const FALLBACK_MAX: usize = 1000;
/// Longer annotations are left out of the answer; they are in the manifest.
const ANNOTATIONS_MAX: usize = 16 * 1024;

/// An answer stays below the size that clients accept for a manifest.
const PAGE_BYTES_MAX: usize = 3 << 20;

impl Store {
    /// Referrers of `subject`, which need not exist.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn referrers(
        &self,
        repo: RepoName<'_>,
        subject: Digest,
        artifact_type: Option<&str>,
        page: &Page,
    ) -> Result<ReferrersPage> {
        let recorded = self.recorded(repo, &subject).await?;
        let fallback = self.fallback(repo, &subject).await?;
        let last = page.last.as_deref().and_then(|text| Digest::parse(text).ok());
        let merged: Vec<Entry>;
        let entries = if fallback.is_empty() {
            &recorded.entries
        } else {
            let mut all: BTreeMap<Digest, Entry> = fallback.into_iter().map(|entry| (entry.digest, entry)).collect();
            all.extend(recorded.entries.iter().map(|entry| (entry.digest, entry.clone())));
            merged = all.into_values().collect();
            &merged
        };
        let start = last.map_or(0, |last| entries.partition_point(|entry| entry.digest <= last));
        let wanted = |entry: &&Entry| artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted));
        let mut out = ReferrersPage::default();
        let (mut bytes, mut newest) = (0, None);
        for entry in entries[start..].iter().filter(wanted) {
            bytes += entry.json.len();
            let full = out.descriptors.len() >= page.limit || (bytes > PAGE_BYTES_MAX && !out.descriptors.is_empty());
            if full {
                out.next = newest;
                break;
            }
            newest = Some(entry.digest);
            out.descriptors.push(Arc::clone(&entry.json));
        }
        Ok(out)
    }

    /// How many manifests say that they refer to `subject`. In contrast to [`Store::referrers`] nobody looks whether another
    /// registry has removed them meanwhile.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn referrer_count(&self, repo: RepoName<'_>, subject: Digest) -> Result<usize> {
        let list = self.driver.list(&layout::referrers(repo, &subject), "", usize::MAX).await?;
        let recorded = || list.names.iter().filter_map(|name| layout::parse_referrer(name.text));
        let Some(children) = self.fallback_children(repo, &subject).await? else { return Ok(recorded().count()) };
        Ok(recorded().chain(children).collect::<BTreeSet<Digest>>().len())
    }

    /// False when no manifest of the repository refers to another one, as of reading: then none has to be counted.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub async fn has_referrers(&self, repo: RepoName<'_>) -> Result<bool> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            if !self.driver.list(&layout::subjects(repo, algorithm), "", 1).await?.range.is_empty() {
                return Ok(true);
            }
            let start = layout::fallback_start(algorithm);
            let page = self.driver.list(&layout::tags(repo), &start, 1).await?;
            if page.range.clone().any(|index| page.names.at(index).text.starts_with(&start)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn recorded(&self, repo: RepoName<'_>, subject: &Digest) -> Result<Arc<ReferrerList>> {
        let key = layout::referrers(repo, subject);
        let list = self.driver.list(&key, "", usize::MAX).await?;
        if let (Some(stamp), Some(cached)) = (list.stamp, self.caches.referrers(&key))
            && cached.stamp == stamp
        {
            return Ok(cached);
        }
        let names = list.names.iter().filter_map(|name| Some((name.text, layout::parse_referrer(name.text)?)));
        let names: Vec<(&str, Digest)> = names.collect();
        let mut present = Vec::with_capacity(names.len());
        for some in names.chunks(self.looks_at_once()) {
            let records = try_join_all(some.iter().map(|(name, _)| self.record(format!("{key}/{name}")))).await?;
            let mut entries = Vec::with_capacity(some.len());
            for ((_, digest), record) in some.iter().zip(records).filter_map(|(name, record)| Some((name, record?))) {
                match read_record(&record, *digest) {
                    Some(entry) => entries.push(entry),
                    // Too large for a record, or damaged. One after the other: a manifest may be large.
                    None => entries.extend(self.described(repo, subject, *digest).await?),
                }
            }
            // Another registry on this tree may have removed the manifest without knowing of our record.
            let here =
                try_join_all(entries.iter().map(|entry| self.has(GrantKind::Revision, repo, &entry.digest))).await?;
            present.extend(entries.into_iter().zip(here).filter_map(|(entry, is_here)| is_here.then_some(entry)));
        }
        present.sort_by_key(|entry: &Entry| entry.digest);
        let weight = present.iter().map(|entry| entry.json.len() as u64 + 160).sum();
        let built = Arc::new(ReferrerList { stamp: list.stamp.unwrap_or(0), entries: present, weight });
        if list.stamp.is_some() {
            self.caches.put_referrers(&key, Arc::clone(&built));
        }
        Ok(built)
    }

    /// What is kept of a referrer; `None`: it went meanwhile.
    async fn record(&self, key: String) -> Result<Option<Bytes>> {
        match self.driver.get(&key, INLINE_MAX).await {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn fallback(&self, repo: RepoName<'_>, subject: &Digest) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for child in self.fallback_children(repo, subject).await?.into_iter().flatten() {
            // Lists of clients race and go stale: only what is here counts, described as it describes itself.
            entries.extend(self.described(repo, subject, child).await?);
        }
        Ok(entries)
    }

    /// What the fallback tag lists; `None`: there is none.
    async fn fallback_children(&self, repo: RepoName<'_>, subject: &Digest) -> Result<Option<BTreeSet<Digest>>> {
        let tag = layout::fallback_tag(subject);
        let Ok(tag) = Tag::parse(&tag) else { return Ok(None) };
        let stored = match self.manifest(repo, oci::Reference::Tag(tag)).await {
            Ok((_, stored)) => stored,
            Err(Error::ManifestUnknown) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(index) = Manifest::parse(&stored.bytes, None) else { return Ok(None) };
        let children: BTreeSet<Digest> = index.manifests.iter().map(|child| child.digest).collect();
        Ok(Some(children.into_iter().take(FALLBACK_MAX).collect()))
    }

    /// A referrer, described by itself.
    async fn described(&self, repo: RepoName<'_>, subject: &Digest, digest: Digest) -> Result<Option<Entry>> {
        let stored = match self.manifest(repo, oci::Reference::Digest(digest)).await {
            Ok((_, stored)) => stored,
            Err(Error::ManifestUnknown) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(manifest) = Manifest::parse(&stored.bytes, None) else { return Ok(None) };
        let refers = manifest.subject.as_ref().is_some_and(|found| found.digest == *subject);
        Ok(if refers { entry(&manifest.as_referrer(digest, stored.bytes.len())) } else { None })
    }
}

fn read_record(record: &[u8], digest: Digest) -> Option<Entry> {
    let descriptor: Descriptor = serde_json::from_slice(record).ok()?;
    if descriptor.digest == digest { entry(&descriptor) } else { None }
}

fn entry(descriptor: &Descriptor) -> Option<Entry> {
    let mut descriptor = descriptor.clone();
    descriptor.annotations = descriptor.annotations.filter(|raw| raw.get().len() <= ANNOTATIONS_MAX);
    Some(Entry {
        digest: descriptor.digest,
        artifact_type: descriptor.artifact_type.as_deref().map(Into::into),
        json: serde_json::to_string(&descriptor).ok()?.into(),
    })
}
