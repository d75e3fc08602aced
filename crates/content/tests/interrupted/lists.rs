//! Lists that processes keep are those of storage, whatever other processes do and whenever they look.

use crate::drivers::{Random, Switch, Troubled};
use crate::world::{bytes, manifest, open, push_blob, push_manifest_to, tag};
use content::{Error, Namespace, Settings, Store};
use oci::{Digest, Page, RepoName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage::memory::MemoryDriver;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const REPOS: [&str; 4] = ["a/x", "a/x/y", "b", "c/z"];
const TAGS: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];
const SECOND: Duration = Duration::from_secs(1);
/// Nothing that has ended is named any more.
const QUIET: Duration = Duration::from_secs(20);

struct Process {
    store: Arc<Store>,
    switch: Arc<Switch>,
    sharing: JoinHandle<()>,
}

fn repo(name: &str) -> RepoName<'_> {
    RepoName::parse(name).unwrap()
}

/// The first three after `last`: long lists are put together from several.
fn page(last: Option<String>) -> Page {
    Page { limit: 3, last, explicit: true }
}

async fn all_tags(store: &Store, name: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        match store.tags(repo(name), &page(all.last().cloned())).await {
            Ok(found) => {
                all.extend(found.iter().map(str::to_owned));
                if !found.more() {
                    return all;
                }
            }
            // Nothing was ever pushed there, or all of it is gone.
            Err(Error::NameUnknown) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn all_names(store: &Store) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let found = store.catalog(&page(all.last().cloned())).await.unwrap();
        all.extend(found.names);
        if !found.more {
            return all;
        }
    }
}

/// Everything that lists tell.
async fn told(store: &Store) -> (Vec<String>, BTreeMap<&'static str, Vec<String>>) {
    let mut tags = BTreeMap::new();
    for name in REPOS {
        tags.insert(name, all_tags(store, name).await);
    }
    (all_names(store).await, tags)
}

impl Process {
    fn start(memory: &MemoryDriver) -> Self {
        let switch = Arc::<Switch>::default();
        let driver = Troubled::switched(Arc::new(memory.clone()), &switch).shared();
        let store = Store::new(Arc::new(driver), Settings::default());
        let sharing = tokio::spawn(Arc::clone(&store).share_changes());
        Self { store, switch, sharing }
    }

    async fn push(&self, name: &str, tags: &[&str]) -> Digest {
        push(&self.store, name, tags).await
    }

    fn lists(&self) -> usize {
        self.switch.lists.load(Ordering::SeqCst)
    }
}

