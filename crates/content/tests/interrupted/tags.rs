//! What is told of a tag, and of what hangs on it.

use crate::changes::image;
use crate::drivers::Troubled;
use crate::world::{bytes, manifest, open, other, push_blob, push_manifest, repo, tag};
use content::{Before, Change, Error, Settings, Store, TagState};
use oci::{Digest, Page, Reference};
use std::sync::Arc;
use std::time::Duration;
use storage::fs::{FsDriver, FsOptions};
use storage::memory::MemoryDriver;
use storage::{Batch, Driver};

const TAG: &str = "docker/registry/v2/repositories/team/app/_manifests/tags/v1";

fn on_files(folder: &tempfile::TempDir) -> Arc<FsDriver> {
    Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap())
}

async fn state(store: &Store) -> TagState {
    store.tag_state(repo(), tag("v1")).await.unwrap()
}

async fn push(store: &Store, number: usize) {
    push_manifest(store, &image(number), None, &["v1"]).await.unwrap();
}

async fn ages(store: &Arc<Store>) {
    push_blob(store, repo(), &bytes(0, 10)).await.unwrap();
    push(store, 0).await;
    let first = state(store).await;
    assert_eq!((first.digest, first.created), (Digest::sha256(&image(0)), first.pushed));
    for number in 1..5 {
        let before = state(store).await;
        push(store, number).await;
        let moved = state(store).await;
        assert_eq!((moved.digest, moved.created), (Digest::sha256(&image(number)), first.created));
        assert!(moved.pushed > before.pushed);
    }
    push(store, 4).await;
    push(store, 0).await;
    assert_eq!(state(store).await.created, first.created);
    store.tag_delete(repo(), tag("v1"), None).await.unwrap();
    assert!(matches!(store.tag_state(repo(), tag("v1")).await, Err(Error::ManifestUnknown)));
    push(store, 0).await;
    let again = state(store).await;
    assert!(again.created > first.created && again.created == again.pushed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_has_its_age_until_it_is_removed() {
    ages(&open(MemoryDriver::default())).await;
    let folder = tempfile::tempdir().unwrap();
    let alone = on_files(&folder);
    ages(&Store::new(Arc::clone(&alone) as Arc<dyn Driver>, Settings::default())).await;
    assert!(!alone.is_shared());
    let folder = tempfile::tempdir().unwrap();
    let [first, _second] = [on_files(&folder), on_files(&folder)];
    ages(&Store::new(Arc::clone(&first) as Arc<dyn Driver>, Settings::default())).await;
    assert!(first.is_shared());
}

/// A push of another process has met the deletion, and writes the history of the tag when the tag is gone.
#[tokio::test(start_paused = true)]
async fn history_without_its_tag_goes() {
    let driver = Arc::new(MemoryDriver::default());
    let store = Store::new(Arc::new(Troubled::untouched(Arc::clone(&driver)).shared()), Settings::default());
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    let late = async || {
        let digest = Digest::sha256(&image(0));
        let key = format!("{TAG}/index/sha256/{}/link", digest.hex().as_str());
        driver.apply(Batch::new().put(key, digest.to_string())).await.unwrap();
    };
    let is_listed = async || {
        let page = Page { limit: 10, last: None, explicit: false };
        store.tags(repo(), &page).await.unwrap().iter().len() == 1
    };
    for pause in [0, 4] {
        push(&store, 0).await;
        store.tag_delete(repo(), tag("v1"), None).await.unwrap();
        tokio::time::sleep(Duration::from_secs(pause)).await;
        late().await;
        assert!(is_listed().await);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!is_listed().await, "after {pause} s");
    }
    // Pushed again meanwhile: then it stays.
    push(&store, 0).await;
    store.tag_delete(repo(), tag("v1"), None).await.unwrap();
    push(&store, 0).await;
    let before = state(&store).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(state(&store).await, before);
    // Whoever deletes what is listed and is not there gets rid of it.
    store.tag_delete(repo(), tag("v1"), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    late().await;
    assert!(matches!(store.tag_delete(repo(), tag("v1"), None).await, Err(Error::ManifestUnknown)));
    assert!(!is_listed().await);
}

/// Old registries remove a manifest and leave its tags.
#[tokio::test]
async fn a_tag_of_others_is_nothing_without_its_manifest() {
    for foreign in [false, true] {
        let driver = Arc::new(MemoryDriver::default());
        let troubled = Troubled::untouched(Arc::clone(&driver)).remote(true);
        let troubled = if foreign { troubled.foreign() } else { troubled };
        let store = Store::new(Arc::new(troubled), Settings::default());
        push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
        let digest = push_manifest(&store, &image(0), None, &["v1"]).await.unwrap();
        let by_tag = Reference::Tag(tag("v1"));
        assert_eq!(store.manifest(repo(), by_tag).await.unwrap().0, digest);
        let link = content::layout::revision_link(repo(), &digest);
        driver.apply(Batch::new().delete(link)).await.unwrap();
        let fresh = Troubled::untouched(driver).remote(true);
        let fresh = Store::new(Arc::new(if foreign { fresh.foreign() } else { fresh }), Settings::default());
        match fresh.manifest(repo(), by_tag).await {
            Err(Error::ManifestUnknown) => assert!(foreign),
            // Ours go before their manifest does, so nobody has removed it.
            found => assert_eq!((found.unwrap().0, foreign), (digest, false)),
        }
    }
}

/// Registries that share the tree write the links one after the other, and not all keep a history.
#[tokio::test]
async fn ages_of_tags_of_others() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
    let index = |digest: &Digest| format!("{TAG}/index/sha256/{}/link", digest.hex().as_str());
    let put = async |key: String, digest: &Digest| {
        let before = std::time::SystemTime::now();
        while std::time::SystemTime::now() <= before {}
        driver.apply(Batch::new().put(key.clone(), digest.to_string())).await.unwrap();
        driver.stat(&key).await.unwrap().modified
    };
    let current = put(format!("{TAG}/current/link"), &one).await;
    assert_eq!(state(&store).await, TagState { digest: one, pushed: current, created: current });
    let first = put(index(&one), &one).await;
    assert_eq!(state(&store).await, TagState { digest: one, pushed: first, created: first });
    let current = put(format!("{TAG}/current/link"), &two).await;
    put(index(&two), &two).await;
    assert_eq!(state(&store).await, TagState { digest: two, pushed: current, created: first });
    for damaged in ["", "sha256:12", &"x".repeat(300)] {
        driver.apply(Batch::new().put(format!("{TAG}/current/link"), damaged.to_owned())).await.unwrap();
        assert!(matches!(store.tag_state(repo(), tag("v1")).await, Err(Error::ManifestUnknown)), "{damaged}");
    }
}

#[tokio::test]
async fn small_blobs_are_whole_or_unknown() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    let content = bytes(1, 1000);
    let digest = push_blob(&store, repo(), &content).await.unwrap();
    assert_eq!(store.blob_small(repo(), digest, 1000).await.unwrap(), content);
    let unknown = async |repo, max| matches!(store.blob_small(repo, digest, max).await, Err(Error::BlobUnknown));
    assert!(unknown(repo(), 999).await, "too long");
    assert!(unknown(other(), 1000).await, "of another repository");
    let hex = digest.hex();
    let data = format!("docker/registry/v2/blobs/sha256/{}/{}/data", &hex.as_str()[..2], hex.as_str());
    driver.apply(Batch::new().put(data.clone(), bytes(2, 1000))).await.unwrap();
    assert!(unknown(repo(), 1000).await, "damaged");
    driver.apply(Batch::new().delete(data)).await.unwrap();
    assert!(unknown(repo(), 1000).await, "gone");
}

