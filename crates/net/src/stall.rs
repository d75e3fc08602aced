//! Cuts a peer that takes nothing for too long.
//!
//! TCP has its own judge, `TCP_USER_TIMEOUT`: the kernel sees every acknowledged byte, while we see only that the send
//! buffer (up to 4 MiB) has room again, and would cut a slow but reading client. This timer is for Unix sockets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

pub(crate) struct Stall {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Stall {
    pub(crate) fn new(limit: Duration) -> Stall {
        Stall { limit, timer: None, armed: false }
    }

    /// Call when the operation made progress.
    pub(crate) fn progress(&mut self) {
        self.armed = false;
    }

    /// Call when the operation has to wait. Ready, and an error, when it has waited for the whole limit.
    pub(crate) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.armed {
            timer.as_mut().reset(Instant::now() + limit);
            self.armed = true;
        }
        timer.as_mut().poll(cx).map(|()| io::Error::new(io::ErrorKind::TimedOut, "the other side has stalled"))
    }
}
