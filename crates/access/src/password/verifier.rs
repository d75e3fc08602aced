//! Checks passwords off the async threads, and each credential only once.
//!
//! A bcrypt check costs tens of milliseconds of a core, and clients send the password with every request. So
//! * answers are remembered under HMAC(process key, record ‖ user ‖ password): the record contains the stored
//!   hash, so a changed password never finds an old answer, and nobody who reads memory gets a fast hash to
//!   guess against without the key;
//! * yes and no are remembered apart, so a flood of wrong passwords never pushes out a right one;
//! * equal questions in flight share one check, and the number of checks in flight is bounded;
//! * a check runs to its end even if its client goes away, so the work is never lost nor repeated.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use ring::{hmac, rand};
use tokio::sync::{Semaphore, watch};

use super::stored::{PASSWORD_BYTES_MAX, StoredHash};
use crate::clock::Clock;
use crate::identity::Record;
use crate::secret::Secret;

/// Bounds of a [`Passwords`].
#[derive(Clone, Copy, Debug)]
pub struct PasswordLimits {
    /// How long a right password is remembered.
    pub success_life: Duration,
    /// How long a wrong one is.
    pub failure_life: Duration,
    /// Right passwords remembered at most; about 100 bytes each.
    pub success_entries: usize,
    /// Wrong passwords remembered at most; about 100 bytes each.
    pub failure_entries: usize,
    /// Checks that compute at the same time; at least 1.
    pub parallel: usize,
    /// Checks that wait for their turn; above it the answer is "unavailable".
    pub queue: usize,
}

impl PasswordLimits {
    /// Bounds for everyday use: one check per core, and as many waiting as a client has patience for (about
    /// 4 s at 60 ms each).
    #[must_use]
    pub fn standard() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            success_life: Duration::from_secs(300),
            failure_life: Duration::from_secs(30),
            success_entries: 8192,
            failure_entries: 8192,
            parallel: cores,
            queue: cores.saturating_mul(64),
        }
    }
}

type Key = [u8; 32];
/// `None` while the check is in flight.
type Flight = watch::Receiver<Option<bool>>;

/// Checks and remembers passwords. Share one between all sources of local users.
pub struct Passwords(Arc<Inner>);

struct Inner {
    key: hmac::Key,
    clock: Arc<dyn Clock>,
    limits: PasswordLimits,
    /// Value: when to forget, on the clock's monotonic side.
    right: Cache<Key, Duration>,
    wrong: Cache<Key, Duration>,
    flights: Mutex<HashMap<Key, Flight>>,
    turns: Arc<Semaphore>,
}

/// One thing to find out.
pub(crate) struct Question<'q> {
    /// The entry asked about; `None` for a user that does not exist or cannot log in.
    pub(crate) record: Option<Record>,
    pub(crate) user: &'q str,
    /// The entry's hash, or a decoy that costs as much.
    pub(crate) hash: &'q StoredHash,
    pub(crate) password: &'q [u8],
}

/// A remembered answer, or the work to get one.
pub(crate) enum Checked {
    Known(bool),
    Ask(Check),
}

/// A check that has not been started.
pub(crate) struct Check {
    passwords: Passwords,
    key: Key,
    hash: StoredHash,
    password: Secret,
    decoy: bool,
}

/// Too many checks in flight, or the runtime is shutting down.
pub(crate) struct Busy;

impl Passwords {
    /// Starts with empty caches and a random key.
    ///
    /// Returns `None` if the operating system gives no random bytes.
    #[must_use]
    pub fn new(limits: PasswordLimits, clock: Arc<dyn Clock>) -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok()?;
        Some(Self(Arc::new(Inner {
            key,
            clock,
            limits,
            right: Cache::new(limits.success_entries),
            wrong: Cache::new(limits.failure_entries),
            flights: Mutex::default(),
            turns: Arc::new(Semaphore::new(limits.parallel.clamp(1, Semaphore::MAX_PERMITS))),
        })))
    }

    /// Answers from memory if possible. Takes about a microsecond and does not allocate when it knows.
    pub(crate) fn check(&self, question: &Question<'_>) -> Checked {
        // What bcrypt ignores is cut first, or a long rest would make one password many questions.
        let password = question.password.get(..PASSWORD_BYTES_MAX).unwrap_or(question.password);
        let key = self.0.key_of(question, password);
        if let Some(answer) = self.0.recall(&key) {
            return Checked::Known(answer);
        }
        Checked::Ask(Check {
            passwords: Self(Arc::clone(&self.0)),
            key,
            hash: *question.hash,
            password: Secret::new(password),
            decoy: question.record.is_none(),
        })
    }

    /// A number from 0 to `below` - 1 that depends on the user name and on a key that nobody knows.
    pub(crate) fn pick(&self, user: &str, below: usize) -> usize {
        let tag = hmac::sign(&self.0.key, user.as_bytes());
        let number = tag.as_ref().iter().take(7).fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        number.checked_rem(below).unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.0.flights().len()
    }
}

