//! Requests of our own that may help when they are made again.

use object_store::client::{HttpError, HttpErrorKind};
use object_store::{Error, Result};
use std::future::Future;
use std::time::Duration;

/// Attempts of a request, and the pause after the first; each one is twice as long.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// The same where the service says that there is too much of it: some take one write of a key a second.
const SLOW_PAUSE: Duration = Duration::from_secs(1);
const TOO_MUCH: u16 = 429;

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Another attempt may end better.
    pub(crate) may_help: bool,
}

impl Failed {
    /// There is no use in trying again.
    pub(crate) fn last(error: Error) -> Self {
        Self { error, may_help: false }
    }

    /// No answer. What is refused before it is sent is final: see [`crate::http`].
    pub(crate) fn of(http: &HttpError, error: Error) -> Self {
        Self { error, may_help: http.kind() != HttpErrorKind::Unknown }
    }

    /// It may go better the next time.
    pub(crate) fn again(error: Error) -> Self {
        Self { error, may_help: true }
    }
}

/// The first success, or the error of the last attempt.
pub(crate) async fn attempts<T, F: Future<Output = Result<T, Failed>>>(mut attempt: impl FnMut() -> F) -> Result<T> {
    let mut pause = PAUSE;
    let mut number = 1;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(failed) if !failed.may_help || number == ATTEMPTS => return Err(failed.error),
            Err(failed) => {
                tracing::debug!(error = %failed.error, attempt = number, "trying again");
                if crate::error::status(&failed.error.to_string()) == Some(TOO_MUCH) {
                    pause = pause.max(SLOW_PAUSE);
                }
            }
        }
        // Different for each request, so that they do not come back together.
        let jitter = uuid::Uuid::new_v4().as_bytes()[0];
        tokio::time::sleep(pause + pause * u32::from(jitter) / 256).await;
        pause *= 2;
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Said, status};
    use std::cell::Cell;
    use tokio::time::Instant;

    /// What came of a request that is answered with `status` so many times: attempts, time, and the status it ended with.
    async fn failing(times: u32, said: u16, may_help: bool) -> (u32, Duration, Option<u16>) {
        let (begun, made) = (Instant::now(), Cell::new(0));
        let ended = attempts(|| async {
            made.set(made.get() + 1);
            let error = Said { status: said, code: "", text: "x".to_owned() }.into_error("X");
            if made.get() > times { Ok(()) } else { Err(Failed { error, may_help }) }
        });
        let ended = ended.await.err().and_then(|error| status(&error.to_string()));
        (made.get(), begun.elapsed(), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_too_much_waits_a_second_and_more() {
        let (made, waited, ended) = failing(1, TOO_MUCH, true).await;
        assert_eq!((made, ended), (2, None));
        assert!(waited >= SLOW_PAUSE, "{waited:?}");
        let (made, waited, ended) = failing(u32::MAX, TOO_MUCH, true).await;
        assert_eq!((made, ended), (ATTEMPTS, Some(TOO_MUCH)), "nobody tries for ever");
        assert!((SLOW_PAUSE * 7..=SLOW_PAUSE * 14).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_service_is_asked_again_soon() {
        let (made, waited, ended) = failing(1, 503, true).await;
        assert_eq!((made, ended), (2, None));
        assert!((PAUSE..=PAUSE * 2 + Duration::from_millis(1)).contains(&waited), "{waited:?}");
        assert_eq!(failing(u32::MAX, 503, true).await.0, ATTEMPTS);
        let (made, waited, ended) = failing(u32::MAX, 403, false).await;
        assert_eq!((made, waited, ended), (1, Duration::ZERO, Some(403)));
    }
}
