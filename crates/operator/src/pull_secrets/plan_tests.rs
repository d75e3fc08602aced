use std::time::Duration;

use super::super::fill::{self, Token};
use super::super::testing::{ACCOUNT, ACCOUNT_UID, OPERATOR, at, fresh, key, settings, token};
use super::super::view::{Data, SecretView};
use super::*;
use proptest::prelude::*;

const ISSUED: i64 = 1_772_000_000;
const DAY: i64 = 24 * 3600;

fn exists() -> Account {
    Account::Exists(ACCOUNT_UID.to_owned())
}

fn ask(secret: &SecretView, account: &Account, now: i64) -> Plan {
    plan(Inputs { secret, account, settings: &settings(), now: at(now) })
}

/// The Secret after a merge patch, as the API server applies it.
fn patched(secret: &SecretView, patch: &serde_json::Value) -> SecretView {
    let mut after = secret.clone();
    let annotations = &patch["metadata"]["annotations"];
    let text = |key: &str, old: &Option<String>| annotations[key].as_str().map(str::to_owned).or_else(|| old.clone());
    after.annotations.service_account_uid = text(names::SERVICE_ACCOUNT_UID, &secret.annotations.service_account_uid);
    after.annotations.expires_at = text(names::EXPIRES_AT, &secret.annotations.expires_at);
    after.annotations.hash = text(names::HASH, &secret.annotations.hash);
    after.annotations.status = text(names::STATUS, &secret.annotations.status);
    after.annotations.operator = text(names::OPERATOR, &secret.annotations.operator);
    if let Some(owners) = patch["metadata"].get("ownerReferences") {
        after.owners = serde_json::from_value(owners.clone()).unwrap();
    }
    if let Some(data) = patch["data"][names::DATA_KEY].as_str() {
        after.data = Data(data_encoding::BASE64.decode(data.as_bytes()).unwrap());
    }
    after
}

fn fill_with(secret: &SecretView, account_uid: &str, issued: i64, life: i64) -> SecretView {
    let token = Token { text: token(&key(), account_uid, issued, issued + life), expires: at(issued + life) };
    patched(secret, &fill::filled(secret, ACCOUNT, account_uid, &settings(), &token))
}

fn filled() -> SecretView {
    fill_with(&fresh(), ACCOUNT_UID, ISSUED, DAY)
}

fn cause(plan: Plan) -> Option<Cause> {
    match plan {
        Plan::Issue { cause, account, account_uid } => {
            assert_eq!((account.as_str(), account_uid.as_str()), (ACCOUNT, ACCOUNT_UID));
            Some(cause)
        }
        _ => None,
    }
}

