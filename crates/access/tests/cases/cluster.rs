//! Area 3: may you, by the rules of the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::{
    Action, AnonymousPolicy, Authorizer, Binding, BindingKey, BySource, Caller, ClusterPolicy, ClusterRules, Decision,
    NamespaceState, NamespaceUid, Namespaces, PolicyRule, Rbac, Reach, Reply, Right, Rights, RoleKey, Source, Subject,
    Target, Verb, Verdict, WithAnonymous,
};

use crate::{FULL, NOTHING, READ, may, rights};

const DECKHOUSE: &str = "payload-registry.deckhouse.io";
const ACCESSES: &str = "payloadrepositoryaccesses";
const OPENSHIFT: &str = "image.openshift.io";
const PUSH: (bool, bool, bool) = (false, true, false);
const DELETE: (bool, bool, bool) = (false, false, true);
const WRITE: (bool, bool, bool) = (true, true, false);

/// A cluster in memory: its rules, its namespaces, and for how long it has not answered.
#[derive(Default)]
struct Cluster {
    rbac: Rbac,
    /// What memory says, and what a live question finds; a namespace that is not listed exists.
    namespaces: Mutex<BTreeMap<String, (NamespaceState, NamespaceState)>>,
    away: Mutex<Option<Duration>>,
}

impl Namespaces for Cluster {
    fn state(&self, namespace: &str) -> NamespaceState {
        let known = self.namespaces.lock().unwrap().get(namespace).map(|(memory, _)| memory.clone());
        known.unwrap_or_else(exists)
    }

    fn confirm<'a>(&'a self, namespace: &'a str) -> Reply<'a, NamespaceState> {
        Reply::pending(async move {
            let live = self.namespaces.lock().unwrap().get(namespace).map(|(_, live)| live.clone());
            live.unwrap_or_else(exists)
        })
    }
}

impl Reach for Cluster {
    fn away_for(&self) -> Option<Duration> {
        *self.away.lock().unwrap()
    }
}

fn exists() -> NamespaceState {
    NamespaceState::Exists(NamespaceUid("u-1".into()))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(Into::into).collect()
}

/// A rule; `names` apart by spaces, empty for all.
fn rule(group: &str, resources: &str, verbs: &str, names: &str) -> PolicyRule {
    PolicyRule {
        api_groups: vec![group.into()],
        resources: words(resources),
        verbs: words(verbs),
        resource_names: if names.is_empty() { Vec::new() } else { words(names) },
    }
}

fn role_key(namespace: Option<&str>, name: &str) -> RoleKey {
    RoleKey { namespace: namespace.map(Into::into), name: name.into() }
}

fn group(name: &str) -> Subject {
    Subject::Group(name.into())
}

/// A ServiceAccount of namespace `ci`, with the groups that the API server gives it.
fn service_account(name: &str) -> Caller {
    Caller::named(&format!("system:serviceaccount:ci:{name}"), Source::Cluster).with_groups([
        "system:serviceaccounts",
        "system:serviceaccounts:ci",
        "system:authenticated",
    ])
}

fn its_user(caller: &Caller) -> Subject {
    Subject::User(caller.name().unwrap().into())
}

impl Cluster {
    fn complete() -> Arc<Self> {
        let cluster = Self::default();
        cluster.rbac.set_complete();
        Arc::new(cluster)
    }

    fn cluster_role(&self, name: &str, rules: &[PolicyRule]) {
        assert_eq!(self.rbac.apply_role(&role_key(None, name), rules), []);
    }

    /// Binds a role, in a namespace or everywhere.
    fn bind(&self, namespace: Option<&str>, role: RoleKey, subject: Subject) {
        let key = BindingKey { namespace: namespace.map(Into::into), name: format!("{role} {subject}").into() };
        self.rbac.apply_binding(&Binding { key, role, subjects: vec![subject] });
    }

    /// A Role in a namespace, and its binding.
    fn grant(&self, namespace: &str, rules: &[PolicyRule], caller: &Caller) {
        let role = role_key(Some(namespace), caller.name().unwrap());
        assert_eq!(self.rbac.apply_role(&role, rules), []);
        self.bind(Some(namespace), role, its_user(caller));
    }

