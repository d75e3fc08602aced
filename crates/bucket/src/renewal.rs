//! Credentials while they are renewed.

use crate::error::all_of;
use async_trait::async_trait;
use object_store::{CredentialProvider, Error, Result};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long after a renewal that failed nobody asks again.
const NEXT_RENEWAL: Duration = Duration::from_secs(1);

type Provider<C> = Arc<dyn CredentialProvider<Credential = C>>;

/// Hands the last credential on while the service for new ones is asked, and while it gives none: it is asked early enough
/// that the last one is good for minutes. One request at a time asks.
pub(crate) struct Renewed<C> {
    provider: Provider<C>,
    last: Mutex<Option<Arc<C>>>,
    /// Held by who asks: when that failed last, and why.
    asking: tokio::sync::Mutex<Option<(Instant, String)>>,
}

impl<C> fmt::Debug for Renewed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

impl<C> Renewed<C> {
    pub(crate) fn new(provider: Provider<C>) -> Arc<Self> {
        Arc::new(Self { provider, last: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    fn last(&self) -> Option<Arc<C>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn get(&self) -> Result<Arc<C>> {
        let mut failed = match (self.asking.try_lock(), self.last()) {
            (Ok(failed), _) => failed,
            (Err(_), Some(last)) => return Ok(last),
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some((at, why)) = &*failed
            && at.elapsed() < NEXT_RENEWAL
        {
            return self.last().ok_or_else(|| Error::Generic { store: "credentials", source: why.as_str().into() });
        }
        match self.provider.get_credential().await {
            Ok(new) => {
                *failed = None;
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&new));
                Ok(new)
            }
            Err(error) => {
                let why = all_of(&error);
                tracing::warn!(error = why, "no new credentials; the old ones are used until they end");
                *failed = Some((Instant::now(), why));
                self.last().ok_or(error)
            }
        }
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync> CredentialProvider for Renewed<C> {
    type Credential = C;

    async fn get_credential(&self) -> Result<Arc<C>> {
        self.get().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    /// Answers as often as it may: with a number, or with an error while it is broken.
    #[derive(Debug)]
    struct Service {
        may: Semaphore,
        is_broken: std::sync::atomic::AtomicBool,
        asked: AtomicU32,
    }

    #[async_trait]
    impl CredentialProvider for Service {
        type Credential = u32;

        async fn get_credential(&self) -> Result<Arc<u32>> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            self.may.acquire().await.unwrap().forget();
            if self.is_broken.load(Ordering::SeqCst) {
                return Err(Error::Generic { store: "test", source: "no answer".into() });
            }
            Ok(Arc::new(number))
        }
    }

    fn service(broken: bool) -> (Arc<Service>, Arc<Renewed<u32>>) {
        let service = Arc::new(Service { may: Semaphore::new(0), is_broken: broken.into(), asked: AtomicU32::new(0) });
        (Arc::clone(&service), Renewed::new(service))
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_is_used_while_there_is_no_new_one() {
        let (service, renewed) = service(false);
        service.may.add_permits(1);
        assert_eq!(*renewed.get().await.unwrap(), 0);
        // One request hangs at the service, the others do not.
        let asking = tokio::spawn({
            let renewed = Arc::clone(&renewed);
            async move { renewed.get().await }
        });
        while service.asked.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert_eq!(*renewed.get().await.unwrap(), 0);
        }
        service.is_broken.store(true, Ordering::SeqCst);
        service.may.add_permits(1);
        assert_eq!(*asking.await.unwrap().unwrap(), 0);
        // It is not asked again at once.
        for _ in 0..100 {
            assert_eq!(*renewed.get().await.unwrap(), 0);
        }
        assert_eq!(service.asked.load(Ordering::SeqCst), 2);
        service.is_broken.store(false, Ordering::SeqCst);
        service.may.add_permits(1);
        tokio::time::sleep(NEXT_RENEWAL).await;
        assert_eq!(*renewed.get().await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_last_one_the_reason_is_told_to_all_that_wait() {
        let (service, renewed) = service(true);
        service.may.add_permits(1);
        let waiting = (0..50).map(|_| renewed.get());
        for answer in futures_util::future::join_all(waiting).await {
            assert!(answer.unwrap_err().to_string().contains("no answer"));
        }
        assert_eq!(service.asked.load(Ordering::SeqCst), 1);
    }
}
