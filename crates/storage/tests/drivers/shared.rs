//! Several processes on one folder. Two drivers of one process are as strange to each other as two processes: a lock
//! belongs to whoever opened the file.

use super::{doomed, open, release_owner_locks};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use storage::fs::{FsDriver, FsOptions};
use storage::testing::conformance;
use storage::{Batch, Driver, ErrorKind, Eventually, ListPage, Object, Result, Stat, Task, Writer};

/// Each call goes to another process.
struct InTurn {
    drivers: [Arc<FsDriver>; 2],
    calls: AtomicUsize,
}

impl InTurn {
    fn next(&self) -> &FsDriver {
        &self.drivers[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl Driver for InTurn {
    fn stat<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Stat>> {
        self.next().stat(key)
    }

    fn get<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<Bytes>> {
        self.next().get(key, max)
    }

    fn read<'a>(&'a self, key: &'a str, max: usize) -> Eventually<'a, Result<(Stat, Bytes)>> {
        self.next().read(key, max)
    }

    fn oldest<'a>(
        &'a self,
        prefix: &'a str,
        likely: &'a str,
        max: usize,
    ) -> Eventually<'a, Result<Option<SystemTime>>> {
        self.next().oldest(prefix, likely, max)
    }

    fn open<'a>(&'a self, key: &'a str) -> Eventually<'a, Result<Object>> {
        Driver::open(self.next(), key)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str, limit: usize) -> Eventually<'a, Result<ListPage>> {
        self.next().list(prefix, after, limit)
    }

    fn apply(&self, batch: Batch) -> Task<'_, ()> {
        self.next().apply(batch)
    }

    fn writer(&self, size_hint: Option<u64>) -> Task<'_, Box<dyn Writer>> {
        self.next().writer(size_hint)
    }

    fn resume<'a>(&'a self, handle: &'a str, offset: u64) -> Task<'a, Box<dyn Writer>> {
        self.next().resume(handle, offset)
    }

    fn discard<'a>(&'a self, handle: &'a str) -> Task<'a, ()> {
        self.next().discard(handle)
    }

    fn is_shared(&self) -> bool {
        self.next().is_shared()
    }

    fn probe(&self) -> Task<'_, ()> {
        self.next().probe()
    }

    fn close(&self) -> Task<'_, ()> {
        self.next().close()
    }
}

fn logs(root: &Path) -> usize {
    let names = std::fs::read_dir(root.join("homeport/v1/journal")).unwrap();
    names.filter(|name| name.as_ref().unwrap().file_name() != "lock").count()
}

