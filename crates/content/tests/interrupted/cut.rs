//! Every operation, cut at every change that it makes.

use crate::drivers::Troubled;
use crate::world::{Snapshot, bytes, look, manifest, open, other, push_blob, push_manifest, repo, tag};
use content::{Error, Result, Store, Ticket};
use oci::{Algorithm, Digest, Hasher};
use std::sync::Arc;
use std::time::Duration;
use storage::Driver;
use storage::memory::MemoryDriver;
use storage::testing::CutDriver;

/// More changes than any operation makes.
const CHANGES_MAX: usize = 60;

/// Cuts `operation` at each change. Whatever is then visible must be as before or as afterwards, and the operation, repeated
/// on a fresh store, must end as if nothing had been.
async fn cut_everywhere(before: impl AsyncFn(&Arc<Store>), operation: impl AsyncFn(&Arc<Store>) -> Result<()>) {
    for remote in [false, true] {
        cut_each(remote, &before, &operation).await;
    }
}

/// A store of another process, on files or on a service.
fn fresh(driver: &MemoryDriver, remote: bool) -> Arc<Store> {
    open(Troubled::one_by_one(Arc::new(driver.clone())).remote(remote))
}

async fn cut_each(
    remote: bool,
    before: &impl AsyncFn(&Arc<Store>),
    operation: &impl AsyncFn(&Arc<Store>) -> Result<()>,
) {
    let old = MemoryDriver::default();
    before(&fresh(&old, remote)).await;
    let old = look(&old).await;
    let done = MemoryDriver::default();
    before(&fresh(&done, remote)).await;
    operation(&fresh(&done, remote)).await.unwrap();
    let new = look(&done).await;
    assert_ne!(old, new, "the operation changes nothing");
    for changes in 0..CHANGES_MAX {
        let driver = MemoryDriver::default();
        before(&fresh(&driver, remote)).await;
        let cut = Arc::new(CutDriver::new(driver.clone(), changes));
        let result = operation(&open(Troubled::one_by_one(Arc::clone(&cut)).remote(remote))).await;
        if !cut.is_dead() {
            result.unwrap();
            assert!(changes > 0, "the operation made no change");
            assert_eq!(look(&driver).await, new);
            return;
        }
        assert!(result.is_err(), "acknowledged although change {changes} was cut off");
        between(&look(&driver).await, &old, &new, changes);
        match operation(&fresh(&driver, remote)).await {
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
    /// Sends no chunk that could not be the whole.
    whole: bool,
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
            ticket = if self.whole { upload.suspend_whole().await? } else { upload.suspend().await? };
            self.acknowledged = Some(ticket.clone());
        }
    }
}

#[tokio::test]
async fn chunks_go_on_where_they_were_acknowledged() {
    for (remote, whole) in [(false, false), (false, true), (true, false), (true, true)] {
        for ends in [&[1_400_000][..], &[50_000], &[50_000, 150_000, 1_400_000], &[400_000, 400_001, 1_400_000]] {
            chunks_go_on(remote, whole, ends).await;
        }
    }
}

async fn chunks_go_on(remote: bool, whole: bool, ends: &[usize]) {
    let content = bytes(1, ends[ends.len() - 1]);
    for changes in 0..CHANGES_MAX {
        let driver = MemoryDriver::default();
        let cut = Arc::new(CutDriver::new(driver.clone(), changes));
        let store = open(Troubled::one_by_one(Arc::clone(&cut)).remote(remote));
        let mut client = Chunks { content: &content, ends, acknowledged: None, whole };
        let sent = client.send(&store).await;
        assert_eq!(sent.is_err(), cut.is_dead());
        if sent.is_err() {
            look(&driver).await;
            let again = client.send(&fresh(&driver, remote)).await;
            again.unwrap_or_else(|error| panic!("cut at {changes}: {error}"));
        }
        assert_eq!(look(&driver).await.len(), 1);
        // Nothing is left that would not end by itself.
        open(driver.clone()).expire_uploads(Duration::ZERO, false).await.unwrap();
        if sent.is_ok() {
            assert!(driver.keys().iter().all(|key| key.starts_with("docker/")), "{:?}", driver.keys());
            // The bytes and the link.
            assert!(!(remote && whole && ends == [50_000]) || changes == 2, "{changes} changes");
            break;
        }
    }
}

