//! The content of a namespace that is gone is removed: cut at every change, and beside others who want the same or more.

use crate::drivers::{Random, Troubled};
use crate::world::{Snapshot, bytes, look, manifest, open, push_blob, push_manifest, push_manifest_to, repo};
use content::{Error, Namespace, Removal, Result, Store};
use oci::{Algorithm, Digest, Reference, RepoName};
use std::sync::Arc;
use storage::Driver;
use storage::fs::{FsDriver, FsOptions};
use storage::memory::MemoryDriver;
use storage::testing::CutDriver;

/// More changes than a removal makes.
const CHANGES_MAX: usize = 40;
/// Its name begins like that of the namespace which goes.
const NEIGHBOUR: &str = "team-b/app";

fn team() -> Namespace<'static> {
    Namespace::of(repo())
}

fn neighbour() -> RepoName<'static> {
    RepoName::parse(NEIGHBOUR).unwrap()
}

fn image() -> bytes::Bytes {
    manifest(&bytes(1, 100), None, 0)
}

fn signature() -> bytes::Bytes {
    manifest(&bytes(1, 100), Some(Digest::sha256(&image())), 9)
}

/// Bytes of an upload of the namespace, not finished yet.
async fn unfinished(store: &Arc<Store>, name: RepoName<'_>, owner: &str, size: usize) -> content::Ticket {
    let ticket = store.upload_begin(name, Algorithm::Sha256, Some(owner));
    let mut upload = store.upload_open(name, ticket.id, Some(&ticket), None).await.unwrap();
    upload.write(&bytes(3, size)).await.unwrap();
    upload.suspend().await.unwrap()
}

/// Two namespaces with images, signatures and unfinished uploads; a repository that is named like the namespace.
async fn before(store: &Arc<Store>) {
    for name in [repo(), RepoName::parse("team").unwrap(), RepoName::parse("team/a/b").unwrap(), neighbour()] {
        push_blob(store, name, &bytes(1, 100)).await.unwrap();
        push_manifest_to(store, name, &image(), None, &["v1", "v2"]).await.unwrap();
        push_manifest_to(store, name, &signature(), None, &["signature"]).await.unwrap();
        let owner = if name == neighbour() { "n1" } else { "u1" };
        for size in [1000, 300 * 1024] {
            unfinished(store, name, owner, size).await;
        }
    }
    store.claim_namespace(team(), "u1").await.unwrap();
    store.claim_namespace(Namespace::of(neighbour()), "n1").await.unwrap();
}

