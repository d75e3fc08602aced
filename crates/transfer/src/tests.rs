mod busy;
mod stubborn;
mod world;

use crate::{Error, Kind, Options, Progress, Report, copy, forget_mark};
use busy::Busy;
use bytes::Bytes;
use content::layout;
use oci::{Digest, RepoName, Tag};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::memory::MemoryDriver;
use storage::testing::CutDriver;
use storage::{Batch, BufferPool, Driver};
use stubborn::Stubborn;
use world::{Step, apply, content, image, push, sound};

fn options() -> Options {
    Options { from: "memory".to_owned(), jobs: 3, delete: false, dry_run: false, verify: false, into_existing: false }
}

async fn run(
    source: impl Driver + 'static,
    destination: impl Driver + 'static,
    options: Options,
) -> crate::Result<Report> {
    copy(Arc::new(source), Arc::new(destination), options, Arc::default()).await
}

/// What is copied, by key; the mark is not.
async fn copied(driver: &MemoryDriver) -> BTreeMap<String, Bytes> {
    let mut all = BTreeMap::new();
    for key in driver.keys().into_iter().filter(|key| key != layout::COPIED) {
        let bytes = driver.get(&key, usize::MAX).await.unwrap();
        all.insert(key, bytes);
    }
    all
}

fn without_bytes(all: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    all.into_iter().filter(|(key, _)| !key.contains("/blobs/")).collect()
}

#[tokio::test]
async fn everything_that_counts_is_copied_and_nothing_else() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1).into_iter().chain(push("a/b/c", "v1", 2)).chain(push("a/b", "v1", 3)) {
        apply(&source, step).await;
    }
    let ours = Batch::new()
        .put("homeport/v1/namespaces/a", "uid")
        .put("homeport/v1/cluster", "uid")
        .put("homeport/v1/aliases/sha512/ab/abcd", "sha256:…");
    source.apply(ours).await.unwrap();
    let expected = copied(&source).await;
    let passing = Batch::new()
        .put("homeport/v1/sessions/1", "x")
        .put("homeport/v1/uploads/1", "x")
        .put("homeport/v1/changes/1", "x")
        .put("homeport/v1/secret", "x")
        .put("docker/registry/v2/repositories/a/b/_uploads/1/data", "x");
    source.apply(passing).await.unwrap();
    source.apply(Batch::new().put("homeport/v1/new/1", "x").put("docker/registry/v2/x/y", "x")).await.unwrap();
    let destination = MemoryDriver::default();

    let tried = run(source.clone(), destination.clone(), Options { dry_run: true, ..options() }).await.unwrap();
    assert!(destination.keys().is_empty());
    let report = run(source.clone(), destination.clone(), options()).await.unwrap();
    assert_eq!(copied(&destination).await, expected);
    assert_eq!(tried, report, "a dry run tells what will be");
    assert_eq!((report.tags_copied, report.unknown, report.dangling), (2, 2, 0));
    let unknown: Vec<&str> = report.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(unknown, ["docker/registry/v2/x", "homeport/v1/new"]);

    let again = run(source, destination, options()).await.unwrap();
    assert_eq!((again.blobs_copied, again.links_copied, again.tags_copied), (0, 0, 0));
    assert_eq!(again.blobs_there, report.blobs_copied);
}

#[tokio::test]
async fn broken_blobs_stay_behind_with_all_that_needs_them() {
    let source = MemoryDriver::default();
    for step in push("a/b", "good", 1).into_iter().chain(push("a/b", "bad", 10)) {
        apply(&source, step).await;
    }
    let (manifest, layers) = image(10);
    let victim = layout::blob_data(&layers[0]);
    source.apply(Batch::new().put(&victim, "other bytes").put(layout::blob_data(&manifest), "{}")).await.unwrap();
    let destination = MemoryDriver::default();
    let report = run(source.clone(), destination.clone(), options()).await.unwrap();
    assert!(!report.is_complete());
    assert_eq!((report.broken, report.dangling, report.tags_copied), (2, 0, 1));
    let broken: Vec<&str> = report.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert!(broken.contains(&victim.as_str()), "{broken:?}");
    assert!(report.findings.iter().all(|finding| finding.kind == Kind::Broken));
    sound(&destination).await;

    // Pushed again at the source.
    for step in push("a/b", "bad", 10) {
        apply(&source, step).await;
    }
    let report = run(source.clone(), destination.clone(), options()).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(copied(&destination).await, copied(&source).await);
}

