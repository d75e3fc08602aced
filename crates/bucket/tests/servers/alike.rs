//! What is asked of every service alike.

use crate::between;
use crate::content::{append, begin, names, pattern, read, whole};
use crate::proxy::Faults;
use bucket::{BucketDriver, Leftovers, OpenError, Outcome, Request};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use storage::testing::conformance;
use storage::{Batch, Driver, ErrorKind};

pub(crate) async fn conforms(driver: BucketDriver) {
    let driver = Arc::new(driver);
    conformance(driver.clone()).await;
    assert_eq!(names(&driver, "homeport/v1/uploads", "", usize::MAX).await.0, [""; 0]);
    driver.apply(Batch::new().put("own", "1")).await.unwrap();
    assert!(driver.read("own", 10).await.unwrap().0.own && driver.stat("own").await.unwrap().own);
    driver.apply(Batch::new().put("stop/a", "1").soon().put("stop/b", "1").put("stop/c", "1")).await.unwrap();
    driver.close().await.unwrap();
    assert_eq!(names(&driver, "stop", "", usize::MAX).await.0, ["a", "b", "c"], "a stop does not wait");
}

/// `count` times three names whose order is not that of their keys, with what is `below` each. Says how many requests it
/// took to remove them.
pub(crate) async fn lists_are_paged(driver: &BucketDriver, count: usize, below: &str) -> u64 {
    let mut all: Vec<String> = (0..count).map(|index| format!("v1.{index}")).collect();
    all.extend((0..count).map(|index| format!("v1.{index}-rc.1")));
    all.extend((0..count).map(|index| format!("v1-{index} ä%2F&?")));
    all.push("v1".to_owned());
    for chunk in all.chunks(100) {
        let puts = chunk.iter().map(|name| Batch::new().put(format!("tags/{name}{below}"), "x"));
        futures_util::future::try_join_all(puts.map(|batch| driver.apply(batch))).await.unwrap();
    }
    all.sort();
    assert_eq!(names(driver, "tags", "", usize::MAX).await, (all.clone(), false));
    for limit in [1, 7, 100, 999] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().cloned().unwrap_or_default();
            let (page, more) = names(driver, "tags", &after, limit).await;
            found.extend(page);
            if !more || (limit == 1 && found.len() > 30) {
                break;
            }
        }
        assert_eq!(found, all[..found.len()], "by {limit}");
        assert!(limit == 1 || found.len() == all.len());
    }
    let before = driver.requests().all(Request::List);
    names(driver, "tags", "v1.2", 100).await;
    let requests = driver.requests().all(Request::List) - before;
    assert!(requests <= 4, "{requests} requests for a page");
    let before = driver.requests().total();
    driver.apply(Batch::new().delete_tree("tags")).await.unwrap();
    let requests = driver.requests().total() - before;
    assert_eq!(names(driver, "tags", "", 10).await.0, [""; 0]);
    requests
}

pub(crate) async fn one_of_many_creates_a_key(drivers: [BucketDriver; 2]) {
    let drivers = drivers.map(Arc::new);
    for round in 0..5 {
        let key = format!("owner/{round}");
        let creates = (0..8).map(|number| {
            let (driver, key) = (Arc::clone(&drivers[number % 2]), key.clone());
            // Each batch has a lock of its own: only the service decides.
            let batch = Batch::new().create(key, format!("{number}")).lock(format!("{number}"));
            tokio::spawn(async move { driver.apply(batch).await })
        });
        let mut won = Vec::new();
        for (number, create) in creates.collect::<Vec<_>>().into_iter().enumerate() {
            match create.await.unwrap() {
                Ok(()) => won.push(number),
                Err(error) => assert_eq!(error.kind, ErrorKind::Conflict, "{error} {:?}", error.source),
            }
        }
        let content = drivers[0].get(&key, 10).await.unwrap();
        assert_eq!(won, [std::str::from_utf8(&content).unwrap().parse::<usize>().unwrap()]);
    }
}