#[tokio::test]
async fn referrers_are_counted_once() {
    let store = open(MemoryDriver::default());
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    let subject = push_manifest(&store, &image(0), None, &["v1"]).await.unwrap();
    let count = async || store.referrer_count(repo(), subject).await.unwrap();
    assert_eq!(count().await, 0);
    let mut listed = vec![];
    for filler in 0..3 {
        let referrer = manifest(&bytes(0, 10), Some(subject), filler);
        listed.push(push_manifest(&store, &referrer, None, &[]).await.unwrap());
    }
    assert_eq!(count().await, 3);
    // A client of the old scheme lists one that we know and one that came without a record.
    let children = [listed[0], Digest::sha256(b"of an older registry")];
    let children = children.map(|digest| {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        serde_json::json!({ "mediaType": media_type, "digest": digest.to_string(), "size": 1 })
    });
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children
    });
    let fallback = subject.to_string().replace(':', "-");
    push_manifest(&store, &index.to_string().into(), None, &[&fallback]).await.unwrap();
    assert_eq!(count().await, 4);
    store.manifest_delete(repo(), listed[1]).await.unwrap();
    assert_eq!(count().await, 3);
}

/// As old registries and people with editors leave them.
async fn write_link(driver: &MemoryDriver, text: impl Into<bytes::Bytes>) {
    driver.apply(Batch::new().put(format!("{TAG}/current/link"), text)).await.unwrap();
}

