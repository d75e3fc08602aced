//! What happens to tags is noted, whatever becomes of those who asked for it.

use crate::drivers::Troubled;
use crate::world::{bytes, manifest, open, other, push_blob, push_manifest, push_manifest_to, repo, tag};
use content::{Before, Change, Namespace, Result, Store, TagState};
use oci::Digest;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use storage::memory::MemoryDriver;
use storage::testing::CutDriver;

/// More polls than any operation needs.
const POLLS_MAX: usize = 500;

pub(crate) fn image(number: usize) -> bytes::Bytes {
    manifest(&bytes(0, 10), None, number)
}

/// What was noted since the last call.
struct Follower {
    store: Arc<Store>,
    position: u64,
}

impl Follower {
    fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store), position: store.changes().newest() }
    }

    fn next(&mut self) -> Vec<Change> {
        let noted = self.store.changes().since(self.position).unwrap();
        self.position = self.store.changes().newest();
        noted.iter().map(|noted| noted.change.clone()).collect()
    }
}

fn pushed(tag: &str, new: bool) -> Change {
    Change::Pushed {
        repo: repo().as_str().into(),
        tag: tag.into(),
        before: if new { Before::Nothing } else { Before::Tag },
    }
}

fn removed(tag: &str, was: TagState) -> Change {
    Change::Removed { repo: repo().as_str().into(), tag: tag.into(), was }
}

async fn with_blob(driver: impl storage::Driver + 'static) -> Arc<Store> {
    let store = open(driver);
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    push_blob(&store, other(), &bytes(0, 10)).await.unwrap();
    store
}

#[tokio::test]
async fn pushes_tell_what_is_new() {
    let store = with_blob(MemoryDriver::default()).await;
    let mut follower = Follower::new(&store);
    push_manifest(&store, &image(0), None, &["v1"]).await.unwrap();
    assert_eq!(follower.next(), [pushed("v1", true)]);
    push_manifest(&store, &image(0), None, &["v1"]).await.unwrap();
    push_manifest(&store, &image(1), None, &["v1", "v2"]).await.unwrap();
    assert_eq!(follower.next(), [pushed("v1", false), pushed("v1", false), pushed("v2", true)]);
    push_manifest(&store, &image(2), Some(Digest::sha256(&image(2))), &[]).await.unwrap();
    let unknown = manifest(b"never pushed", None, 0);
    push_manifest(&store, &unknown, None, &["v3"]).await.unwrap_err();
    assert_eq!(follower.next(), [], "nothing happened to a tag");
    store.tag_delete(repo(), tag("v1"), None).await.unwrap();
    push_manifest(&store, &image(0), None, &["v1"]).await.unwrap();
    assert_eq!(follower.next()[1..], [pushed("v1", true)]);
}

/// A look at the tag would be a request: what it is after the push tells the same, whoever has moved it meanwhile.
#[tokio::test]
async fn a_push_to_a_service_looks_at_no_tag_that_may_move() {
    let store = with_blob(Troubled::untouched(Arc::new(MemoryDriver::default())).remote(true)).await;
    store.set_immutable_tags(content::ImmutableTags::parse(&["fixed"]).unwrap());
    let mut follower = Follower::new(&store);
    for number in 0..3 {
        push_manifest(&store, &image(number), None, &["v1"]).await.unwrap();
    }
    push_manifest(&store, &image(0), None, &["fixed"]).await.unwrap();
    push_manifest(&store, &image(0), None, &["fixed"]).await.unwrap();
    let noted = follower.next();
    assert_eq!(noted[3..], [pushed("fixed", true), pushed("fixed", false)]);
    let are_new = async |noted: &[Change]| {
        let now = store.tag_state(repo(), tag("v1")).await.unwrap();
        let is_new = |change: &Change| match change {
            Change::Pushed { before: before @ Before::Unknown { .. }, .. } => before.is_new(&now),
            other => panic!("{other:?}"),
        };
        noted.iter().map(is_new).collect::<Vec<_>>()
    };
    assert_eq!(are_new(&noted[..3]).await, [true, false, false]);
    store.tag_delete(repo(), tag("v1"), None).await.unwrap();
    push_manifest(&store, &image(1), None, &["v1"]).await.unwrap();
    push_manifest(&store, &image(1), None, &["v1"]).await.unwrap();
    assert_eq!(are_new(&follower.next()[1..]).await, [true, false]);
}

