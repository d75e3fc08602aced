//! Repairing after processes that did not close their log.
//!
//! Whose `owner` file can be locked is dead. All dead logs are replayed in the order of their records, by a process that is
//! alone on the folder: so nobody has written since, but programs that know nothing of us. What is younger than all records
//! is theirs and left alone. What the tree got from a record carries the record's time, so this holds on every machine, and
//! a replay can be repeated.

use super::super::disk::{Disk, TEMP};
use super::super::members::Turn;
use super::super::tree;
use super::JOURNALS;
use super::record::{Record, decode_all};
use super::segment::{RECORDS_AT, read_epoch};
use crate::{Op, PutMode};
use bytes::Bytes;
use rustix::fs::FlockOperation;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

/// Names the logs that are in the tree. They are removed file by file; what is left of them in between must not be
/// replayed, since it may lack what came later.
const REPLAYED: &str = "homeport/v1/journal/replayed";

/// A segment is never larger; a larger file is not ours.
const SEGMENT_FILE_MAX: u64 = 256 << 20;

struct Dead {
    dir: String,
    records: Vec<Record>,
    _owner: Option<File>,
}

/// Replays what dead processes left, and removes their temporary files. `alone`: no other process is there. `false`: a
/// log is in use all the same.
pub(in super::super) fn recover(disk: &Disk, _turn: &Turn, alone: bool) -> io::Result<bool> {
    finish_removal(disk)?;
    let (dead, in_use) = find(disk)?;
    if in_use {
        return Ok(false);
    }
    if alone {
        clean_temp(disk)?;
    }
    if dead.is_empty() {
        return Ok(true);
    }
    let records: usize = dead.iter().map(|log| log.records.len()).sum();
    if alone && records > 0 {
        tracing::info!(logs = dead.len(), records, "repairing after an unclean stop");
        disk.make_dirs(TEMP)?;
        replay(disk, &dead).map_err(explain)?;
    } else if records > 0 {
        // The first of the others was alone, and has seen to it. What they wrote since must not be undone.
        tracing::warn!(logs = dead.len(), records, "dropping a log that is older than what others wrote");
    }
    disk.sync_all()?;
    write_replayed(disk, &dead).map_err(explain)?;
    finish_removal(disk)?;
    Ok(true)
}

fn explain(error: io::Error) -> io::Error {
    use io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded => io::Error::new(
            error.kind(),
            "no space left to repair what an unclean stop left; nothing is lost: free some space and start again",
        ),
        _ => error,
    }
}

/// Tells who may not repair that there is something to repair.
pub(in super::super) fn warn_of_logs(disk: &Disk) -> io::Result<()> {
    if !disk.exists(JOURNALS)? {
        return Ok(());
    }
    for entry in rustix::fs::Dir::read_from(disk.open_dir(JOURNALS)?)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| uuid::Uuid::try_parse(name).is_ok()) else {
            continue;
        };
        let dir = format!("{JOURNALS}/{name}");
        let Ok(owner) = disk.open_file(&format!("{dir}/owner")) else { continue };
        // Whoever is alive has what is in its log in the tree, too, as far as this machine is concerned.
        if rustix::fs::flock(&owner, FlockOperation::NonBlockingLockShared).is_err() {
            continue;
        }
        let records = read_log(disk, dir, owner.into())?.records.len();
        if records > 0 {
            tracing::warn!(
                records,
                "the data folder was not closed in order, and cannot be repaired since it was opened for reading only: \
                 acknowledged changes may be missing, or files damaged, until homeport is started with the right to write"
            );
        }
    }
    Ok(())
}

/// From here on none of these logs counts, whatever of them is left.
fn write_replayed(disk: &Disk, dead: &[Dead]) -> io::Result<()> {
    let list: String = dead.iter().map(|log| format!("{}\n", log.dir)).collect();
    let file = disk.write_new(REPLAYED, format!("{list}{:08x}", crc32fast::hash(list.as_bytes())).as_bytes())?;
    disk.sync_file(&file, REPLAYED)?;
    disk.sync_dirs(JOURNALS)
}

/// Removes the logs that are in the tree, in this start or in the one before.
fn finish_removal(disk: &Disk) -> io::Result<()> {
    let mut file: File = match disk.open_file(REPLAYED) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        other => other?.into(),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (list, sum) = text.split_at(text.rfind('\n').map_or(0, |end| end + 1));
    // A list that is not whole was not safe yet, so none of its logs has been touched.
    if sum == format!("{:08x}", crc32fast::hash(list.as_bytes())) {
        for dir in list.lines() {
            if disk.exists(dir)? {
                disk.remove_tree(dir)?;
            }
        }
        disk.sync_dirs(JOURNALS)?;
    }
    disk.remove(REPLAYED)
}

/// Dead logs, and whether there are others.
fn find(disk: &Disk) -> io::Result<(Vec<Dead>, bool)> {
    let mut dead = Vec::new();
    let mut alive = false;
    for entry in rustix::fs::Dir::read_from(disk.open_dir(JOURNALS)?)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| uuid::Uuid::try_parse(name).is_ok()) else {
            continue;
        };
        let dir = format!("{JOURNALS}/{name}");
        match disk.open_writable(&format!("{dir}/owner"), rustix::fs::OFlags::empty()) {
            // The process died before it had written anything.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                dead.push(Dead { dir, records: Vec::new(), _owner: None });
            }
            Err(error) => return Err(error),
            Ok(owner) => match rustix::fs::flock(&owner, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => alive = true,
                Err(error) => return Err(error.into()),
                Ok(()) => dead.push(read_log(disk, dir, owner)?),
            },
        }
    }
    Ok((dead, alive))
}

