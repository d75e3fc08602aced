//! How old the oldest of some objects is. Past the listings that are kept: there are many such places, each of them is
//! looked at now and then, and they would push out the listings that are asked for again and again.

use super::disk::Disk;
use super::list::read_names;
use super::read::{stat, stat_of};
use crate::{Error, Result};
use rustix::fs::{self as sys, AtFlags, OFlags};
use std::time::SystemTime;

/// The time of `likely` when the kernel proves without asking the device that it is the only one: each directory in a
/// directory is a link to it. File systems that do not count them say 1.
pub(super) fn only_cached(disk: &Disk, prefix: &str, likely: &str) -> Option<SystemTime> {
    let (parent, name) = likely.rsplit_once('/')?;
    let (dir, child) = parent.rsplit_once('/')?;
    let opened = disk.open_cached(dir, OFlags::PATH).ok()?;
    // Its name, its own dot, and the two dots of the directory in it.
    let has_one = |stat: rustix::io::Result<sys::Stat>| stat.is_ok_and(|stat| stat.st_nlink == 3);
    if !has_one(sys::fstat(&opened)) {
        return None;
    }
    // What an open directory is in is in memory, too.
    let mut above = String::new();
    for _ in dir.get(prefix.len()..)?.matches('/') {
        above.push_str("../");
        if !has_one(sys::statat(&opened, &*above, AtFlags::empty())) {
            return None;
        }
    }
    let object = disk.open_cached_in(&opened, &format!("{child}/{name}"), OFlags::PATH).ok()?;
    stat_of(&object).ok().map(|stat| stat.modified)
}

/// Of the objects `name` that are `levels` directories below `prefix`, at most `max`.
pub(super) fn oldest(disk: &Disk, prefix: &str, levels: usize, name: &str, max: usize) -> Result<Option<SystemTime>> {
    let mut look = Look { disk, name, left: max, oldest: None };
    look.below(prefix, levels)?;
    Ok(look.oldest)
}

struct Look<'a> {
    disk: &'a Disk,
    name: &'a str,
    left: usize,
    oldest: Option<SystemTime>,
}

impl Look<'_> {
    fn below(&mut self, dir: &str, levels: usize) -> Result<()> {
        if levels == 0 {
            return self.object(&format!("{dir}/{}", self.name));
        }
        let opened = match self.disk.open_dir(dir) {
            Ok(opened) => opened,
            Err(error) => {
                let error = Error::io("list", dir, self.disk.verify_missing(error.into()));
                return if error.is_not_found() { Ok(()) } else { Err(error) };
            }
        };
        let names = read_names(self.disk, dir, &opened).map_err(|error| Error::io("list", dir, error))?;
        drop(opened);
        for child in names.iter().filter(|child| child.is_prefix) {
            if self.left == 0 {
                break;
            }
            self.below(&format!("{dir}/{}", child.text), levels - 1)?;
        }
        Ok(())
    }

    fn object(&mut self, key: &str) -> Result<()> {
        self.left = self.left.saturating_sub(1);
        match stat(self.disk, key) {
            Ok(stat) => self.oldest = Some(self.oldest.map_or(stat.modified, |oldest| oldest.min(stat.modified))),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