#[tokio::test]
async fn removals_tell_what_was() {
    let store = with_blob(MemoryDriver::default()).await;
    push_manifest(&store, &image(0), None, &["a", "b"]).await.unwrap();
    push_manifest(&store, &image(1), None, &["b", "c", "d"]).await.unwrap();
    push_manifest(&store, &image(2), None, &["d"]).await.unwrap();
    let mut states = BTreeMap::new();
    for name in ["a", "b", "c", "d"] {
        states.insert(name, store.tag_state(repo(), tag(name)).await.unwrap());
    }
    let mut follower = Follower::new(&store);
    store.tag_delete(repo(), tag("a"), None).await.unwrap();
    store.tag_delete(repo(), tag("a"), None).await.unwrap_err();
    assert_eq!(follower.next(), [removed("a", states["a"])]);
    let gone = store.manifest_delete(repo(), Digest::sha256(&image(1))).await.unwrap();
    assert_eq!(gone, ["b", "c"]);
    assert_eq!(follower.next(), [removed("b", states["b"]), removed("c", states["c"])]);
    store.manifest_delete(repo(), Digest::sha256(&image(1))).await.unwrap_err();
    store.manifest_delete(repo(), Digest::sha256(&image(0))).await.unwrap();
    assert_eq!(follower.next(), [], "a manifest without tags");
}

#[tokio::test]
async fn a_namespace_is_noted_once() {
    let store = with_blob(MemoryDriver::default()).await;
    let team = Namespace::parse("team").unwrap();
    store.claim_namespace(team, "u1").await.unwrap();
    for repo in [repo(), other()] {
        push_manifest_to(&store, repo, &image(0), None, &["v1"]).await.unwrap();
    }
    let mut follower = Follower::new(&store);
    store.delete_namespace(team, "u0", None).await.unwrap();
    assert_eq!(follower.next(), [], "the content of somebody else");
    store.delete_namespace(team, "u1", Some("u2")).await.unwrap();
    assert_eq!(follower.next(), [Change::Namespace { namespace: "team".into() }]);
}

/// As Kubernetes ends a namespace: each tag first.
#[tokio::test]
async fn a_namespace_without_tags_is_no_news() {
    let store = with_blob(MemoryDriver::default()).await;
    let team = Namespace::parse("team").unwrap();
    store.claim_namespace(team, "u1").await.unwrap();
    for repo in [repo(), other()] {
        push_manifest_to(&store, repo, &image(0), None, &["v1"]).await.unwrap();
        store.tag_delete(repo, tag("v1"), None).await.unwrap();
    }
    let mut follower = Follower::new(&store);
    store.delete_namespace(team, "u1", None).await.unwrap();
    assert_eq!(follower.next(), []);
    assert!(store.repositories(team, "", 10).await.unwrap().names.is_empty());
}

/// Every tag of the repository with what it is.
async fn tags(driver: &MemoryDriver) -> BTreeMap<String, Digest> {
    let store = open(driver.clone());
    let page = oci::Page { limit: 100, last: None, explicit: false };
    let Ok(tags) = store.tags(repo(), &page).await else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for text in tags.iter() {
        found.insert(text.to_owned(), store.tag_digest(repo(), tag(text)).await.unwrap());
    }
    found
}

