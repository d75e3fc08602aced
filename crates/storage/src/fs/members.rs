//! Who else works on the folder.
//!
//! Everything here is a lock that the kernel gives back when its process ends, so a dead process is never in the way and
//! there is no state that could be stale.
//!
//! - `members`: every process that may write holds it, shared with others or, while it uses its journal, alone.
//! - `waiting`: held by a process that wants to join while another one is alone; the other one looks now and then.
//! - `journal/lock`: whoever changes its hold on `members`, or looks at the logs, does so in turn. The kernel gives up a
//!   hold before it takes the next one; nobody can come between.
//!
//! Why that is safe: a log has records only while its process holds `members` alone. It takes that hold before it makes
//! the log, and goes back to sharing only when everything is in the tree, synced, and the log removed. Nobody can open the
//! folder meanwhile. So whoever has opened it shares it with processes that have no log: what he writes, with syncs of his
//! own, cannot be undone by a replay. A log whose process is gone is replayed by the next one that holds `members` alone,
//! that is before anybody has written anything that is younger.

use super::disk::Disk;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMBERS: &str = "homeport/v1/locks/members";
const WAITING: &str = "homeport/v1/locks/waiting";
const TURN: &str = "homeport/v1/journal/lock";

/// How often a process looks whether it may join.
const PAUSE: Duration = Duration::from_millis(5);

/// The right to change one's hold and to touch logs; until dropped.
pub(super) struct Turn(#[expect(dead_code, reason = "locked until closed")] File);

/// Waits for the turn.
pub(super) fn turn(disk: &Disk) -> io::Result<Turn> {
    let file = lock_file(disk, TURN)?;
    retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(Turn(file))
}

/// A place among those who may write; given back when dropped.
pub(super) struct Members {
    file: File,
    waiting: Arc<File>,
}

impl Members {
    /// Joins, and calls `repair` when it is safe to touch dead logs: with `true` when nobody else is there. As long as it
    /// says `false` somebody is in the way. Those who use a journal are asked to leave it, for at most `wait_max`.
    pub(super) fn join(
        disk: &Disk,
        wait_max: Duration,
        mut repair: impl FnMut(&Turn, bool) -> io::Result<bool>,
    ) -> io::Result<Self> {
        let deadline = Instant::now() + wait_max;
        let mut asking = None;
        loop {
            let turn = turn(disk)?;
            let waiting = Arc::new(lock_file(disk, WAITING)?);
            let members = Self { file: lock_file(disk, MEMBERS)?, waiting };
            let alone = try_lock(&members.file, FlockOperation::NonBlockingLockExclusive)?;
            if (alone || try_lock(&members.file, FlockOperation::NonBlockingLockShared)?) && repair(&turn, alone)? {
                members.share(&turn)?;
                return Ok(members);
            }
            drop((members, turn));
            if asking.is_none() {
                tracing::info!("another process uses its journal in this folder; waiting for it to share the folder");
                let file = lock_file(disk, WAITING)?;
                retry_on_intr(|| flock(&file, FlockOperation::LockShared))?;
                asking = Some(file);
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process does not share the folder: its journal is broken, it hangs, or it cannot be asked; \
                     stop it and start again",
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes the folder for this process, if nobody else is there or wants to be.
    pub(super) fn try_alone(&self, turn: &Turn) -> io::Result<bool> {
        if is_wanted(&self.waiting) {
            return Ok(false);
        }
        if try_lock(&self.file, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(true);
        }
        self.share(turn)?;
        Ok(false)
    }

    /// Lets others in. Only without a log.
    pub(super) fn share(&self, _turn: &Turn) -> io::Result<()> {
        if try_lock(&self.file, FlockOperation::NonBlockingLockShared)? {
            return Ok(());
        }
        Err(io::Error::other("the place among the processes of this folder was lost; restart homeport"))
    }

    /// For [`is_wanted`].
    pub(super) fn waiting(&self) -> Arc<File> {
        Arc::clone(&self.waiting)
    }
}

/// Somebody waits to be let in.
pub(super) fn is_wanted(waiting: &File) -> bool {
    match try_lock(waiting, FlockOperation::NonBlockingLockExclusive) {
        // A hold that cannot be given back would keep others from asking; so would an error from being heard.
        Ok(true) => flock(waiting, FlockOperation::Unlock).is_err(),
        Ok(false) | Err(_) => true,
    }
}

/// False: somebody else has it.
pub(super) fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match retry_on_intr(|| flock(file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file that is only there to be locked.
pub(super) fn lock_file(disk: &Disk, path: &str) -> io::Result<File> {
    loop {
        match disk.open_writable(path, OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        disk.make_dirs(super::disk::parent(path))?;
        match disk.create(path, OFlags::empty()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
    }
}
