//! An answer that is usually there at once and sometimes needs waiting.
//!
//! Decisions are mostly lookups in memory. An `async fn` behind a trait object would allocate a future for each
//! of them; this enum costs nothing on the fast path and still lets an implementation ask a remote server.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;

/// Either the answer, or a future that will have it.
pub enum Reply<'a, T> {
    /// The answer was known without waiting.
    Ready(T),
    /// The answer must be waited for. Dropping the future gives up the wait and is always safe.
    Pending(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<'a, T> Reply<'a, T> {
    /// A reply that must be waited for.
    pub fn pending(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Pending(Box::pin(future))
    }

    /// The reply with its answer changed.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'a) -> Reply<'a, U>
    where
        T: 'a,
    {
        match self {
            Self::Ready(value) => Reply::Ready(change(value)),
            Self::Pending(future) => Reply::pending(async move { change(future.await) }),
        }
    }
}

impl<'a, T: Unpin + Send + 'a> IntoFuture for Reply<'a, T> {
    type Output = T;
    type IntoFuture = futures_util::future::Either<Ready<T>, Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Self::Ready(value) => futures_util::future::Either::Left(ready(value)),
            Self::Pending(future) => futures_util::future::Either::Right(future),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Reply<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}
