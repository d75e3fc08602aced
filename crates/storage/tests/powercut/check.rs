//! Starts the driver on what a power cut left, and holds it to every promise.

use crate::recorder::{Log, Recorder, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::fs::{DiskEvent, FsDriver, FsOptions};
use storage::{Batch, BufferPool, Driver, Writer};

/// Short, so that a workload of a second sees several checkpoints.
const JOURNAL_AGE_MAX: std::time::Duration = std::time::Duration::from_millis(600);

pub(crate) type Verdict = Result<(), String>;

/// In memory where possible: the model knows what is safe, the real disk need not.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn open(root: &Path, observer: Option<Arc<Recorder>>) -> Result<FsDriver, String> {
    let observer = observer.map(|observer| observer as Arc<dyn storage::fs::Observer>);
    let options = FsOptions { journal_age_max: JOURNAL_AGE_MAX, observer, ..FsOptions::new(root) };
    FsDriver::open(options).map_err(|error| format!("the folder cannot be opened: {error}: {}", error.source))
}

/// The whole check: `root` is the state after a cut of `log` at `cut`. `go_on`: the driver has to work afterwards, too.
pub(crate) async fn check(root: &Path, log: &Log, cut: usize, go_on: bool) -> Verdict {
    let driver = open(root, None)?;
    check_keys(&driver, root, &log.allowed(cut))?;
    check_uploads(&driver, root, log, cut).await?;
    if !go_on {
        return Ok(());
    }
    let failed = |error: storage::Error| format!("the repaired folder does not work: {error}: {}", error.source);
    driver.apply(Batch::new().put("new/key", "new")).await.map_err(failed)?;
    if &driver.get("new/key", 10).await.map_err(failed)?[..] != b"new" {
        return Err("a new put is not read back".to_owned());
    }
    driver.close().await.map_err(failed)?;
    check_plain(root)
}

fn read(root: &Path, key: &str) -> Result<Value, String> {
    match std::fs::read(root.join(key)) {
        Ok(data) => Ok(Some(data)),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{key}: {error}")),
    }
}

/// Every key holds one of the values it may hold, and there is nothing else.
pub(crate) fn check_keys(driver: &FsDriver, root: &Path, allowed: &BTreeMap<String, Vec<Value>>) -> Verdict {
    for (key, values) in allowed {
        let found = read(root, key)?;
        if !values.contains(&found) {
            let expected: Vec<_> = values.iter().map(show).collect();
            return Err(format!("{key} holds {}, expected {}", show(&found), expected.join(" or ")));
        }
        let seen = futures_util::FutureExt::now_or_never(driver.stat(key));
        if seen.is_some_and(|seen| seen.is_ok() != found.is_some()) {
            return Err(format!("{key} is seen otherwise by the driver"));
        }
    }
    let mut stray = files(root);
    stray.retain(|path| {
        let key = path.strip_prefix(root).unwrap().to_str().unwrap();
        !key.starts_with("homeport/") && !allowed.contains_key(key)
    });
    if stray.is_empty() { Ok(()) } else { Err(format!("files that nobody wrote: {stray:?}")) }
}

fn show(value: &Value) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(data) => {
            let start = String::from_utf8_lossy(&data[..data.len().min(24)]);
            format!("{} bytes {start:?} (crc {:08x})", data.len(), crc32fast::hash(data))
        }
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

async fn check_uploads(driver: &FsDriver, root: &Path, log: &Log, cut: usize) -> Verdict {
    for (index, upload) in log.uploads.iter().enumerate() {
        let last = upload.suspended.iter().rfind(|(at, _, _)| at.position <= cut);
        let Some((_, handle, offset)) = last else { continue };
        let is_committing = upload.commit.is_some_and(|(start, _)| start.position <= cut);
        let is_committed = upload.commit.and_then(|(_, end)| end).is_some_and(|end| end.position <= cut);
        if is_committed || (is_committing && read(root, &upload.key)?.is_some()) {
            continue;
        }
        let lost = |error: storage::Error| format!("{handle} at {offset} cannot go on: {error}: {}", error.source);
        let mut writer = match driver.resume(handle, *offset as u64).await {
            // The one thing that the model does and no file system in use: of a rename only the removal is left.
            Err(error) if error.is_not_found() && is_renamed(&log.events[..cut], handle) => continue,
            other => other.map_err(lost)?,
        };
        append(&mut writer, &upload.data[*offset..]).await.map_err(lost)?;
        let key = format!("resumed/{index}");
        writer.commit(&key).await.map_err(lost)?;
        if read(root, &key)?.as_ref() != Some(&upload.data) {
            return Err(format!("{handle} resumed at {offset} has other bytes"));
        }
    }
    Ok(())
}

fn is_renamed(events: &[DiskEvent], handle: &str) -> bool {
    events.iter().any(|event| matches!(event, DiskEvent::Rename { from, .. } if from == handle))
}

pub(crate) async fn append(writer: &mut Box<dyn Writer>, mut data: &[u8]) -> storage::Result<()> {
    let pool = BufferPool::new(2);
    while !data.is_empty() {
        let mut buffer = pool.take();
        let count = buffer.fill(data);
        data = &data[count..];
        writer.append(Arc::new(buffer)).await?;
    }
    Ok(())
}

/// After a close: no log, nothing temporary.
pub(crate) fn check_plain(root: &Path) -> Verdict {
    let mut left = files(&root.join("homeport/v1"));
    left.retain(|path| !path.ends_with("journal/lock") && !path.starts_with(root.join("homeport/v1/locks")));
    left.retain(|path| !path.starts_with(root.join("homeport/v1/uploads")));
    let logs = std::fs::read_dir(root.join("homeport/v1/journal")).unwrap().count();
    if left.is_empty() && logs <= 1 { Ok(()) } else { Err(format!("left after a close: {left:?}, {logs} entries")) }
}
