use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::authn::review::Reviewing;
use crate::clock::ManualClock;
use crate::credential::Basic;
use crate::secret::Secret;

const NOW: i64 = 1_800_000_000;
const LIMITS: ClusterTokenLimits = ClusterTokenLimits {
    ttl: Duration::from_secs(60),
    negative_ttl: Duration::from_secs(10),
    stale_for: Duration::from_secs(600),
};

/// Answers from a script; an empty script accepts. Waits before each answer when it is told to.
struct Script {
    answers: Mutex<VecDeque<ReviewError>>,
    asked: AtomicUsize,
    /// Of those, how many about known tokens.
    known: AtomicUsize,
    gate: Semaphore,
    /// The end of a token, as the cluster names it.
    expires: Option<i64>,
}

impl TokenReviewer for Script {
    fn review<'a>(&'a self, token: &'a str, known: bool) -> Reviewing<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.known.fetch_add(usize::from(known), Ordering::SeqCst);
        Box::pin(async move {
            let _permit = self.gate.acquire().await.unwrap();
            match self.answers.lock().unwrap().pop_front() {
                Some(error) => Err(error),
                None => Ok(Reviewed {
                    user: "system:serviceaccount:shop:ci".into(),
                    uid: "7".into(),
                    groups: vec!["system:authenticated".into(), format!("token-of-{}", token.len())],
                    extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
                    expires: self.expires,
                }),
            }
        })
    }
}

struct World {
    tokens: ClusterTokens,
    script: Arc<Script>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self::with(100, None)
    }

    /// A world where a token was accepted, and is to be asked about again from now on.
    async fn with_due_token() -> (Self, String) {
        let (world, token) = (Self::new(), token(NOW + 3600));
        world.login(&token).await.unwrap();
        world.advance(60);
        (world, token)
    }

    fn with(entries: usize, expires: Option<i64>) -> Self {
        let script = Arc::new(Script {
            answers: Mutex::default(),
            asked: AtomicUsize::new(0),
            known: AtomicUsize::new(0),
            gate: Semaphore::new(GATE as usize),
            expires,
        });
        let clock = Arc::new(ManualClock::new(NOW));
        let tokens = ClusterTokens::new(script.clone(), clock.clone(), LIMITS, entries).unwrap();
        Self { tokens, script, clock }
    }

    fn answer_next(&self, error: ReviewError) {
        self.script.answers.lock().unwrap().push_back(error);
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn asked(&self) -> usize {
        self.script.asked.load(Ordering::SeqCst)
    }

    async fn login(&self, token: &str) -> Result<Caller, AuthError> {
        let credential = Credential::Bearer(Secret::new(token.as_bytes()));
        self.tokens.authenticate(&credential).await
    }
}

fn jwt(header: &str, claims: &str) -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}.{}", part(header), part(claims), part("signature"))
}

