//! Repairing after processes that did not close their log.
//!
//! Whose `owner` file can be locked is dead. If the machine ran on since (same boot id) and another process works on the
//! folder, the page cache has everything that was acknowledged: the log is dropped after a sync. Otherwise all dead logs
//! are replayed in the order of their records. A tag that somebody changed after that, with whatever program, is left alone.

use super::super::disk::{Disk, TEMP};
use super::super::tree;
use super::JOURNALS;
use super::record::{Record, decode_all};
use super::segment::{RECORDS_AT, read_epoch};
use crate::{Op, PutMode};
use bytes::Bytes;
use rustix::fs::FlockOperation;
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

/// A segment is never larger; a larger file is not ours.
const SEGMENT_FILE_MAX: u64 = 256 << 20;
/// Between a record and its change in the tree there is a sync of the log and a queue; seconds are plenty.
const APPLY_DELAY_MAX: Duration = Duration::from_secs(2);

/// The kernel's name for this run of the machine.
pub(in super::super) fn kernel_boot_id() -> io::Result<String> {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) => Ok(text.trim().to_owned()),
        // A sandbox may hide it: then every start counts as a new run, and replays.
        Err(_) => Ok(uuid::Uuid::new_v4().to_string()),
    }
}

/// Held while logs come and go.
pub(super) fn lock_all(disk: &Disk) -> io::Result<File> {
    disk.make_dirs(JOURNALS)?;
    let path = format!("{JOURNALS}/lock");
    let file = match disk.open_writable(&path, rustix::fs::OFlags::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match disk.create(&path, rustix::fs::OFlags::empty()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    disk.open_writable(&path, rustix::fs::OFlags::empty())?
                }
                other => other?,
            }
        }
        other => other?,
    };
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

struct Dead {
    dir: String,
    boot_id: String,
    records: Vec<Record>,
    _owner: Option<File>,
}

/// Replays what dead processes left, and removes their temporary files.
pub(in super::super) fn recover(disk: &Disk, boot_id: &str) -> io::Result<()> {
    if !disk.exists(JOURNALS)? {
        return Ok(());
    }
    let _starting = lock_all(disk)?;
    let (dead, alive) = find(disk)?;
    if !alive {
        clean_temp(disk)?;
    }
    if dead.is_empty() {
        return Ok(());
    }
    let count: usize = dead.iter().map(|log| log.records.len()).sum();
    let same_boot = dead.iter().all(|log| log.boot_id == boot_id);
    if same_boot && alive {
        tracing::info!(logs = dead.len(), "another process is serving this folder; its view of the tree is complete");
    } else if count > 0 {
        tracing::info!(logs = dead.len(), records = count, "repairing after an unclean stop");
        disk.make_dirs(TEMP)?;
        replay(disk, &dead, same_boot)?;
    }
    disk.sync_all()?;
    for log in &dead {
        disk.remove_tree(&log.dir)?;
    }
    disk.sync_dirs(JOURNALS)
}

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
                dead.push(Dead { dir, boot_id: String::new(), records: Vec::new(), _owner: None });
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
    let mut boot_id = String::new();
    io::Read::read_to_string(&mut io::Read::take(&owner, 128), &mut boot_id)?;
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
    Ok(Dead { dir, boot_id, records, _owner: Some(owner) })
}

fn replay(disk: &Disk, dead: &[Dead], same_boot: bool) -> io::Result<()> {
    let records = || dead.iter().flat_map(|log| &log.records);
    let aborted: HashSet<u64> =
        records().filter_map(|record| if let Record::Abort { id } = record { Some(*id) } else { None }).collect();
    let mut batches: Vec<_> = records()
        .filter_map(|record| match record {
            Record::Batch { id, batch } if !aborted.contains(id) => Some((*id, batch)),
            _ => None,
        })
        .collect();
    batches.sort_by_key(|(id, _)| *id);
    let newest = batches.last().map_or(0, |(id, _)| *id);
    let foreign_after = if same_boot {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(newest) + APPLY_DELAY_MAX
    } else {
        boot_time().unwrap_or_else(SystemTime::now)
    };
    // What the replay itself has written is younger than everything, and still not somebody else's.
    let mut ours = BTreeSet::new();
    let mut failed = None;
    for op in batches.iter().flat_map(|(_, batch)| &batch.ops) {
        if !is_ours(&ours, op) && changed_by_others(disk, op, foreign_after) {
            continue;
        }
        ours.insert(op.key());
        if let Err(error) = tree::apply(disk, op, false) {
            tracing::error!(key = op.key(), %error, "a change could not be repaired");
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The replay has written the key, or something below the prefix.
fn is_ours(ours: &BTreeSet<&str>, op: &Op) -> bool {
    match op {
        Op::DeleteTree { prefix } | Op::DeleteTreeIf { prefix, .. } => {
            let below = ours.range(prefix.as_str()..).take_while(|key| key.starts_with(prefix.as_str()));
            below.into_iter().any(|key| key[prefix.len()..].starts_with('/') || key.len() == prefix.len())
        }
        other => ours.contains(other.key()),
    }
}

fn changed_by_others(disk: &Disk, op: &Op, after: SystemTime) -> bool {
    match op {
        // Content that never differs is never stale.
        Op::Put { mode: PutMode::Keep, .. } => false,
        Op::Put { key, .. } | Op::Delete { key } => disk.stat(key).is_ok_and(|stat| modified(&stat) > after),
        Op::DeleteTree { prefix } | Op::DeleteTreeIf { prefix, .. } => {
            newest_below(disk, prefix, &mut 1000).is_some_and(|newest| newest > after)
        }
    }
}

fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let since = Duration::new(stat.st_mtime.try_into().unwrap_or(0), stat.st_mtime_nsec.try_into().unwrap_or(0));
    SystemTime::UNIX_EPOCH + since
}

/// Youngest time stamp in a small tree; `budget` bounds the entries that are looked at.
fn newest_below(disk: &Disk, path: &str, budget: &mut u32) -> Option<SystemTime> {
    let stat = disk.stat(path).ok()?;
    let mut newest = modified(&stat);
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Some(newest);
    }
    for entry in rustix::fs::Dir::read_from(disk.open_dir(path).ok()?).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." || *budget == 0 {
            continue;
        }
        *budget -= 1;
        if let Some(time) = newest_below(disk, &format!("{path}/{name}"), budget) {
            newest = newest.max(time);
        }
    }
    Some(newest)
}

fn boot_time() -> Option<SystemTime> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn clean_temp(disk: &Disk) -> io::Result<()> {
    if disk.exists(TEMP)? {
        disk.remove_tree(TEMP)?;
        disk.make_dirs(TEMP)?;
    }
    Ok(())
}