    fn set_namespace(&self, name: &str, memory: NamespaceState, live: NamespaceState) {
        self.namespaces.lock().unwrap().insert(name.into(), (memory, live));
    }

    fn rules(self: &Arc<Self>) -> ClusterRules {
        let policy = ClusterPolicy { stale_for: Duration::from_secs(600) };
        ClusterRules::new(Arc::new(Shared(self.clone())), self.clone(), self.clone(), policy)
    }

    async fn check(self: &Arc<Self>, caller: &Caller, table: &[(&str, (bool, bool, bool))]) {
        for (repository, expected) in table {
            assert_eq!(rights(&self.rules(), caller, repository).await, *expected, "{caller} on {repository}");
        }
    }

    async fn refusal(self: &Arc<Self>, caller: &Caller, action: Action, target: Target<'_>) -> String {
        match self.rules().decide(caller, action, target).await {
            Decision::Deny { reason } => reason,
            other => format!("not refused: {other:?}"),
        }
    }
}

struct Shared(Arc<Cluster>);

impl Rights for Shared {
    fn check<'a>(&'a self, caller: &'a Caller, right: Right<'a>) -> Reply<'a, Verdict> {
        self.0.rbac.check(caller, right)
    }
}

#[tokio::test]
async fn a35_a36_a37_each_verb_opens_its_action() {
    let cluster = Cluster::complete();
    for (name, verbs, expected) in [
        ("puller", "get", READ),
        ("pusher", "create", PUSH),
        ("cleaner", "delete", DELETE),
        ("both", "get create", WRITE),
        ("all", "get create delete", FULL),
        ("other", "list watch update patch deletecollection", NOTHING),
    ] {
        let caller = service_account(name);
        cluster.grant("project-1", &[rule(DECKHOUSE, ACCESSES, verbs, "app-* team/**")], &caller);
        cluster
            .check(
                &caller,
                &[
                    ("project-1/app-1", expected),
                    ("project-1/team/a/b", expected),
                    ("project-1/app", NOTHING),
                    ("project-2/app-1", NOTHING),
                    ("project-2/team/a", NOTHING),
                ],
            )
            .await;
    }
}

#[tokio::test]
async fn a38_the_scope_follows_the_binding() {
    let cluster = Cluster::complete();
    cluster.cluster_role("registry", &[rule(DECKHOUSE, ACCESSES, "get create delete", "")]);
    let (one, all) = (service_account("one"), service_account("all"));
    cluster.bind(Some("project-1"), role_key(None, "registry"), its_user(&one));
    cluster.bind(None, role_key(None, "registry"), its_user(&all));
    cluster.check(&one, &[("project-1/a", FULL), ("project-2/a", NOTHING)]).await;
    cluster.check(&all, &[("project-1/a", FULL), ("project-2/a/b/c", FULL), ("one-segment", NOTHING)]).await;
}

#[tokio::test]
async fn a39_no_names_and_wildcards_are_everything() {
    let cluster = Cluster::complete();
    for (name, rules, expected) in [
        ("no-names", rule(DECKHOUSE, ACCESSES, "get", ""), READ),
        ("all-verbs", rule(DECKHOUSE, ACCESSES, "*", ""), FULL),
        ("all-verbs-named", rule(DECKHOUSE, ACCESSES, "*", "x/** y"), NOTHING),
        ("all-resources", rule(DECKHOUSE, "*", "get create", ""), WRITE),
        ("all-groups", rule("*", ACCESSES, "*", ""), FULL),
        ("other-group", rule("deckhouse.io", ACCESSES, "*", ""), NOTHING),
        ("other-resource", rule(DECKHOUSE, "payloadrepositorytags", "*", ""), NOTHING),
        ("core", rule("", "pods secrets", "*", ""), NOTHING),
    ] {
        let caller = service_account(name);
        cluster.grant("project-1", &[rules], &caller);
        cluster.check(&caller, &[("project-1/any/path", expected), ("project-2/any/path", NOTHING)]).await;
    }
    cluster.cluster_role("cluster-admin", &[rule("*", "*", "*", "")]);
    cluster.bind(None, role_key(None, "cluster-admin"), group("system:masters"));
    let admin = Caller::named("kubernetes-admin", Source::Cluster).with_groups(["system:masters"]);
    cluster.check(&admin, &[("project-1/a", FULL), ("project-2/a/b", FULL)]).await;
    assert!(cluster.rules().decide(&admin, Action::Metrics, Target::Metrics).await.is_allow());
}