/// Each difference between the tags is noted.
fn check_noted(before: &BTreeMap<String, Digest>, after: &BTreeMap<String, Digest>, noted: &[Change], round: usize) {
    for name in before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)) {
        let is_noted = noted.iter().any(|change| match change {
            Change::Pushed { tag, before: was, .. } => {
                **tag == **name && (*was == Before::Tag) == before.contains_key(name)
            }
            Change::Removed { tag, was, .. } => **tag == **name && Some(&was.digest) == before.get(name),
            Change::Namespace { namespace } => **namespace == *"team",
            Change::Unknown => false,
        });
        assert!(is_noted, "round {round}: nobody was told of {name}: {noted:?}");
    }
}

async fn prepare(driver: &MemoryDriver) {
    let store = with_blob(driver.clone()).await;
    push_manifest(&store, &image(0), None, &["v1", "v2"]).await.unwrap();
    store.claim_namespace(Namespace::parse("team").unwrap(), "u1").await.unwrap();
}

/// Drops the future of an operation after every number of polls. What it does to storage all the same is noted.
async fn dropped_everywhere(operation: impl AsyncFn(&Arc<Store>) -> Result<()>) {
    let mut after_the_drop = 0;
    for seed in 0..10 {
        after_the_drop += dropped_after_each_poll(&operation, seed).await;
    }
    assert!(after_the_drop > 0, "no drop met a change under way");
}

/// How often storage changed after the drop.
async fn dropped_after_each_poll(operation: &impl AsyncFn(&Arc<Store>) -> Result<()>, seed: u64) -> usize {
    let mut after_the_drop = 0;
    for polls in 0..POLLS_MAX {
        let driver = MemoryDriver::default();
        prepare(&driver).await;
        let before = tags(&driver).await;
        let store = open(Troubled::yielding(Arc::new(driver.clone()), seed));
        let mut follower = Follower::new(&store);
        let mut done = false;
        let at_the_drop;
        {
            let mut future = pin!(operation(&store));
            for _ in 0..polls {
                done = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
                if done {
                    break;
                }
                tokio::task::yield_now().await;
            }
            at_the_drop = tags(&driver).await;
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let after = tags(&driver).await;
        check_noted(&before, &after, &follower.next(), polls);
        after_the_drop += usize::from(after != at_the_drop);
        if done {
            assert_ne!(before, after, "the operation changes nothing");
            return after_the_drop;
        }
    }
    panic!("more than {POLLS_MAX} polls");
}

/// Cuts storage off at every change. What it has done until then is noted.
async fn cut_everywhere(operation: impl AsyncFn(&Arc<Store>) -> Result<()>) {
    for changes in 0.. {
        let driver = MemoryDriver::default();
        prepare(&driver).await;
        let before = tags(&driver).await;
        let cut = Arc::new(CutDriver::new(driver.clone(), changes));
        let store = open(Troubled::one_by_one(Arc::clone(&cut)));
        let mut follower = Follower::new(&store);
        let result = operation(&store).await;
        check_noted(&before, &tags(&driver).await, &follower.next(), changes);
        if !cut.is_dead() {
            result.unwrap();
            return;
        }
    }
}

async fn push(store: &Arc<Store>) -> Result<()> {
    push_manifest(store, &image(1), None, &["v2", "v3"]).await.map(drop)
}

async fn delete_tag(store: &Arc<Store>) -> Result<()> {
    store.tag_delete(repo(), tag("v1"), None).await.map(drop)
}

async fn delete_manifest(store: &Arc<Store>) -> Result<()> {
    store.manifest_delete(repo(), Digest::sha256(&image(0))).await.map(drop)
}

async fn delete_namespace(store: &Arc<Store>) -> Result<()> {
    store.delete_namespace(Namespace::parse("team").unwrap(), "u1", None).await.map(drop)
}

#[tokio::test]
async fn a_note_outlives_the_request() {
    dropped_everywhere(push).await;
    dropped_everywhere(delete_tag).await;
    dropped_everywhere(delete_manifest).await;
    dropped_everywhere(delete_namespace).await;
}

#[tokio::test]
async fn what_failed_half_way_is_noted() {
    cut_everywhere(push).await;
    cut_everywhere(delete_tag).await;
    cut_everywhere(delete_manifest).await;
    cut_everywhere(delete_namespace).await;
}