async fn push(store: &Arc<Store>, name: &str, tags: &[&str]) -> Digest {
    push_blob(store, repo(name), &bytes(0, 10)).await.unwrap();
    push_manifest_to(store, repo(name), &manifest(&bytes(0, 10), None, 10), None, tags).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_fetched_once_while_nothing_changes() {
    let memory = MemoryDriver::default();
    let (first, second) = (Process::start(&memory), Process::start(&memory));
    first.push("a/x", &TAGS).await;
    let expected = told(&first.store).await;
    // While something has changed a moment ago everybody asks.
    for process in [&first, &second] {
        for _ in 0..2 {
            let before = process.lists();
            assert_eq!(told(&process.store).await, expected);
            assert!(process.lists() > before + 2);
        }
    }
    sleep(QUIET).await;
    for process in [&first, &second] {
        assert_eq!(told(&process.store).await, expected);
        let before = process.lists();
        assert_eq!(told(&process.store).await, expected);
        // Those of repositories without tags, which are not kept: whether they exist is asked for.
        assert_eq!(process.lists() - before, 3, "what is kept was fetched again");
        sleep(61 * SECOND).await;
        assert_eq!(told(&process.store).await, expected);
        assert!(process.lists() > before + 5, "a registry that tells nobody may have changed something");
    }
    // A change in one namespace does not make those of others be fetched again.
    assert_eq!(told(&second.store).await, expected);
    first.push("b", &["t0"]).await;
    let before = second.lists();
    assert_eq!(all_tags(&second.store, "a/x").await, expected.1["a/x"]);
    assert_eq!(second.lists(), before);
    assert_eq!(all_tags(&second.store, "b").await, ["t0"]);
    assert_eq!(all_names(&second.store).await, ["a/x", "b"]);
}

/// Also before it has looked around by itself.
#[tokio::test(start_paused = true)]
async fn a_process_that_has_just_come_keeps_lists() {
    let memory = MemoryDriver::default();
    let first = Process::start(&memory);
    first.push("b", &TAGS).await;
    sleep(QUIET).await;
    let second = Process::start(&memory);
    second.sharing.abort();
    assert_eq!(all_tags(&second.store, "b").await, TAGS);
    let before = second.lists();
    assert_eq!(all_tags(&second.store, "b").await, TAGS);
    assert_eq!(second.lists(), before);
}

/// What a list had found before a push ended is not kept after it.
#[tokio::test(start_paused = true)]
async fn a_list_that_was_on_its_way_is_not_kept() {
    for (hears, held) in [(true, 5), (true, 15), (false, 5)] {
        let memory = MemoryDriver::default();
        let (first, second) = (Process::start(&memory), Process::start(&memory));
        first.push("a/x", &["t0"]).await;
        sleep(QUIET).await;
        if !hears {
            second.sharing.abort();
        }
        let hold = Arc::clone(&second.switch.hold_lists).acquire_owned().await.unwrap();
        let listing = tokio::spawn({
            let store = Arc::clone(&second.store);
            async move { all_tags(&store, "a/x").await }
        });
        sleep(SECOND).await;
        assert!(!listing.is_finished());
        first.push("a/x", &["t1"]).await;
        sleep(held * SECOND).await;
        drop(hold);
        assert_eq!(listing.await.unwrap(), ["t0"], "it was asked for before the push");
        sleep(QUIET).await;
        assert_eq!(all_tags(&second.store, "a/x").await, ["t0", "t1"], "hears: {hears}, {held} s");
    }
}

/// What a process lists while it pushes itself is not kept either.
#[tokio::test(start_paused = true)]
async fn a_list_in_the_middle_of_a_push_is_not_kept() {
    let memory = MemoryDriver::default();
    let process = Process::start(&memory);
    process.push("a/x", &["t0"]).await;
    sleep(QUIET).await;
    let hold = Arc::clone(&process.switch.hold).acquire_owned().await.unwrap();
    let store = Arc::clone(&process.store);
    let pushing = tokio::spawn(async move {
        push_manifest_to(&store, repo("a/x"), &manifest(&bytes(0, 10), None, 10), None, &["t1"]).await.unwrap();
    });
    sleep(SECOND).await;
    assert_eq!(all_tags(&process.store, "a/x").await, ["t0"]);
    assert_eq!(all_names(&process.store).await, ["a/x"]);
    drop(hold);
    pushing.await.unwrap();
    assert_eq!(all_tags(&process.store, "a/x").await, ["t0", "t1"]);
}

/// Pushes that begin at once all wait until others know of them, and one that is refused takes the name of none away.
#[tokio::test(start_paused = true)]
async fn pushes_at_once_are_all_told() {
    let memory = MemoryDriver::default();
    let process = Process::start(&memory);
    push_blob(&process.store, repo("a/x"), &bytes(0, 10)).await.unwrap();
    let hold = Arc::clone(&process.switch.hold_records).acquire_owned().await.unwrap();
    let push = |blob: u8, tag: &'static str| {
        let store = Arc::clone(&process.store);
        let content = manifest(&bytes(blob, 10), None, 10);
        tokio::spawn(async move {
            let pushed = push_manifest_to(&store, repo("a/x"), &content, None, &[tag]).await;
            (pushed, tokio::time::Instant::now())
        })
    };
    let pushes = [push(0, "t0"), push(0, "t1")];
    sleep(SECOND).await;
    let refused = push(1, "t2").await.unwrap().0;
    assert!(matches!(refused, Err(Error::ReferencesUnknown(_))), "{refused:?}");
    let released = tokio::time::Instant::now();
    drop(hold);
    for push in pushes {
        let (pushed, ended) = push.await.unwrap();
        pushed.unwrap();
        assert!(ended - released >= Duration::from_millis(75), "{:?}", ended - released);
    }
    sleep(5 * SECOND).await;
    let records = memory.keys().into_iter().filter(|key| key.starts_with("homeport/v1/changes"));
    for key in records.collect::<Vec<_>>() {
        let record = storage::Driver::get(&memory, &key, 1 << 20).await.unwrap();
        assert!(String::from_utf8_lossy(&record).contains(r#""changing":["a"]"#), "{record:?}");
    }
}

/// One that cannot tell that something changes changes nothing.
#[tokio::test(start_paused = true)]
async fn a_push_of_which_nobody_can_be_told_is_refused() {
    let memory = MemoryDriver::default();
    let process = Process::start(&memory);
    push_blob(&process.store, repo("b"), &bytes(0, 10)).await.unwrap();
    process.switch.is_out.store(true, Ordering::SeqCst);
    let pushed = push_manifest_to(&process.store, repo("b"), &manifest(&bytes(0, 10), None, 10), None, &["t0"]).await;
    assert!(matches!(pushed, Err(Error::Storage(_))), "{pushed:?}");
    // Lists are asked for meanwhile.
    assert_eq!(told(&process.store).await, (vec![], REPOS.map(|name| (name, vec![])).into()));
    process.switch.is_out.store(false, Ordering::SeqCst);
    process.push("b", &["t0"]).await;
    assert_eq!(all_tags(&process.store, "b").await, ["t0"]);
}

/// Pushes, deletions, ends of namespaces, processes that hang, are killed, come back, and time that passes; after each step
/// every process tells what storage has.
#[tokio::test(start_paused = true)]
async fn lists_are_those_of_storage_whatever_happens() {
    let (mut kept, mut asked) = (0, 0);
    for seed in 0..16 {
        let (memory, random) = (MemoryDriver::default(), Random::new(seed));
        let truth = open(memory.clone());
        let mut processes: Vec<Process> = (0..3).map(|_| Process::start(&memory)).collect();
        let mut digests = Vec::new();
        for step in 0..40 {
            let process = &mut processes[random.below(3)];
            let (name, one) = (REPOS[random.below(4)], TAGS[random.below(6)]);
            match random.below(12) {
                0..3 => digests.push((name, process.push(name, &[one]).await)),
                3 => drop(process.store.tag_delete(repo(name), tag(one), None).await),
                4 => {
                    if let Some((name, digest)) = digests.pop() {
                        drop(process.store.manifest_delete(repo(name), digest).await);
                    }
                }
                5 => {
                    let namespace = Namespace::of(repo(name));
                    let owner = process.store.claim_namespace(namespace, "u").await.unwrap();
                    process.store.delete_namespace(namespace, &owner.uid, None).await.unwrap();
                }
                6 => process.sharing.abort(),
                7 => process.sharing = tokio::spawn(Arc::clone(&process.store).share_changes()),
                // In the middle of a push that goes on without the process, as a request may that was sent.
                8 => {
                    push_blob(&process.store, repo(name), &bytes(0, 10)).await.unwrap();
                    let hold = Arc::clone(&process.switch.hold).acquire_owned().await.unwrap();
                    let store = Arc::clone(&process.store);
                    let pushing = tokio::spawn(async move { push(&store, name, &[one]).await });
                    sleep(SECOND).await;
                    process.sharing.abort();
                    let seconds = u32::try_from(random.below(15)).unwrap();
                    *process = Process::start(&memory);
                    sleep(SECOND * seconds).await;
                    assert_eq!(told(&processes[1].store).await, told(&truth).await, "{seed}/{step}: in a push");
                    drop(hold);
                    pushing.await.unwrap();
                }
                _ => sleep([SECOND / 10, SECOND * 3, SECOND * 12, SECOND * 25][random.below(4)]).await,
            }
            let expected = told(&truth).await;
            for (number, process) in processes.iter().enumerate() {
                if random.below(2) == 0 {
                    assert_eq!(told(&process.store).await, expected, "{seed}/{step}: process {number}");
                }
            }
        }
        for process in processes {
            process.sharing.abort();
            let (hits, misses) = process.store.cache_counts().lists;
            (kept, asked) = (kept + hits, asked + misses);
        }
    }
    println!("{kept} lists were kept ones, {asked} were not");
    assert!(kept > asked / 4, "{kept} of {asked}: too few to say anything");
}