#[tokio::test]
async fn a34_a40_without_any_grant_only_the_catalog_is_left() {
    let cluster = Cluster::complete();
    let caller = service_account("nobody");
    cluster.check(&caller, &[("project-1/a", NOTHING), ("ci/a", NOTHING)]).await;
    let rules = cluster.rules();
    assert!(rules.decide(&caller, Action::Catalog, Target::Catalog).await.is_allow());
    assert!(!rules.decide(&caller, Action::Metrics, Target::Metrics).await.is_allow());
    assert!(!rules.decide(&caller, Action::Pull, Target::Catalog).await.is_allow());
    assert!(!rules.decide(&Caller::anonymous(), Action::Catalog, Target::Catalog).await.is_allow());
}

#[tokio::test]
async fn a41_path_patterns() {
    for (pattern, yes, no) in [
        ("frontend/*", "frontend/a", "frontend/a/b frontend frontends/a"),
        ("path/**", "path path/x path/x/y", "pathx"),
        ("**/app", "app x/app x/y/app", "xapp app/x"),
        ("a/**/b", "a/b a/x/b a/x/y/b", "ab a/xb"),
        ("path*/**", "path/x pathx/y/z pathx", "xpath/y"),
        ("app-?", "app-1", "app- app-12"),
        ("app-[a-c0-9]", "app-b app-7", "app-d app-bb"),
        ("{web,api}/**", "web api/x/y", "apis/x"),
        ("Team/APP", "team/app", "team/app/x"),
    ] {
        let cluster = Cluster::complete();
        let caller = service_account("sa");
        cluster.grant("project-1", &[rule(DECKHOUSE, ACCESSES, "get", pattern)], &caller);
        for (paths, expected) in [(yes, READ), (no, NOTHING)] {
            for path in paths.split(' ') {
                cluster.check(&caller, &[(&format!("project-1/{path}"), expected)]).await;
            }
        }
    }
}

#[tokio::test]
async fn a41_a42_traps_are_reported_and_unreadable_patterns_match_nothing() {
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    let role = role_key(Some("project-1"), "odd");
    let names = "path** [ /top** good project-1/app";
    let problems = cluster.rbac.apply_role(&role, &[rule(DECKHOUSE, ACCESSES, "get", names)]);
    assert_eq!(
        problems.iter().map(|problem| problem.entry.as_str()).collect::<Vec<_>>(),
        ["path**", "[", "/top**", "project-1/app"]
    );
    assert!(problems[0].text.contains("path/**"), "{}", problems[0]);
    cluster.bind(Some("project-1"), role, its_user(&caller));
    cluster
        .check(
            &caller,
            &[
                ("project-1/pathx", READ),
                ("project-1/path/x", NOTHING),
                ("project-1/good", READ),
                ("project-1/top", NOTHING),
                ("project-1/top/x", NOTHING),
                ("project-1/app", NOTHING),
                ("project-1/[", NOTHING),
            ],
        )
        .await;
}

#[tokio::test]
async fn a43_a_right_taken_away_ends_at_once() {
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    let rules = cluster.rules();
    let grant = || cluster.grant("project-1", &[rule(DECKHOUSE, ACCESSES, "get", "")], &caller);
    let role = role_key(Some("project-1"), caller.name().unwrap());
    let binding =
        BindingKey { namespace: Some("project-1".into()), name: format!("{role} {}", its_user(&caller)).into() };
    let pulls = async || may(&rules, &caller, Action::Pull, "project-1/a").await;
    grant();
    assert!(pulls().await);
    cluster.rbac.delete_binding(&binding);
    assert!(!pulls().await);
    grant();
    assert!(pulls().await);
    cluster.rbac.delete_role(&role);
    assert!(!pulls().await);
    grant();
    assert!(pulls().await, "the binding was kept");
    cluster.rbac.apply_role(&role, &[rule(DECKHOUSE, ACCESSES, "get", "b")]);
    assert!(!pulls().await);
    grant();
    cluster.rbac.retain_bindings(true, |_| false);
    cluster.rbac.retain_roles(true, |_| false);
    assert!(pulls().await, "these are not of the whole cluster");
    cluster.rbac.retain_bindings(false, |key| *key == binding);
    cluster.rbac.retain_roles(false, |key| *key == role);
    assert!(pulls().await);
    cluster.rbac.retain_bindings(false, |_| false);
    assert!(!pulls().await);
    grant();
    cluster.rbac.retain_roles(false, |_| false);
    assert!(!pulls().await);
}

