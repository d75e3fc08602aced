//! Several processes on one folder tell each other what happens to tags. Two drivers of one process are as strange to each
//! other as two processes. The clock of these tests stands still while files are worked on.

use crate::changes::image;
use crate::drivers::{Switch, Troubled};
use crate::world::{bytes, push_blob, push_manifest, repo, tag};
use content::{Before, Change, Error, Namespace, Settings, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
        Self::switched(folder, &Arc::default())
    }

    fn switched(folder: &tempfile::TempDir, switch: &Arc<Switch>) -> Self {
        let driver = Arc::new(FsDriver::open(FsOptions::new(folder.path())).unwrap());
        let troubled = Troubled::switched(Arc::clone(&driver), switch);
        let store = Store::new(Arc::new(troubled), Settings::default());
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

    /// Dies: nothing is said, and the kernel gives its locks back.
    async fn kill(self) {
        self.sharing.abort();
        assert!(self.sharing.await.is_err());
        self.driver.close().await.unwrap();
    }

    /// Waits for the alarm that another process is gone, and that it is given once.
    async fn misses_one(&mut self) {
        // We may be alone before the time is over, and the journal has a clock of its own.
        let deadline = std::time::Instant::now() + 20 * SECOND;
        let mut heard = Vec::new();
        while heard.is_empty() {
            assert!(std::time::Instant::now() < deadline, "nobody missed it");
            heard = self.next(60 * SECOND).await;
        }
        assert_eq!(heard, [Change::Unknown]);
        assert_eq!(self.next(60 * SECOND).await, []);
    }

    async fn stop(self) {
        self.store.close_changes().await.unwrap();
        self.sharing.await.unwrap();
        self.driver.close().await.unwrap();
    }
}

fn pushed(tag: &str, new: bool) -> Change {
    Change::Pushed {
        repo: repo().as_str().into(),
        tag: tag.into(),
        before: if new { Before::Nothing } else { Before::Tag },
    }
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
        first.store.tag_delete(repo(), tag("v1"), None).await.unwrap();
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
    first.kill().await;
    second.misses_one().await;
    second.stop().await;
}

/// It dies before it could tell anything.
#[tokio::test(start_paused = true)]
async fn the_first_change_is_missed_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut second = Process::start(&folder);
    let first = Process::start(&folder);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(records(folder.path()), 0, "who does nothing needs no record");
    first.sharing.abort();
    first.push(0, "v1").await;
    first.kill().await;
    second.misses_one().await;
    second.stop().await;
}