/// Replicas that know nothing of each other: what one has stored whole, another one goes on with.
#[tokio::test]
async fn a_whole_that_is_none_goes_on_elsewhere() {
    let driver = MemoryDriver::default();
    let store = || fresh(&driver, true);
    let content = bytes(1, 300_000);
    let digest = Digest::sha256(&content);
    let begun = store().upload_begin(repo(), Algorithm::Sha256, None);
    let mut upload = store().upload_open(repo(), begun.id, Some(&begun), None).await.unwrap();
    upload.write(&content[..200_000]).await.unwrap();
    let first = upload.suspend_whole().await.unwrap();
    assert_eq!((first.offset, first.stored), (200_000, Some(Digest::sha256(&content[..200_000]))));
    assert_eq!(store().upload_status(repo(), first.id, Some(&first)).await.unwrap(), first);
    assert!(look(&driver).await.is_empty(), "nobody has it without a link");

    let wrong = store().upload_open(repo(), first.id, Some(&first), None).await.unwrap().commit(repo(), digest).await;
    assert!(matches!(wrong, Err(Error::DigestMismatch { .. })));
    let mut upload = store().upload_open(repo(), first.id, Some(&first), None).await.unwrap();
    upload.write(&content[200_000..]).await.unwrap();
    let second = upload.suspend_whole().await.unwrap();
    assert_eq!((second.offset, second.stored), (300_000, None));
    // An old ticket does not change what has been recorded since.
    for old in [&begun, &first] {
        let mut upload = store().upload_open(repo(), old.id, Some(old), None).await.unwrap();
        upload.write(b"other").await.unwrap();
        assert!(matches!(upload.suspend().await, Err(Error::OutOfOrder { offset: 300_000 })));
    }
    let upload = store().upload_open(repo(), second.id, Some(&second), None).await.unwrap();
    upload.commit(repo(), digest).await.unwrap();
    assert_eq!(look(&driver).await.len(), 1);

    // Its other name, and bytes that are gone.
    let upload = store().upload_open(repo(), first.id, Some(&first), None).await.unwrap();
    let long = Hasher::digest(Algorithm::Sha512, &content[..200_000]);
    upload.commit(repo(), long).await.unwrap();
    assert_eq!(look(&driver).await.len(), 3);
    let data =
        driver.keys().into_iter().find(|key| key.ends_with(&format!("{}/data", first.stored.unwrap().hex().as_str())));
    driver.apply(storage::Batch::new().delete(data.unwrap())).await.unwrap();
    let late = content::Ticket { started: first.started - 60, ..first.clone() };
    let upload = store().upload_open(repo(), first.id, Some(&late), None).await.unwrap();
    let gone = upload.commit(repo(), first.stored.unwrap()).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)), "{gone:?}");
}

/// A chunk that comes twice, to the process that has taken it.
#[tokio::test]
async fn a_chunk_is_taken_once() {
    let driver = MemoryDriver::default();
    let store = fresh(&driver, true);
    let ticket = store.upload_begin(repo(), Algorithm::Sha256, None);
    let mut upload = store.upload_open(repo(), ticket.id, Some(&ticket), None).await.unwrap();
    upload.write(&bytes(1, 1000)).await.unwrap();
    let whole = upload.suspend_whole().await.unwrap();
    let again = store.upload_open(repo(), ticket.id, Some(&ticket), None).await.map(drop);
    assert!(matches!(again, Err(Error::OutOfOrder { offset: 1000 })));
    assert_eq!(store.upload_status(repo(), ticket.id, None).await.unwrap(), whole);
    // A chunk without bytes changes nothing.
    let same = store.upload_open(repo(), ticket.id, Some(&whole), None).await.unwrap().suspend().await.unwrap();
    assert_eq!(same, whole);
    store.upload_cancel(repo(), ticket.id, Some(&whole)).await.unwrap();
    let ended = store.upload_open(repo(), ticket.id, Some(&whole), None).await.map(drop);
    assert!(matches!(ended, Err(Error::UploadUnknown)));
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

#[tokio::test]
async fn immutable_tags_are_pushed() {
    let before = async |store: &Arc<Store>| {
        push_blob(store, repo(), &bytes(0, 10)).await.unwrap();
        push_manifest(store, &manifest(&bytes(0, 10), None, 1), None, &["latest"]).await.unwrap();
    };
    let image = manifest(&bytes(0, 10), None, 2);
    let push = async |store: &Arc<Store>| {
        store.set_immutable_tags(content::ImmutableTags::parse(&["v*"]).unwrap());
        push_manifest(store, &image, None, &["latest", "v1", "v2"]).await.map(drop)
    };
    cut_everywhere(before, push).await;
}
