//! Ends an answer that is not taken in time, also when nobody polls its body any more.
//!
//! hyper does not ask a body for more while the peer takes nothing, so a body cannot end itself. It leaves the moment of its
//! end with the task that it runs in, and that task looks at the clock: the task of the stream under HTTP/2 (which resets
//! this stream only), the connection's under HTTP/1.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

/// What is handed to the connection at a time.
const PIECE: usize = 64 * 1024;
/// The last bytes of an answer: they may wait in the connection when the answer itself is long gone.
const TAIL: usize = 1024;

tokio::task_local! {
    /// When the answer that runs in this task ends.
    static END: Cell<Option<Instant>>;
}

/// The time that an answer has, and what of it is too much for one piece.
pub(crate) struct Pace {
    until: Option<Instant>,
    stall: Duration,
    rest: Bytes,
}

impl Pace {
    pub(crate) fn new(until: Option<Instant>, stall: Duration) -> Pace {
        Pace { until, stall, rest: Bytes::new() }
    }

    /// What is left of the last chunk.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| self.cut(rest))
    }

    /// The first piece of a chunk; the others wait. The last is small and a copy: the memory of the whole is free when it is
    /// all that is left.
    pub(crate) fn cut(&mut self, mut chunk: Bytes) -> Bytes {
        if chunk.len() <= TAIL {
            return Bytes::copy_from_slice(&chunk);
        }
        self.rest = chunk.split_off(PIECE.min(chunk.len() - TAIL));
        chunk
    }

    /// A piece was handed out.
    pub(crate) fn given(&self) {
        let stalled = Instant::now() + self.stall;
        set(Some(self.until.map_or(stalled, |until| until.min(stalled))));
    }

    /// The connection has taken all of it. What may still be in its buffer has time of its own.
    pub(crate) fn over(&self) {
        set(Some(Instant::now() + self.stall));
    }

    /// The source has nothing yet: the peer is not to blame.
    pub(crate) fn waits(&self) {
        set(self.until);
    }
}

/// Another answer begins in this task.
pub(crate) fn begin() {
    set(None);
}

fn set(end: Option<Instant>) {
    // Elsewhere than in a connection, as in tests, nobody looks.
    let _ = END.try_with(|cell| cell.set(end));
}

/// The clock of a task that answers run in.
#[derive(Default)]
pub(crate) struct Clock {
    end: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Polls what answers run in. `None` when the time of the answer is over: dropping it is what ends the answer.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        let (polled, end) = END.sync_scope(Cell::new(self.end), || {
            let polled = poll(cx);
            (polled, END.with(Cell::get))
        });
        if let Poll::Ready(done) = polled {
            return Poll::Ready(Some(done));
        }
        self.end = end;
        let Some(end) = end else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx).map(|()| {
            tracing::debug!("an answer was not taken in time");
            None
        })
    }
}

#[cfg(test)]
mod tests;
