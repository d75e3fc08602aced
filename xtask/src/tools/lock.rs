//! One run at a time per cache folder.

use std::fs::{self, File};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::places;

/// Held until the value is dropped; the kernel releases it when the process dies.
pub(super) struct Lock {
    _file: File,
}

pub(super) fn acquire() -> Result<Lock> {
    let cache = places::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let path = cache.join("tools.lock");
    let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        eprintln!("another `cargo xtask tools` is at work; waiting for it");
        flock(&file, FlockOperation::LockExclusive).context("wait for the lock")?;
    }
    Ok(Lock { _file: file })
}
