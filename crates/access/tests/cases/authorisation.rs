//! Area 3: may you.

use std::sync::Arc;

use access::{
    Action, Authorizer, Caller, Decision, EveryNamespaceExists, NamespaceState, NamespaceUid, Namespaces, Projects,
    Reply, Source, Target,
};

use crate::{FULL, NOTHING, READ, hash, login, rights, static_users, user};

/// One static user with these projects, and the table of what it may do.
async fn check_rights(projects: &[&str], table: &[(&str, (bool, bool, bool))]) {
    let users = static_users([user("user-1", Some(&hash("p")), projects)]);
    let caller = login(&*users, "user-1", "p").await.unwrap();
    let rules = Projects::new(users, Arc::new(EveryNamespaceExists::new()));
    for (repository, expected) in table {
        assert_eq!(rights(&rules, &caller, repository).await, *expected, "{projects:?} on {repository}");
    }
}

#[tokio::test]
async fn a26_full_pushes_and_pulls() {
    check_rights(&["project-1 * FULL"], &[("project-1/app", FULL)]).await;
}

#[tokio::test]
async fn a27_a28_read_pulls_and_neither_pushes_nor_deletes() {
    check_rights(&["project-1 * READ"], &[("project-1/app", READ)]).await;
}

#[tokio::test]
async fn a28_the_refusal_says_what_is_missing() {
    let users = static_users([user("user-1", Some(&hash("p")), &["project-1 * READ"])]);
    let caller = login(&*users, "user-1", "p").await.unwrap();
    let rules = Projects::new(users, Arc::new(EveryNamespaceExists::new()));
    for (action, repository, expected) in [
        (
            Action::Push,
            "project-1/a/b",
            r#"user "user-1" cannot push repository "project-1/a/b": access FULL to path "a/b" of project "project-1" is needed, the user has READ"#,
        ),
        (
            Action::Pull,
            "project-2/a",
            r#"user "user-1" cannot pull repository "project-2/a": access READ or FULL to path "a" of project "project-2" is needed"#,
        ),
        (
            Action::Pull,
            "app",
            r#"user "user-1" cannot pull repository "app": the name has one segment, repositories are named <namespace>/<path>"#,
        ),
    ] {
        let decision = rules.decide(&caller, action, Target::Repository(repository)).await;
        assert_eq!(decision, Decision::Deny { reason: expected.into() });
    }
}

#[tokio::test]
async fn a29_other_projects_are_refused() {
    check_rights(
        &["project-1 * FULL"],
        &[
            ("project-2/app", NOTHING),
            ("project-11/app", NOTHING),
            ("project-/app", NOTHING),
            ("Project-1/app", NOTHING),
            ("project-1", NOTHING),
            ("app", NOTHING),
            ("x/project-1/app", NOTHING),
            ("project-1/", NOTHING),
            ("/app", NOTHING),
            ("", NOTHING),
        ],
    )
    .await;
    check_rights(&[], &[("project-1/app", NOTHING)]).await;
}

#[tokio::test]
async fn a30_star_covers_the_whole_project() {
    check_rights(&["project-1 * READ"], &[("project-1/a", READ), ("project-1/x/y/b", READ)]).await;
}

#[tokio::test]
async fn a31_sub_path_limited_to_a_folder() {
    check_rights(
        &["project-1 frontend/* FULL"],
        &[
            ("project-1/frontend/image", FULL),
            ("project-1/frontend/a/b/c/image", FULL),
            ("project-1/backend/image", NOTHING),
            ("project-1/frontend", NOTHING),
            ("project-1/frontend2/image", NOTHING),
            ("project-2/frontend/image", NOTHING),
        ],
    )
    .await;
    check_rights(
        &["project-1 frontend FULL"],
        &[("project-1/frontend", FULL), ("project-1/frontend/image", NOTHING), ("project-1/front", NOTHING)],
    )
    .await;
}

#[tokio::test]
async fn a32_rights_of_several_entries_add_up() {
    for projects in [
        &["project-1 * READ", "project-2 * FULL", "project-3 a/* READ", "project-3 a/b/* FULL", "project-3 c FULL"][..],
        &["project-3 c FULL", "project-3 a/b/* FULL", "project-3 a/* READ", "project-2 * FULL", "project-1 * READ"],
    ] {
        check_rights(
            projects,
            &[
                ("project-1/app", READ),
                ("project-2/app", FULL),
                ("project-3/a/x", READ),
                ("project-3/a/b/x", FULL),
                ("project-3/c", FULL),
                ("project-3/d", NOTHING),
                ("project-4/app", NOTHING),
            ],
        )
        .await;
    }
}

/// What memory says of every namespace, and what the cluster says.
struct OneState(NamespaceState, NamespaceState);

impl Namespaces for OneState {
    fn state(&self, _: &str) -> NamespaceState {
        self.0.clone()
    }

    fn confirm<'a>(&'a self, _: &'a str) -> Reply<'a, NamespaceState> {
        Reply::pending(async { self.1.clone() })
    }
}

#[tokio::test]
async fn a33_only_read_is_left_without_the_namespace() {
    let users = static_users([user("user-1", Some(&hash("p")), &["project-1 * FULL"])]);
    let caller = login(&*users, "user-1", "p").await.unwrap();
    let uid = NamespaceUid("u-1".into());
    let (exists, terminating) = (NamespaceState::Exists(uid.clone()), NamespaceState::Terminating(uid));
    let (absent, unknown) = (NamespaceState::Absent, NamespaceState::Unknown);
    for (memory, live, expected) in [
        (&exists, &unknown, FULL),
        (&absent, &absent, READ),
        (&absent, &exists, FULL),
        (&terminating, &terminating, READ),
        (&unknown, &exists, FULL),
        (&unknown, &absent, READ),
        (&absent, &unknown, READ),
    ] {
        let rules = Projects::new(users.clone(), Arc::new(OneState(memory.clone(), live.clone())));
        assert_eq!(rights(&rules, &caller, "project-1/app").await, expected, "{memory:?} {live:?}");
        let push = rules.decide(&caller, Action::Push, Target::Repository("project-1/app")).await;
        let waits = expected == READ && *live == unknown;
        assert_eq!(matches!(push, Decision::Unavailable { .. }), waits, "{memory:?} {live:?}");
    }
}

#[tokio::test]
async fn a34_the_catalog_is_open_to_users_and_metrics_are_not() {
    let users = static_users([user("user-1", Some(&hash("p")), &[])]);
    let rules = Projects::new(users, Arc::new(EveryNamespaceExists::new()));
    for (caller, catalog) in [
        (Caller::named("user-1", Source::StaticUser), true),
        (Caller::anonymous(), false),
        (Caller::named("user-1", Source::Htpasswd), false),
        (Caller::named("user-2", Source::StaticUser), false),
    ] {
        assert_eq!(rules.decide(&caller, Action::Catalog, Target::Catalog).await.is_allow(), catalog, "{caller}");
        assert!(!rules.decide(&caller, Action::Metrics, Target::Metrics).await.is_allow());
        assert!(!rules.decide(&caller, Action::Pull, Target::Catalog).await.is_allow());
    }
}