#[tokio::test]
async fn a44_the_registry_answers_as_can_i_does() {
    // `kubectl auth can-i` compares names exactly; for plain names both mean the same.
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    cluster.grant("project-1", &[rule(DECKHOUSE, ACCESSES, "get", "app")], &caller);
    cluster.check(&caller, &[("project-1/app", READ), ("project-1/apps", NOTHING), ("project-1/ap", NOTHING)]).await;
}

#[tokio::test]
async fn b15_to_b20_roles_of_openshift() {
    let cluster = Cluster::complete();
    for (name, verbs, expected) in
        [("registry-viewer", "get", READ), ("registry-editor", "get update", WRITE), ("only-update", "update", PUSH)]
    {
        // Both API groups, and a rule for one image stream by its name.
        for (suffix, api_group, names) in [("", OPENSHIFT, ""), ("-legacy", "", ""), ("-named", OPENSHIFT, "app")] {
            let role = format!("{name}{suffix}");
            cluster.cluster_role(&role, &[rule(api_group, "imagestreams/layers", verbs, names)]);
            let caller = service_account(&role);
            cluster.bind(Some("project-1"), role_key(None, &role), its_user(&caller));
            let other = if names.is_empty() { expected } else { NOTHING };
            cluster
                .check(
                    &caller,
                    &[
                        ("project-1/app", expected),
                        ("project-1/app2", other),
                        ("project-1/app/sub", other),
                        ("project-2/app", NOTHING),
                    ],
                )
                .await;
        }
    }
    cluster.check(&service_account("nobody"), &[("project-1/app", NOTHING)]).await;
}

#[tokio::test]
async fn openshift_names_are_no_patterns() {
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    cluster.grant("project-1", &[rule(OPENSHIFT, "imagestreams/layers", "get", "app-* APP")], &caller);
    cluster.check(&caller, &[("project-1/app-1", NOTHING), ("project-1/app", NOTHING)]).await;
}

#[tokio::test]
async fn sub_resources_by_the_rules_of_rbac() {
    for (resources, expected) in [
        ("imagestreams/layers", READ),
        ("*/layers", READ),
        ("*", READ),
        ("imagestreams", NOTHING),
        ("layers", NOTHING),
        ("*/*", NOTHING),
        ("*/status", NOTHING),
        ("imagestreams/*", NOTHING),
    ] {
        let cluster = Cluster::complete();
        let caller = service_account("sa");
        let role = role_key(Some("project-1"), "r");
        let problems = cluster.rbac.apply_role(&role, &[rule(OPENSHIFT, resources, "get", "")]);
        assert_eq!(problems.len(), usize::from(resources == "imagestreams/*"));
        cluster.bind(Some("project-1"), role, its_user(&caller));
        cluster.check(&caller, &[("project-1/app", expected)]).await;
    }
}

#[tokio::test]
async fn b21_system_registry_pulls_everywhere_and_pushes_at_home() {
    let cluster = Cluster::complete();
    cluster.cluster_role("system:registry", &[rule(OPENSHIFT, "imagestreams/layers", "get", "")]);
    cluster.cluster_role("registry-editor", &[rule(OPENSHIFT, "imagestreams/layers", "get update", "")]);
    let caller = Caller::named("alice", Source::Cluster).with_groups(["system:authenticated"]);
    cluster.bind(None, role_key(None, "system:registry"), its_user(&caller));
    cluster.bind(Some("home"), role_key(None, "registry-editor"), its_user(&caller));
    cluster.check(&caller, &[("home/a", WRITE), ("other/a", READ), ("openshift/a", READ)]).await;
}