#[tokio::test]
async fn links_that_lead_nowhere_are_told_and_not_copied() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1) {
        apply(&source, step).await;
    }
    let expected = copied(&source).await;
    let repo = RepoName::parse("a/b").unwrap();
    let nowhere = Digest::sha256(b"nowhere");
    let links = Batch::new()
        .put(layout::layer_link(repo, &nowhere), nowhere.to_string())
        .put(layout::revision_link(repo, &Digest::sha256(b"empty")), "")
        .put(layout::tag_current(repo, Tag::parse("gone").unwrap()), nowhere.to_string())
        .put(layout::tag_current(repo, Tag::parse("empty").unwrap()), "");
    source.apply(links).await.unwrap();
    let destination = MemoryDriver::default();
    let report = run(source, destination.clone(), options()).await.unwrap();
    // A folder says that an empty link is not there.
    assert_eq!((report.is_complete(), report.dangling), (true, 3));
    assert_eq!(copied(&destination).await, expected);
}

#[tokio::test]
async fn what_is_damaged_at_the_destination_is_found_by_size_or_by_reading() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1) {
        apply(&source, step).await;
    }
    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let key = layout::blob_data(&image(1).1[0]);
    destination.apply(Batch::new().put(&key, "short")).await.unwrap();
    let report = run(source.clone(), destination.clone(), options()).await.unwrap();
    assert_eq!(report.blobs_copied, 1);
    let mut same_size = source.get(&key, usize::MAX).await.unwrap().to_vec();
    same_size[0] ^= 1;
    destination.apply(Batch::new().put(&key, same_size)).await.unwrap();
    let verify = Options { verify: true, ..options() };
    let report = run(source.clone(), destination.clone(), verify).await.unwrap();
    assert_eq!((report.blobs_copied, report.links_copied, report.tags_copied), (1, 0, 0));
    assert_eq!(copied(&destination).await, copied(&source).await);
}

#[tokio::test]
async fn what_a_service_would_keep_is_removed_while_the_place_is_ours() {
    let (source, place) = (MemoryDriver::default(), MemoryDriver::remote());
    for step in push("a/b", "v1", 7) {
        apply(&source, step).await;
    }
    run(source.clone(), Stubborn(place.clone()), options()).await.unwrap();
    let large = layout::blob_data(&image(7).1[0]);
    let mut damaged = source.get(&large, usize::MAX).await.unwrap().to_vec();
    assert!(damaged.len() > storage::INLINE_MAX);
    damaged[0] ^= 1;
    let (mut buffer, mut writer) = (BufferPool::new(1).take(), place.writer(None).await.unwrap());
    buffer.fill(&damaged);
    writer.append(Arc::new(buffer)).await.unwrap();
    writer.commit(&large).await.unwrap();
    let verify = Options { verify: true, ..options() };
    let report = run(source.clone(), Stubborn(place.clone()), verify).await.unwrap();
    assert_eq!((report.blobs_copied, report.is_complete()), (1, true));
    assert!(copied(&place).await == copied(&source).await, "what was damaged stays");
}

