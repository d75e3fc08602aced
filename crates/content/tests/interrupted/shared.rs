//! Several processes on one folder tell each other what happens to tags. Two drivers of one process are as strange to each
//! other as two processes. The clock of these tests stands still while files are worked on.

use crate::changes::image;
use crate::world::{bytes, push_blob, push_manifest, repo, tag};
use content::{Change, Settings, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::Driver;
use storage::fs::{FsDriver, FsOptions};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const RECORDS: &str = "homeport/v1/changes";

/// A replica of the registry.
struct Process {
    driver: Arc<FsDriver>,
    store: Arc<Store>,
    sharing: JoinHandle<()>,
    position: u64,
}

impl Process {
    fn start(folder: &tempfile::TempDir) -> Self {
        let driver = Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap());
        let store = Store::new(Arc::clone(&driver) as Arc<dyn Driver>, Settings::default());
        let sharing = tokio::spawn(Arc::clone(&store).share_changes());
        let position = store.changes().newest();
        Self { driver, store, sharing, position }
    }

    async fn push(&self, number: usize, name: &str) {
        push_blob(&self.store, repo(), &bytes(0, 10)).await.unwrap();
        push_manifest(&self.store, &image(number), None, &[name]).await.unwrap();
    }

    /// The next changes, if there are any before `limit` is over.
    async fn next(&mut self, limit: Duration) -> Vec<Change> {
        let changes = self.store.changes();
        let Ok(newest) = timeout(limit, changes.after(self.position)).await else { return Vec::new() };
        let noted = changes.since(self.position).unwrap();
        self.position = newest.max(noted.last().map_or(newest, |noted| noted.at));
        noted.iter().map(|noted| noted.change.clone()).collect()
    }

    async fn stop(self) {
        self.store.close_changes().await.unwrap();
        self.sharing.await.unwrap();
        self.driver.close().await.unwrap();
    }
}

fn pushed(tag: &str, new: bool) -> Change {
    Change::Pushed { repo: repo().as_str().into(), tag: tag.into(), new }
}

fn records(folder: &Path) -> usize {
    std::fs::read_dir(folder.join(RECORDS)).map_or(0, Iterator::count)
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn others_hear_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::start(&folder);
    first.push(0, "before").await;
    assert_eq!(first.next(SECOND).await, [pushed("before", true)]);
    let mut second = Process::start(&folder);
    first.push(0, "v1").await;
    // What happened right before one has come may be told once more.
    let mut heard = Vec::new();
    let come = Instant::now();
    while heard.last() != Some(&pushed("v1", true)) {
        assert!(come.elapsed() < SECOND, "{heard:?}");
        heard.extend(second.next(SECOND).await);
    }
    first.next(SECOND).await;
    for round in 0..20 {
        second.push(round, "v1").await;
        assert_eq!(second.next(SECOND).await, [pushed("v1", false)]);
        assert_eq!(first.next(SECOND).await, [pushed("v1", false)], "{round}");
        let was = first.store.tag_state(repo(), tag("v1")).await.unwrap();
        first.store.tag_delete(repo(), tag("v1")).await.unwrap();
        first.next(SECOND).await;
        let heard = second.next(SECOND).await;
        let [Change::Removed { was: told, .. }] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(told.digest, was.digest);
        let lost = was.created.duration_since(told.created).unwrap();
        assert!(lost < Duration::from_micros(1), "{lost:?}");
        first.push(round, "v1").await;
        first.next(SECOND).await;
        assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    }
    assert_eq!(records(folder.path()), 2);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_found_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(&folder);
    let mut second = Process::start(&folder);
    first.push(0, "v1").await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    let died = Instant::now();
    first.sharing.abort();
    first.push(0, "v2").await;
    assert_eq!(second.next(60 * SECOND).await, [Change::Unknown]);
    let after = died.elapsed();
    assert!(after > 15 * SECOND && after < 26 * SECOND, "{after:?}");
    assert_eq!(second.next(60 * SECOND).await, [], "found out once more");
    assert_eq!(records(folder.path()), 1);
    // It was not dead.
    let revived = tokio::spawn(Arc::clone(&first.store).share_changes());
    first.push(1, "v2").await;
    let mut heard = Vec::new();
    let back = Instant::now();
    while heard.last() != Some(&pushed("v2", false)) {
        assert!(back.elapsed() < SECOND, "{heard:?}");
        heard.extend(second.next(SECOND).await);
    }
    first.store.close_changes().await.unwrap();
    revived.await.unwrap();
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_killed_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(&folder);
    let mut second = Process::start(&folder);
    first.push(0, "v1").await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    first.sharing.abort();
    assert!(first.sharing.await.is_err());
    first.driver.close().await.unwrap();
    drop((first.store, first.driver));
    // The other one may be alone before the time is over, and its journal has a clock of its own.
    let deadline = std::time::Instant::now() + 20 * SECOND;
    let mut heard = Vec::new();
    while heard.is_empty() {
        assert!(std::time::Instant::now() < deadline, "nobody missed it");
        heard = second.next(60 * SECOND).await;
    }
    assert_eq!(heard, [Change::Unknown]);
    assert_eq!(second.next(60 * SECOND).await, []);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_is_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(&folder);
    let mut second = Process::start(&folder);
    first.push(0, "v1").await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    first.push(1, "v1").await;
    first.stop().await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", false)], "the last words");
    assert_eq!(second.next(60 * SECOND).await, []);
    assert!(records(folder.path()) <= 1, "only our own record may be left");
    second.stop().await;
}

/// A tool changes something and ends at once.
#[tokio::test(start_paused = true)]
async fn the_words_of_a_short_life_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::start(&folder);
    first.push(0, "v1").await;
    first.next(SECOND).await;
    let tool = Process::start(&folder);
    tool.sharing.abort();
    tool.store.tag_delete(repo(), tag("v1")).await.unwrap();
    tool.store.close_changes().await.unwrap();
    tool.driver.close().await.unwrap();
    assert!(matches!(first.next(SECOND).await[..], [Change::Removed { .. }]));
    assert_eq!(first.next(60 * SECOND).await, []);
    first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_alone_writes_nothing_and_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&folder);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(std::fs::read_dir(folder.path().join("homeport/v1/journal")).unwrap().count(), 1, "it has written");
    process.push(0, "v1").await;
    tokio::time::sleep(10 * SECOND).await;
    assert!(!folder.path().join(RECORDS).exists());
    process.stop().await;
    let left = folder.path().join(RECORDS).join("c4a760a8-dbcf-5254-a0d9-6a4474bd1b62");
    std::fs::create_dir(folder.path().join(RECORDS)).unwrap();
    std::fs::write(&left, "{}").unwrap();
    let process = Process::start(&folder);
    // The journal has a clock of its own.
    let deadline = std::time::Instant::now() + 20 * SECOND;
    while records(folder.path()) > 0 {
        assert!(std::time::Instant::now() < deadline, "what the dead have left is still there");
        tokio::time::sleep(SECOND).await;
    }
    process.stop().await;
}
