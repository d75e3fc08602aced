//! Bounds how many requests run at a time, with a bounded and fair queue: OpenShift's `maxRunning`, `maxInQueue` and
//! `maxWaitInQueue`.
//!
//! Waiters stand in one line per client, and the lines take turns. A client that queues a thousand requests therefore
//! delays another client's first request by at most one of its own.

mod line;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use line::{Lines, Ticket};

/// What a client is told when nothing better is known. A slot frees up within seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The three settings of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// Requests that may run at a time; zero or less means no limit.
    pub max_running: i64,
    /// Requests that may wait, over all clients; zero or less means none.
    pub max_in_queue: i64,
    /// Longest wait; zero means for ever.
    pub max_wait_in_queue: Duration,
}

/// Lets a limited number of requests through. Cheap to clone; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limits: GateLimits,
    running: usize,
    lines: Lines<oneshot::Sender<Permit>>,
}

/// The right to run, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping the permit ends the right to run"]
pub struct Permit {
    gate: Option<Gate>,
}

/// The request must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: RefusalReason,
    /// For the header `Retry-After`.
    pub retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    QueueFull,
    WaitedTooLong,
}

impl Gate {
    #[must_use]
    pub fn new(limits: GateLimits) -> Gate {
        Gate(Arc::new(Mutex::new(State { limits, running: 0, lines: Lines::default() })))
    }

    /// Waits for the right to run. `client` is whatever identifies a client for fairness: a user, or an address.
    /// Cancel-safe: dropping the future gives up the place in the queue.
    ///
    /// # Errors
    /// When the queue is full, at once; when the longest wait has passed.
    pub async fn enter(&self, client: &str) -> Result<Permit, Refused> {
        let (mut place, max_wait) = {
            let mut state = self.lock();
            if state.may_run() && state.lines.is_empty() {
                state.running += 1;
                return Ok(self.permit());
            }
            if state.lines.len() >= usize::try_from(state.limits.max_in_queue).unwrap_or(0) {
                return Err(Refused { reason: RefusalReason::QueueFull, retry_after: RETRY_AFTER });
            }
            let (sender, receiver) = oneshot::channel();
            let ticket = state.lines.push(client, sender);
            (Place { gate: self, ticket: Some(ticket), receiver }, state.limits.max_wait_in_queue)
        };
        if max_wait.is_zero() {
            return Ok((&mut place).await);
        }
        match tokio::time::timeout(max_wait, &mut place).await {
            Ok(permit) => Ok(permit),
            Err(_) => Err(Refused { reason: RefusalReason::WaitedTooLong, retry_after: RETRY_AFTER }),
        }
    }

    /// Changes the limits. What runs keeps running and what waits keeps its place and its longest wait.
    pub fn reconfigure(&self, limits: GateLimits) {
        let mut state = self.lock();
        state.limits = limits;
        self.let_in(&mut state);
    }

    /// Requests that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.lock().running
    }

    /// Requests that wait now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.lock().lines.len()
    }

    fn permit(&self) -> Permit {
        Permit { gate: Some(self.clone()) }
    }

    /// Gives free slots to waiters.
    fn let_in(&self, state: &mut State) {
        while state.may_run() {
            let Some(waiter) = state.lines.pop() else { return };
            state.running += 1;
            if let Err(mut permit) = waiter.send(self.permit()) {
                // The waiter is gone. Its permit must not return here through `drop`: the lock is held.
                permit.gate = None;
                state.running -= 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_run(&self) -> bool {
        let max = self.limits.max_running;
        max <= 0 || self.running < usize::try_from(max).unwrap_or(usize::MAX)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.lock();
            state.running = state.running.saturating_sub(1);
            gate.let_in(&mut state);
        }
    }
}

/// A place in the queue; leaves it when dropped. A permit that was granted and not picked up is in the channel, and
/// returns to the gate when the receiver is dropped.
struct Place<'a> {
    gate: &'a Gate,
    ticket: Option<Ticket>,
    receiver: oneshot::Receiver<Permit>,
}

impl Future for Place<'_> {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(permit)) => {
                self.ticket = None;
                Poll::Ready(permit)
            }
            // The sender is in the queue, which the gate owns, and `self` borrows the gate: it cannot be dropped unsent.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.lock().lines.remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests;