#[tokio::test]
async fn images_are_deleted_and_metrics_read_by_rights_of_the_whole_cluster() {
    let cluster = Cluster::complete();
    cluster.cluster_role("system:image-pruner", &[rule(OPENSHIFT, "images", "delete", "")]);
    cluster.cluster_role("metrics", &[rule(OPENSHIFT, "registry/metrics", "get", "")]);
    for (role, pruning) in [("system:image-pruner", DELETE), ("metrics", NOTHING)] {
        let (local, global) = (service_account(&format!("{role}-local")), service_account(role));
        cluster.bind(Some("project-1"), role_key(None, role), its_user(&local));
        cluster.bind(None, role_key(None, role), its_user(&global));
        cluster.check(&local, &[("project-1/a", NOTHING)]).await;
        cluster.check(&global, &[("project-1/a", pruning), ("project-2/a", pruning)]).await;
        let metrics = async |caller| cluster.rules().decide(caller, Action::Metrics, Target::Metrics).await.is_allow();
        assert!(!metrics(&local).await, "a RoleBinding grants nothing for the whole cluster");
        assert_eq!(metrics(&global).await, role == "metrics");
    }
}

#[tokio::test]
async fn groups_of_the_cluster() {
    let cluster = Cluster::complete();
    let puller = role_key(None, "puller");
    cluster.cluster_role("puller", &[rule(DECKHOUSE, ACCESSES, "get", "")]);
    for (namespace, name) in [
        ("of-ci", "system:serviceaccounts:ci"),
        ("of-accounts", "system:serviceaccounts"),
        ("of-all", "system:authenticated"),
        ("of-team", "team"),
        ("public", "system:unauthenticated"),
    ] {
        cluster.bind(Some(namespace), puller.clone(), group(name));
    }
    cluster.bind(Some("by-name"), puller.clone(), Subject::User("system:anonymous".into()));
    let columns = ["of-ci", "of-accounts", "of-all", "of-team", "public", "by-name"];
    for (caller, expected) in [
        (service_account("sa"), [true, true, true, false, false, false]),
        (
            Caller::named("alice", Source::Cluster).with_groups(["system:authenticated", "team"]),
            [false, false, true, true, false, false],
        ),
        (Caller::anonymous(), [false, false, false, false, true, true]),
        // A user's name is no group, and a group's name no user.
        (Caller::named("team", Source::Cluster), [false; 6]),
        (Caller::named("x", Source::Cluster).with_groups(["system:anonymous"]), [false; 6]),
        // The same names from elsewhere are other callers.
        (Caller::named("x", Source::StaticUser).with_groups(["system:authenticated", "team"]), [false; 6]),
        (Caller::named("system:anonymous", Source::Htpasswd), [false; 6]),
    ] {
        for (namespace, expected) in columns.iter().zip(expected) {
            let repository = format!("{namespace}/app");
            assert_eq!(
                may(&cluster.rules(), &caller, Action::Pull, &repository).await,
                expected,
                "{caller} {namespace}"
            );
        }
    }
}

#[tokio::test]
async fn anonymous_rights_by_policy_and_by_rules_add_up() {
    let cluster = Cluster::complete();
    cluster.cluster_role("all", &[rule(DECKHOUSE, ACCESSES, "*", "")]);
    cluster.bind(Some("public"), role_key(None, "all"), group("system:unauthenticated"));
    let inner = || BySource::new().with(Source::Anonymous, Arc::new(cluster.rules()));
    for (policy, elsewhere) in [(AnonymousPolicy::None, NOTHING), (AnonymousPolicy::Pull, READ)] {
        let rules = WithAnonymous::new(policy, Arc::new(inner()));
        assert_eq!(rights(&rules, &Caller::anonymous(), "public/a").await, FULL, "{policy:?}");
        assert_eq!(rights(&rules, &Caller::anonymous(), "other/a").await, elsewhere, "{policy:?}");
        assert!(!rules.decide(&Caller::anonymous(), Action::Catalog, Target::Catalog).await.is_allow());
    }
}