fn read_log(disk: &Disk, dir: String, owner: File) -> io::Result<Dead> {
    let mut segments = Vec::new();
    for name in ["0", "1"] {
        let path = format!("{dir}/{name}");
        let file: File = match disk.open_file(&path) {
            Ok(file) => file.into(),
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let size = file.metadata()?.len().min(SEGMENT_FILE_MAX);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        let epoch = read_epoch(&bytes);
        if epoch > 0 && size > RECORDS_AT {
            let start = usize::try_from(RECORDS_AT).unwrap_or(0);
            segments.push((epoch, decode_all(&Bytes::from(bytes).slice(start..), epoch)));
        }
    }
    segments.sort_by_key(|(epoch, _)| *epoch);
    let records = segments.into_iter().flat_map(|(_, records)| records).collect();
    Ok(Dead { dir, records, _owner: Some(owner) })
}

fn replay(disk: &Disk, dead: &[Dead]) -> io::Result<()> {
    let records = || dead.iter().flat_map(|log| &log.records);
    let applied: HashMap<u64, usize> = records()
        .filter_map(|record| if let Record::Abort { id, applied } = record { Some((*id, *applied)) } else { None })
        .collect();
    let mut batches: Vec<_> = records()
        .filter_map(|record| if let Record::Batch { id, batch } = record { Some((*id, batch)) } else { None })
        .collect();
    batches.sort_by_key(|(id, _)| *id);
    // All of the records are repeated, or none could rely on those before it; only what is younger than all is not ours.
    let newest = tree::record_time(batches.last().map_or(0, |(id, _)| *id));
    let mut failed = None;
    for (id, batch) in batches {
        let count = applied.get(&id).copied().unwrap_or(usize::MAX);
        for op in batch.ops.iter().take(count) {
            if changed_later(disk, op, newest) {
                continue;
            }
            if let Err(error) = tree::apply(disk, op, tree::Way::Logged(id)) {
                tracing::error!(key = op.key(), %error, "a change could not be repaired");
                if is_impossible(&error) {
                    break;
                }
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What is there is in the way. So it was when the caller was told "no", and the log ends before it says so: the rest of
/// the batch does not stand. Nothing that was acknowledged fails like this.
fn is_impossible(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::NotADirectory | K::IsADirectory | K::InvalidFilename)
}

/// By another process or another program.
fn changed_later(disk: &Disk, op: &Op, time: SystemTime) -> bool {
    match op {
        // Content that never differs is never stale.
        Op::Put { mode: PutMode::Keep, .. } => false,
        Op::Put { key, .. } | Op::Delete { key } => disk.stat(key).is_ok_and(|stat| modified(&stat) > time),
        Op::DeleteTree { prefix } | Op::DeleteTreeIf { prefix, .. } => {
            newest_below(disk, prefix, &mut 1000).is_some_and(|newest| newest > time)
        }
    }
}

fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let since = Duration::new(stat.st_mtime.try_into().unwrap_or(0), stat.st_mtime_nsec.try_into().unwrap_or(0));
    SystemTime::UNIX_EPOCH + since
}

/// Youngest file in a small tree; `budget` bounds the entries that are looked at. Directories do not count: their time
/// is that of the last change in them, which may be an older record's.
fn newest_below(disk: &Disk, path: &str, budget: &mut u32) -> Option<SystemTime> {
    let stat = disk.stat(path).ok()?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Some(modified(&stat));
    }
    let mut newest = None;
    for entry in rustix::fs::Dir::read_from(disk.open_dir(path).ok()?).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." || *budget == 0 {
            continue;
        }
        *budget -= 1;
        newest = newest.max(newest_below(disk, &format!("{path}/{name}"), budget));
    }
    newest
}

/// Only for a process that is alone.
fn clean_temp(disk: &Disk) -> io::Result<()> {
    if !disk.exists(TEMP)? {
        return Ok(());
    }
    for entry in rustix::fs::Dir::read_from(disk.open_dir(TEMP)?)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{TEMP}/{name}");
        if name == "." || name == ".." || is_recent(disk, &path)? {
            continue;
        }
        let is_dir = rustix::fs::FileType::from_raw_mode(disk.stat(&path)?.st_mode).is_dir();
        if is_dir { disk.remove_tree(&path)? } else { disk.remove(&path)? }
    }
    Ok(())
}

/// A network file system may keep locks of other machines from us; what is older than this is nobody's.
fn is_recent(disk: &Disk, path: &str) -> io::Result<bool> {
    const RECENT: Duration = Duration::from_secs(3600);
    if !disk.is_network() {
        return Ok(false);
    }
    let changed = disk.stat(path)?.st_ctime;
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed.try_into().unwrap_or(0));
    Ok(changed.elapsed().is_ok_and(|age| age < RECENT))
}
