//! Area 2: who are you.

use std::sync::Arc;
use std::time::Duration;

use access::{
    Access, Action, Anonymous, AnonymousPolicy, AuthError, AuthenticatedAllowAll, Authenticator, Authorizer, BySource,
    Caller, Chain, Claim, Credential, Directory, EveryNamespaceExists, Htpasswd, HtpasswdError, Keys, ManualClock,
    ProjectSpec, Projects, Reply, Source, Standing, StaticUserSpec, StaticUsers, Target, TokenAuthority, TokenKind,
    TokenSettings, Users, WithAnonymous,
};

use crate::{
    FULL, NOTHING, PRINTED_COST_5, PRINTED_COST_10, READ, Spec, basic, hash, login, may, passwords, rights,
    static_users, user,
};

#[tokio::test]
async fn a13_printed_hashes_and_all_prefixes() {
    let rewritten = ["$2a$", "$2b$"].map(|prefix| PRINTED_COST_5.replacen("$2y$", prefix, 1));
    for stored in [PRINTED_COST_5, PRINTED_COST_10, &rewritten[0], &rewritten[1]] {
        let users = static_users([user("user-1", Some(stored), &[])]);
        let caller = login(&*users, "user-1", "password123").await.unwrap();
        assert_eq!((caller.name(), caller.source()), (Some("user-1"), Source::StaticUser));
        assert_eq!(login(&*users, "user-1", "password124").await, Err(AuthError::Invalid), "{stored}");
        let (file, problems) = Htpasswd::new(format!("user-1:{stored}\n").as_bytes(), passwords()).unwrap();
        assert_eq!(problems, []);
        assert_eq!(login(&file, "user-1", "password123").await.map(|caller| caller.source()), Ok(Source::Htpasswd));
    }
}

#[tokio::test]
async fn a14_user_without_projects_reads_the_catalog_only() {
    for json in [r#"{"passwordHash": "HASH", "projects": []}"#, r#"{"passwordHash": "HASH"}"#] {
        let spec: StaticUserSpec = serde_json::from_str(&json.replace("HASH", PRINTED_COST_5)).unwrap();
        let users = static_users([("user-1".to_owned(), spec)]);
        let caller = login(&*users, "user-1", "password123").await.unwrap();
        let rules = Projects::new(users, Arc::new(EveryNamespaceExists::new()));
        assert!(rules.decide(&caller, Action::Catalog, Target::Catalog).await.is_allow());
        assert_eq!(rights(&rules, &caller, "project-1/app").await, NOTHING);
    }
}

#[test]
fn a14_settings_read_as_printed() {
    let json = r#"{"passwordHash": "x", "projects": [{"name": "p", "subPath": "*", "access": "FULL"},
        {"name": "q", "access": "READ"}]}"#;
    let spec: StaticUserSpec = serde_json::from_str(json).unwrap();
    let entry = |name: &str, access| ProjectSpec { name: name.into(), sub_path: "*".into(), access };
    assert_eq!(spec.projects, [entry("p", Access::Full), entry("q", Access::Read)]);
    assert!(!format!("{spec:?}").contains("\"x\""), "the hash is not printed");
}

#[tokio::test]
async fn a16_wrong_password_and_unknown_user_look_the_same() {
    let users = static_users([user("user-1", Some(PRINTED_COST_5), &[])]);
    let chain = Chain::new(vec![users]);
    for (name, password) in [("user-1", "wrong"), ("nobody", "wrong"), ("nobody", ""), ("", "")] {
        // First time: both are computed, so both wait. Second time: both are known.
        let credential = basic(name, password);
        let first = chain.authenticate(&credential);
        assert!(matches!(first, Reply::Pending(_)), "{name}");
        assert_eq!(first.await, Err(AuthError::Invalid));
        assert!(matches!(chain.authenticate(&credential), Reply::Ready(Err(AuthError::Invalid))), "{name}");
    }
}

#[tokio::test]
async fn a17_changed_and_removed_users_are_refused_at_once() {
    let users = static_users([user("user-1", Some(&hash("old")), &["p * FULL"])]);
    let caller = login(&*users, "user-1", "old").await.unwrap();
    assert!(matches!(users.authenticate(&basic("user-1", "old")), Reply::Ready(Ok(_))), "remembered");
    let rules = Projects::new(users.clone(), Arc::new(EveryNamespaceExists::new()));
    assert!(may(&rules, &caller, Action::Push, "p/a").await);

    users.reload(&Spec::from([user("user-1", Some(&hash("new")), &["p * READ"])]));
    assert_eq!(login(&*users, "user-1", "old").await, Err(AuthError::Invalid));
    assert!(login(&*users, "user-1", "new").await.is_ok());
    assert!(!may(&rules, &caller, Action::Push, "p/a").await, "rights follow as well");

    users.reload(&Spec::new());
    assert_eq!(login(&*users, "user-1", "new").await, Err(AuthError::Invalid));
    assert!(!may(&rules, &caller, Action::Pull, "p/a").await);
}

