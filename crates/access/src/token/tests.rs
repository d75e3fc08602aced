//! The life of a token, from issue to refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::authn::{AuthError, Authenticator, Claim};
use crate::clock::{Clock, ManualClock};
use crate::credential::Credential;
use crate::identity::{Caller, Record, Source, Standing, Users};

const START: i64 = 1_700_000_000;

/// One htpasswd user `bob`, whose entry is told by a number; counts how often it is asked.
#[derive(Default)]
struct Bob {
    entry: AtomicU64,
    asked: AtomicU64,
}

impl Bob {
    fn record(&self) -> Record {
        Record::of(Source::Htpasswd, "bob", &self.entry.load(Ordering::SeqCst).to_le_bytes())
    }

    fn caller(&self) -> Caller {
        Caller::named("bob", Source::Htpasswd).with_record(self.record())
    }
}

impl Users for Bob {
    fn standing(&self, source: Source, name: &str) -> Standing {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match (source, name) {
            (Source::Htpasswd, "bob") => Standing::Current(self.record()),
            (Source::Htpasswd, _) => Standing::Gone,
            _ => Standing::NotTracked,
        }
    }

    fn generation(&self) -> u64 {
        self.entry.load(Ordering::SeqCst)
    }
}

struct Bench {
    bob: Arc<Bob>,
    clock: Arc<ManualClock>,
    tokens: TokenAuthority,
}

fn settings() -> TokenSettings {
    TokenSettings {
        issuer: "homeport".into(),
        service: "registry.example".into(),
        access_life: ACCESS_LIFE_DEFAULT,
        refresh_life: REFRESH_LIFE_DEFAULT,
        leeway: LEEWAY_DEFAULT,
    }
}

fn keys(current: u8, previous: Option<u8>) -> Keys {
    Keys::new(&[current; 32], previous.map(|byte| [byte; 32]).as_ref().map(|secret| &secret[..])).unwrap()
}

impl Bench {
    fn new() -> Self {
        let (bob, clock) = (Arc::new(Bob::default()), Arc::new(ManualClock::new(START)));
        let tokens = TokenAuthority::new(settings(), keys(1, None), bob.clone(), clock.clone(), 64);
        Self { bob, clock, tokens }
    }

    fn issue(&self, kind: TokenKind) -> String {
        self.tokens.issue(&self.bob.caller(), kind).unwrap().token
    }

    fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        self.tokens.verify(token.as_bytes(), TokenKind::Access)
    }
}

#[test]
fn a_token_brings_its_caller_back() {
    let bench = Bench::new();
    let cluster = Caller::named("system:serviceaccount:a:b", Source::Cluster).with_groups(["g1", "g2"]);
    for caller in [bench.bob.caller(), bench.bob.caller().with_groups(["x"]), cluster, Caller::anonymous()] {
        let issued = bench.tokens.issue(&caller, TokenKind::Access).unwrap();
        assert_eq!((issued.life, issued.issued_at), (ACCESS_LIFE_DEFAULT, START));
        assert_eq!(bench.verify(&issued.token), Ok(caller.clone()));
        let credential = Credential::bearer(issued.token.as_bytes()).unwrap();
        assert_eq!(bench.tokens.claim(&credential), Claim::Mine);
    }
    assert_ne!(bench.issue(TokenKind::Access), bench.issue(TokenKind::Access), "jti differs");
}

#[test]
fn kinds_are_not_mixed_up() {
    let bench = Bench::new();
    let (access, refresh) = (bench.issue(TokenKind::Access), bench.issue(TokenKind::Refresh));
    assert_eq!(bench.verify(&refresh), Err(TokenError::Kind));
    assert!(bench.verify(&access).is_ok());
    assert_eq!(bench.tokens.verify(access.as_bytes(), TokenKind::Refresh), Err(TokenError::Kind));
    assert_eq!(bench.tokens.verify(refresh.as_bytes(), TokenKind::Refresh), Ok(bench.bob.caller()));
    for caller in [Caller::anonymous(), Caller::named("sa", Source::Cluster)] {
        assert_eq!(bench.tokens.issue(&caller, TokenKind::Refresh).err(), Some(IssueError::NotRefreshable));
    }
}

#[test]
fn tokens_end_in_time_even_if_remembered() {
    let bench = Bench::new();
    let token = bench.issue(TokenKind::Access);
    assert!(bench.verify(&token).is_ok());
    bench.clock.advance(ACCESS_LIFE_DEFAULT + LEEWAY_DEFAULT - Duration::from_secs(1));
    assert!(bench.verify(&token).is_ok(), "within the leeway");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.verify(&token), Err(TokenError::Expired));
}

