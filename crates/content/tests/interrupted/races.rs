//! Pushes, removals of tags and removals of manifests that meet: the end is that of some order of them.

use crate::drivers::{Random, Troubled};
use crate::model::{State, Step};
use crate::world::{bytes, manifest, open, push_blob, push_manifest, repo, tag};
use content::{Error, Store};
use oci::{Digest, Page, Reference};
use std::sync::Arc;
use storage::Driver;
use storage::fs::{FsDriver, FsOptions};
use storage::memory::MemoryDriver;

fn image(number: u8) -> bytes::Bytes {
    manifest(&bytes(0, 10), None, usize::from(number))
}

async fn run(store: &Store, step: Step) {
    let result = match step {
        Step::Put(tag, number) => push_manifest(store, &image(number), None, &[tag]).await.map(drop),
        Step::DeleteTag(text) => store.tag_delete(repo(), tag(text), None).await.map(drop),
        Step::DeleteManifest(number) => {
            let digest = Digest::sha256(&image(number));
            store.manifest_delete(repo(), digest).await.map(drop)
        }
    };
    match result {
        Ok(()) => {}
        Err(Error::ManifestUnknown) if !matches!(step, Step::Put(..)) => {}
        Err(error) => panic!("{step:?}: {error}"),
    }
}

/// What the store tells of the repository. A tag without its manifest is a failure.
async fn state(store: &Store) -> State {
    let mut state = State::default();
    for number in 0..3 {
        let digest = Digest::sha256(&image(number));
        if store.manifest(repo(), Reference::Digest(digest)).await.is_ok() {
            state.manifests.push(number);
        }
    }
    let page = Page { limit: 100, last: None, explicit: false };
    for text in store.tags(repo(), &page).await.unwrap().iter() {
        let digest = store.tag_digest(repo(), tag(text)).await.unwrap();
        let number = (0..3).find(|number| Digest::sha256(&image(*number)) == digest).unwrap();
        assert!(state.manifests.contains(&number), "tag {text} is manifest {number}, which is not there");
        state.tags.insert(text.to_owned(), number);
    }
    state
}

fn script(random: &Random) -> Vec<Step> {
    const TAGS: [&str; 2] = ["v1", "v2"];
    (0..=random.below(2))
        .map(|_| {
            let number = u8::try_from(random.below(2)).unwrap();
            match random.below(5) {
                0 | 1 => Step::Put(TAGS[random.below(2)], number),
                2 => Step::DeleteTag(TAGS[random.below(2)]),
                _ => Step::DeleteManifest(number),
            }
        })
        .collect()
}

/// Three actors on `driver`; afterwards the store that served them and a fresh one must tell the same.
async fn round<D: Driver + 'static>(driver: Arc<D>, seed: u64) {
    let random = Random::new(seed);
    let store = open(Troubled::yielding(Arc::clone(&driver), seed));
    push_blob(&store, repo(), &bytes(0, 10)).await.unwrap();
    let mut start = State::default();
    for step in [Step::Put("v1", 0), Step::Put("v2", 1)].into_iter().take(random.below(3)) {
        run(&store, step).await;
        start = start.after(step);
    }
    let scripts: Vec<Vec<Step>> = (0..3).map(|_| script(&random)).collect();
    let mut actors = Vec::new();
    for steps in scripts.clone() {
        let store = Arc::clone(&store);
        actors.push(tokio::spawn(async move {
            for step in steps {
                run(&store, step).await;
            }
        }));
    }
    for actor in actors {
        actor.await.unwrap_or_else(|error| panic!("seed {seed}: {scripts:?}: {error}"));
    }
    let end = state(&open(Troubled::yielding(driver, seed))).await;
    assert_eq!(state(&store).await, end, "seed {seed}: {scripts:?}: memory and storage differ");
    let views: Vec<&[Step]> = scripts.iter().map(Vec::as_slice).collect();
    assert!(start.leads_to(&views, &end), "seed {seed}: {start:?} and {scripts:?} in no order give {end:?}");
}

fn rounds(default: u64) -> u64 {
    std::env::var("HOMEPORT_RACE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn in_memory() {
    for seed in 0..rounds(2000) {
        round(Arc::new(MemoryDriver::default()), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_files() {
    for seed in 0..rounds(2000) / 50 {
        let folder = tempfile::tempdir().unwrap();
        let driver = Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap());
        round(Arc::clone(&driver), seed).await;
        driver.close().await.unwrap();
    }
}

/// A tag that always is something is found, also when it moves and what it was is removed.
#[tokio::test]
async fn a_tag_that_moves_is_found() {
    for seed in 0..1000 {
        let driver = Arc::new(MemoryDriver::default());
        let (pusher, puller) = (
            open(Troubled::yielding(Arc::clone(&driver), seed)),
            open(Troubled::yielding(Arc::clone(&driver), seed + 1000).remote(seed % 2 == 0)),
        );
        push_blob(&pusher, repo(), &bytes(0, 10)).await.unwrap();
        push_manifest(&pusher, &image(0), None, &["v1"]).await.unwrap();
        let moving = async {
            push_manifest(&pusher, &image(1), None, &["v1"]).await.unwrap();
            pusher.manifest_delete(repo(), Digest::sha256(&image(0))).await.unwrap();
        };
        let pulling = async {
            for _ in 0..10 {
                let found = puller.manifest(repo(), Reference::Tag(tag("v1"))).await;
                found.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
        };
        tokio::join!(moving, pulling);
    }
}
