//! Carrying out small changes on the tree.

use super::disk::{Disk, TRIES, parent};
use crate::{Op, PutMode};
use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

/// How a change comes to the tree.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Everything is durable on return, for file systems without a journal of ours. All files of a batch carry this time.
    Synced(SystemTime),
    /// The journal has it, under this id.
    Logged(u64),
}

impl Way {
    /// Files carry the time of their record, so that a replay can tell what is younger.
    fn time(self) -> SystemTime {
        match self {
            Self::Synced(time) => time,
            Self::Logged(id) => record_time(id),
        }
    }

    fn is_synced(self) -> bool {
        matches!(self, Self::Synced(_))
    }
}

/// When a record was made: its id is the time.
pub(super) fn record_time(id: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(id)
}

/// Carries out the changes of a logged batch in order; on an error tells how many stand.
pub(super) fn apply_logged(disk: &Disk, ops: &[Op], id: u64) -> Result<(), (usize, io::Error)> {
    let way = Way::Logged(id);
    let mut done = 0;
    while let Some(op) = ops.get(done) {
        match put_together(disk, &ops[done..], way) {
            Ok(0) => {
                apply(disk, op, way).map_err(|error| (done, error))?;
                done += 1;
            }
            Ok(count) => done += count,
            Err(error) => return Err((done, error)),
        }
    }
    Ok(())
}

/// Puts at the front of `ops` that go below one directory that does not exist yet, in one step: a new tag is one move.
/// Returns how many; none when the first is not of that kind.
fn put_together(disk: &Disk, ops: &[Op], way: Way) -> io::Result<usize> {
    let Some(Op::Put { key, .. }) = ops.first() else { return Ok(0) };
    let Some(top) = first_missing(disk, parent(key))? else { return Ok(0) };
    let below = |op: &Op| match op {
        Op::Put { key, data, .. } if key.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')) => {
            Some((key.clone(), data.clone()))
        }
        _ => None,
    };
    let files: Vec<_> = ops.iter().map_while(below).collect();
    match put_with_dirs(disk, &files, top, way) {
        Ok(()) => Ok(files.len()),
        // Somebody else has made the directory meanwhile.
        Err(error) if is_race(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Carries out one change.
pub(super) fn apply(disk: &Disk, op: &Op, way: Way) -> io::Result<()> {
    let sync = way.is_synced();
    match op {
        Op::Put { key, data, mode } => put(disk, key, data, *mode, way),
        Op::Delete { key } => {
            missing_is_fine(disk.remove(key))?;
            if sync && disk.exists(parent(key))? { disk.sync_dirs(parent(key)) } else { Ok(()) }
        }
        Op::DeleteTree { prefix } => delete_tree(disk, prefix, sync),
        Op::DeleteTreeIf { prefix, key, expected } => {
            if holds(disk, key, expected)? {
                delete_tree(disk, prefix, sync)
            } else {
                Ok(())
            }
        }
    }
}

fn put(disk: &Disk, key: &str, data: &Bytes, mode: PutMode, way: Way) -> io::Result<()> {
    let sync = way.is_synced();
    if mode == PutMode::Keep && is_kept(disk, key, data)? {
        return if sync { disk.sync_dirs(parent(key)) } else { Ok(()) };
    }
    let mut last = Ok(());
    for _ in 0..TRIES {
        last = match first_missing(disk, parent(key))? {
            Some(top) if !sync => put_with_dirs(disk, &[(key.to_owned(), data.clone())], top, way),
            _ => put_file(disk, key, data, mode, way),
        };
        match &last {
            Err(error) if mode == PutMode::Create && error.kind() == io::ErrorKind::AlreadyExists => return last,
            Err(error) if is_race(error) => disk.make_dirs(parent(key))?,
            _ => return last,
        }
    }
    last
}

/// What is there needs no new content. A length proves nothing: disks fail, and old registries leave damaged links.
fn is_kept(disk: &Disk, key: &str, data: &[u8]) -> io::Result<bool> {
    let same_len = disk.stat(key).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(data.len() as u64));
    Ok(same_len && holds(disk, key, data)?)
}

fn is_race(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::NotFound | K::AlreadyExists | K::DirectoryNotEmpty)
}

/// The highest directory on the way to `dir` that does not exist.
fn first_missing<'a>(disk: &Disk, dir: &'a str) -> io::Result<Option<&'a str>> {
    let mut missing = None;
    let mut dir = dir;
    while !dir.is_empty() && !disk.exists(dir)? {
        missing = Some(dir);
        dir = parent(dir);
    }
    Ok(missing)
}

