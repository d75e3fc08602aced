//! Every operation, cut at every change that it makes.

use crate::drivers::Troubled;
use crate::world::{Snapshot, bytes, look, manifest, open, other, push_blob, push_manifest, repo, tag};
use content::{Error, Result, Store, Ticket};
use oci::{Algorithm, Digest, Hasher};
use std::sync::Arc;
use std::time::Duration;
use storage::memory::MemoryDriver;
use storage::testing::CutDriver;

/// More changes than any operation makes.
const CHANGES_MAX: usize = 60;

/// Cuts `operation` at each change. Whatever is then visible must be as before or as afterwards, and the operation, repeated
/// on a fresh store, must end as if nothing had been.
async fn cut_everywhere(before: impl AsyncFn(&Arc<Store>), operation: impl AsyncFn(&Arc<Store>) -> Result<()>) {
    let old = MemoryDriver::default();
    before(&open(old.clone())).await;
    let old = look(&old).await;
    let done = MemoryDriver::default();
    before(&open(done.clone())).await;
    operation(&open(done.clone())).await.unwrap();
    let new = look(&done).await;
    assert_ne!(old, new, "the operation changes nothing");
    for changes in 0..CHANGES_MAX {
        let driver = MemoryDriver::default();
        before(&open(driver.clone())).await;
        let cut = Arc::new(CutDriver::new(driver.clone(), changes));
        let result = operation(&open(Troubled::one_by_one(Arc::clone(&cut)))).await;
        if !cut.is_dead() {
            result.unwrap();
            assert!(changes > 0, "the operation made no change");
            assert_eq!(look(&driver).await, new);
            return;
        }
        assert!(result.is_err(), "acknowledged although change {changes} was cut off");
        between(&look(&driver).await, &old, &new, changes);
        match operation(&open(driver.clone())).await {
            // What is to be removed may be gone already.
            Ok(()) | Err(Error::ManifestUnknown | Error::BlobUnknown | Error::UploadUnknown) => {}
            Err(error) => panic!("cut at change {changes}, repeated: {error}"),
        }
        assert_eq!(look(&driver).await, new, "cut at change {changes} and repeated");
    }
    panic!("more than {CHANGES_MAX} changes");
}

fn between(seen: &Snapshot, old: &Snapshot, new: &Snapshot, changes: usize) {
    for name in seen.keys().chain(old.keys()).chain(new.keys()) {
        let found = seen.get(name);
        assert!(found == old.get(name) || found == new.get(name), "cut at change {changes}: {name} is {found:?}");
    }
}

async fn push_as(store: &Arc<Store>, content: &[u8], announced: Algorithm, digest: Digest) -> Result<()> {
    let ticket = store.upload_begin(repo(), announced, None);
    let mut upload = store.upload_open(repo(), ticket.id, Some(&ticket), None).await?;
    upload.write(content).await?;
    upload.commit(repo(), digest).await?;
    Ok(())
}

#[tokio::test]
async fn blobs_of_every_size() {
    for size in [0, 1, 1000, 124 * 1024, 300 * 1024, (2 << 20) + 777] {
        let content = bytes(1, size);
        let push = async |store: &Arc<Store>| push_blob(store, repo(), &content).await.map(drop);
        cut_everywhere(async |_| (), push).await;
    }
}

#[tokio::test]
async fn blobs_by_the_other_algorithm() {
    for (size, announced) in
        [(1000, Algorithm::Sha256), (300 * 1024, Algorithm::Sha256), (300 * 1024, Algorithm::Sha512)]
    {
        let content = bytes(1, size);
        let digest = Hasher::digest(Algorithm::Sha512, &content);
        cut_everywhere(async |_| (), async |store| push_as(store, &content, announced, digest).await).await;
    }
}

#[tokio::test]
async fn a_blob_that_another_repository_has_and_a_mount() {
    let content = bytes(1, 300 * 1024);
    let before = async |store: &Arc<Store>| {
        push_blob(store, other(), &content).await.unwrap();
    };
    cut_everywhere(before, async |store| push_blob(store, repo(), &content).await.map(drop)).await;
    let mount = async |store: &Arc<Store>| {
        let mounted = store.blob_mount(repo(), Digest::sha256(&content), Some(other())).await?;
        assert!(mounted.is_some());
        Ok(())
    };
    cut_everywhere(before, mount).await;
}

#[tokio::test]
async fn a_blob_is_removed() {
    let content = bytes(1, 100);
    let before = async |store: &Arc<Store>| {
        push_blob(store, repo(), &content).await.unwrap();
    };
    cut_everywhere(before, async |store| store.blob_delete(repo(), Digest::sha256(&content)).await).await;
}

/// A client that sends chunks, and after a failure goes on with what it holds, as the specification tells it.
struct Chunks<'a> {
    content: &'a [u8],
    ends: &'a [usize],
    acknowledged: Option<Ticket>,
}

impl Chunks<'_> {
    async fn send(&mut self, store: &Arc<Store>) -> Result<()> {
        let mut ticket = match &self.acknowledged {
            None => store.upload_begin(repo(), Algorithm::Sha256, None),
            Some(held) => match store.upload_status(repo(), held.id, Some(held)).await {
                Ok(status) => {
                    let offset = usize::try_from(status.offset).unwrap();
                    assert!(status.offset >= held.offset, "acknowledged bytes are gone");
                    assert!(offset == 0 || self.ends.contains(&offset), "{offset} is no end of a chunk");
                    status
                }
                Err(Error::UploadUnknown) => store.upload_begin(repo(), Algorithm::Sha256, None),
                Err(error) => return Err(error),
            },
        };
        loop {
            let start = usize::try_from(ticket.offset).unwrap();
            let end = self.ends.iter().copied().find(|end| *end > start);
            let mut upload = match store.upload_open(repo(), ticket.id, Some(&ticket), None).await {
                // The bytes are a blob already, and the session is not: only a new one helps.
                Err(Error::UploadUnknown) if end.is_none() && self.acknowledged.is_some() => {
                    self.acknowledged = None;
                    return Box::pin(self.send(store)).await;
                }
                other => other?,
            };
            let Some(end) = end else {
                upload.commit(repo(), Digest::sha256(self.content)).await?;
                return Ok(());
            };
            upload.write(&self.content[start..end]).await?;
            ticket = upload.suspend().await?;
            self.acknowledged = Some(ticket.clone());
        }
    }
}

