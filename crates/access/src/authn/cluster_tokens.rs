//! Callers who present a token of the cluster, remembered for a time.

mod shape;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{error, hmac};

use super::flights::{Flights, Joined};
use super::review::{ReviewError, Reviewed, TokenReviewer};
use super::{AuthError, Authenticating, Authenticator, Claim};
use crate::clock::Clock;
use crate::credential::Credential;
use crate::identity::{Caller, Source};
use crate::reply::Reply;
use shape::{Shape, looks_like_jwt};

/// Longest token that the cluster is asked about.
pub const CLUSTER_TOKEN_BYTES_MAX: usize = 16 * 1024;

/// For how long a client may keep a token before it asks for another answer, in seconds.
const EXPIRES_IN_MAX: i64 = 300;

/// While the cluster does not answer, a known caller waits for it once in this time; in between it is let in at once.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Bytes of a keyed hash, and of its key.
const KEY_BYTES: usize = 32;

/// How long answers of the cluster are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterTokenLimits {
    /// An accepted token is reviewed again after this time.
    pub ttl: Duration,
    /// A refused token is refused from memory for this time.
    pub negative_ttl: Duration,
    /// While the cluster does not answer, a token is good for this time since it was last accepted.
    pub stale_for: Duration,
}

/// What was answered from where, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterTokenCounts {
    /// Questions to the cluster.
    pub reviews: u64,
    /// Callers known from memory.
    pub hits: u64,
    /// Tokens refused from memory, or because they had ended by their own word.
    pub negative_hits: u64,
    /// Callers let in without a fresh answer, because the cluster gave none.
    pub stale: u64,
    /// Questions that the cluster did not answer.
    pub errors: u64,
}

#[derive(Default)]
struct Counters {
    reviews: AtomicU64,
    hits: AtomicU64,
    negative_hits: AtomicU64,
    stale: AtomicU64,
    errors: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

type Key = [u8; KEY_BYTES];

/// A token that was accepted.
struct Accepted {
    caller: Caller,
    /// Seconds since the Unix epoch.
    exp: Option<i64>,
    /// Monotonic time of the last acceptance.
    at: Duration,
    /// Monotonic time, in milliseconds, before which the cluster is not asked again.
    retry_at_ms: AtomicU64,
}

impl Accepted {
    fn ended(&self, unix_seconds: i64) -> bool {
        self.exp.is_some_and(|exp| exp <= unix_seconds)
    }
}

type Outcome = Result<Arc<Accepted>, AuthError>;

/// Callers who present a token of the cluster: as Bearer, or as the password of any user.
///
/// Memory holds no token, only hashes under a key of this process. Accepted and refused tokens are kept apart, so that a
/// flood of made-up tokens displaces no caller.
pub struct ClusterTokens(Arc<Inner>);

struct Inner {
    reviewer: Arc<dyn TokenReviewer>,
    clock: Arc<dyn Clock>,
    limits: ClusterTokenLimits,
    key: hmac::Key,
    accepted: Cache<Key, Arc<Accepted>>,
    /// Refused tokens, with the monotonic time of the refusal.
    refused: Cache<Key, Duration>,
    reviews: Flights<Key, Outcome>,
    counters: Counters,
}

impl ClusterTokens {
    /// `entries` accepted tokens are remembered, and as many refused ones.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(
        reviewer: Arc<dyn TokenReviewer>,
        clock: Arc<dyn Clock>,
        limits: ClusterTokenLimits,
        entries: usize,
    ) -> Result<Self, error::Unspecified> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key)?;
        Ok(Self(Arc::new(Inner {
            reviewer,
            clock,
            limits,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            accepted: Cache::new(entries),
            refused: Cache::new(entries),
            reviews: Flights::default(),
            counters: Counters::default(),
        })))
    }

    /// What was answered from where.
    #[must_use]
    pub fn counts(&self) -> ClusterTokenCounts {
        let Counters { reviews, hits, negative_hits, stale, errors } = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClusterTokenCounts {
            reviews: read(reviews),
            hits: read(hits),
            negative_hits: read(negative_hits),
            stale: read(stale),
            errors: read(errors),
        }
    }

    /// The caller of a token that was accepted here and has ended by its own word since, but not longer than `within` ago.
    /// A token that was refused since is nobody's. The cluster is not asked any more: whoever uses this must ask for the
    /// caller's rights anew, and for nothing but what began before the end.
    #[must_use]
    pub fn ended(&self, token: &[u8], within: Duration) -> Option<Caller> {
        let known = self.0.accepted.get(&self.0.key_of(token))?;
        let since = self.0.clock.unix_seconds().checked_sub(known.exp?)?;
        let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
        (0..=within).contains(&since).then(|| known.caller.clone())
    }

    /// For how many seconds a client may use an accepted token before it asks again; `None` if the token is not known to
    /// be good.
    #[must_use]
    pub fn expires_in(&self, token: &[u8]) -> Option<u64> {
        let known = self.0.accepted.get(&self.0.key_of(token))?;
        let now = self.0.clock.unix_seconds();
        let left = known.exp.map_or(EXPIRES_IN_MAX, |exp| exp.saturating_sub(now).min(EXPIRES_IN_MAX));
        u64::try_from(left).ok().filter(|left| *left > 0)
    }

    /// The token in a credential, if it looks like one of the cluster's.
    fn token(credential: &Credential) -> Option<&str> {
        let bytes = match credential {
            Credential::Bearer(token) => token.expose(),
            Credential::Basic(basic) => basic.password(),
            Credential::None => return None,
        };
        // Its characters are ASCII.
        looks_like_jwt(bytes).then(|| std::str::from_utf8(bytes).ok()).flatten()
    }
}