fn put_file(disk: &Disk, key: &str, data: &[u8], mode: PutMode, way: Way) -> io::Result<()> {
    let sync = way.is_synced();
    if sync {
        disk.make_dirs(parent(key))?;
    }
    let temp = disk.temp();
    let file = disk.write_new(&temp, data)?;
    let dated = date(disk, &file, &temp, way);
    let finished = if sync { dated.and_then(|()| disk.sync_file(&file, &temp)) } else { dated };
    let publish = || match mode {
        PutMode::Create => disk.rename_new(&temp, key),
        PutMode::Replace | PutMode::Keep => disk.rename(&temp, key),
    };
    let published = finished.and_then(|()| publish());
    if published.is_err() {
        drop(disk.remove(&temp));
        return published;
    }
    if sync { disk.sync_dirs(parent(key)) } else { Ok(()) }
}

/// Builds the missing directories with the files in them aside and moves them in place in one step, so that nobody sees
/// a directory without its content.
fn put_with_dirs(disk: &Disk, files: &[(String, Bytes)], top: &str, way: Way) -> io::Result<()> {
    let temp = disk.temp();
    let built = build_aside(disk, files, top, &temp, way).and_then(|()| disk.rename(&temp, top));
    if built.is_err() {
        drop(disk.remove_tree(&temp));
    }
    built
}

fn build_aside(disk: &Disk, files: &[(String, Bytes)], top: &str, temp: &str, way: Way) -> io::Result<()> {
    disk.make_dir(temp)?;
    for (index, (key, data)) in files.iter().enumerate() {
        let path = format!("{temp}{}", key.get(top.len()..).unwrap_or_default());
        // The first file's directories are all new; later ones may share them.
        if index == 0 {
            make_dirs_below(disk, parent(&path), temp)?
        } else {
            disk.make_dirs(parent(&path))?
        }
        let file = disk.create(&path, OFlags::empty())?;
        disk.write_at(&file, &path, 0, data)?;
        date(disk, &file, &path, way)?;
    }
    Ok(())
}

/// Gives a file the time of its change. Where the folder is mounted as another user we may write files, but not say when
/// that was. Nothing replays what is synced, so there the time of the kernel is as good.
fn date(disk: &Disk, file: &File, path: &str, way: Way) -> io::Result<()> {
    match disk.set_modified(file, path, way.time()) {
        Err(error) if way.is_synced() && is_unsupported(&error) => Ok(()),
        other => other,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS];
    Errno::from_io_error(error).is_some_and(|error| unsupported.contains(&error))
}

fn make_dirs_below(disk: &Disk, path: &str, base: &str) -> io::Result<()> {
    if path.len() <= base.len() {
        return Ok(());
    }
    make_dirs_below(disk, parent(path), base)?;
    disk.make_dir(path)
}

fn delete_tree(disk: &Disk, prefix: &str, sync: bool) -> io::Result<()> {
    let temp = disk.temp();
    match disk.rename(prefix, &temp) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        other => other?,
    }
    if sync {
        disk.sync_dirs(parent(prefix))?;
    }
    if rustix::fs::FileType::from_raw_mode(disk.stat(&temp)?.st_mode).is_dir() {
        disk.remove_tree(&temp)
    } else {
        disk.remove(&temp)
    }
}

fn holds(disk: &Disk, key: &str, expected: &[u8]) -> io::Result<bool> {
    let file: File = match disk.open_file(key) {
        Ok(file) => file.into(),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, expected.len() as u64 + 1), &mut found)?;
    Ok(found == expected)
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use crate::fs::disk::TEMP;

    #[test]
    fn whoever_may_not_set_times_writes_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), None).unwrap();
        disk.make_dirs(TEMP).unwrap();
        let synced = Way::Synced(record_time(0));
        let batch = Batch::new().put("a/b", "1").keep("a/c", "2").create("d", "3");
        for refusal in [Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::NOTSUP, Errno::NOSYS] {
            *disk.refused_times.lock().unwrap() = Some(refusal);
            batch.ops.iter().for_each(|op| apply(&disk, op, synced).unwrap());
            for (key, content) in [("a/b", "1"), ("a/c", "2"), ("d", "3")] {
                assert_eq!(std::fs::read_to_string(folder.path().join(key)).unwrap(), content);
                assert!(std::fs::metadata(folder.path().join(key)).unwrap().modified().unwrap() > record_time(1));
                disk.remove(key).unwrap();
            }
            // A replay tells by the time what is younger.
            for op in &batch.ops {
                assert!(apply(&disk, op, Way::Logged(1)).is_err());
            }
        }
        *disk.refused_times.lock().unwrap() = Some(Errno::IO);
        assert!(apply(&disk, &batch.ops[0], synced).is_err());
        *disk.refused_times.lock().unwrap() = None;
        apply(&disk, &batch.ops[0], synced).unwrap();
        let modified = std::fs::metadata(folder.path().join("a/b")).unwrap().modified().unwrap();
        assert_eq!(modified, record_time(0));
        assert_eq!(std::fs::read_dir(folder.path().join(TEMP)).unwrap().count(), 0, "nothing is left");
    }
}