fn token(exp: i64) -> String {
    jwt(r#"{"alg":"RS256"}"#, &format!(r#"{{"exp":{exp},"sub":"x"}}"#))
}

fn rejected() -> ReviewError {
    ReviewError::Rejected("revoked".into())
}

fn away() -> ReviewError {
    ReviewError::Unavailable { reason: "refused".into(), retry_after: Duration::from_secs(5) }
}

/// Reviews that can be answered at once.
const GATE: u32 = 100;

const UNAVAILABLE: AuthError = AuthError::Unavailable { retry_after: Duration::from_secs(5) };

#[tokio::test]
async fn a_token_is_reviewed_once_in_its_time() {
    let world = World::new();
    let token = token(NOW + 3600);
    let caller = world.login(&token).await.unwrap();
    assert_eq!((caller.name(), caller.source()), (Some("system:serviceaccount:shop:ci"), Source::Cluster));
    assert_eq!(caller.groups().len(), 2);
    world.advance(59);
    assert_eq!(world.login(&token).await, Ok(caller.clone()));
    let basic = Basic::new("token", token.as_bytes()).unwrap();
    assert_eq!(world.tokens.authenticate(&Credential::Basic(basic)).await, Ok(caller));
    assert_eq!(world.asked(), 1);
    world.advance(1);
    world.login(&token).await.unwrap();
    assert_eq!(world.asked(), 2);
    let counts = world.tokens.counts();
    assert_eq!((counts.reviews, counts.hits, counts.stale, counts.errors), (2, 2, 0, 0));
}

#[tokio::test]
async fn never_beyond_the_end_of_the_token() {
    let world = World::new();
    let token = token(NOW + 30);
    assert_eq!(world.tokens.expires_in(token.as_bytes()), None);
    world.login(&token).await.unwrap();
    assert_eq!(world.tokens.expires_in(token.as_bytes()), Some(30));
    world.advance(29);
    world.login(&token).await.unwrap();
    world.advance(1);
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
    assert_eq!(world.tokens.expires_in(token.as_bytes()), None);
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn the_end_that_the_cluster_names_counts_too() {
    let (world, token) = (World::with(10, Some(NOW + 5)), token(NOW + 3600));
    assert!(world.login(&token).await.is_ok());
    world.advance(5);
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
}

#[tokio::test]
async fn a_revoked_token_is_refused_after_the_ttl_and_from_memory_for_a_while() {
    let (world, token) = World::with_due_token().await;
    world.answer_next(rejected());
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
    world.advance(9);
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
    assert_eq!((world.asked(), world.tokens.counts().negative_hits), (2, 1));
    world.advance(1);
    assert!(world.login(&token).await.is_ok());
    assert_eq!(world.asked(), 3);
}

#[tokio::test]
async fn known_callers_stay_while_the_cluster_is_away_and_strangers_wait() {
    let (world, known) = World::with_due_token().await;
    let other = token(NOW + 3601);
    world.answer_next(away());
    assert!(world.login(&known).await.is_ok());
    // The next ones do not wait for the cluster.
    assert!(world.login(&known).await.is_ok());
    assert_eq!((world.asked(), world.tokens.counts().stale), (2, 2));
    world.answer_next(away());
    assert_eq!(world.login(&other).await, Err(UNAVAILABLE));
    world.advance(539);
    world.answer_next(away());
    assert!(world.login(&known).await.is_ok());
    world.advance(1);
    world.answer_next(away());
    assert_eq!(world.login(&known).await, Err(UNAVAILABLE), "ten minutes since it was last accepted");
    assert!(world.login(&known).await.is_ok(), "and back without a restart");
    assert_eq!(world.tokens.counts().errors, 4);
}

#[tokio::test]
async fn an_absent_cluster_makes_no_token_live_longer() {
    let world = World::new();
    let token = token(NOW + 90);
    world.login(&token).await.unwrap();
    world.advance(89);
    world.answer_next(away());
    assert!(world.login(&token).await.is_ok());
    world.advance(1);
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
    world.advance(10);
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn a_revoked_token_does_not_come_back_when_the_cluster_goes() {
    let (world, token) = World::with_due_token().await;
    world.answer_next(rejected());
    assert_eq!(world.login(&token).await, Err(AuthError::Invalid));
    world.advance(10);
    world.answer_next(away());
    assert_eq!(world.login(&token).await, Err(UNAVAILABLE));
}

#[tokio::test]
async fn too_many_questions_keep_no_revoked_token_alive() {
    let (world, known) = World::with_due_token().await;
    let other = token(NOW + 3601);
    for token in [&known, &other] {
        world.answer_next(ReviewError::Busy { retry_after: Duration::from_secs(5) });
        assert_eq!(world.login(token).await, Err(UNAVAILABLE));
    }
    assert_eq!((world.tokens.counts().stale, world.tokens.counts().errors), (0, 2));
    assert_eq!(world.script.known.load(Ordering::SeqCst), 1, "the second question about the first token");
    assert!(world.login(&known).await.is_ok(), "it was forgotten by that neither");
}

#[tokio::test]
async fn a_cold_pull_of_many_layers_is_one_review() {
    let world = Arc::new(World::new());
    let permits = world.script.gate.acquire_many(GATE).await.unwrap();
    let token = token(NOW + 3600);
    let mut logins: Vec<_> = (0..20)
        .map(|_| {
            let (world, token) = (world.clone(), token.clone());
            tokio::spawn(async move { world.login(&token).await })
        })
        .collect();
    while world.asked() == 0 {
        tokio::task::yield_now().await;
    }
    // The first to come gives up; the others get the answer to its question.
    logins[0].abort();
    assert!(logins.remove(0).await.unwrap_err().is_cancelled());
    drop(permits);
    for login in logins {
        assert!(login.await.unwrap().is_ok());
    }
    assert_eq!(world.asked(), 1);
    assert!(world.tokens.0.reviews.is_empty());
}

#[tokio::test]
async fn after_its_end_a_token_still_names_who_began_a_long_upload() {
    let world = World::new();
    let (ended, revoked) = (token(NOW + 100), token(NOW + 101));
    let day = Duration::from_secs(86_400);
    assert_eq!(world.tokens.ended(ended.as_bytes(), day), None);
    let caller = world.login(&ended).await.unwrap();
    world.login(&revoked).await.unwrap();
    assert_eq!(world.tokens.ended(ended.as_bytes(), day), None, "it has not ended yet");
    world.advance(60);
    world.answer_next(rejected());
    assert_eq!(world.login(&revoked).await, Err(AuthError::Invalid));
    world.advance(41);
    assert_eq!(world.tokens.ended(ended.as_bytes(), day), Some(caller));
    assert_eq!(world.tokens.ended(ended.as_bytes(), Duration::ZERO), None, "ended a second ago");
    assert_eq!(world.tokens.ended(revoked.as_bytes(), day), None);
}

#[tokio::test]
async fn what_is_refused_without_a_question() {
    let world = World::new();
    let long = jwt("{}", &format!(r#"{{"pad":"{}"}}"#, "x".repeat(20 * 1024)));
    for text in [
        token(NOW),
        token(NOW - 1),
        token(i64::MIN),
        jwt("{}", r#"{"exp":1799999999.9}"#),
        jwt("{}", r#"{"exp":-1e300}"#),
        jwt(r#"{"alg":"HS256","typ":"homeport+jwt"}"#, r#"{"exp":1900000000}"#),
        jwt("{}", "no json"),
        jwt("[]", "{}"),
        "a.b.c".to_owned(),
        "abc".to_owned(),
        long,
    ] {
        assert_eq!(world.login(&text).await, Err(AuthError::Invalid), "{text:.80}");
    }
    assert_eq!(world.asked(), 0);
    // A token without an end, or with one in the far future, is the cluster's to judge.
    for claims in ["{}", r#"{"exp":1e300}"#, r#"{"exp":1800000000.5}"#] {
        let outcome = world.login(&jwt("{}", claims)).await;
        assert_eq!(outcome.is_ok(), claims != r#"{"exp":1800000000.5}"#, "{claims}");
    }
}

#[test]
fn claims_what_looks_like_a_token_of_a_cluster() {
    let world = World::new();
    let token = token(NOW);
    let claim = |credential| world.tokens.claim(&credential);
    let basic = |password: &str| Credential::Basic(Basic::new("any", password.as_bytes()).unwrap());
    assert_eq!(claim(Credential::Bearer(Secret::new(token.as_bytes()))), Claim::Mine);
    assert_eq!(claim(basic(&token)), Claim::Mine);
    for other in ["", "secret", "a.b", "a..c", ".b.c", "a.b.", "a.b.c.d", "a.b.c\u{e9}", "a.b+.c", "a.b.c="] {
        assert_eq!(claim(basic(other)), Claim::Never, "{other:?}");
    }
    assert_eq!(claim(Credential::None), Claim::Never);
}

#[tokio::test]
async fn a_flood_of_made_up_tokens_displaces_no_caller() {
    let world = World::with(50, None);
    let token = token(NOW + 3600);
    world.login(&token).await.unwrap();
    for number in 0..2_000 {
        world.answer_next(rejected());
        let made_up = jwt("{}", &format!(r#"{{"n":{number}}}"#));
        assert_eq!(world.login(&made_up).await, Err(AuthError::Invalid));
    }
    assert!(world.tokens.0.refused.len() <= 100);
    let asked = world.asked();
    world.login(&token).await.unwrap();
    assert_eq!(world.asked(), asked);
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,9}") {
        let _ = looks_like_jwt(&bytes);
        let _ = Shape::read(&parts);
        let _ = Shape::read(&jwt(&parts, &parts));
    }

    #[test]
    fn the_shape_is_three_parts_of_base64url(text in "[a.=+ -]{0,8}") {
        let expected = text.split('.').count() == 3
            && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b == b'a' || b == b'-'));
        prop_assert_eq!(looks_like_jwt(text.as_bytes()), expected);
    }
}