#[tokio::test]
async fn names_that_are_no_namespace_are_refused() {
    let cluster = Cluster::complete();
    cluster.cluster_role("cluster-admin", &[rule("*", "*", "*", "")]);
    cluster.bind(None, role_key(None, "cluster-admin"), group("system:authenticated"));
    let caller = service_account("admin");
    let long = "a".repeat(64);
    for name in [
        "app",
        "",
        "/app",
        "project-1/",
        "Project-1/app",
        "project_1/app",
        "pro.ject/app",
        "-a/app",
        "a-/app",
        "../app",
        "pr\u{43e}ject/app",
        "a b/app",
        &format!("{long}/app"),
    ] {
        cluster.check(&caller, &[(name, NOTHING)]).await;
    }
    cluster.check(&caller, &[("a/app", FULL), ("0/app", FULL), (&format!("{}/app", &long[1..]), FULL)]).await;
}

#[tokio::test]
async fn a_push_needs_a_living_namespace() {
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    cluster.cluster_role("all", &[rule(DECKHOUSE, ACCESSES, "*", "")]);
    cluster.bind(None, role_key(None, "all"), its_user(&caller));
    let uid = NamespaceUid("u-1".into());
    let terminating = NamespaceState::Terminating(uid);
    let (absent, unknown) = (NamespaceState::Absent, NamespaceState::Unknown);
    for (memory, live, push) in [
        (exists(), absent.clone(), Some("")),
        (absent.clone(), exists(), Some("")),
        (unknown.clone(), exists(), Some("")),
        (terminating.clone(), exists(), Some("")),
        (absent.clone(), absent.clone(), Some("namespace \"ns\" does not exist")),
        (unknown.clone(), absent.clone(), Some("namespace \"ns\" does not exist")),
        (absent.clone(), terminating.clone(), Some("namespace \"ns\" is being deleted")),
        (absent.clone(), unknown.clone(), None),
        (unknown.clone(), unknown.clone(), None),
    ] {
        cluster.set_namespace("ns", memory, live);
        let rules = cluster.rules();
        assert!(may(&rules, &caller, Action::Pull, "ns/a").await && may(&rules, &caller, Action::Delete, "ns/a").await);
        match (rules.decide(&caller, Action::Push, Target::Repository("ns/a")).await, push) {
            (Decision::Allow, Some("")) | (Decision::Unavailable { .. }, None) => {}
            (Decision::Deny { reason }, Some(text)) if !text.is_empty() => assert!(reason.ends_with(text), "{reason}"),
            (other, expected) => panic!("{other:?}, not {expected:?}"),
        }
        // Who may not push does not learn whether the namespace exists.
        let reason = cluster.refusal(&service_account("stranger"), Action::Push, Target::Repository("ns/a")).await;
        assert!(reason.contains("no rule grants"), "{reason}");
    }
}

#[tokio::test]
async fn without_the_api_reading_goes_on_for_a_time_and_nothing_is_written() {
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    cluster.cluster_role("all", &[rule("*", "*", "*", "")]);
    cluster.bind(None, role_key(None, "all"), its_user(&caller));
    let seconds = Duration::from_secs;
    for (away, reads, writes) in [
        (None, true, true),
        (Some(seconds(0)), true, false),
        (Some(seconds(600)), true, false),
        (Some(seconds(601)), false, false),
        (None, true, true),
    ] {
        *cluster.away.lock().unwrap() = away;
        let rules = cluster.rules();
        let wishes = [(Action::Pull, reads), (Action::Push, writes), (Action::Delete, writes)]
            .map(|(action, expected)| (action, Target::Repository("ns/a"), expected));
        for (action, target, expected) in wishes.into_iter().chain([(Action::Metrics, Target::Metrics, reads)]) {
            let decision = rules.decide(&caller, action, target).await;
            assert_eq!(decision.is_allow(), expected, "{away:?} {action:?}");
            assert_eq!(matches!(decision, Decision::Unavailable { .. }), !expected, "{away:?} {action:?}");
        }
        assert!(rules.decide(&caller, Action::Catalog, Target::Catalog).await.is_allow());
    }
}

#[tokio::test]
async fn before_the_first_lists_are_done_nobody_is_refused_for_a_missing_rule() {
    let cluster = Arc::new(Cluster::default());
    let caller = service_account("sa");
    let pull = async || cluster.rules().decide(&caller, Action::Pull, Target::Repository("ns/a")).await;
    assert!(matches!(pull().await, Decision::Unavailable { .. }));
    cluster.grant("ns", &[rule(DECKHOUSE, ACCESSES, "get", "a")], &caller);
    assert!(pull().await.is_allow(), "a rule that is there counts");
    cluster.rbac.set_complete();
    assert!(!may(&cluster.rules(), &caller, Action::Pull, "ns/b").await);
    assert!(matches!(
        cluster.rules().decide(&caller, Action::Pull, Target::Repository("ns/b")).await,
        Decision::Deny { .. }
    ));
}

