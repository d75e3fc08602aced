//! Locks by name between the processes of a folder, for changes with syncs of their own. [`crate::locks`] keeps changes of
//! one process apart; the journal has the folder for itself.
//!
//! Whoever removes or decides by what is there is alone with his names: between his look and his rename, and between two
//! files that belong together, nobody writes. Those who only write need not be kept from each other. Content of blobs is
//! published without a name: nothing removes it.
//!
//! The kernel gives back what a dead process held. Of a machine that is gone, the server of a network file system gives it
//! back: NFS 4 after its lease, NFS 3 when the machine is there again.

use super::disk::Disk;
use super::members::{lock_file, try_lock};
use crate::{Batch, Op, PutMode};
use rustix::fs::FlockOperation;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const FOLDER: &str = "homeport/v1/locks/names";
/// Names share files. So many that a large removal is in the way of few others.
const FILES: u32 = 4096;
/// Between two attempts, the first time and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

/// Pauses between attempts to lock something, each twice as long as the one before.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// Attempts are made for so long.
    pub(super) fn of(max: Duration) -> Self {
        Self { until: Instant::now() + max, pause: PAUSES.0 }
    }

    /// Waits for the next attempt, and holds no thread meanwhile; `false`: this was the last one.
    pub(super) async fn allows_another(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        true
    }
}

/// The names of a batch, until dropped.
pub(super) struct Names(#[expect(dead_code, reason = "locked until closed")] Vec<File>);

/// Waits for the names of a batch, for at most `wait_max`, and holds no thread meanwhile. Files are locked in one order, so two
/// processes never wait for each other.
pub(super) async fn lock_names(disk: &Arc<Disk>, batch: &Batch, wait_max: Duration) -> io::Result<Names> {
    let operation = if needs_to_be_alone(batch) {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    let files: BTreeSet<u32> = batch.lock_names().iter().map(|name| crc32fast::hash(name.as_bytes()) % FILES).collect();
    let mut left: Vec<u32> = files.into_iter().rev().collect();
    let mut held = Vec::with_capacity(left.len());
    let mut patience = Patience::of(wait_max);
    loop {
        let disk = Arc::clone(disk);
        let attempt = move || lock_some(&disk, &mut left, &mut held, operation).map(|()| (left, held));
        (left, held) = tokio::task::spawn_blocking(attempt).await.map_err(io::Error::other)??;
        if left.is_empty() {
            return Ok(Names(held));
        }
        if !patience.allows_another().await {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "another change has been holding this name, or one that shares its lock, for long; try again, and if that does \
                 not help, look for a process or a machine with this folder that hangs, and end it",
            ));
        }
    }
}

/// Locks what is `left`, from its end, up to one that somebody else has.
fn lock_some(disk: &Disk, left: &mut Vec<u32>, held: &mut Vec<File>, operation: FlockOperation) -> io::Result<()> {
    while let Some(next) = left.last() {
        let file = lock_file(disk, &format!("{FOLDER}/{next:03x}"))?;
        if !try_lock(&file, operation)? {
            break;
        }
        held.push(file);
        left.pop();
    }
    Ok(())
}

/// Also to create: not every file system can refuse to move one file over another.
fn needs_to_be_alone(batch: &Batch) -> bool {
    !batch.ops.iter().all(|op| matches!(op, Op::Put { mode: PutMode::Replace | PutMode::Keep, .. }))
}
