//! One suite for all drivers, and what only the file system driver has.

#![expect(clippy::unwrap_used, reason = "assertions")]

#[path = "drivers/shared.rs"]
mod shared;

use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use storage::fs::{DiskEvent, FsDriver, FsOptions, Observer};
use storage::memory::MemoryDriver;
use storage::{Batch, Driver, testing::conformance};

fn open(dir: &tempfile::TempDir) -> Arc<FsDriver> {
    Arc::new(FsDriver::open(FsOptions::new(dir.path())).unwrap())
}

#[tokio::test]
async fn memory_conforms() {
    conformance(Arc::new(MemoryDriver::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fs_conforms_and_leaves_a_plain_tree() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir);
    conformance(driver.clone()).await;
    driver.close().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path().join("homeport/v1/journal")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the lock file may stay: {left:?}");
    assert_eq!(std::fs::read_dir(dir.path().join("homeport/v1/tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("homeport/v1/uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_read_only_folder_is_served_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "1").unwrap();
    let driver = FsDriver::open(FsOptions { read_only: true, ..FsOptions::new(dir.path()) }).unwrap();
    assert_eq!(&driver.get("a", 10).await.unwrap()[..], b"1");
    let refused = driver.apply(Batch::new().put("b", "1")).await.unwrap_err();
    assert_eq!(refused.kind, storage::ErrorKind::ReadOnly);
    assert!(driver.writer(None).await.is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_folder_is_unavailable_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let driver = FsDriver::open(FsOptions::new(&root)).unwrap();
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    assert_eq!(driver.get("a/b", 10).await.unwrap_err().kind, storage::ErrorKind::Unavailable);
    assert_eq!(driver.stat("a/b").await.unwrap_err().kind, storage::ErrorKind::Unavailable);
    assert!(driver.probe().await.is_err());
    std::fs::create_dir(&root).unwrap();
    assert!(driver.probe().await.is_err(), "another folder under the same name is not ours");
}

/// Removes each directory of content once, right after it was made. To whoever works below it, one that a batch of another
/// request moves over it looks the same.
struct Remover {
    root: std::path::PathBuf,
    met: std::sync::Mutex<std::collections::HashSet<String>>,
}

impl Observer for Remover {
    fn position(&self) -> usize {
        0
    }

    fn record(&self, event: DiskEvent) {
        if let DiskEvent::MakeDir { path } = event
            && !path.starts_with("homeport")
            && self.met.lock().unwrap().insert(path.clone())
        {
            std::fs::remove_dir(self.root.join(path)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlives_that_its_directories_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let observer = Remover { root: dir.path().to_owned(), met: std::sync::Mutex::default() };
    let options = FsOptions { observer: Some(Arc::new(observer)), ..FsOptions::new(dir.path()) };
    let driver = FsDriver::open(options).unwrap();
    let mut writer = driver.writer(None).await.unwrap();
    let mut buffer = storage::BufferPool::new(1).take();
    buffer.fill(b"content");
    writer.append(Arc::new(buffer)).await.unwrap();
    let handle = writer.suspend().await.unwrap();
    drop(writer);
    driver.resume(&handle, 7).await.unwrap().commit("blobs/aa/data").await.unwrap();
    assert_eq!(&driver.get("blobs/aa/data", 10).await.unwrap()[..], b"content");
    assert!(driver.resume(&handle, 7).await.is_err(), "the upload has ended");
}

/// Keeps a log from being emptied.
struct NoCheckpoint;

impl Observer for NoCheckpoint {
    fn position(&self) -> usize {
        while std::thread::current().name() == Some("checkpoint") {
            std::thread::park();
        }
        0
    }

    fn record(&self, _event: DiskEvent) {}
}

/// As if its process dies when the test is done with it: the log has all records, however slow the test is, and nothing is
/// closed.
fn doomed(dir: &tempfile::TempDir) -> ManuallyDrop<FsDriver> {
    let options = FsOptions { observer: Some(Arc::new(NoCheckpoint)), ..FsOptions::new(dir.path()) };
    ManuallyDrop::new(FsDriver::open(options).unwrap())
}

/// A process that dies leaves its journal; what it holds is repaired at the next start of the machine.
#[tokio::test(flavor = "multi_thread")]
async fn an_unclean_stop_is_replayed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let driver = doomed(&dir);
    driver.apply(Batch::new().put("tag/current/link", "one").keep("blob/data", "content")).await.unwrap();
    driver.apply(Batch::new().put("tag/current/link", "two").put("gone/x", "1")).await.unwrap();
    driver.apply(Batch::new().delete_tree("gone")).await.unwrap();
    // A power cut: the journal was synced, the tree was not.
    release_owner_locks(dir.path());
    std::fs::remove_dir_all(dir.path().join("blob")).unwrap();
    std::fs::remove_dir_all(dir.path().join("tag")).unwrap();
    let driver = open(&dir);
    assert_eq!(&driver.get("tag/current/link", 10).await.unwrap()[..], b"two");
    assert_eq!(&driver.get("blob/data", 10).await.unwrap()[..], b"content");
    assert!(driver.get("gone/x", 10).await.is_err());
}

/// What a condition was about is decided once, not again by a replay, which finds the tree in another state.
#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_not_decided_by_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir);
    for tree in ["gone", "kept"] {
        driver.apply(Batch::new().put(format!("{tree}/k"), "1").put(format!("{tree}/x"), "x")).await.unwrap();
    }
    driver.close().await.unwrap();
    let driver = doomed(&dir);
    driver.apply(Batch::new().delete_tree_if("gone", "gone/k", "1")).await.unwrap();
    driver.apply(Batch::new().delete_tree_if("kept", "kept/k", "2")).await.unwrap();
    driver.apply(Batch::new().put("kept/k", "2")).await.unwrap();
    // A power cut: half of the deleted tree is still there.
    release_owner_locks(dir.path());
    std::fs::create_dir(dir.path().join("gone")).unwrap();
    let half = std::fs::File::create(dir.path().join("gone/x")).unwrap();
    half.set_modified(std::time::UNIX_EPOCH).unwrap();
    let driver = open(&dir);
    assert!(driver.get("gone/x", 10).await.is_err(), "half of a deleted tree came back");
    assert_eq!(&driver.get("kept/x", 10).await.unwrap()[..], b"x");
    assert_eq!(&driver.get("kept/k", 10).await.unwrap()[..], b"2");
}

/// Somebody else's later change of a tag survives the replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_does_not_undo_what_others_did_later() {
    let dir = tempfile::tempdir().unwrap();
    let driver = doomed(&dir);
    driver.apply(Batch::new().put("tag/current/link", "ours")).await.unwrap();
    release_owner_locks(dir.path());
    let link = dir.path().join("tag/current/link");
    std::fs::write(&link, "theirs").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options().write(true).open(&link).unwrap().set_modified(later).unwrap();
    let driver = open(&dir);
    assert_eq!(&driver.get("tag/current/link", 10).await.unwrap()[..], b"theirs");
}

/// The test process cannot die, so what it locks is replaced, as if the old process were gone.
fn release_owner_locks(root: &std::path::Path) {
    std::fs::remove_dir_all(root.join("homeport/v1/locks")).unwrap();
    for entry in std::fs::read_dir(root.join("homeport/v1/journal")).unwrap() {
        let owner = entry.unwrap().path().join("owner");
        if owner.exists() {
            let text = std::fs::read(&owner).unwrap();
            std::fs::remove_file(&owner).unwrap();
            std::fs::write(&owner, text).unwrap();
        }
    }
}

/// Whatever the page cache has is answered at once, without a thread; the file systems of this test know how.
#[tokio::test(flavor = "multi_thread")]
async fn warm_reads_do_not_wait() {
    use storage::Eventually;
    let dir = tempfile::tempdir().unwrap();
    let driver = open(&dir);
    driver.apply(Batch::new().put("a/b", "1").put("a/c", "2").put("tag/index/a/1/link", "1")).await.unwrap();
    // A directory that has just changed is not trusted yet.
    let trusted = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let stamp = async || driver.list("a", "", 10).await.unwrap().stamp;
    let first = stamp().await;
    driver.apply(Batch::new().put("a/d", "3")).await.unwrap();
    assert_ne!(stamp().await, first);
    driver.apply(Batch::new().delete("a/d")).await.unwrap();
    while !matches!(driver.list("a", "", 10), Eventually::Ready(_)) && std::time::Instant::now() < trusted {
        assert_eq!(stamp().await, first);
    }
    assert_eq!(stamp().await, first, "one list has one stamp, trusted or not");
    drop(driver.get("a/b", 10).await.unwrap());
    assert!(driver.stat("a/none").await.is_err());
    assert!(matches!(driver.stat("a/b"), Eventually::Ready(_)), "stat");
    assert!(matches!(driver.stat("a/none"), Eventually::Ready(_)), "stat of nothing");
    assert!(matches!(driver.open("a/b"), Eventually::Ready(_)), "open");
    assert!(matches!(driver.list("a", "", 10), Eventually::Ready(_)), "list");
    let only = || driver.oldest("tag/index", "tag/index/a/1/link", 10);
    assert!(only().await.unwrap().is_some());
    // Some file systems do not count the directories in a directory.
    let counted = std::fs::metadata(dir.path().join("tag")).unwrap().nlink() == 3;
    assert!(!counted || matches!(only(), Eventually::Ready(_)), "oldest");
    // tmpfs does not know how to read without waiting.
    let shared_memory = is_tmpfs(dir.path());
    assert!(shared_memory || matches!(driver.get("a/b", 10), Eventually::Ready(_)), "get");
    assert!(shared_memory || matches!(driver.read("a/b", 10), Eventually::Ready(_)), "read");
}

fn is_tmpfs(path: &std::path::Path) -> bool {
    let output = std::process::Command::new("stat").args(["-f", "-c", "%T"]).arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim() == "tmpfs"
}