#[tokio::test]
async fn chunks_go_on_where_they_were_acknowledged() {
    let content = bytes(1, 1_400_000);
    for ends in [&[1_400_000][..], &[50_000, 150_000, 1_400_000], &[400_000, 400_001, 1_400_000]] {
        for changes in 0..CHANGES_MAX {
            let driver = MemoryDriver::default();
            let cut = Arc::new(CutDriver::new(driver.clone(), changes));
            let store = open(Troubled::one_by_one(Arc::clone(&cut)));
            let mut client = Chunks { content: &content, ends, acknowledged: None };
            let sent = client.send(&store).await;
            assert_eq!(sent.is_err(), cut.is_dead());
            if sent.is_err() {
                look(&driver).await;
                client.send(&open(driver.clone())).await.unwrap_or_else(|error| panic!("cut at {changes}: {error}"));
            }
            assert_eq!(look(&driver).await.len(), 1);
            let store = open(driver.clone());
            // Nothing is left that would not end by itself.
            store.expire_uploads(Duration::ZERO, false).await.unwrap();
            if sent.is_ok() {
                assert!(driver.keys().iter().all(|key| key.starts_with("docker/")), "{:?}", driver.keys());
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_cancelled_upload_is_never_half_there() {
    for size in [1000, 300 * 1024] {
        for changes in 0..5 {
            let driver = MemoryDriver::default();
            let store = open(driver.clone());
            let ticket = store.upload_begin(repo(), Algorithm::Sha256, None);
            let mut upload = store.upload_open(repo(), ticket.id, Some(&ticket), None).await.unwrap();
            upload.write(&bytes(1, size)).await.unwrap();
            let ticket = upload.suspend().await.unwrap();
            let cut = open(Troubled::one_by_one(Arc::new(CutDriver::new(driver.clone(), changes))));
            let cancelled = cut.upload_cancel(repo(), ticket.id, Some(&ticket)).await;
            let store = open(driver.clone());
            let status = store.upload_status(repo(), ticket.id, Some(&ticket)).await;
            match (&cancelled, &status) {
                (Ok(()), Err(Error::UploadUnknown)) => assert!(driver.keys().is_empty(), "{:?}", driver.keys()),
                (Err(_), Ok(status)) => assert_eq!(*status, ticket),
                (Err(_), Err(Error::UploadUnknown)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn with_images(store: &Arc<Store>) {
    for seed in [1, 2] {
        push_blob(store, repo(), &bytes(seed, 100)).await.unwrap();
    }
    push_manifest(store, &old_image(), None, &["v1", "latest"]).await.unwrap();
    push_manifest(store, &manifest(&bytes(2, 100), None, 5), None, &["v2"]).await.unwrap();
}

fn old_image() -> bytes::Bytes {
    manifest(&bytes(1, 100), None, 0)
}

#[tokio::test]
async fn a_manifest_with_tags_and_a_subject() {
    let subject = Digest::sha256(&old_image());
    for filler in [10, 200_000] {
        let new = manifest(&bytes(2, 100), Some(subject), filler);
        let push = async |store: &Arc<Store>| push_manifest(store, &new, None, &["latest", "v3", "v4"]).await.map(drop);
        cut_everywhere(with_images, push).await;
        let digest = Some(Hasher::digest(Algorithm::Sha512, &new));
        let push = async |store: &Arc<Store>| push_manifest(store, &new, digest, &["latest", "v5"]).await.map(drop);
        cut_everywhere(with_images, push).await;
    }
}

#[tokio::test]
async fn a_tag_is_removed() {
    let remove = async |store: &Arc<Store>| store.tag_delete(repo(), tag("latest"), None).await.map(drop);
    cut_everywhere(with_images, remove).await;
}

#[tokio::test]
async fn a_manifest_is_removed_with_its_tags() {
    let digest = Digest::sha256(&old_image());
    let remove = async |store: &Arc<Store>| store.manifest_delete(repo(), digest).await.map(drop);
    cut_everywhere(with_images, remove).await;
}

#[tokio::test]
async fn a_referrer_is_removed() {
    let referrer = manifest(&bytes(2, 100), Some(Digest::sha256(&old_image())), 7);
    let before = async |store: &Arc<Store>| {
        with_images(store).await;
        push_manifest(store, &referrer, None, &["signature"]).await.unwrap();
    };
    let digest = Digest::sha256(&referrer);
    cut_everywhere(before, async |store| store.manifest_delete(repo(), digest).await.map(drop)).await;
}

#[tokio::test]
async fn a_manifest_is_removed_by_its_other_name() {
    let long = Hasher::digest(Algorithm::Sha512, &old_image());
    let before = async |store: &Arc<Store>| {
        with_images(store).await;
        push_manifest(store, &old_image(), Some(long), &["long"]).await.unwrap();
    };
    cut_everywhere(before, async |store| store.manifest_delete(repo(), long).await.map(drop)).await;
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    before(&store).await;
    assert_eq!(store.manifest_delete(repo(), long).await.unwrap(), ["latest", "long", "v1"]);
}