#[tokio::test]
async fn wrong_places_are_refused() {
    let (source, empty) = (MemoryDriver::default(), MemoryDriver::default());
    assert!(matches!(run(empty.clone(), source.clone(), options()).await, Err(Error::NothingThere(_))));
    for step in push("a/b", "v1", 1) {
        apply(&source, step).await;
    }
    let existing = Options { into_existing: true, ..options() };
    assert!(matches!(run(source.clone(), source.clone(), options()).await, Err(Error::NotEmpty)));
    assert!(matches!(run(source.clone(), source.clone(), existing.clone()).await, Err(Error::SamePlace)));
    assert!(source.get(layout::COPIED, 1000).await.is_err());

    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let other = Options { from: "another".to_owned(), ..options() };
    assert!(matches!(run(source.clone(), destination.clone(), other).await, Err(Error::OtherSource(_))));
    // A registry has begun to write there.
    forget_mark(&destination).await.unwrap();
    assert!(matches!(run(source.clone(), destination.clone(), options()).await, Err(Error::NotEmpty)));
    run(source.clone(), destination.clone(), existing).await.unwrap();
    let delete = Options { delete: true, ..options() };
    assert!(matches!(run(source, destination, delete).await, Err(Error::MixedDelete)));
}

/// A namespace that was deleted and made anew is not to see what the former one had, and be it at the copy.
#[tokio::test]
async fn a_namespace_with_another_owner_starts_empty() {
    let source = MemoryDriver::default();
    source.apply(Batch::new().put("homeport/v1/namespaces/a", "first")).await.unwrap();
    for step in push("a/old", "v1", 1).into_iter().chain(push("b/other", "v1", 2)) {
        apply(&source, step).await;
    }
    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let tree = layout::repository("a");
    source.apply(Batch::new().delete_tree(&tree).delete_tree(layout::namespace_referrers("a"))).await.unwrap();
    source.apply(Batch::new().put("homeport/v1/namespaces/a", "second")).await.unwrap();
    for step in push("a/new", "v1", 3) {
        apply(&source, step).await;
    }
    run(source.clone(), destination.clone(), options()).await.unwrap();
    assert_eq!(without_bytes(copied(&destination).await), without_bytes(copied(&source).await));
}

/// What was at the destination before is not removed for the sake of an owner, and nothing else is changed either.
#[tokio::test]
async fn another_owner_is_refused_where_there_was_something_before() {
    for (key, name) in [("homeport/v1/namespaces/a", "namespace a "), ("homeport/v1/cluster", "another cluster")] {
        let (source, destination) = (MemoryDriver::default(), MemoryDriver::default());
        for step in push("a/theirs", "v1", 1) {
            apply(&source, step).await;
        }
        for step in push("a/ours", "v1", 2) {
            apply(&destination, step).await;
        }
        source.apply(Batch::new().put(key, "first")).await.unwrap();
        destination.apply(Batch::new().put(key, "second")).await.unwrap();
        let before = destination.keys();
        let existing = Options { into_existing: true, ..options() };
        let refused = run(source.clone(), destination.clone(), existing.clone()).await.unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
        assert_eq!(destination.keys(), before);
        source.apply(Batch::new().put(key, "second")).await.unwrap();
        run(source.clone(), destination.clone(), existing).await.unwrap();
        // It is no empty place in the next run either.
        source.apply(Batch::new().put(key, "third")).await.unwrap();
        let before = copied(&destination).await;
        assert!(run(source, destination.clone(), options()).await.is_err());
        assert_eq!(copied(&destination).await, before);
    }
}

