//! How many requests run at a time, and how large and long each may be.

mod callers;

use std::sync::Arc;
use std::time::Duration;

use access::{Caller, Source};
use futures_util::FutureExt;
use net::{Gate, GateLimits, Permit, Refused};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::status::{Failure, Result};

use callers::{Callers, Turn};

/// Of the part of an address behind the question mark.
pub(crate) const QUERY_BYTES_MAX: usize = 16 * 1024;
/// Of a request's body: options of a deletion are a few hundred bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// For a request's body to arrive.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// For a request that is no watch, its answer included; the same as kube-apiserver's.
pub(crate) const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// For a client to take a piece of an answer.
pub(crate) const STALL_TIME_MAX: Duration = Duration::from_secs(60);

const SHARED: GateLimits = GateLimits { max_running: 64, max_in_queue: 256, max_wait_in_queue: Duration::from_secs(5) };
/// For those on whom the whole cluster waits. They may wait longer before they are told to come again.
const RESERVED: GateLimits =
    GateLimits { max_running: 8, max_in_queue: 64, max_wait_in_queue: Duration::from_secs(20) };
const WATCHES_MAX: usize = 4_000;
const WATCHES_RESERVED: usize = 64;
const RETRY: Duration = Duration::from_secs(1);

/// Controllers that go on with nothing in the cluster while they wait for an answer of ours.
const CONTROLLERS: [&str; 3] = [
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    // All controllers in one, where they have no service accounts of their own.
    "system:kube-controller-manager",
];
const MASTERS: &str = "system:masters";

/// The places for requests for tags. Discovery needs none.
pub(crate) struct Limits {
    shared: Gate,
    reserved: Gate,
    watches: Arc<Semaphore>,
    watches_reserved: Arc<Semaphore>,
    callers: Callers,
}

/// The right to run, until it is dropped.
pub(crate) enum Place {
    Request { _permit: Permit },
    Watch { _permit: OwnedSemaphorePermit },
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self {
            shared: Gate::new(SHARED),
            reserved: Gate::new(RESERVED),
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            watches_reserved: Arc::new(Semaphore::new(WATCHES_RESERVED)),
            callers: Callers::default(),
        }
    }

    /// Waits until the caller may have one more request; before anything of it is kept. `None` for those who are not bound.
    ///
    /// # Errors
    /// 429 when that is not so in time.
    pub(crate) async fn turn(&self, caller: &Caller, is_watch: bool) -> Result<Option<Turn>> {
        if is_privileged(caller) {
            return Ok(None);
        }
        let turn = self.callers.enter(caller.name().unwrap_or_default(), is_watch).await;
        turn.map(Some).map_err(|refused| Failure::too_many(refused.retry_after))
    }

    /// Waits for a place among all, with everything at hand that the request needs.
    ///
    /// # Errors
    /// 429 when there is none in time.
    pub(crate) async fn enter(&self, caller: &Caller, is_watch: bool) -> Result<Place> {
        if is_watch {
            return self.watch(caller);
        }
        let client = caller.name().unwrap_or_default();
        if !is_privileged(caller) {
            let entered = self.shared.enter(client).await;
            return place(entered);
        }
        // Only when the common places are taken, so that the reserved ones last.
        if let Some(Ok(permit)) = self.shared.enter(client).now_or_never() {
            return place(Ok(permit));
        }
        place(self.reserved.enter(client).await)
    }

    fn watch(&self, caller: &Caller) -> Result<Place> {
        let common = Arc::clone(&self.watches).try_acquire_owned();
        let place = match common {
            Err(_) if is_privileged(caller) => Arc::clone(&self.watches_reserved).try_acquire_owned(),
            other => other,
        };
        place.map(|permit| Place::Watch { _permit: permit }).map_err(|_| Failure::too_many(RETRY))
    }

    /// Watches that run now.
    pub(crate) fn watches(&self) -> usize {
        let taken = |all: usize, semaphore: &Semaphore| all.saturating_sub(semaphore.available_permits());
        taken(WATCHES_MAX, &self.watches) + taken(WATCHES_RESERVED, &self.watches_reserved)
    }

    /// Requests that run and that wait now.
    pub(crate) fn requests(&self) -> (usize, usize) {
        let queued = self.shared.queued() + self.reserved.queued() + self.callers.queued();
        (self.shared.running() + self.reserved.running(), queued)
    }
}

fn place(entered: std::result::Result<Permit, Refused>) -> Result<Place> {
    match entered {
        Ok(permit) => Ok(Place::Request { _permit: permit }),
        Err(refused) => Err(Failure::too_many(refused.retry_after)),
    }
}

fn is_privileged(caller: &Caller) -> bool {
    // A user of another source could have such a name.
    caller.source() == Source::Cluster
        && (caller.name().is_some_and(|name| CONTROLLERS.contains(&name))
            || caller.groups().iter().any(|group| &**group == MASTERS))
}

#[cfg(test)]
mod tests;