async fn put_until_logged(driver: &FsDriver, root: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while logs(root) == 0 {
        assert!(Instant::now() < deadline, "no log although alone");
        driver.apply(Batch::new().put("a", "1")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_across_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    let drivers = [open(&dir), open(&dir)];
    conformance(Arc::new(InTurn { drivers, calls: AtomicUsize::new(0) })).await;
    assert_eq!(logs(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_used_only_while_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir);
    assert_eq!(logs(dir.path()), 0);
    assert!(first.is_shared(), "who has not tried cannot know");
    first.apply(Batch::new().put("tag", "1")).await.unwrap();
    assert_eq!(logs(dir.path()), 1);
    assert!(!first.is_shared());
    // What is under way while the other one joins is neither lost nor refused.
    let writing = tokio::spawn({
        let first = Arc::clone(&first);
        async move {
            for step in 0..500 {
                let batch = Batch::new().put("own/x", step.to_string()).delete_tree_if("own/y", "own/y/z", "1");
                first.apply(batch.put("own/y/z", "1")).await.unwrap();
            }
        }
    });
    let second = open(&dir);
    assert_eq!(logs(dir.path()), 0, "joined while another one has a log");
    assert!(first.is_shared() && second.is_shared());
    second.apply(Batch::new().put("tag", "2")).await.unwrap();
    writing.await.unwrap();
    assert_eq!(&first.get("tag", 10).await.unwrap()[..], b"2");
    first.apply(Batch::new().put("tag", "3")).await.unwrap();
    assert_eq!(&second.get("own/x", 10).await.unwrap()[..], b"499");
    assert_eq!(logs(dir.path()), 0);
    second.close().await.unwrap();
    assert_eq!(second.apply(Batch::new().put("a", "1")).await.unwrap_err().kind, ErrorKind::Unavailable);
    put_until_logged(&first, dir.path()).await;
    assert!(!first.is_shared());
    let third = open(&dir);
    assert_eq!(logs(dir.path()), 0);
    first.close().await.unwrap();
    put_until_logged(&third, dir.path()).await;
    third.close().await.unwrap();
    assert_eq!(logs(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_start_at_once() {
    let dir = tempfile::tempdir().unwrap();
    doomed(&dir).apply(Batch::new().put("tag", "1")).await.unwrap();
    release_owner_locks(dir.path());
    std::fs::remove_file(dir.path().join("tag")).unwrap();
    let root = dir.path().to_owned();
    let start = move |index: usize| {
        let options = FsOptions::new(&root);
        tokio::task::spawn_blocking(move || {
            let driver = FsDriver::open(options).unwrap();
            let runtime = tokio::runtime::Handle::current();
            assert_eq!(&runtime.block_on(driver.get("tag", 10)).unwrap()[..], b"1", "served before it was repaired");
            runtime.block_on(driver.apply(Batch::new().put(format!("own/{index}/x"), "1"))).unwrap();
            driver
        })
    };
    let mut drivers = Vec::new();
    for starting in (0..8).map(start).collect::<Vec<_>>() {
        drivers.push(starting.await.unwrap());
    }
    assert_eq!(logs(dir.path()), 0);
    for index in 0..8 {
        assert!(drivers[0].get(&format!("own/{index}/x"), 10).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_of_the_living_stay() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir);
    first.apply(Batch::new().put("a", "1")).await.unwrap();
    let temp = dir.path().join("homeport/v1/tmp/half-made");
    std::fs::write(&temp, "").unwrap();
    let second = open(&dir);
    assert!(temp.exists());
    first.close().await.unwrap();
    second.close().await.unwrap();
    drop(open(&dir));
    assert!(!temp.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_share_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let members = std::fs::File::open(dir.path().join("homeport/v1/locks/members")).unwrap();
    members.lock().unwrap();
    let options = FsOptions { wait_max: Duration::from_millis(50), ..FsOptions::new(dir.path()) };
    let error = FsDriver::open(options).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.source.to_string().contains("does not share"), "{}", error.source);
    drop(members);
    drop(open(&dir));
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_and_conditions_have_a_name_for_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (open(&dir), open(&dir));
    first.apply(Batch::new().put("tag/current", "1").lock("tag")).await.unwrap();
    let names: Vec<_> = std::fs::read_dir(dir.path().join("homeport/v1/locks/names")).unwrap().flatten().collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    let held = std::fs::File::open(name.path()).unwrap();
    // Those who only write need not wait for each other.
    held.lock_shared().unwrap();
    second.apply(Batch::new().put("tag/current", "2").keep("tag/was", "2").lock("tag")).await.unwrap();
    held.unlock().unwrap();
    for (is_removal, batch) in [
        (true, Batch::new().delete_tree_if("tag", "tag/current", "2")),
        (true, Batch::new().delete_tree("tag/none")),
        (true, Batch::new().delete("tag/none")),
        (true, Batch::new().create("tag/new", "1")),
        (false, Batch::new().put("tag/was", "3")),
    ] {
        if is_removal {
            held.lock_shared().unwrap()
        } else {
            held.lock().unwrap()
        }
        let second = Arc::clone(&second);
        let waiting = tokio::spawn(async move { second.apply(batch.lock("tag")).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        // No condition is decided yet.
        std::fs::write(dir.path().join("tag/current"), "3").unwrap();
        held.unlock().unwrap();
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(&first.get("tag/current", 10).await.unwrap()[..], b"3");
    assert_eq!(&first.get("tag/was", 10).await.unwrap()[..], b"3");
}

/// Neither threads nor the way to the disk are held by those who wait.
#[test]
fn names_that_hang_are_in_the_way_of_no_others() {
    const HUNG: usize = 20;
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        // Whoever waited for a name that hangs would do so longer than a slow machine takes for any change.
        let [first, second] = [2, 120].map(|seconds| {
            let options = FsOptions { wait_max: Duration::from_secs(seconds), ..FsOptions::new(dir.path()) };
            Arc::new(FsDriver::open(options).unwrap())
        });
        let put = |name: String| Batch::new().put(format!("{name}/a"), "1").lock(name);
        for index in 0..HUNG {
            first.apply(put(format!("hung{index}"))).await.unwrap();
        }
        let names = std::fs::read_dir(dir.path().join("homeport/v1/locks/names")).unwrap().flatten();
        let held: Vec<_> = names.map(|name| std::fs::File::open(name.path()).unwrap()).collect();
        held.iter().for_each(|file| file.lock().unwrap());
        let wait = |index: usize| {
            let (second, batch) = (Arc::clone(&second), put(format!("hung{index}")));
            tokio::spawn(async move { second.apply(batch).await })
        };
        let waiting: Vec<_> = (0..HUNG).map(wait).collect();
        // Long enough for a try to get the folder alone.
        for round in 0..15 {
            let in_time = |work| tokio::time::timeout(Duration::from_secs(30), work);
            in_time(second.apply(put(format!("free{round}")))).await.expect("waits for another name").unwrap();
            second.get(&format!("free{round}/a"), 10).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let error = first.apply(put("hung0".to_owned())).await.unwrap_err();
        assert_eq!((error.kind, error.operation), (ErrorKind::Unavailable, "lock"));
        assert!(error.source.to_string().contains("try again"), "{}", error.source);
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drop(held);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
    });
}
