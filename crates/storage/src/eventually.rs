//! An answer that is often there at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Either a value or a future of it. Reads that the page cache can answer need no allocation and no thread.
pub enum Eventually<'a, T> {
    /// Here.
    Ready(Option<T>),
    /// Later.
    Pending(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<'a, T> Eventually<'a, T> {
    /// A value that is there.
    pub fn ready(value: T) -> Self {
        Self::Ready(Some(value))
    }

    /// A value to wait for.
    pub fn pending(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Pending(Box::pin(future))
    }
}

impl<T> Unpin for Eventually<'_, T> {}

impl<T> Future for Eventually<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            // Polling a finished future again is a defect of the caller; staying pending is the harmless answer.
            Self::Ready(value) => value.take().map_or(Poll::Pending, Poll::Ready),
            Self::Pending(future) => future.as_mut().poll(cx),
        }
    }
}