fn of_neighbour(seen: &Snapshot) -> Snapshot {
    seen.iter().filter(|(name, _)| name.starts_with(NEIGHBOUR)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn sessions(driver: &MemoryDriver) -> usize {
    driver.keys().iter().filter(|key| key.starts_with("homeport/v1/sessions/")).count()
}

fn is_of_team(key: &str) -> bool {
    ["docker/registry/v2/repositories/team/", "homeport/v1/referrers/team/"].iter().any(|start| key.starts_with(start))
}

#[tokio::test]
async fn cut_anywhere_it_is_finished_by_a_repetition() {
    for new in [None, Some("u2")] {
        let mut done = false;
        for changes in 0..CHANGES_MAX {
            let driver = MemoryDriver::default();
            before(&open(driver.clone())).await;
            let old = look(&driver).await;
            let cut = Arc::new(CutDriver::new(driver.clone(), changes));
            let removal = open(Troubled::one_by_one(Arc::clone(&cut))).delete_namespace(team(), "u1", new).await;
            assert_eq!(removal.is_err(), cut.is_dead(), "{removal:?}");
            let seen = look(&driver).await;
            assert!(seen.iter().all(|(name, value)| old.get(name) == Some(value)), "cut at change {changes}");
            let store = open(driver.clone());
            let owner = store.namespace_owner(team()).await.unwrap().map(|owner| owner.uid);
            if driver.keys().iter().any(|key| is_of_team(key)) {
                assert_eq!(owner.as_deref(), Some("u1"), "cut at change {changes}: content without its owner");
            }
            if removal.is_err() {
                assert_eq!(store.delete_namespace(team(), "u1", new).await.unwrap(), Removal::Done);
            }
            let left: Vec<String> = driver.keys().into_iter().filter(|key| is_of_team(key)).collect();
            assert!(left.is_empty(), "cut at change {changes}: {left:?}");
            assert_eq!(look(&driver).await, of_neighbour(&old), "cut at change {changes}");
            assert_eq!(sessions(&driver), 2, "those of the neighbour");
            let owner = store.namespace_owner(team()).await.unwrap().map(|owner| owner.uid);
            assert_eq!(owner.as_deref(), new);
            assert_eq!(store.delete_namespace(team(), "u1", new).await.unwrap(), Removal::Done);
            if removal.is_ok() {
                done = true;
                break;
            }
        }
        assert!(done, "more than {CHANGES_MAX} changes");
    }
}

#[tokio::test]
async fn content_of_another_owner_is_not_touched() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    before(&store).await;
    let keys = driver.keys();
    let owned = Removal::OwnedBy(content::Owner { uid: "u1".into() });
    for (expected, new) in [("u0", None), ("u0", Some("u2")), ("u1", Some("u1"))] {
        assert_eq!(store.delete_namespace(team(), expected, new).await.unwrap(), owned);
        assert_eq!(driver.keys(), keys);
    }
    // Nobody's content is not removed either, only claimed.
    let unowned = MemoryDriver::default();
    let store = open(unowned.clone());
    push_blob(&store, repo(), &bytes(1, 100)).await.unwrap();
    let seen = look(&unowned).await;
    assert_eq!(store.delete_namespace(team(), "u1", None).await.unwrap(), Removal::Done);
    assert_eq!(look(&unowned).await, seen);
    // A damaged record is no reason to remove anything.
    unowned.apply(storage::Batch::new().put("homeport/v1/namespaces/team", "?")).await.unwrap();
    assert!(matches!(store.delete_namespace(team(), "u1", None).await, Err(Error::OwnerDamaged(_))));
    assert_eq!(look(&unowned).await, seen);
}

#[tokio::test]
async fn what_was_remembered_is_forgotten() {
    let store = open(MemoryDriver::default());
    before(&store).await;
    let digest = Digest::sha256(&image());
    store.manifest(repo(), Reference::Digest(digest)).await.unwrap();
    store.blob_stat(repo(), Digest::sha256(&bytes(1, 100))).await.unwrap();
    let ticket = unfinished(&store, repo(), "u1", 1000).await;
    store.delete_namespace(team(), "u1", Some("u2")).await.unwrap();
    let gone = store.manifest(repo(), Reference::Digest(digest)).await;
    assert!(matches!(gone, Err(Error::ManifestUnknown)), "{gone:?}");
    let gone = store.blob_stat(repo(), Digest::sha256(&bytes(1, 100))).await;
    assert!(matches!(gone, Err(Error::BlobUnknown)), "{gone:?}");
    let gone = store.upload_status(repo(), ticket.id, Some(&ticket)).await;
    assert!(matches!(gone, Err(Error::UploadUnknown)), "{gone:?}");
    // The neighbour's is still there.
    store.manifest(neighbour(), Reference::Digest(digest)).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_written_just_now_stays_whole() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    store.claim_namespace(team(), "u1").await.unwrap();
    let ticket = unfinished(&store, repo(), "u1", 300 * 1024).await;
    let mut upload = store.upload_open(repo(), ticket.id, Some(&ticket), None).await.unwrap();
    store.delete_namespace(team(), "u1", None).await.unwrap();
    upload.write(b"more").await.unwrap();
    let ticket = upload.suspend().await.unwrap();
    assert_eq!((ticket.offset, ticket.owner.as_deref()), (300 * 1024 + 4, Some("u1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_files_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let driver = || Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap());
    let first = driver();
    let store = open(Troubled::yielding(Arc::clone(&first), 1));
    before(&store).await;
    let image = Reference::Digest(Digest::sha256(&image()));
    store.manifest(repo(), image).await.unwrap();
    assert_eq!(store.delete_namespace(team(), "u1", Some("u2")).await.unwrap(), Removal::Done);
    push_blob(&store, repo(), &bytes(1, 100)).await.unwrap();
    push_manifest(&store, &signature(), None, &["mine"]).await.unwrap();
    drop(store);
    // The process dies: the next one repeats what the journal has.
    drop(first);
    let second = driver();
    let store = open(Troubled::yielding(Arc::clone(&second), 2));
    assert_eq!(store.namespace_owner(team()).await.unwrap().unwrap().uid, "u2");
    assert!(matches!(store.manifest(repo(), image).await, Err(Error::ManifestUnknown)));
    store.manifest(repo(), Reference::Tag(oci::Tag::parse("mine").unwrap())).await.unwrap();
    store.manifest(neighbour(), image).await.unwrap();
    let referrers = oci::Page { limit: 10, last: None, explicit: false };
    let found = store.referrers(neighbour(), Digest::sha256(&self::image()), None, &referrers).await.unwrap();
    assert_eq!(found.descriptors.len(), 1);
    let names = |path: &str| {
        let entries = std::fs::read_dir(folder.path().join(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("docker/registry/v2/repositories/team"), ["app"]);
    assert_eq!(names("homeport/v1/referrers"), ["team", "team-b"]);
    second.close().await.unwrap();
}

/// The next tenant: waits for the namespace, and then pushes.
async fn next_tenant(store: &Arc<Store>) -> Result<()> {
    while store.claim_namespace(team(), "u2").await?.uid != "u2" {
        tokio::task::yield_now().await;
    }
    push_blob(store, repo(), &bytes(1, 100)).await?;
    push_manifest(store, &image(), None, &["mine"]).await?;
    Ok(())
}

#[tokio::test]
async fn late_removals_never_touch_the_next_tenant() {
    for seed in 0..60 {
        let driver = Arc::new(MemoryDriver::default());
        before(&open((*driver).clone())).await;
        let random = Random::new(seed);
        let store = |number: u64| open(Troubled::yielding(Arc::clone(&driver), seed * 10 + number));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..3 {
            let (store, new) = (store(number), [None, Some("u2")][random.below(2)]);
            tasks.spawn(async move { store.delete_namespace(team(), "u1", new).await.map(drop) });
        }
        let tenant = store(9);
        tasks.spawn(async move { next_tenant(&tenant).await });
        for result in tasks.join_all().await {
            result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let store = open((*driver).clone());
        assert_eq!(store.namespace_owner(team()).await.unwrap().unwrap().uid, "u2", "seed {seed}");
        let tag = oci::Tag::parse("mine").unwrap();
        store.manifest(repo(), Reference::Tag(tag)).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let old = store.tag_digest(repo(), oci::Tag::parse("v1").unwrap()).await;
        assert!(matches!(old, Err(Error::ManifestUnknown)), "seed {seed}: {old:?}");
    }
}