/// Begins a push that is held back, and returns once it has begun.
async fn begin_push(process: &Process, folder: &Path) -> JoinHandle<()> {
    let before = records(folder);
    let store = Arc::clone(&process.store);
    let push = tokio::spawn(async move {
        push_manifest(&store, &image(0), None, &["v1"]).await.unwrap();
    });
    let deadline = std::time::Instant::now() + 20 * SECOND;
    while records(folder) == before {
        assert!(std::time::Instant::now() < deadline, "no record is written before the change");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    push
}

#[tokio::test(start_paused = true)]
async fn the_last_record_waits_for_what_is_under_way() {
    let (folder, switch) = (tempfile::tempdir().unwrap(), Arc::<Switch>::default());
    let first = Process::switched(&folder, &switch);
    let mut second = Process::start(&folder);
    push_blob(&first.store, repo(), &bytes(0, 10)).await.unwrap();
    let hold = Arc::clone(&switch.hold).acquire_owned().await.unwrap();
    let push = begin_push(&first, folder.path()).await;
    let closing = tokio::spawn({
        let store = Arc::clone(&first.store);
        async move { store.close_changes().await }
    });
    tokio::time::sleep(SECOND / 2).await;
    assert!(!closing.is_finished());
    drop(hold);
    closing.await.unwrap().unwrap();
    push.await.unwrap();
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    assert_eq!(second.next(60 * SECOND).await, [], "an alarm after a clean stop");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_after_the_end_is_missed() {
    let (folder, switch) = (tempfile::tempdir().unwrap(), Arc::<Switch>::default());
    let first = Process::switched(&folder, &switch);
    let mut second = Process::start(&folder);
    push_blob(&first.store, repo(), &bytes(0, 10)).await.unwrap();
    let hold = Arc::clone(&switch.hold).acquire_owned().await.unwrap();
    let push = begin_push(&first, folder.path()).await;
    first.store.close_changes().await.unwrap();
    drop(hold);
    push.await.unwrap();
    second.misses_one().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_begins_after_the_end_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(&folder);
    let mut second = Process::start(&folder);
    first.push(0, "v1").await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    first.store.close_changes().await.unwrap();
    assert_eq!(second.next(10 * SECOND).await, []);
    first.push(1, "v1").await;
    second.misses_one().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_can_read_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::start(&folder);
    let mut second = Process::start(&folder);
    std::fs::create_dir(folder.path().join(RECORDS)).unwrap();
    let damaged = folder.path().join(RECORDS).join("00000000-0000-4000-8000-000000000000");
    std::fs::write(&damaged, vec![b' '; 200_000]).unwrap();
    first.push(0, "v1").await;
    first.next(SECOND).await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    second.push(0, "v1").await;
    second.next(SECOND).await;
    assert_eq!(first.next(SECOND).await, [pushed("v1", false)]);
    assert_eq!(second.next(60 * SECOND).await, [Change::Unknown]);
    // That is said before the record goes.
    let deadline = std::time::Instant::now() + 20 * SECOND;
    while damaged.exists() {
        assert!(std::time::Instant::now() < deadline, "it stays");
        tokio::task::yield_now().await;
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_nobody_is_taken_for_dead() {
    let (folder, switch) = (tempfile::tempdir().unwrap(), Arc::<Switch>::default());
    let mut first = Process::switched(&folder, &switch);
    let mut second = Process::switched(&folder, &switch);
    first.push(0, "v1").await;
    first.next(SECOND).await;
    assert_eq!(second.next(SECOND).await, [pushed("v1", true)]);
    switch.is_out.store(true, Ordering::SeqCst);
    first.push(1, "v1").await;
    first.next(SECOND).await;
    tokio::time::sleep(60 * SECOND).await;
    switch.is_out.store(false, Ordering::SeqCst);
    assert_eq!(second.next(SECOND).await, [pushed("v1", false)]);
    assert_eq!(second.next(60 * SECOND).await, []);
    assert_eq!(first.next(60 * SECOND).await, []);
    assert_eq!(records(folder.path()), 2);
    first.stop().await;
    second.stop().await;
}

/// What lies where the record would be, and cannot be read as one.
#[tokio::test]
async fn a_claim_ends_where_there_is_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let namespaces = folder.path().join("homeport/v1/namespaces");
    std::fs::create_dir_all(namespaces.join("dir/full")).unwrap();
    std::os::unix::fs::symlink("nowhere", namespaces.join("link")).unwrap();
    let first = Process::start(&folder);
    let second = Process::start(&folder);
    for name in ["dir", "link"] {
        let claim = first.store.claim_namespace(Namespace::parse(name).unwrap(), "u").await;
        assert!(matches!(claim, Err(Error::OwnerDamaged(_))), "{name}: {claim:?}");
    }
    first.store.claim_namespace(Namespace::parse("other").unwrap(), "u").await.unwrap();
    first.stop().await;
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
    tool.store.tag_delete(repo(), tag("v1"), None).await.unwrap();
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
    assert_eq!(records(folder.path()), 0);
    process.stop().await;
    let left = folder.path().join(RECORDS).join("c4a760a8-dbcf-5254-a0d9-6a4474bd1b62");
    std::fs::create_dir_all(folder.path().join(RECORDS)).unwrap();
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