impl Authenticator for ClusterTokens {
    fn claim(&self, credential: &Credential) -> Claim {
        match Self::token(credential) {
            Some(_) => Claim::Mine,
            None => Claim::Never,
        }
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        let Some(token) = Self::token(credential) else { return Reply::Ready(Err(AuthError::Invalid)) };
        if token.len() > CLUSTER_TOKEN_BYTES_MAX {
            return Reply::Ready(Err(AuthError::Invalid));
        }
        let key = self.0.key_of(token.as_bytes());
        if let Some(outcome) = self.0.remembered(&key) {
            return Reply::Ready(outcome.map(|known| known.caller.clone()));
        }
        // What the token says of itself is not proven yet and only used to refuse it.
        let Some(Shape { exp, ours: false }) = Shape::read(token) else {
            return Reply::Ready(Err(AuthError::Invalid));
        };
        if exp.is_some_and(|exp| exp <= self.0.clock.unix_seconds()) {
            count(&self.0.counters.negative_hits);
            return Reply::Ready(Err(AuthError::Invalid));
        }
        let start = || self.0.review(key, token.to_owned(), exp);
        match self.0.reviews.join(&key, || self.0.remembered(&key), start) {
            Joined::Known(outcome) => Reply::Ready(outcome.map(|known| known.caller.clone())),
            Joined::Flight(flight) => Reply::pending(async move { flight.await.map(|known| known.caller.clone()) }),
        }
    }
}

impl Inner {
    fn key_of(&self, token: &[u8]) -> Key {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(hmac::sign(&self.key, token).as_ref());
        key
    }

    /// The answer that needs no question.
    fn remembered(&self, key: &Key) -> Option<Outcome> {
        let limits = &self.limits;
        let now = self.clock.elapsed();
        if let Some(known) = self.accepted.get(key) {
            if known.ended(self.clock.unix_seconds()) {
                count(&self.counters.negative_hits);
                return Some(Err(AuthError::Invalid));
            }
            let age = now.saturating_sub(known.at);
            if age < limits.ttl {
                count(&self.counters.hits);
                return Some(Ok(known));
            }
            if age < limits.stale_for && millis(now) < known.retry_at_ms.load(Ordering::Relaxed) {
                count(&self.counters.stale);
                return Some(Ok(known));
            }
            return None;
        }
        let refused = self.refused.get(key)?;
        (now.saturating_sub(refused) < limits.negative_ttl).then(|| {
            count(&self.counters.negative_hits);
            Err(AuthError::Invalid)
        })
    }

    /// Asks the cluster, and writes down what it says before it ends.
    fn review(self: &Arc<Self>, key: Key, token: String, exp: Option<i64>) -> impl Future<Output = Outcome> + use<> {
        let inner = Arc::clone(self);
        async move {
            count(&inner.counters.reviews);
            let known = inner.accepted.get(&key).is_some();
            match inner.reviewer.review(&token, known).await {
                Ok(reviewed) => inner.accept(key, reviewed, exp),
                Err(ReviewError::Rejected(reason)) => {
                    tracing::debug!(reason, "token of the cluster refused");
                    inner.refuse(key)
                }
                // Not stale either: whoever asks much could keep a revoked token alive by that.
                Err(ReviewError::Busy { retry_after }) => {
                    count(&inner.counters.errors);
                    tracing::debug!("too many reviews of tokens at once");
                    Err(AuthError::Unavailable { retry_after })
                }
                Err(ReviewError::Unavailable { reason, retry_after }) => {
                    count(&inner.counters.errors);
                    // Who watches over the connection says so once; this would come with every request.
                    tracing::debug!(reason, "token of the cluster cannot be reviewed");
                    inner.stale(&key).ok_or(AuthError::Unavailable { retry_after })
                }
            }
        }
    }

    fn accept(&self, key: Key, reviewed: Reviewed, exp: Option<i64>) -> Outcome {
        let exp = [exp, reviewed.expires].into_iter().flatten().min();
        let caller = Caller::named(&reviewed.user, Source::Cluster)
            .with_groups(reviewed.groups)
            .with_uid(&reviewed.uid)
            .with_extra(reviewed.extra);
        let at = self.clock.elapsed();
        let known = Arc::new(Accepted { caller, exp, at, retry_at_ms: AtomicU64::new(0) });
        if known.ended(self.clock.unix_seconds()) {
            return self.refuse(key);
        }
        self.accepted.insert(key, Arc::clone(&known));
        self.refused.remove(&key);
        Ok(known)
    }

    fn refuse(&self, key: Key) -> Outcome {
        // In this order: a question in between finds one of them.
        self.refused.insert(key, self.clock.elapsed());
        self.accepted.remove(&key);
        Err(AuthError::Invalid)
    }

    /// The caller of a token that was accepted not too long ago, while nobody can be asked.
    fn stale(&self, key: &Key) -> Option<Arc<Accepted>> {
        let known = self.accepted.get(key)?;
        let now = self.clock.elapsed();
        let good = now.saturating_sub(known.at) < self.limits.stale_for;
        if !good || known.ended(self.clock.unix_seconds()) {
            return None;
        }
        known.retry_at_ms.store(millis(now.saturating_add(RETRY_PAUSE)), Ordering::Relaxed);
        count(&self.counters.stale);
        Some(known)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
