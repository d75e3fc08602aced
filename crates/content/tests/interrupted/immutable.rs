//! Tags that stay what they are, also when several push them at once.

use crate::changes::image;
use crate::drivers::{Random, Troubled};
use crate::world::{bytes, manifest, open, push_blob, push_manifest, repo, tag};
use content::{Error, ImmutableTags, Store};
use oci::{Digest, Reference};
use std::sync::Arc;
use storage::fs::{FsDriver, FsOptions};
use storage::memory::MemoryDriver;
use storage::{Batch, Driver};

const LINK: &str = "docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link";

fn immutable(store: &Store, patterns: &[&str]) {
    store.set_immutable_tags(ImmutableTags::parse(patterns).unwrap());
}

async fn is(store: &Store, text: &str) -> Option<Digest> {
    match store.tag_digest(repo(), tag(text)).await {
        Ok(digest) => Some(digest),
        Err(Error::ManifestUnknown) => None,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refused<T>(result: content::Result<T>) -> String {
    match result {
        Err(error @ Error::TagImmutable { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was done"),
    }
}

#[tokio::test]
async fn a_tag_stays_until_the_setting_or_its_namespace_goes() {
    let store = open(MemoryDriver::default());
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    immutable(&store, &["v*", "!v0-*"]);
    let (one, two) = (Digest::sha256(&image(1)), Digest::sha256(&image(2)));
    assert_eq!(push_manifest(&store, &image(1), None, &["v1", "latest", "v0-x"]).await.unwrap(), one);
    push_manifest(&store, &image(1), None, &["v1"]).await.unwrap();
    let text = refused(push_manifest(&store, &image(2), None, &["latest", "v1"]).await);
    assert_eq!(text, format!("tag v1 of team/app is immutable (homeport.tags.immutable) and stays {one}"));
    assert_eq!((is(&store, "v1").await, is(&store, "latest").await), (Some(one), Some(one)), "nothing has moved");
    assert!(store.manifest(repo(), Reference::Digest(two)).await.is_err(), "nothing was stored");
    push_manifest(&store, &image(2), None, &["latest", "v0-x"]).await.unwrap();

    refused(store.tag_delete(repo(), tag("v1"), None).await);
    refused(store.tag_delete(repo(), tag("v1"), Some(&one)).await);
    refused(store.manifest_delete(repo(), one).await);
    assert!(matches!(store.tag_delete(repo(), tag("v9"), None).await, Err(Error::ManifestUnknown)));
    assert_eq!(store.manifest_delete(repo(), two).await.unwrap(), ["latest", "v0-x"]);
    assert_eq!(is(&store, "v1").await, Some(one));

    assert_eq!(store.tag_delete_at_the_end(repo(), tag("v1"), None).await.unwrap(), Some(one));
    push_manifest(&store, &image(2), None, &["v1"]).await.unwrap();
    immutable(&store, &[]);
    push_manifest(&store, &image(1), None, &["v1"]).await.unwrap();
    store.manifest_delete(repo(), one).await.unwrap();
}

#[tokio::test]
async fn a_damaged_link_is_deleted_before_it_is_pushed() {
    let driver = MemoryDriver::default();
    let store = open(driver.clone());
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    immutable(&store, &["*"]);
    driver.apply(Batch::new().put(LINK, "")).await.unwrap();
    let text = refused(push_manifest(&store, &image(1), None, &["v1"]).await);
    assert!(text.ends_with("its link is damaged: delete it, then push again"), "{text}");
    store.tag_delete(repo(), tag("v1"), None).await.unwrap();
    push_manifest(&store, &image(1), None, &["v1"]).await.unwrap();
}

/// Pushes of different manifests, deletions of them, and a look at what each was told.
async fn round<D: Driver + 'static>(driver: Arc<D>, seed: u64) {
    const ACTORS: u8 = 4;
    let random = Random::new(seed);
    let stores: Vec<Arc<Store>> = (0..2).map(|_| open(Troubled::yielding(Arc::clone(&driver), seed))).collect();
    push_blob(&stores[0], repo(), &bytes(0, 10)).await.unwrap();
    let mut pushes = Vec::new();
    for number in 0..ACTORS {
        let store = Arc::clone(&stores[random.below(2)]);
        immutable(&store, &["v1"]);
        let deletes = random.below(3) == 0;
        pushes.push(tokio::spawn(async move {
            let image = manifest(&bytes(0, 10), None, usize::from(number));
            let pushed = push_manifest(&store, &image, None, &["latest", "v1"]).await;
            if deletes {
                match store.manifest_delete(repo(), Digest::sha256(&image)).await {
                    Ok(_) | Err(Error::TagImmutable { .. } | Error::ManifestUnknown) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            match pushed {
                Ok(digest) => Some(digest),
                Err(Error::TagImmutable { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        }));
    }
    let mut winners = Vec::new();
    for push in pushes {
        winners.extend(push.await.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    assert_eq!(winners.len(), 1, "seed {seed}");
    let fresh = open(Troubled::yielding(driver, seed));
    assert_eq!(is(&fresh, "v1").await, Some(winners[0]), "seed {seed}");
    fresh.manifest(repo(), Reference::Tag(tag("v1"))).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
}

#[tokio::test]
async fn one_of_many_wins_in_memory() {
    for seed in 0..1000 {
        round(Arc::new(MemoryDriver::default()), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_wins_on_files() {
    for seed in 0..30 {
        let folder = tempfile::tempdir().unwrap();
        let driver = Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap());
        round(Arc::clone(&driver), seed).await;
        driver.close().await.unwrap();
    }
}

/// The manifest goes after the tag was looked for and before it is there.
#[tokio::test]
async fn a_tag_that_comes_while_its_manifest_goes_keeps_it() {
    let image = manifest(&bytes(0, 10), Some(Digest::sha256(b"subject")), 1);
    let digest = Digest::sha256(&image);
    let mut met = 0;
    for seed in 0..500 {
        let driver = Arc::new(MemoryDriver::default());
        let (pusher, remover) = (
            open(Troubled::yielding(Arc::clone(&driver), seed)),
            open(Troubled::yielding(Arc::clone(&driver), seed + 1000)),
        );
        push_blob(&pusher, repo(), &bytes(0, 10)).await.unwrap();
        push_manifest(&pusher, &image, None, &[]).await.unwrap();
        immutable(&pusher, &["v1"]);
        immutable(&remover, &["v1"]);
        let (pushed, removed) =
            tokio::join!(push_manifest(&pusher, &image, None, &["v1"]), remover.manifest_delete(repo(), digest));
        pushed.unwrap();
        met += u32::from(removed.is_err());
        let fresh = open(MemoryDriver::clone(&driver));
        fresh.manifest(repo(), Reference::Tag(tag("v1"))).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let page = oci::Page { limit: 10, last: None, explicit: false };
        let referrers = fresh.referrers(repo(), Digest::sha256(b"subject"), None, &page).await.unwrap();
        assert_eq!(referrers.descriptors.len(), 1, "seed {seed}");
    }
    assert!(met > 0);
}

fn in_steps(driver: &Arc<MemoryDriver>, seed: u64) -> Arc<Store> {
    let store = open(Troubled::yielding(Arc::clone(driver), seed).in_steps());
    immutable(&store, &["*"]);
    store
}

async fn listed(store: &Store) -> Vec<String> {
    let page = oci::Page { limit: 10, last: None, explicit: false };
    store.tags(repo(), &page).await.unwrap().iter().map(str::to_owned).collect()
}

/// The deletion of what is not there yet, or is damaged, and the push that brings it.
#[tokio::test]
async fn a_deletion_never_takes_what_was_pushed() {
    let mut met = [0, 0];
    for seed in 0..500 {
        let driver = Arc::new(MemoryDriver::default());
        let (pusher, remover) = (in_steps(&driver, seed), in_steps(&driver, seed + 1000));
        push_blob(&pusher, repo(), &bytes(0, 10)).await.unwrap();
        let is_damaged = seed % 2 == 0;
        if is_damaged {
            driver.apply(Batch::new().put(LINK, "")).await.unwrap();
        }
        let image = image(1);
        let (pushed, removed, again) = tokio::join!(
            push_manifest(&pusher, &image, None, &["v1"]),
            remover.tag_delete(repo(), tag("v1"), None),
            async { if is_damaged { remover.tag_delete(repo(), tag("v1"), None).await } else { Ok(None) } }
        );
        for removed in [removed, again] {
            assert!(
                matches!(removed, Ok(None) | Err(Error::ManifestUnknown | Error::TagImmutable { .. })),
                "{removed:?}"
            );
        }
        match pushed {
            Ok(digest) => {
                met[usize::from(is_damaged)] += 1;
                assert_eq!(is(&in_steps(&driver, seed), "v1").await, Some(digest), "seed {seed}");
            }
            Err(error) => assert!(is_damaged && matches!(error, Error::TagImmutable { .. }), "seed {seed}: {error}"),
        }
    }
    assert!(met.iter().all(|met| *met > 0), "{met:?}");
}

#[tokio::test]
async fn who_is_first_gets_all_tags() {
    for seed in 0..500 {
        let driver = Arc::new(MemoryDriver::default());
        let (first, second) = (in_steps(&driver, seed), in_steps(&driver, seed + 1000));
        push_blob(&first, repo(), &bytes(0, 10)).await.unwrap();
        let images = [image(1), image(2)];
        let (one, two) = tokio::join!(
            push_manifest(&first, &images[0], None, &["1", "1.2", "1.2.3"]),
            push_manifest(&second, &images[1], None, &["1.2.3", "1.2", "1"])
        );
        let winner = match (one, two) {
            (Ok(winner), Err(Error::TagImmutable { .. })) | (Err(Error::TagImmutable { .. }), Ok(winner)) => winner,
            other => panic!("seed {seed}: {other:?}"),
        };
        for text in ["1", "1.2", "1.2.3"] {
            assert_eq!(is(&first, text).await, Some(winner), "seed {seed}: {text}");
        }
    }
}

/// The end of a namespace meets a push of what is there already.
#[tokio::test]
async fn a_tag_that_goes_while_it_is_pushed_again_is_there_or_not() {
    for seed in 0..500 {
        let driver = Arc::new(MemoryDriver::default());
        let (pusher, remover) = (in_steps(&driver, seed), in_steps(&driver, seed + 1000));
        push_blob(&pusher, repo(), &bytes(0, 10)).await.unwrap();
        let image = image(1);
        push_manifest(&pusher, &image, None, &["v1"]).await.unwrap();
        let (pushed, removed) = tokio::join!(
            push_manifest(&pusher, &image, None, &["v1"]),
            remover.tag_delete_at_the_end(repo(), tag("v1"), None)
        );
        let (digest, _) = (pushed.unwrap(), removed.unwrap());
        let left = listed(&pusher).await;
        let expected = is(&pusher, "v1").await.map(|is| (is, vec!["v1".to_owned()]));
        assert!(expected.is_none_or(|expected| expected == (digest, left.clone())), "seed {seed}");
        assert!(left.is_empty() || is(&pusher, "v1").await.is_some(), "seed {seed}: a tag without a link");
    }
}