#[test]
fn tokens_from_a_clock_ahead_are_accepted_within_the_leeway() {
    let bench = Bench::new();
    for (ahead, expected) in [(30, Ok(bench.bob.caller())), (31, Err(TokenError::NotYet))] {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START + ahead));
        let other = TokenAuthority::new(settings(), keys(1, None), bench.bob.clone(), clock, 1);
        let token = other.issue(&bench.bob.caller(), TokenKind::Access).unwrap().token;
        assert_eq!(bench.verify(&token), expected);
    }
}

#[test]
fn issuer_and_service_must_fit() {
    let bench = Bench::new();
    let token = bench.issue(TokenKind::Access);
    assert!(bench.verify(&token).is_ok());
    bench.tokens.reload(TokenSettings { service: "other".into(), ..settings() }, keys(1, None));
    assert_eq!(bench.verify(&token), Err(TokenError::Audience), "the cache is of the old settings");
    bench.tokens.reload(TokenSettings { issuer: "other".into(), ..settings() }, keys(1, None));
    assert_eq!(bench.verify(&token), Err(TokenError::Issuer));
}

#[test]
fn keys_rotate_without_a_refused_token() {
    let bench = Bench::new();
    let old = bench.issue(TokenKind::Access);
    for (current, previous, old_works) in [(1, Some(2), true), (2, Some(1), true), (2, None, false)] {
        bench.tokens.reload(settings(), keys(current, previous));
        assert_eq!(bench.verify(&old).is_ok(), old_works, "{current} {previous:?}");
        assert!(bench.verify(&bench.issue(TokenKind::Access)).is_ok());
    }
    assert_eq!(bench.verify(&old), Err(TokenError::Signature));
}

#[test]
fn users_are_asked_once_per_generation() {
    let bench = Bench::new();
    let token = bench.issue(TokenKind::Access);
    for _ in 0..3 {
        assert!(bench.verify(&token).is_ok());
    }
    assert_eq!(bench.bob.asked.load(Ordering::SeqCst), 1);
    bench.bob.entry.store(1, Ordering::SeqCst);
    assert_eq!(bench.verify(&token), Err(TokenError::UserChanged));
    assert_eq!(bench.verify(&token), Err(TokenError::UserChanged));
}

#[test]
fn a_source_that_was_switched_off_lets_nobody_in() {
    let bench = Bench::new();
    for source in [Source::StaticUser, Source::Htpasswd] {
        let caller = Caller::named("eve", source);
        for caller in [caller.clone(), caller.with_record(bench.bob.record())] {
            let token = bench.tokens.issue(&caller, TokenKind::Access).unwrap().token;
            assert_eq!(bench.verify(&token), Err(TokenError::UserChanged), "{source:?}");
        }
    }
}

#[test]
fn too_many_groups_make_no_token() {
    let bench = Bench::new();
    let caller = bench.bob.caller().with_groups((0..2000).map(|number| format!("group-{number}")));
    assert_eq!(bench.tokens.issue(&caller, TokenKind::Access).err(), Some(IssueError::TooLong));
    assert_eq!(bench.verify(&"a".repeat(TOKEN_BYTES_MAX + 1)), Err(TokenError::TooLong));
}

#[test]
fn foreign_bearers_are_left_to_others_and_refused_alone() {
    let bench = Bench::new();
    let foreign = Credential::bearer(b"eyJhbGciOiJSUzI1NiJ9.e30.AAAA").unwrap();
    assert_eq!(bench.tokens.claim(&foreign), Claim::Fallback);
    let crate::Reply::Ready(refused) = bench.tokens.authenticate(&foreign) else { panic!("waits") };
    assert_eq!(refused, Err(AuthError::Invalid));
    assert_eq!(bench.tokens.claim(&Credential::None), Claim::Never);
}

proptest! {
    #[test]
    fn signed_rubbish_is_refused_without_a_panic(payload in "\\PC{0,60}", bytes: Vec<u8>) {
        let bench = Bench::new();
        for payload in [payload.as_bytes(), &bytes] {
            let token = jwt::seal(&keys(1, None).signing().sign, payload).unwrap();
            prop_assert!(bench.verify(&token).is_err());
        }
    }

    #[test]
    fn any_name_and_groups_round_trip(name in ".{1,40}", groups in prop::collection::vec(".{0,20}", 0..5)) {
        let bench = Bench::new();
        let caller = Caller::named(&name, Source::Cluster).with_groups(groups);
        let token = bench.tokens.issue(&caller, TokenKind::Access).unwrap().token;
        prop_assert_eq!(bench.verify(&token), Ok(caller));
    }
}