fn reported(plan: Plan) -> &'static str {
    match plan {
        Plan::Report(status) => {
            assert!(!status.ready);
            status.reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_secret_is_filled_and_then_left_alone() {
    assert_eq!(cause(ask(&fresh(), &exists(), ISSUED)), Some(Cause::New));
    let Plan::Rest { until, status: None } = ask(&filled(), &exists(), ISSUED + 60) else { panic!() };
    let two_thirds = at(ISSUED + DAY * 2 / 3);
    assert!(at(ISSUED + DAY * 6 / 10) <= until && until <= two_thirds, "{until}");
}

#[test]
fn what_has_changed_is_put_right() {
    type Change = fn(&mut SecretView);
    let changes: [(&str, Change); 8] = [
        ("data emptied", |secret| secret.data = Data(br#"{"auths":{}}"#.to_vec())),
        ("data broken", |secret| secret.data = Data(b"{".to_vec())),
        ("no data", |secret| secret.data = Data::default()),
        ("end moved", |secret| secret.annotations.expires_at = Some("2099-01-01T00:00:00Z".into())),
        ("end gone", |secret| secret.annotations.expires_at = None),
        ("hash gone", |secret| secret.annotations.hash = None),
        ("hash wrong", |secret| secret.annotations.hash = Some("0".repeat(64))),
        ("copied to another Secret", |secret| secret.uid = "other".into()),
    ];
    for (what, change) in changes {
        let mut secret = filled();
        change(&mut secret);
        assert_eq!(cause(ask(&secret, &exists(), ISSUED)), Some(Cause::Changed), "{what}");
    }
    let mut secret = filled();
    secret.annotations.service_account_uid = None;
    assert_eq!(cause(ask(&secret, &exists(), ISSUED)), Some(Cause::New));
    secret.annotations.service_account_uid = Some("of the one before".into());
    assert_eq!(cause(ask(&secret, &exists(), ISSUED)), Some(Cause::Account));
}

#[test]
fn foreign_entries_are_no_change() {
    let mut secret = filled();
    let mut document: serde_json::Value = serde_json::from_slice(&secret.data.0).unwrap();
    document["auths"]["docker.io"] = serde_json::json!({"auth": "eDp5"});
    secret.data = Data(document.to_string().into_bytes());
    assert!(matches!(ask(&secret, &exists(), ISSUED), Plan::Rest { status: None, .. }));
}

#[test]
fn other_settings_are_a_change() {
    let hosts = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
    let day = Duration::from_secs(24 * 3600);
    let same = ["registry.homeport.svc:5000", "registry.example", "registry.example"];
    let audience = || Some("registry.example".to_owned());
    let table = [
        (Settings::new(OPERATOR, hosts(&same), audience(), day), false),
        (Settings::new(OPERATOR, hosts(&same), audience(), day * 2), false),
        (Settings::new(OPERATOR, hosts(&same), None, day), true),
        (Settings::new(OPERATOR, hosts(&same[..2]), Some("other".into()), day), true),
        (Settings::new(OPERATOR, hosts(&same[1..]), audience(), day), true),
        (Settings::new(OPERATOR, hosts(&["registry.example", "new", same[0]]), audience(), day), true),
    ];
    for (settings, changed) in table {
        let plan = plan(Inputs { secret: &filled(), account: &exists(), settings: &settings, now: at(ISSUED) });
        assert_eq!(cause(plan), changed.then_some(Cause::Changed), "{settings:?}");
    }
}

#[test]
fn a_secret_goes_with_the_account_that_filled_it_and_no_other() {
    assert_eq!(ask(&filled(), &Account::Missing, ISSUED), Plan::Delete);
    // The owner may have been taken away.
    let mut secret = filled();
    secret.owners.clear();
    assert_eq!(ask(&secret, &Account::Missing, ISSUED), Plan::Delete);
    // An owner alone proves nothing: it may have been copied, or the data are somebody else's by now.
    let mut secret = filled();
    secret.data = Data::default();
    assert_eq!(reported(ask(&secret, &Account::Missing, ISSUED)), "ServiceAccountNotFound");
    // Made a moment before its account.
    assert_eq!(reported(ask(&fresh(), &Account::Missing, ISSUED)), "ServiceAccountNotFound");
    // A copy of a filled one, in a place without the account.
    let mut secret = filled();
    secret.uid = "copy".into();
    assert_eq!(reported(ask(&secret, &Account::Missing, ISSUED)), "ServiceAccountNotFound");
    secret.owners.clear();
    assert_eq!(reported(ask(&secret, &Account::Missing, ISSUED)), "ServiceAccountNotFound");
    // The name of another account, misspelt perhaps.
    let mut secret = filled();
    secret.annotations.service_account = Some("my-pul-sa".into());
    assert_eq!(reported(ask(&secret, &Account::Missing, ISSUED)), "ServiceAccountNotFound");
    // An account that waits for its finalizers.
    assert_eq!(ask(&filled(), &Account::Deleting, ISSUED), Plan::Ignore);
}

#[test]
fn what_cannot_be_had_is_told() {
    type Change = fn(&mut SecretView);
    let table: [(Change, &str); 6] = [
        (|secret| secret.annotations.service_account = Some("other/ci".into()), "ServiceAccountNameInvalid"),
        (
            |secret| secret.annotations.service_account = Some("system:serviceaccount:other:ci".into()),
            "ServiceAccountNameInvalid",
        ),
        (|secret| secret.annotations.service_account = Some(String::new()), "ServiceAccountNameInvalid"),
        (|secret| secret.annotations.service_account = Some("ä".repeat(9000)), "ServiceAccountNameInvalid"),
        (|secret| secret.secret_type = "Opaque".into(), "SecretTypeUnsupported"),
        (|secret| secret.immutable = true, "SecretImmutable"),
    ];
    for (change, reason) in table {
        for account in [exists(), Account::Missing, Account::Deleting] {
            for mut secret in [fresh(), filled()] {
                change(&mut secret);
                assert_eq!(reported(ask(&secret, &account, ISSUED)), reason);
            }
        }
    }
    let none = Settings::new(OPERATOR, Vec::new(), None, Duration::ZERO);
    let plan = plan(Inputs { secret: &filled(), account: &exists(), settings: &none, now: at(ISSUED) });
    assert_eq!(reported(plan), "NoRegistryHosts");
}

#[test]
fn what_is_not_ours_or_going_is_left_alone() {
    let mut secret = filled();
    secret.annotations.service_account = None;
    assert_eq!(ask(&secret, &Account::Missing, ISSUED), Plan::Ignore);
    let mut secret = filled();
    secret.deleting = true;
    assert_eq!(ask(&secret, &exists(), ISSUED + DAY), Plan::Ignore);
}

#[test]
fn a_status_that_is_no_longer_true_is_put_right() {
    let mut secret = filled();
    secret.annotations.status = Some("ServiceAccountNotFound".into());
    let Plan::Rest { status: Some(status), .. } = ask(&secret, &exists(), ISSUED) else { panic!() };
    let secret = patched(&secret, &fill::told(&secret, &status, &settings()));
    assert!(matches!(ask(&secret, &exists(), ISSUED), Plan::Rest { status: None, .. }));
}

fn is_left(plan: Plan) -> bool {
    match plan {
        Plan::Leave(status) => {
            assert!(!status.ready && status.message.contains("\"other\"") && status.message.contains(OPERATOR));
            true
        }
        _ => false,
    }
}

#[test]
fn a_secret_of_another_operator_is_left_alone_however_long_that_one_is_away() {
    let held = |mut secret: SecretView| {
        secret.annotations.operator = Some("other".into());
        secret
    };
    let mut odd = filled();
    odd.annotations.expires_at = Some("soon".into());
    let mut opaque = filled();
    opaque.secret_type = "Opaque".into();
    // It may have been given to the other one by hand, before anybody filled it; what it cannot have is the other's to tell.
    for secret in [filled(), fresh(), odd, opaque].map(held) {
        for account in [exists(), Account::Missing, Account::Exists("another".into())] {
            for time in [ISSUED, ISSUED + DAY - 1, ISSUED + DAY, ISSUED + 900 * DAY] {
                assert!(is_left(ask(&secret, &account, time)), "{secret:?} {account:?} {time}");
            }
        }
    }
    let mut deleting = held(filled());
    deleting.deleting = true;
    assert_eq!(ask(&deleting, &exists(), ISSUED), Plan::Ignore);
}

#[test]
fn an_operator_without_hosts_takes_no_secret_from_one_that_has_some() {
    let none = Settings::new("other", Vec::new(), None, Duration::ZERO);
    let Plan::Report(status) = plan(Inputs { secret: &fresh(), account: &exists(), settings: &none, now: at(ISSUED) })
    else {
        panic!()
    };
    assert_eq!(status.reason, "NoRegistryHosts");
    let secret = patched(&fresh(), &fill::told(&fresh(), &status, &none));
    assert_eq!(secret.annotations.status, Some(status.to_annotation()));
    assert_eq!(cause(ask(&secret, &exists(), ISSUED)), Some(Cause::New));
}

#[test]
fn a_secret_is_handed_over_by_the_annotation() {
    let theirs = Settings::new("other", vec!["other.example".into()], None, Duration::from_secs(24 * 3600));
    let ask_them =
        |secret: &SecretView, now| plan(Inputs { secret, account: &exists(), settings: &theirs, now: at(now) });
    let mut secret = filled();
    assert_eq!(secret.annotations.operator.as_deref(), Some(OPERATOR));
    assert!(matches!(ask_them(&secret, ISSUED), Plan::Leave(_)));
    secret.annotations.operator = Some("other".into());
    assert_eq!(cause(ask_them(&secret, ISSUED)), Some(Cause::Changed));
    assert!(matches!(ask(&secret, &exists(), ISSUED), Plan::Leave(_)));
    // Filled by us before there was such an annotation: ours without another token.
    secret.annotations.operator = None;
    let Plan::Rest { status: Some(status), .. } = ask(&secret, &exists(), ISSUED) else { panic!() };
    let secret = patched(&secret, &fill::told(&secret, &status, &settings()));
    assert_eq!(secret.annotations.operator.as_deref(), Some(OPERATOR));
    assert!(matches!(ask(&secret, &exists(), ISSUED), Plan::Rest { status: None, .. }));
}

proptest! {
    /// The time to renew is well before the end, never before a third of the life, and no token is asked for twice.
    #[test]
    fn renewal_leaves_time_for_failures(life in 60i64..30 * DAY, uid in "[0-9a-f]{8}") {
        let start = ISSUED;
        let renewal = renewal(at(start + life), SignedDuration::from_secs(life), &uid).unwrap().as_second();
        let latest = if life < 3600 { life / 2 } else { life * 2 / 3 };
        prop_assert!(start + life / 3 < renewal);
        // Rounded to whole seconds.
        prop_assert!(renewal <= start + latest + 1);
    }

    /// From whatever state, filling it once is enough.
    #[test]
    fn filling_settles(
        document in prop_oneof![Just(""), Just("{}"), Just("[]"), Just(r#"{"auths":{"registry.example":1}}"#)],
        uid in proptest::option::of("[a-z]{1,4}"), hash in proptest::option::of("[a-f0-9]{4}"),
        expires_at in proptest::option::of(prop_oneof![Just("x"), Just("2026-03-06T02:14:19Z")]),
        life in 600i64..3 * DAY,
    ) {
        let mut secret = fresh();
        secret.data = Data(document.as_bytes().to_vec());
        secret.annotations.service_account_uid = uid;
        secret.annotations.hash = hash;
        secret.annotations.expires_at = expires_at.map(str::to_owned);
        prop_assert!(cause(ask(&secret, &exists(), ISSUED)).is_some());
        let secret = fill_with(&secret, ACCOUNT_UID, ISSUED, life);
        let plan = ask(&secret, &exists(), ISSUED + 1);
        let Plan::Rest { until, status: None } = plan else { return Err(TestCaseError::fail(format!("{plan:?}"))) };
        prop_assert_eq!(cause(ask(&secret, &exists(), until.as_second())), Some(Cause::Age));
    }
}