/// A tag moves after a deletion on a condition has looked at it, and right before it removes it. `behind` opens a driver that
/// reaches the service by another address. `answer`: what comes to that line of a request, if not the service's own word.
pub(crate) async fn what_moves_during_a_deletion_stays(
    service: SocketAddr,
    direct: BucketDriver,
    behind: impl AsyncFn(SocketAddr) -> BucketDriver,
    answer: fn(&str) -> Option<String>,
) {
    const KEY: &str = "tag/current/link";
    let direct = Arc::new(direct);
    direct.apply(Batch::new().put(KEY, "1").put("tag/index/1/link", "1").put("tag/index/2/link", "1")).await.unwrap();
    let (runtime, other) = (tokio::runtime::Handle::current(), Arc::downgrade(&direct));
    let moved = Arc::new(AtomicBool::new(false));
    let moves = Arc::clone(&moved);
    let address = between::start(service, move |head| {
        let line = head.lines().next().unwrap_or_default().replace("%2F", "/");
        if line.starts_with("DELETE ") && line.contains(KEY) && !moves.swap(true, Ordering::SeqCst) {
            runtime.block_on(other.upgrade().unwrap().apply(Batch::new().put(KEY, "2"))).unwrap();
            return answer(&line);
        }
        None
    });
    let behind = behind(address).await;
    behind.apply(Batch::new().delete_tree_if("tag", KEY, "1")).await.unwrap();
    assert!(moved.load(Ordering::SeqCst), "nothing was deleted");
    assert_eq!(&direct.get(KEY, 10).await.unwrap()[..], b"2");
    behind.apply(Batch::new().delete_tree_if("tag", KEY, "2")).await.unwrap();
    assert_eq!(names(&direct, "tag", "", 10).await.0, [""; 0]);
}

/// The service refuses a deletion as if the object had changed. `refusal`: how it says that.
pub(crate) async fn a_deletion_that_is_refused_has_not_happened(
    service: SocketAddr,
    behind: impl AsyncFn(SocketAddr) -> BucketDriver,
    refusal: &'static str,
) {
    const KEY: &str = "tag/current/link";
    let refuses = Arc::new(AtomicBool::new(true));
    let refusing = Arc::clone(&refuses);
    let address = between::start(service, move |head| {
        let line = head.lines().next().unwrap_or_default().replace("%2F", "/");
        let refused = line.starts_with("DELETE ") && line.contains(KEY) && refusing.load(Ordering::SeqCst);
        refused.then(|| refusal.to_owned())
    });
    let driver = behind(address).await;
    driver.apply(Batch::new().put(KEY, "1").put("tag/index/1/link", "1")).await.unwrap();
    let deletion = || Batch::new().delete_tree_if("tag", KEY, "1");
    assert_eq!(driver.apply(deletion()).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(&driver.get(KEY, 10).await.unwrap()[..], b"1");
    refuses.store(false, Ordering::SeqCst);
    driver.apply(deletion()).await.unwrap();
    assert_eq!(names(&driver, "tag", "", 10).await.0, [""; 0]);
}

/// An object of several parts, written to the final key and to one that is known later.
pub(crate) async fn large_objects_are_seen_whole(driver: &BucketDriver, data: &[u8]) {
    for (key, at) in [("large/at/data", true), ("large/later/data", false)] {
        let mut writer = match at {
            true => driver.writer_at(key, Some(data.len() as u64)).await.unwrap(),
            false => driver.writer(None).await.unwrap(),
        };
        append(&mut writer, data).await.unwrap();
        assert_eq!(driver.stat(key).await.unwrap_err().kind, ErrorKind::NotFound, "seen before its end");
        writer.commit(key).await.unwrap();
        assert_eq!(driver.stat(key).await.unwrap().size, data.len() as u64);
        assert!(whole(driver, key).await == data, "{key}");
        assert!(read(driver, key, 5_000_000..5_500_010).await.unwrap() == data[5_000_000..5_500_010]);
        assert!(read(driver, key, 7..7).await.unwrap().is_empty());
    }
}

/// Another process goes on after each chunk, and an old handle is good until the next one was used. `begun`: uploads that
/// lost attempts have begun, and nobody learnt of.
pub(crate) async fn other_processes_go_on(lowered: impl AsyncFn() -> BucketDriver, at: bool, begun: usize) {
    let data = pattern((17 << 20) + 777);
    let cuts = [0, 1000, 6 << 20, 6 << 20, (11 << 20) + 3, data.len()];
    let key = format!("large/{at}/data");
    let mut writer = begin(&lowered().await, &key, at).await.unwrap();
    let mut handle = writer.suspend().await.unwrap();
    drop(writer);
    let mut lost = 0;
    for pair in cuts.windows(2) {
        let chunk = &data[pair[0]..pair[1]];
        // The first two are lost before anybody learns of their handles; one sent other bytes.
        drop(attempt(&lowered, &handle, pair[0], &vec![b'x'; chunk.len()]).await);
        drop(attempt(&lowered, &handle, pair[0], chunk).await);
        handle = attempt(&lowered, &handle, pair[0], chunk).await;
        lost += 2;
    }
    let last = lowered().await;
    assert_eq!(last.resume(&handle, 1000).await.err().unwrap().kind, ErrorKind::NotFound);
    last.resume(&handle, data.len() as u64).await.unwrap().commit(&key).await.unwrap();
    assert!(whole(&last, &key).await == data);
    assert!(last.resume(&handle, data.len() as u64).await.is_err(), "a committed upload goes on");
    removed_are(&last, Leftovers { uploads: begun, objects: lost }).await;
    assert!(whole(&last, &key).await == data);
    nothing_is_left(&last).await;
}

/// A process that goes on with a chunk, and dies; the handle that it leaves.
async fn attempt(lowered: &impl AsyncFn() -> BucketDriver, handle: &str, at: usize, chunk: &[u8]) -> String {
    let driver = lowered().await;
    let mut writer = driver.resume(handle, at as u64).await.unwrap();
    append(&mut writer, chunk).await.unwrap();
    let next = writer.suspend().await.unwrap();
    append(&mut writer, b"never acknowledged").await.unwrap();
    next
}

/// Two processes go on with one upload at once, with unlike bytes of the same length: what the handle of one leads to never has
/// bytes of the other. `parts_are_apart`: where not, the upload is lost when the other one has sent a part.
pub(crate) async fn unlike_attempts_do_not_mix(
    lowered: impl AsyncFn() -> BucketDriver,
    at: bool,
    parts_are_apart: bool,
) {
    let data = pattern(13 << 20);
    for (first, last) in [(6 << 20, 7 << 20), (1 << 20, 2 << 20), (6 << 20, 12 << 20)] {
        let (key, data) = (format!("large/{at}/{last}/data"), &data[..last]);
        let mut writer = begin(&lowered().await, &key, at).await.unwrap();
        append(&mut writer, &data[..first]).await.unwrap();
        let handle = writer.suspend().await.unwrap();
        drop(writer);
        let ours = attempt(&lowered, &handle, first, &data[first..]).await;
        drop(attempt(&lowered, &handle, first, &vec![b'x'; last - first]).await);
        let driver = lowered().await;
        let committed = driver.resume(&ours, last as u64).await.unwrap().commit(&key).await;
        if parts_are_apart || last < 12 << 20 {
            committed.unwrap();
            assert!(whole(&driver, &key).await == data, "{key}");
        } else {
            assert_eq!(committed.unwrap_err().kind, ErrorKind::NotFound);
            assert_eq!(driver.stat(&key).await.unwrap_err().kind, ErrorKind::NotFound);
        }
    }
}

/// So much is removed as left over. What was written this second is not older than that.
async fn removed_are(driver: &BucketDriver, expected: Leftovers) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut removed = Leftovers::default();
    while removed != expected {
        let more = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
        removed = Leftovers { uploads: removed.uploads + more.uploads, objects: removed.objects + more.objects };
        assert!(Instant::now() < deadline, "{removed:?}");
    }
}