#[tokio::test]
async fn a_registry_at_the_destination_ends_the_copy_before_anything_of_it_is_removed() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1).into_iter().chain(push("a/b", "v2", 2)).chain(push("c", "v1", 3)) {
        apply(&source, step).await;
    }
    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let gone = Batch::new().delete_tree(layout::repository("c"));
    source
        .apply(gone.delete_tree(layout::tag(RepoName::parse("a/b").unwrap(), Tag::parse("v1").unwrap())))
        .await
        .unwrap();
    // It is started at one request of the copy after the other.
    for wait in 0..60 {
        let place = MemoryDriver::default();
        for key in destination.keys() {
            place.apply(Batch::new().put(&key, destination.get(&key, usize::MAX).await.unwrap())).await.unwrap();
        }
        let mut steps = vec![Step::Put(Batch::new()); wait];
        steps.push(Step::Put(Batch::new().delete(layout::COPIED)));
        steps.extend(push("mine", "v1", 4));
        let keys = steps.len();
        let beside = Busy::beside(source.clone(), place.clone(), steps.into());
        let delete = Options { delete: true, ..options() };
        let result = run(beside.clone(), place.clone(), delete.clone()).await;
        beside.finish().await;
        let tag = layout::tag_current(RepoName::parse("mine").unwrap(), Tag::parse("v1").unwrap());
        assert!(place.get(&tag, 100).await.is_ok(), "{wait} of {keys}");
        sound(&place).await;
        match result {
            Err(Error::TakenOver) => assert!(matches!(run(source.clone(), place, delete).await, Err(Error::NotEmpty))),
            // It was there first.
            Err(Error::NotEmpty) => {}
            // Before the place is marked, or after the last change.
            other => drop(other.unwrap()),
        }
    }
}

/// Good copies of what is damaged at the source by now are the last ones.
#[tokio::test]
async fn what_is_damaged_at_the_source_is_not_gone() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1).into_iter().chain(push("a/b", "v2", 5)).chain(push("d", "v1", 9)) {
        apply(&source, step).await;
    }
    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let before = copied(&destination).await;
    let (b, d) = (RepoName::parse("a/b").unwrap(), RepoName::parse("d").unwrap());
    let damage = Batch::new()
        .put(layout::tag_current(b, Tag::parse("v1").unwrap()), "")
        .delete(layout::revision_link(b, &image(1).0))
        .put(layout::revision_link(d, &image(9).0), "")
        .put(layout::layer_link(d, &image(9).1[0]), "");
    source.apply(damage).await.unwrap();
    let delete = Options { delete: true, ..options() };
    for verify in [false, true] {
        let report = run(source.clone(), destination.clone(), Options { verify, ..delete.clone() }).await.unwrap();
        assert_eq!((report.removed, report.repositories_held), (0, 1));
        assert_eq!(copied(&destination).await, before);
    }
}

/// A tag of which only the manifest was deleted, as older registries do it, goes with the manifest.
#[tokio::test]
async fn a_tag_that_leads_nowhere_does_not_keep_its_manifest() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1).into_iter().chain(push("a/b", "v2", 4)) {
        apply(&source, step).await;
    }
    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let link = layout::revision_link(RepoName::parse("a/b").unwrap(), &image(4).0);
    source.apply(Batch::new().delete(&link)).await.unwrap();
    let report = run(source, destination.clone(), Options { delete: true, ..options() }).await.unwrap();
    // The tag, the record of whom the manifest refers to, and the manifest.
    assert_eq!((report.removed, report.repositories_held), (3, 0));
    assert!(destination.get(&link, 100).await.is_err());
    sound(&destination).await;
}

#[tokio::test]
async fn a_source_without_repositories_removes_none() {
    let source = MemoryDriver::default();
    for step in push("a/b", "v1", 1) {
        apply(&source, step).await;
    }
    let destination = MemoryDriver::default();
    run(source.clone(), destination.clone(), options()).await.unwrap();
    let before = copied(&destination).await;
    source.apply(Batch::new().delete_tree(layout::REPOSITORIES)).await.unwrap();
    let delete = Options { delete: true, ..options() };
    assert!(matches!(run(source, destination.clone(), delete).await, Err(Error::NoRepositories)));
    assert_eq!(copied(&destination).await, before);
}