#[tokio::test]
async fn a_tag_goes_only_as_what_it_is_believed_to_be() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    let digests = [0, 1].map(|number| Digest::sha256(&image(number)));
    let remove = async |only: &Digest| store.tag_delete(repo(), tag("v1"), Some(only)).await;
    assert!(matches!(remove(&digests[0]).await, Err(Error::ManifestUnknown)));
    push(&store, 0).await;
    push(&store, 1).await;
    let start = store.changes().newest();
    assert!(matches!(remove(&digests[0]).await, Err(Error::Changed)));
    assert_eq!(state(&store).await.digest, digests[1]);
    assert!(store.changes().since(start).unwrap().is_empty());
    assert_eq!(remove(&digests[1]).await.unwrap(), Some(digests[1]));
    assert!(matches!(store.tag_state(repo(), tag("v1")).await, Err(Error::ManifestUnknown)));
    write_link(&driver, "damaged").await;
    assert!(matches!(remove(&digests[1]).await, Err(Error::Changed)));
    assert_eq!(store.tag_delete(repo(), tag("v1"), None).await.unwrap(), None);
    write_link(&driver, format!("{}\n", digests[1])).await;
    assert_eq!(remove(&digests[1]).await.unwrap(), Some(digests[1]));
    write_link(&driver, format!("{}\n", digests[1])).await;
    assert_eq!(store.manifest_delete(repo(), digests[1]).await.unwrap(), ["v1"]);
    assert!(driver.keys().iter().all(|key| !key.starts_with(TAG)));
}

/// Whoever pushes while it is removed: the tag that was believed to be there goes, or nothing does.
#[tokio::test]
async fn a_push_survives_a_removal_that_did_not_mean_it() {
    let (mut refused, mut removed) = (0, 0);
    for seed in 0..200 {
        let driver = MemoryDriver::default();
        let store = open(Troubled::yielding(Arc::new(driver.clone()), seed));
        push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
        push(&store, 0).await;
        let old = Digest::sha256(&image(0));
        let removing = store.tag_delete(repo(), tag("v1"), Some(&old));
        let ((), result) = tokio::join!(push(&store, 1), removing);
        match result {
            Ok(was) => {
                assert_eq!(was, Some(old));
                removed += 1;
            }
            Err(Error::Changed) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(state(&open(driver)).await.digest, Digest::sha256(&image(1)), "{seed}");
    }
    assert!(refused > 0 && removed > 0, "{refused} refused, {removed} removed");
}

#[tokio::test]
async fn a_damaged_tag_is_new_when_it_is_pushed() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    write_link(&driver, "damaged").await;
    let start = store.changes().newest();
    push(&store, 0).await;
    let noted = store.changes().since(start).unwrap();
    assert!(matches!(noted[0].change, Change::Pushed { before: Before::Nothing, .. }), "{noted:?}");
}
