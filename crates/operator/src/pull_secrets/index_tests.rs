use super::super::names;
use super::super::testing::at;
use super::*;

fn metadata(name: &str, version: &str, annotations: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        namespace: Some("shop".into()),
        name: Some(name.into()),
        resource_version: Some(version.into()),
        annotations: Some(annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()),
        ..ObjectMeta::default()
    }
}

fn key(name: &str) -> Key {
    Key { namespace: "shop".into(), name: name.into() }
}

fn account(name: &str) -> AccountKey {
    ("shop".into(), name.into())
}

#[test]
fn only_annotated_secrets_are_remembered_and_only_changes_are_looked_at() {
    let mut index = Index::default();
    assert_eq!(index.apply(&metadata("other", "1", &[])), Change::None);
    assert_eq!(index.len(), 0);
    let mine = [(names::SERVICE_ACCOUNT, "ci")];
    assert_eq!(index.apply(&metadata("a", "1", &mine)), Change::Look(key("a")));
    assert_eq!(index.apply(&metadata("a", "1", &mine)), Change::None);
    assert_eq!(index.apply(&metadata("a", "2", &mine)), Change::Look(key("a")));
    // The annotation is taken away.
    assert_eq!(index.apply(&metadata("a", "3", &[])), Change::Forget(key("a")));
    assert_eq!(index.delete(&key("a")), Change::None);
    assert!(index.by_account.is_empty() && index.secrets.is_empty());
}

#[test]
fn our_own_change_is_no_reason_to_look_again() {
    let mut index = Index::default();
    let mine = [(names::SERVICE_ACCOUNT, "ci"), (names::SERVICE_ACCOUNT_UID, "u1")];
    index.apply(&metadata("a", "1", &mine[..1]));
    index.written(&key("a"), "2".into());
    assert_eq!(index.apply(&metadata("a", "2", &mine)), Change::None);
    // What it says is known nevertheless.
    assert_eq!(index.account_there(account("ci"), Some("u1"), false), []);
    assert_eq!(index.apply(&metadata("a", "3", &mine)), Change::Look(key("a")));
}

#[test]
fn a_new_list_forgets_what_is_not_in_it() {
    let mut index = Index::default();
    let mine = [(names::SERVICE_ACCOUNT, "ci"), (names::EXPIRES_AT, "2026-03-06T02:14:19Z")];
    for name in ["a", "b"] {
        index.apply(&metadata(name, "1", &mine));
        index.looked(&key(name), true);
    }
    index.begin();
    assert_eq!(index.apply(&metadata("a", "1", &mine)), Change::None);
    assert_eq!(index.finish(), [key("b")]);
    assert_eq!((index.len(), index.by_end.len()), (1, 1));
    index.begin();
    assert_eq!(index.finish(), [key("a")]);
    assert!(index.by_account.is_empty() && index.by_end.is_empty());
}

#[test]
fn an_account_wakes_the_secrets_that_its_state_concerns() {
    let mut index = Index::default();
    index.apply(&metadata("none", "1", &[(names::SERVICE_ACCOUNT, "ci")]));
    index.apply(&metadata("good", "1", &[(names::SERVICE_ACCOUNT, "ci"), (names::SERVICE_ACCOUNT_UID, "u1")]));
    index.apply(&metadata("old", "1", &[(names::SERVICE_ACCOUNT, "ci"), (names::SERVICE_ACCOUNT_UID, "u0")]));
    index.apply(&metadata("far", "1", &[(names::SERVICE_ACCOUNT, "other")]));
    assert_eq!(index.account_there(account("ci"), Some("u1"), false), [key("none"), key("old")]);
    assert_eq!(index.account_there(account("nobody"), Some("u1"), false), []);
    assert_eq!(index.account_gone(&account("ci")), [key("good"), key("none"), key("old")]);
    index.accounts_begin();
    index.account_there(account("ci"), Some("u1"), true);
    index.account_there(account("nobody"), Some("u9"), true);
    assert_eq!(index.accounts_seen.len(), 1);
    assert_eq!(index.accounts_finish(), [key("far")]);
}

#[test]
fn another_account_is_followed() {
    let mut index = Index::default();
    index.apply(&metadata("a", "1", &[(names::SERVICE_ACCOUNT, "ci")]));
    index.apply(&metadata("a", "2", &[(names::SERVICE_ACCOUNT, "cd")]));
    assert_eq!(index.account_gone(&account("ci")), []);
    assert_eq!(index.account_gone(&account("cd")), [key("a")]);
}