#[tokio::test]
async fn a17_a_check_in_flight_does_not_outlive_a_reload() {
    let users = static_users([user("user-1", Some(&hash("old")), &[])]);
    let credential = basic("user-1", "old");
    let Reply::Pending(mut login) = users.authenticate(&credential) else { panic!("nothing is known yet") };
    assert!(futures_util::future::poll_immediate(&mut login).await.is_none());
    users.reload(&Spec::from([user("user-1", Some(&hash("new")), &[])]));
    assert_eq!(login.await, Err(AuthError::Invalid));
}

#[tokio::test]
async fn a17_tokens_die_with_the_user() {
    let line = format!("bob:{}\n", hash("old"));
    let file = Arc::new(Htpasswd::new(line.as_bytes(), passwords()).unwrap().0);
    let settings = TokenSettings {
        issuer: "homeport".into(),
        service: "registry".into(),
        access_life: Duration::from_secs(300),
        refresh_life: Duration::from_secs(3600),
        leeway: Duration::from_secs(30),
    };
    let directory = Arc::new(Directory::new(vec![file.clone()]));
    let clock = Arc::new(ManualClock::new(1_000_000));
    let tokens = TokenAuthority::new(settings, Keys::new(&[1; 32], None).unwrap(), directory, clock, 16);
    let kinds = [TokenKind::Access, TokenKind::Refresh];
    let old = login(&*file, "bob", "old").await.unwrap();
    let issued = kinds.map(|kind| (tokens.issue(&old, kind).unwrap().token, kind));
    let alive = || issued.iter().all(|(token, kind)| tokens.verify(token.as_bytes(), *kind) == Ok(old.clone()));
    let dead = || issued.iter().all(|(token, kind)| tokens.verify(token.as_bytes(), *kind).is_err());
    assert!(alive() && alive(), "from the cache too");
    file.reload(format!("{line}carol:{}", hash("p")).as_bytes()).unwrap();
    assert!(alive(), "another user is no reason to log in again");
    file.reload(format!("bob:{}", hash("old")).as_bytes()).unwrap();
    assert!(dead(), "even the same password, hashed anew, is a new entry");
    file.reload(b"").unwrap();
    assert!(dead(), "user removed");
    // The old caller, remembered somewhere, gets nothing that lives either.
    let late = tokens.issue(&old, TokenKind::Access).unwrap().token;
    assert!(tokens.verify(late.as_bytes(), TokenKind::Access).is_err());
}

#[tokio::test]
async fn a18_entries_without_usable_hash_never_authenticate() {
    let costly = PRINTED_COST_5.replacen("$05$", "$31$", 1);
    let unusable = [None, Some(""), Some("password123"), Some("$apr1$x$y"), Some(costly.as_str())];
    for stored in unusable {
        let spec = Spec::from([user("user-1", stored, &["p * FULL"]), user("good", Some(&hash("p")), &[])]);
        let (users, problems) = StaticUsers::new(&spec, passwords());
        let users = Arc::new(users);
        assert_eq!(problems.iter().map(|problem| problem.entry.as_str()).collect::<Vec<_>>(), ["user-1"]);
        for password in ["", "password123", "$apr1$x$y", stored.unwrap_or_default()] {
            assert_eq!(login(&*users, "user-1", password).await, Err(AuthError::Invalid), "{stored:?} {password:?}");
        }
        assert!(login(&*users, "good", "p").await.is_ok(), "others are not disturbed");
        let rules = Projects::new(users, Arc::new(EveryNamespaceExists::new()));
        let forged = Caller::named("user-1", Source::StaticUser);
        assert!(!may(&rules, &forged, Action::Pull, "p/a").await);
    }
}