impl Inner {
    fn key_of(&self, question: &Question<'_>, password: &[u8]) -> Key {
        let record = question.record.map_or([0; 32], |record| record.0);
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&record);
        context.update(question.user.as_bytes());
        // Neither part of a credential can contain NUL, see `credential`.
        context.update(&[0]);
        context.update(password);
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        key
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        // Nothing that can panic runs under this lock, and the map is valid after each statement.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, key: &Key) -> Option<bool> {
        let now = self.clock.elapsed();
        let fresh = |cache: &Cache<Key, Duration>| cache.get(key).is_some_and(|until| now < until);
        if fresh(&self.right) {
            return Some(true);
        }
        fresh(&self.wrong).then_some(false)
    }

    fn remember(&self, key: Key, right: bool) {
        let (cache, life) = match right {
            true => (&self.right, self.limits.success_life),
            false => (&self.wrong, self.limits.failure_life),
        };
        cache.insert(key, self.clock.elapsed().saturating_add(life));
    }
}

impl Check {
    /// Joins an equal check in flight or starts one, and waits for its answer. Must be polled on a tokio
    /// runtime; dropping the future leaves a started check running.
    pub(crate) async fn answer(self) -> Result<bool, Busy> {
        let mut flight = match self.board()? {
            Boarded::Known(answer) => return Ok(answer),
            Boarded::Flight(flight) => flight,
        };
        let answer = flight.wait_for(Option::is_some).await.map_err(|_| Busy)?;
        answer.ok_or(Busy)
    }

    fn board(self) -> Result<Boarded, Busy> {
        let inner = Arc::clone(&self.passwords.0);
        let mut flights = inner.flights();
        if let Some(flight) = flights.get(&self.key) {
            return Ok(Boarded::Flight(flight.clone()));
        }
        // An equal flight may have landed since `Passwords::check` looked; it left its answer first.
        if let Some(answer) = inner.recall(&self.key) {
            return Ok(Boarded::Known(answer));
        }
        if flights.len() >= inner.limits.parallel.saturating_add(inner.limits.queue) {
            return Err(Busy);
        }
        let (announce, flight) = watch::channel(None);
        flights.insert(self.key, flight.clone());
        drop(flights);
        let landing = Landing { inner, key: self.key };
        // The task ends with the check: it holds one of a bounded number of places and waits for nothing
        // but its turn.
        tokio::spawn(async move {
            let answer = self.compute(&landing).await;
            // Remembered first, removed second: who comes in between finds one of the two.
            drop(landing);
            announce.send_replace(answer);
        });
        Ok(Boarded::Flight(flight))
    }

    fn compute(self, landing: &Landing) -> impl Future<Output = Option<bool>> + Send {
        let inner = Arc::clone(&landing.inner);
        async move {
            let turn = Arc::clone(&inner.turns).acquire_owned().await.ok()?;
            let Self { key, hash, password, decoy, .. } = self;
            let computed = tokio::task::spawn_blocking(move || {
                let matches = hash.matches_slow(password.expose());
                // The turn ends with the computation, not with the task that waits for it.
                drop(turn);
                matches
            });
            let right = computed.await.ok()? && !decoy;
            inner.remember(key, right);
            Some(right)
        }
    }
}

enum Boarded {
    Known(bool),
    Flight(Flight),
}

/// Takes the flight off the board however its task ends: finished, panicked or dropped at shutdown.
struct Landing {
    inner: Arc<Inner>,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.inner.flights().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::ManualClock;
    use crate::identity::Source;