#[test]
fn the_soonest_end_is_known() {
    let mut index = Index::default();
    assert_eq!(index.soonest_end(), None);
    for (name, end) in [("a", "2026-03-06T02:14:19Z"), ("b", "2026-03-05T02:14:19Z"), ("c", "soon")] {
        index.apply(&metadata(name, "1", &[(names::SERVICE_ACCOUNT, "ci"), (names::EXPIRES_AT, end)]));
    }
    // Anybody can write such an annotation.
    assert_eq!(index.soonest_end(), None);
    for name in ["a", "b", "c", "none"] {
        index.looked(&key(name), true);
    }
    assert_eq!(index.soonest_end(), Some(at(1_772_676_859)));
    // Refused after a change.
    index.apply(&metadata("b", "2", &[(names::SERVICE_ACCOUNT, "no"), (names::EXPIRES_AT, "2026-03-05T02:14:19Z")]));
    assert_eq!(index.soonest_end(), Some(at(1_772_676_859)));
    index.looked(&key("b"), false);
    assert_eq!(index.soonest_end(), Some(at(1_772_763_259)));
    index.delete(&key("a"));
    assert_eq!(index.soonest_end(), None);
}

#[test]
fn a_secret_whose_namespace_ends_is_looked_at_no_more() {
    let mut index = Index::default();
    let mine = [(names::SERVICE_ACCOUNT, "ci")];
    let of = |uid: &str, version: &str| ObjectMeta { uid: Some(uid.into()), ..metadata("a", version, &mine) };
    index.apply(&of("one", "1"));
    // Another Secret of the name came in between.
    index.ends(&key("a"), "another");
    assert_eq!(index.apply(&of("one", "2")), Change::Look(key("a")));
    index.ends(&key("a"), "one");
    assert_eq!(index.apply(&of("one", "3")), Change::None);
    assert_eq!(index.account_there(account("ci"), Some("u1"), false), []);
    assert_eq!(index.account_gone(&account("ci")), []);
    index.accounts_begin();
    assert_eq!(index.accounts_finish(), []);
    assert_eq!(index.keys().count(), 0);
    // The next namespace of the name, also when nobody saw the end of the one before.
    assert_eq!(index.apply(&of("two", "4")), Change::Look(key("a")));
    assert_eq!(index.account_gone(&account("ci")), [key("a")]);
    index.ends(&key("a"), "two");
    assert_eq!(index.delete(&key("a")), Change::Forget(key("a")));
    assert_eq!(index.apply(&of("two", "5")), Change::Look(key("a")));
}

#[test]
fn what_another_operator_fills_is_not_counted_as_ours() {
    let mut index = Index::default();
    let mine = [(names::SERVICE_ACCOUNT, "ci"), (names::EXPIRES_AT, "2026-03-06T02:14:19Z")];
    for name in ["a", "b"] {
        index.apply(&metadata(name, "1", &mine));
        index.looked(&key(name), true);
    }
    index.left(&key("a"));
    index.left(&key("unknown"));
    assert_eq!((index.managed(), index.elsewhere(), index.by_end.len()), (1, 1, 1));
    // Its renewals by the other one change nothing.
    assert_eq!(index.apply(&metadata("a", "2", &mine)), Change::Look(key("a")));
    assert_eq!((index.managed(), index.elsewhere()), (1, 1));
    index.looked(&key("a"), true);
    assert_eq!((index.managed(), index.elsewhere()), (2, 0));
    index.left(&key("b"));
    index.begin();
    index.finish();
    assert_eq!((index.managed(), index.elsewhere()), (0, 0));
}

#[test]
fn a_fight_slows_down_and_ends() {
    let mut index = Index::default();
    let start = Instant::now();
    let mine = [(names::SERVICE_ACCOUNT, "ci")];
    index.apply(&metadata("a", "0", &mine));
    let mut now = start;
    let mut waits = Vec::new();
    for version in 1..12 {
        let wait = index.wait(&key("a"), now);
        waits.push(wait.as_secs());
        now += wait;
        assert_eq!(index.wait(&key("a"), now), Duration::ZERO);
        index.issued(&key("a"), now);
        // The other side's change must not make us forget.
        index.apply(&metadata("a", &version.to_string(), &mine));
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!(index.wait(&key("a"), now + FIGHT), Duration::ZERO);
    index.issued(&key("a"), now + FIGHT);
    assert_eq!(index.wait(&key("a"), now + FIGHT), Duration::from_secs(1));
}
