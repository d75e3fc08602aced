//! Ending sessions that nobody continues.

use crate::session::{Place, Record, is_expired};
use crate::{Result, Store, layout};
use std::time::{Duration, SystemTime};
use storage::{Batch, INLINE_MAX};

/// What a round has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Sessions.
    pub sessions: usize,
    /// Bytes of uploads that no session knows.
    pub orphans: usize,
}

impl Store {
    /// Removes sessions older than `age`, and bytes of uploads older than it that belong to no session. With `dry_run` it
    /// only counts.
    ///
    /// # Errors
    /// [`crate::Error::Storage`]; a damaged session is removed, not an error.
    pub async fn expire_uploads(&self, age: Duration, dry_run: bool) -> Result<Expired> {
        let mut expired = Expired::default();
        let mut known = std::collections::HashSet::new();
        let sessions = self.driver.list(layout::SESSIONS, "", usize::MAX).await?;
        for name in sessions.names.iter() {
            let key = format!("{}/{}", layout::SESSIONS, name.text);
            let bytes = match self.driver.get(&key, INLINE_MAX).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            let record = Record::decode(&bytes);
            if let Some(record) = record.as_ref().filter(|record| !is_expired(record.started, age)) {
                if let Place::Driver(handle) = &record.place {
                    known.insert(handle.clone());
                }
                continue;
            }
            expired.sessions += 1;
            if dry_run {
                continue;
            }
            self.driver.apply(Batch::new().delete(key)).await?;
            if let Some(Record { place: Place::Driver(handle), .. }) = record {
                self.driver.discard(&handle).await?;
            }
        }
        // A service's own uploads are beside its objects, and the driver looks after them.
        if !self.driver.is_remote() {
            expired.orphans = self.expire_orphans(age, dry_run, &known).await?;
        }
        Ok(expired)
    }

    async fn expire_orphans(
        &self,
        age: Duration,
        dry_run: bool,
        known: &std::collections::HashSet<String>,
    ) -> Result<usize> {
        let mut orphans = 0;
        let files = self.driver.list(layout::UPLOADS, "", usize::MAX).await?;
        for name in files.names.iter().filter(|name| !name.is_prefix) {
            let key = format!("{}/{}", layout::UPLOADS, name.text);
            let Ok(stat) = self.driver.stat(&key).await else { continue };
            let rested = SystemTime::now().duration_since(stat.modified).unwrap_or_default();
            if rested > age && !known.contains(&key) {
                orphans += 1;
                if !dry_run {
                    self.driver.discard(&key).await?;
                }
            }
        }
        Ok(orphans)
    }
}
