//! Runs the streams of HTTP/2, each in a task of its own.

use std::future::poll_fn;
use std::pin::pin;

use hyper::rt::Executor;

use crate::pace::Clock;

/// Drops a stream, which resets it, when the time of its answer is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        tokio::spawn(async move {
            let mut stream = pin!(stream);
            let mut clock = Clock::default();
            poll_fn(|cx| clock.poll(cx, |cx| stream.as_mut().poll(cx).map(drop))).await;
        });
    }
}