#[tokio::test]
async fn a18_htpasswd_file_with_foreign_entries() {
    let good = hash("p");
    let file = format!(
        "# comment\n\n  bob:{good}  \r\nold:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\nempty:\n:{good}\nbob2:{good}"
    );
    let (users, problems) = Htpasswd::new(file.as_bytes(), passwords()).unwrap();
    assert_eq!(problems.iter().map(|p| p.entry.as_str()).collect::<Vec<_>>(), ["line 4", "line 5", "line 6"]);
    for (name, password, works) in
        [("bob", "p", true), ("bob2", "p", true), ("old", "", false), ("empty", "", false), ("", "p", false)]
    {
        assert_eq!(login(&users, name, password).await.is_ok(), works, "{name}");
    }
    assert_eq!(users.reload(b"bob\n"), Err(HtpasswdError::Line(1)));
    assert!(login(&users, "bob", "p").await.is_ok(), "a broken file changes nothing");
}

/// Stands in for the cluster: takes any name, the token is the password.
struct FakeCluster;

impl Authenticator for FakeCluster {
    fn claim(&self, credential: &Credential) -> Claim {
        match credential {
            Credential::Basic(_) | Credential::Bearer(_) => Claim::Mine,
            Credential::None => Claim::Never,
        }
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Reply<'a, Result<Caller, AuthError>> {
        let right = matches!(credential, Credential::Basic(basic) if basic.password() == b"kube-token");
        Reply::Ready(if right { Ok(Caller::named("sa", Source::Cluster)) } else { Err(AuthError::Invalid) })
    }
}

#[tokio::test]
async fn a22_tokens_and_static_users_side_by_side() {
    let users = static_users([user("user-1", Some(&hash("p")), &[])]);
    let chain = Chain::new(vec![Arc::new(Anonymous::without_credentials()), users.clone(), Arc::new(FakeCluster)]);
    let source = async |name, password| login(&chain, name, password).await.map(|caller| caller.source());
    assert_eq!(source("user-1", "p").await, Ok(Source::StaticUser));
    assert_eq!(source("token", "kube-token").await, Ok(Source::Cluster));
    assert_eq!(source("anything", "kube-token").await, Ok(Source::Cluster));
    assert_eq!(source("user-1", "kube-token").await, Err(AuthError::Invalid));
    assert_eq!(chain.authenticate(&Credential::None).await, Ok(Caller::anonymous()));
    // The clash: a static user literally named `token` is that user and nothing else.
    users.reload(&Spec::from([user("token", Some(&hash("p")), &[])]));
    assert_eq!(source("token", "p").await, Ok(Source::StaticUser));
    assert_eq!(source("token", "kube-token").await, Err(AuthError::Invalid));
    assert_eq!(source("other", "kube-token").await, Ok(Source::Cluster));
}

#[tokio::test]
async fn a25_anonymous_callers_by_policy() {
    let anonymous = Caller::anonymous();
    let named = Caller::named("bob", Source::Htpasswd);
    for (policy, expected, catalog) in [
        (AnonymousPolicy::None, NOTHING, false),
        (AnonymousPolicy::Pull, READ, false),
        (AnonymousPolicy::All, FULL, true),
    ] {
        let inner = BySource::new().with(Source::Htpasswd, Arc::new(AuthenticatedAllowAll));
        let rules = WithAnonymous::new(policy, Arc::new(inner));
        assert_eq!(rights(&rules, &anonymous, "a").await, expected, "{policy:?}");
        assert_eq!(rules.decide(&anonymous, Action::Catalog, Target::Catalog).await.is_allow(), catalog);
        assert!(!rules.decide(&anonymous, Action::Metrics, Target::Metrics).await.is_allow());
        assert_eq!(rights(&rules, &named, "a").await, FULL);
        // Logging in never takes a right away, and a source without rules adds none.
        assert_eq!(rights(&rules, &Caller::named("x", Source::Cluster), "a").await, expected);
    }
}

#[tokio::test]
async fn a22_users_of_one_name_in_two_sources_are_two_users() {
    let file = Arc::new(Htpasswd::new(format!("bob:{}", hash("h")).as_bytes(), passwords()).unwrap().0);
    let users = static_users([user("bob", Some(&hash("s")), &[])]);
    let directory = Directory::new(vec![file.clone(), users.clone()]);
    for (caller, source) in [
        (login(&*file, "bob", "h").await.unwrap(), Source::Htpasswd),
        (login(&*users, "bob", "s").await.unwrap(), Source::StaticUser),
    ] {
        assert_eq!(caller.source(), source);
        assert_eq!(directory.standing(source, "bob"), Standing::Current(caller.record().unwrap()));
        assert_eq!(directory.standing(source, "eve"), Standing::Gone);
    }
    assert_eq!(directory.standing(Source::Cluster, "bob"), Standing::NotTracked);
    let before = directory.generation();
    users.reload(&Spec::new());
    assert!(directory.generation() > before);
    assert_eq!(directory.standing(Source::StaticUser, "bob"), Standing::Gone);
}
