//! What this process tells the others.

use super::super::record::Record;
use super::super::{Changes, Standing};
use super::BEAT;
use crate::layout;
use std::sync::Arc;
use std::time::Duration;
use storage::{Batch, Driver};
use tokio::time::Instant;
use uuid::Uuid;

/// Our record.
pub(super) struct Telling {
    hub: Arc<Changes>,
    standing: Arc<Standing>,
    process: Uuid,
    told: Option<Told>,
    /// When changes were told last, other than before they were made.
    changes_told: Option<Instant>,
    beat: u64,
    pub(super) closed: bool,
}

/// The record as it is stored.
struct Told {
    count: u64,
    at: Instant,
}

impl Telling {
    pub(super) fn new(hub: &Arc<Changes>, standing: &Arc<Standing>, process: Uuid) -> Self {
        Self {
            hub: Arc::clone(hub),
            standing: Arc::clone(standing),
            process,
            told: None,
            changes_told: None,
            beat: 0,
            closed: false,
        }
    }

    /// There is no record, and nothing that it would say.
    pub(super) fn has_nothing(&self) -> bool {
        self.told.is_none() && self.hub.own_count() == 0
    }

    pub(super) fn has_record(&self) -> bool {
        self.told.is_some()
    }

    /// Writes the record before something changes in a namespace, unless others know of that already.
    pub(super) async fn begin(&mut self, driver: &dyn Driver, namespace: &str) -> storage::Result<()> {
        if self.standing.known_in(namespace).is_some() {
            return Ok(());
        }
        self.standing.name(namespace);
        self.write(driver, false).await
    }

    /// Writes the record unless others know us already.
    pub(super) async fn appear(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if self.standing.is_known() { Ok(()) } else { self.write(driver, false).await }
    }

    /// Writes the record, if it is due: a change is told at once, further ones as fast as the service takes them.
    pub(super) async fn tell(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if self.is_due(driver.writes_apart()) {
            self.write(driver, false).await?;
            self.changes_told = Some(Instant::now());
        }
        Ok(())
    }

    pub(super) fn is_due(&self, apart: Duration) -> bool {
        let count = self.hub.own_count();
        self.told.as_ref().is_none_or(|told| match told.count == count {
            true => told.at.elapsed() >= BEAT,
            false => self.changes_told.is_none_or(|at| at.elapsed() >= apart),
        })
    }

    /// Writes the last record. With changes under way it stays open: others find out that they were not told.
    pub(super) async fn close(&mut self, driver: &dyn Driver, quiet: bool) -> storage::Result<()> {
        if self.has_nothing() {
            return Ok(());
        }
        if quiet || self.is_due(Duration::ZERO) { self.write(driver, quiet).await } else { Ok(()) }
    }

    /// Removes the record where nobody is who could read it.
    pub(super) async fn withdraw(&mut self, driver: &dyn Driver) -> storage::Result<()> {
        if self.told.is_some() {
            driver.apply(Batch::new().delete(layout::changes_of(self.process))).await?;
            self.told = None;
            self.standing.forget();
        }
        Ok(())
    }

    async fn write(&mut self, driver: &dyn Driver, closed: bool) -> storage::Result<()> {
        let named = self.standing.to_name();
        let (count, own) = self.hub.own();
        self.beat += 1;
        let record = Record::encode(self.beat, closed, &named, count, &own);
        let at = Instant::now();
        driver.apply(Batch::new().put(layout::changes_of(self.process), record)).await?;
        self.told = Some(Told { count, at });
        self.standing.set((!closed).then_some(at), &named);
        Ok(())
    }
}