/// Two uploads of 11 MiB are broken off, one of them by its client's wish. `dated`: the service knows when they began.
pub(crate) async fn what_is_broken_off_is_removed_when_it_is_old(driver: &BucketDriver, dated: bool) {
    let data = pattern(11 << 20);
    for at in [true, false] {
        let mut writer = begin(driver, "large/broken/data", at).await.unwrap();
        append(&mut writer, &data).await.unwrap();
        let handle = writer.suspend().await.unwrap();
        drop(writer);
        if at {
            discard(driver, &handle, data.len()).await;
        }
    }
    if dated {
        let none = driver.remove_leftovers(&["large"], Duration::from_secs(3600)).await.unwrap();
        assert_eq!(none, Leftovers::default(), "too young");
    }
    removed_are(driver, Leftovers { uploads: 1, objects: 1 }).await;
    nothing_is_left(driver).await;
    let mut writer = driver.writer(None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    writer.abort().await.unwrap();
    nothing_is_left(driver).await;
}

/// A replica has the end of an upload, and another one gives the upload up before. Nothing comes of it.
pub(crate) async fn what_another_replica_gave_up_does_not_end(first: &BucketDriver, second: &BucketDriver) {
    let data = pattern(7 << 20);
    for at in [true, false] {
        let key = format!("large/{at}/data");
        let mut writer = begin(first, &key, at).await.unwrap();
        append(&mut writer, &data[..6 << 20]).await.unwrap();
        let handle = writer.suspend().await.unwrap();
        drop(writer);
        let mut writer = first.resume(&handle, 6 << 20).await.unwrap();
        append(&mut writer, &data[6 << 20..]).await.unwrap();
        second.discard(&handle).await.unwrap();
        let error = writer.commit(&key).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}: {}", error.source);
        assert!(first.stat(&key).await.unwrap_err().is_not_found());
        assert!(first.resume(&handle, 6 << 20).await.err().unwrap().is_not_found());
    }
    first.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
    nothing_is_left(first).await;
}