#[tokio::test]
async fn refusals_say_what_would_be_needed() {
    let cluster = Cluster::complete();
    let caller = service_account("sa");
    let repository = Target::Repository("shop/team/app");
    assert_eq!(
        cluster.refusal(&caller, Action::Pull, repository).await,
        "user \"system:serviceaccount:ci:sa\" cannot pull repository \"shop/team/app\": no rule grants \
         get payloadrepositoryaccesses.payload-registry.deckhouse.io \"team/app\" in namespace \"shop\", or \
         get imagestreams/layers.image.openshift.io \"team/app\" in namespace \"shop\""
    );
    assert_eq!(
        cluster.refusal(&caller, Action::Push, repository).await,
        "user \"system:serviceaccount:ci:sa\" cannot push repository \"shop/team/app\": no rule grants \
         create payloadrepositoryaccesses.payload-registry.deckhouse.io \"team/app\" in namespace \"shop\", or \
         update imagestreams/layers.image.openshift.io \"team/app\" in namespace \"shop\""
    );
    assert_eq!(
        cluster.refusal(&caller, Action::Delete, repository).await,
        "user \"system:serviceaccount:ci:sa\" cannot delete repository \"shop/team/app\": no rule grants \
         delete payloadrepositoryaccesses.payload-registry.deckhouse.io \"team/app\" in namespace \"shop\", or \
         delete images.image.openshift.io in all namespaces"
    );
    for (caller, action, target, text) in [
        (&caller, Action::Pull, Target::Repository("app"), "the name has one segment"),
        (&caller, Action::Pull, Target::Repository("Shop/app"), "\"Shop\" cannot be the name of a namespace"),
        (&caller, Action::Metrics, Target::Metrics, "get registry/metrics.image.openshift.io in all namespaces"),
        (&Caller::anonymous(), Action::Pull, repository, "authentication is required"),
        (&Caller::named("u", Source::StaticUser), Action::Pull, repository, "for users of the cluster"),
    ] {
        let reason = cluster.refusal(caller, action, target).await;
        assert!(reason.contains(text), "{reason}");
    }
}

/// Rights that are asked of somebody else, one answer per resource.
struct Remote(BTreeMap<&'static str, Verdict>);

impl Rights for Remote {
    fn check<'a>(&'a self, _: &'a Caller, right: Right<'a>) -> Reply<'a, Verdict> {
        assert_eq!(right.verb, Verb::Get);
        Reply::pending(async move { self.0[right.resource.as_str()] })
    }
}

#[tokio::test]
async fn one_right_is_enough_and_not_knowing_one_is_no_refusal() {
    let unknown = Verdict::Unavailable { retry_after: Duration::from_secs(7) };
    let retry = Decision::Unavailable { retry_after: Duration::from_secs(7) };
    for (first, second, expected) in [
        (Verdict::Granted, unknown, Some(Decision::Allow)),
        (unknown, Verdict::Granted, Some(Decision::Allow)),
        (Verdict::NotGranted, Verdict::Granted, Some(Decision::Allow)),
        (unknown, Verdict::NotGranted, Some(retry.clone())),
        (Verdict::NotGranted, unknown, Some(retry)),
        (Verdict::NotGranted, Verdict::NotGranted, None),
    ] {
        let cluster = Cluster::complete();
        let remote = Remote(BTreeMap::from([(ACCESSES, first), ("imagestreams/layers", second)]));
        let policy = ClusterPolicy { stale_for: Duration::ZERO };
        let rules = ClusterRules::new(Arc::new(remote), cluster.clone(), cluster, policy);
        let decision = rules.decide(&service_account("sa"), Action::Pull, Target::Repository("ns/a")).await;
        match expected {
            Some(expected) => assert_eq!(decision, expected, "{first:?} {second:?}"),
            None => assert!(matches!(decision, Decision::Deny { .. }), "{decision:?}"),
        }
    }
}
