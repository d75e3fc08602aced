//! Making sure that a change is noted, whatever becomes of the request that made it.

use super::standing::UnderWay;
use super::{Change, Changes};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Changes on their way to storage. They are noted when this is dropped: also after an error, since then any part of them
/// may have happened.
pub(crate) struct Noting {
    hub: Arc<Changes>,
    changes: Vec<Change>,
    /// Given back after the changes are noted.
    under_way: Arc<UnderWay>,
}

impl Noting {
    pub(crate) fn new(hub: &Arc<Changes>, changes: Vec<Change>, under_way: Arc<UnderWay>) -> Self {
        Self { hub: Arc::clone(hub), changes, under_way }
    }

    /// Where the changes are.
    pub(crate) fn under_way(&self) -> &Arc<UnderWay> {
        &self.under_way
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        for change in self.changes.drain(..) {
            self.hub.note_own(change);
        }
    }
}

/// A future that, once begun, goes on to its end: when it is dropped before, as a task of its own.
pub(crate) struct ToEnd<T: Send + 'static> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
}

impl<T: Send + 'static> ToEnd<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)), begun: false }
    }
}

impl<T: Send + 'static> Future for ToEnd<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.get_mut();
        this.begun = true;
        // Polling a finished future again is a defect of the caller; staying pending is the harmless answer.
        let Some(future) = &mut this.future else { return Poll::Pending };
        let poll = future.as_mut().poll(cx);
        if poll.is_ready() {
            this.future = None;
        }
        poll
    }
}

impl<T: Send + 'static> Drop for ToEnd<T> {
    fn drop(&mut self) {
        if !self.begun || std::thread::panicking() {
            return;
        }
        if let (Some(future), Ok(runtime)) = (self.future.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::Notify;

    fn waiting(go: &Arc<Notify>) -> (ToEnd<()>, Arc<AtomicBool>) {
        let (go, done) = (Arc::clone(go), Arc::new(AtomicBool::new(false)));
        let set = Arc::clone(&done);
        let future = ToEnd::new(async move {
            go.notified().await;
            set.store(true, Ordering::SeqCst);
        });
        (future, done)
    }

    #[tokio::test]
    async fn what_has_begun_ends() {
        let go = Arc::new(Notify::new());
        let (mut begun, done) = waiting(&go);
        let (idle, never) = waiting(&go);
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut begun).poll(cx).is_pending())).await);
        drop(begun);
        drop(idle);
        go.notify_one();
        while !done.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert!(!never.load(Ordering::SeqCst), "what has not begun must not begin when it is dropped");
    }

    #[test]
    fn without_a_runtime_it_is_noted_all_the_same() {
        let hub = Changes::new();
        let namespace = crate::Namespace::parse("a").unwrap();
        let standing = Arc::<crate::changes::Standing>::default();
        let under_way = futures_util::FutureExt::now_or_never(standing.begin(namespace)).unwrap();
        let noting = Noting::new(&hub, vec![Change::Unknown], Arc::new(under_way));
        let mut future = ToEnd::new(async move {
            std::future::pending::<()>().await;
            drop(noting);
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut context).is_pending());
        assert_eq!(hub.since(hub.oldest()).unwrap().len(), 0);
        drop(future);
        assert_eq!(hub.since(hub.oldest()).unwrap().len(), 1);
    }
}
