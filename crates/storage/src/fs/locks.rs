//! Locks by name between the processes of a folder, for changes with syncs of their own. [`crate::locks`] keeps changes of
//! one process apart; the journal has the folder for itself.
//!
//! Whoever removes or decides by what is there is alone with his names; those who only write need not be kept from each
//! other. The kernel gives back what a dead process held.

use super::disk::Disk;
use super::members::{lock_file, try_lock};
use crate::{Batch, Op, PutMode};
use rustix::fs::FlockOperation;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

const FOLDER: &str = "homeport/v1/locks/names";
/// Names share files: as many as one process may well have open for one large removal.
const FILES: u32 = 256;
/// The largest removal is done by then; a process that was stopped in the middle of one is not waited for.
const WAIT_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// The names of a batch, until dropped.
pub(super) struct Names(#[expect(dead_code, reason = "locked until closed")] Vec<File>);

/// Waits for the names of a batch. Files are locked in one order, so two processes never wait for each other.
pub(super) fn lock_names(disk: &Disk, batch: &Batch) -> io::Result<Names> {
    let operation = if needs_to_be_alone(batch) {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    let files: BTreeSet<u32> = batch.lock_names().iter().map(|name| crc32fast::hash(name.as_bytes()) % FILES).collect();
    let until = Instant::now() + WAIT_MAX;
    let mut held = Vec::with_capacity(files.len());
    for file in files {
        let file = lock_file(disk, &format!("{FOLDER}/{file:02x}"))?;
        while !try_lock(&file, operation)? {
            if Instant::now() >= until {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process has been changing the same for long: it hangs, or was stopped in the middle",
                ));
            }
            std::thread::sleep(PAUSE);
        }
        held.push(file);
    }
    Ok(Names(held))
}

fn needs_to_be_alone(batch: &Batch) -> bool {
    !batch.ops.iter().all(|op| matches!(op, Op::Put { mode: PutMode::Replace | PutMode::Keep, .. }))
}