/// Gives an upload up, twice.
pub(crate) async fn discard(driver: &BucketDriver, handle: &str, offset: usize) {
    driver.discard(handle).await.unwrap();
    driver.discard(handle).await.unwrap();
    assert!(driver.resume(handle, offset as u64).await.is_err());
}

pub(crate) async fn nothing_is_left(driver: &BucketDriver) {
    let left = driver.remove_leftovers(&["large"], Duration::ZERO).await.unwrap();
    assert_eq!(left, Leftovers::default());
}

/// Breaks the line while 18 MiB are written to `large/data` and read again, and gives them back.
pub(crate) async fn broken_lines_are_taken_up_again(driver: &BucketDriver, faults: &Faults) -> Vec<u8> {
    let data = pattern(18 << 20);
    // In the middle of the second part.
    faults.up.store(12 << 20, Ordering::SeqCst);
    let mut writer = driver.writer_at("large/data", None).await.unwrap();
    append(&mut writer, &data).await.unwrap();
    writer.commit("large/data").await.unwrap();
    assert_eq!(faults.done.load(Ordering::SeqCst), 1);
    for cut in [100_000, 7 << 20, 17 << 20] {
        faults.down.store(cut, Ordering::SeqCst);
        assert!(read(driver, "large/data", 1000..u64::MAX).await.unwrap() == data[1000..], "cut after {cut}");
    }
    assert_eq!(faults.done.load(Ordering::SeqCst), 4);
    faults.down.store(0, Ordering::SeqCst);
    data
}

/// The service is busy for two requests, of which the first ones are `slow`, and then for very many.
pub(crate) async fn a_busy_service_has_everything(driver: &BucketDriver, faults: &Faults, slow: Request) {
    faults.busy.store(2, Ordering::SeqCst);
    driver.apply(Batch::new().create("a/busy", "1")).await.unwrap();
    assert_eq!(&driver.get("a/busy", 10).await.unwrap()[..], b"1");
    assert_eq!(driver.requests().of(slow, Outcome::Slow), 2);
    faults.busy.store(1000, Ordering::SeqCst);
    for error in [driver.get("a/busy", 10).await.unwrap_err(), driver.stat("a/busy").await.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }
    assert!(driver.probe().await.is_err());
}

/// The answer to a create is lost: it has happened, and is no conflict with itself. `conflicts`: answers that say so
/// nevertheless.
pub(crate) async fn a_lost_answer_is_no_conflict(driver: &BucketDriver, faults: &Faults, conflicts: u64) {
    let seen = || driver.requests().of(Request::Put, Outcome::Conflict);
    let before = seen();
    faults.down.store(1, Ordering::SeqCst);
    driver.apply(Batch::new().create("a/lost", "1")).await.unwrap();
    assert_eq!(seen() - before, conflicts);
    assert_eq!(driver.apply(Batch::new().create("a/lost", "1")).await.unwrap_err().kind, ErrorKind::Conflict);
}

/// Everything that is asked for fails, and nothing seems to be missing. `stat` is asked where the service's answer to a HEAD
/// has a reason.
pub(crate) async fn a_place_that_is_gone_is_not_empty(driver: &BucketDriver) {
    for error in [
        driver.get("a/b", 10).await.unwrap_err(),
        driver.list("a", "", 10).await.unwrap_err(),
        driver.apply(Batch::new().put("a/b", "1")).await.unwrap_err(),
        driver.apply(Batch::new().delete("a/b")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error} {}", error.source);
    }
    assert!(driver.probe().await.is_err());
}

/// A certificate for the loopback address that nobody knows, and its key.
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
    _dir: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (file, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&file, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        Self { file, key, _dir: dir }
    }

    /// Options of servers that are told by `--cert` and `--key`.
    pub(crate) fn options(&self) -> [String; 4] {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        ["--cert".to_owned(), text(&self.file), "--key".to_owned(), text(&self.key)]
    }

    /// `open` gets a file of authorities and whether none is asked for; `setting` names the file.
    pub(crate) async fn is_looked_at(
        &self,
        setting: &str,
        open: impl AsyncFn(Option<&Path>, bool) -> Result<BucketDriver, OpenError>,
    ) {
        let refused = open(None, false).await.err().unwrap();
        assert_eq!(refused.setting, setting, "{refused}");
        let driver = open(Some(&self.file), false).await.unwrap();
        driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
        let driver = open(None, true).await.unwrap();
        assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
        assert_eq!(open(Some(&self.key), false).await.err().unwrap().setting, setting);
    }
}