    struct Bench {
        passwords: Passwords,
        clock: Arc<ManualClock>,
        hash: StoredHash,
    }

    impl Bench {
        fn new(parallel: usize, queue: usize) -> Self {
            let clock = Arc::new(ManualClock::new(0));
            let limits = PasswordLimits { parallel, queue, failure_entries: 16, ..PasswordLimits::standard() };
            let text = bcrypt::hash("right", 4).unwrap();
            let hash = StoredHash::parse(text.as_bytes()).unwrap();
            Self { passwords: Passwords::new(limits, clock.clone()).unwrap(), clock, hash }
        }

        fn check(&self, password: &str) -> Checked {
            let record = Some(Record::of(Source::Htpasswd, "bob", &self.hash.cost().to_le_bytes()));
            self.passwords.check(&Question { record, user: "bob", hash: &self.hash, password: password.as_bytes() })
        }

        fn known(&self, password: &str) -> Option<bool> {
            match self.check(password) {
                Checked::Known(answer) => Some(answer),
                Checked::Ask(_) => None,
            }
        }

        fn ask(&self, password: &str) -> Check {
            let Checked::Ask(check) = self.check(password) else { panic!("already known") };
            check
        }

        async fn answer(&self, password: &str) -> bool {
            self.ask(password).answer().await.unwrap_or_else(|Busy| panic!("busy"))
        }
    }

    #[tokio::test]
    async fn answers_are_remembered_for_their_time() {
        let bench = Bench::new(1, 8);
        assert!(bench.answer("right").await);
        assert!(!bench.answer("wrong").await);
        assert_eq!((bench.known("right"), bench.known("wrong")), (Some(true), Some(false)));
        bench.clock.advance(Duration::from_secs(30));
        assert_eq!((bench.known("right"), bench.known("wrong")), (Some(true), None));
        bench.clock.advance(Duration::from_secs(270));
        assert_eq!(bench.known("right"), None);
        assert!(bench.answer("right").await);
    }

    #[tokio::test]
    async fn equal_questions_share_one_check_and_places_are_bounded() {
        let bench = Bench::new(1, 1);
        let (right, wrong, late) = (bench.ask("right"), bench.ask("wrong"), bench.ask("right"));
        // The clients go away at once; their checks stay in flight.
        for (password, in_flight) in [("right", 1), ("right", 1), ("wrong", 2), ("right", 2), ("wrong", 2)] {
            assert!(bench.ask(password).answer().now_or_never().is_none());
            assert_eq!(bench.passwords.in_flight(), in_flight);
        }
        assert!(matches!(bench.ask("third").answer().now_or_never(), Some(Err(Busy))));
        assert!(matches!(right.answer().await, Ok(true)));
        assert!(matches!(wrong.answer().await, Ok(false)));
        assert_eq!(bench.passwords.in_flight(), 0);
        // Asked before, boarded after: finds the answer, starts nothing.
        assert!(matches!(late.answer().now_or_never(), Some(Ok(true))));
        assert!(!bench.answer("third").await);
    }

    #[tokio::test]
    async fn wrong_passwords_do_not_push_out_right_ones() {
        let bench = Bench::new(2, 8);
        assert!(bench.answer("right").await);
        for number in 0..100 {
            assert!(!bench.answer(&format!("wrong {number}")).await);
        }
        assert_eq!(bench.known("right"), Some(true));
        assert!(bench.passwords.0.wrong.len() <= 16);
    }

    #[tokio::test]
    async fn a_decoy_is_wrong_even_if_it_fits() {
        let bench = Bench::new(1, 8);
        let question = Question { record: None, user: "nobody", hash: &bench.hash, password: b"right" };
        let Checked::Ask(check) = bench.passwords.check(&question) else { panic!("known") };
        assert!(matches!(check.answer().await, Ok(false)));
        assert!(matches!(bench.passwords.check(&question), Checked::Known(false)));
    }

    #[tokio::test]
    async fn what_bcrypt_ignores_is_no_new_question() {
        let bench = Bench::new(1, 8);
        let (long, longer) = ("x".repeat(72), "x".repeat(5000));
        assert!(!bench.answer(&long).await);
        assert_eq!(bench.known(&longer), Some(false));
    }
}