/// Clients delete, at each request in turn, what was found to be the same at both places.
#[tokio::test]
async fn what_clients_delete_meanwhile_waits_for_the_next_run() {
    let repo = RepoName::parse("a/b").unwrap();
    let (gone, moved) = (image(1).0, image(8).0);
    let deletions = [
        Batch::new().delete_tree(layout::repository("a/b")),
        Batch::new()
            .put(layout::tag_current(repo, Tag::parse("v1").unwrap()), moved.to_string())
            .delete(layout::revision_link(repo, &gone))
            .delete(layout::layer_link(repo, &image(1).1[0])),
    ];
    for deletion in deletions {
        for wait in 0..60 {
            let source = MemoryDriver::default();
            for step in push("a/b", "v1", 1).into_iter().chain(push("a/b", "v2", 8)).chain(push("z", "v1", 22)) {
                apply(&source, step).await;
            }
            let destination = MemoryDriver::default();
            run(source.clone(), destination.clone(), options()).await.unwrap();
            let mut steps = vec![Step::Put(Batch::new()); wait];
            steps.push(Step::Put(deletion.clone()));
            let busy = Busy::new(source.clone(), steps.into(), 1);
            let delete = Options { delete: true, ..options() };
            run(busy.clone(), destination.clone(), delete.clone()).await.unwrap();
            sound(&destination).await;
            busy.finish().await;
            run(source.clone(), destination.clone(), delete).await.unwrap();
            sound(&destination).await;
            assert!(destination.get(&layout::revision_link(repo, &gone), 100).await.is_err(), "{wait}");
        }
    }
}

/// Cut after each change in turn: what is there is sound, and the next run completes it.
#[tokio::test]
async fn cut_anywhere_the_destination_is_sound() {
    let source = MemoryDriver::default();
    for seed in 0..4 {
        for step in push("a/b", &format!("v{}", seed % 2), seed).into_iter().chain(push("c", "v1", seed)) {
            apply(&source, step).await;
        }
    }
    let expected = copied(&source).await;
    for changes in 0..1000 {
        let destination = MemoryDriver::default();
        let cut = run(source.clone(), CutDriver::new(destination.clone(), changes), options()).await;
        sound(&destination).await;
        if cut.is_ok() {
            assert!(changes > 30, "{changes}");
            return;
        }
        run(source.clone(), destination.clone(), options()).await.unwrap();
        assert_eq!(copied(&destination).await, expected, "after {changes}");
    }
    panic!("it never ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Clients push, move and delete tags between the requests of a copy, which is cut again and again.
    #[test]
    fn while_clients_work_the_destination_is_sound(
        steps in proptest::collection::vec(world::steps(), 1..14),
        every in 1usize..7,
        cuts in proptest::collection::vec(0usize..60, 0..4),
        delete: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (source, destination) = (MemoryDriver::default(), MemoryDriver::default());
            for step in push("first/one", "v1", 0) {
                apply(&source, step).await;
            }
            let busy = Busy::new(source.clone(), steps.into_iter().flatten().collect(), every);
            let options = Options { delete, ..options() };
            for changes in cuts {
                drop(run(busy.clone(), CutDriver::new(destination.clone(), changes), options.clone()).await);
                sound(&destination).await;
            }
            run(busy.clone(), destination.clone(), options.clone()).await.unwrap();
            sound(&destination).await;
            busy.finish().await;
            run(source.clone(), destination.clone(), options.clone()).await.unwrap();
            sound(&destination).await;
            let (theirs, mine) = (copied(&source).await, copied(&destination).await);
            // What a tag has been is copied when it moves.
            for (key, bytes) in theirs.iter().filter(|(key, _)| !key.contains("/index/")) {
                assert_eq!(mine.get(key), Some(bytes), "{key}");
            }
            let all = Options { verify: true, ..options };
            run(source.clone(), destination.clone(), all).await.unwrap();
            let mine = copied(&destination).await;
            for (key, bytes) in &theirs {
                assert_eq!(mine.get(key), Some(bytes), "{key}");
            }
            if delete {
                let tell = |mut all: BTreeMap<String, Bytes>| {
                    all.retain(|key, _| !key.contains("/index/"));
                    without_bytes(all)
                };
                assert_eq!(tell(mine), tell(theirs));
            }
        });
    }
}

#[test]
fn contents_differ() {
    assert_ne!(content(1), content(2));
    assert!(matches!(push("a", "v1", 1).last(), Some(Step::Put(_))));
    assert_eq!(Progress::default().report(), Report::default());
}
