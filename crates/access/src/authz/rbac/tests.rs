use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::authz::glob::Pattern;
use crate::authz::rights::{Resource, Verb};
use crate::identity::Source;

const GROUP: &str = "payload-registry.deckhouse.io";

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn rule(verbs: &[&str], names: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: texts(&[GROUP]),
        resources: texts(&["payloadrepositoryaccesses"]),
        verbs: texts(verbs),
        resource_names: texts(names),
    }
}

fn role_key(namespace: Option<&str>, name: &str) -> RoleKey {
    RoleKey { namespace: namespace.map(Into::into), name: name.into() }
}

fn binding_key(namespace: Option<&str>, name: &str) -> BindingKey {
    BindingKey { namespace: namespace.map(Into::into), name: name.into() }
}

fn bind(namespace: Option<&str>, name: &str, role: RoleKey, subjects: &[Subject]) -> Binding {
    Binding { key: binding_key(namespace, name), role, subjects: subjects.to_vec() }
}

fn user(name: &str) -> Subject {
    Subject::User(name.into())
}

fn group(name: &str) -> Subject {
    Subject::Group(name.into())
}

fn matches(pattern: &str, path: &str) -> bool {
    Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(path))
}

fn pull<'a>(namespace: &'a str, name: &'a str) -> Right<'a> {
    let resource = Resource::RepositoryAccesses;
    Right { verb: Verb::Get, resource, namespace: Some(namespace), name: Some(name) }
}

#[test]
fn explanations_name_what_grants() {
    let rbac = Rbac::new();
    let alice = Caller::named("alice", Source::Cluster).with_groups(["devs", "system:authenticated"]);
    let role = role_key(Some("shop"), "puller");
    rbac.apply_role(&role, &[rule(&["get"], &["base/*", "app-*"])]);
    rbac.apply_binding(&bind(Some("shop"), "devs", role.clone(), &[group("devs"), user("bob")]));
    rbac.apply_role(&role_key(None, "admin"), &[rule(&["*"], &[])]);
    rbac.apply_binding(&bind(None, "admins", role_key(None, "admin"), &[user("alice")]));

    let explanation = rbac.explain(&alice, pull("shop", "app-1"));
    assert!(explanation.is_granted());
    assert_eq!(explanation.granted_by[1].role, role);
    assert_eq!(explanation.granted_by[1].pattern.as_deref(), Some("app-*"));
    assert_eq!(
        explanation.to_string(),
        "user \"alice\" may get payloadrepositoryaccesses.payload-registry.deckhouse.io \"app-1\" in namespace \"shop\"\n  \
         granted by ClusterRoleBinding admins (user \"alice\"), ClusterRole admin: get, list, create, update, delete on all names\n  \
         granted by RoleBinding shop/devs (group \"devs\"), Role shop/puller: get on \"app-*\""
    );
}

#[test]
fn whether_anything_is_granted_in_a_namespace() {
    let rbac = Rbac::new();
    let alice = Caller::named("alice", Source::Cluster);
    let everything = |namespace| Right { name: None, ..pull(namespace, "") };
    assert!(rbac.may_have_any(&alice, everything("other")), "not everything is known yet");
    rbac.set_complete();
    let role = role_key(Some("shop"), "puller");
    rbac.apply_role(&role, &[rule(&["get"], &["base/*"])]);
    rbac.apply_binding(&bind(Some("shop"), "alice", role, &[user("alice")]));
    assert!(rbac.may_have_any(&alice, everything("shop")));
    assert!(!rbac.may_have_any(&alice, everything("other")));
    assert!(!rbac.may_have_any(&alice, Right { verb: Verb::Delete, ..everything("shop") }));
}

#[test]
fn a_stamp_changes_with_the_rights_and_with_nothing_else() {
    let rbac = Rbac::new();
    let alice = Caller::named("alice", Source::Cluster).with_groups(["devs"]);
    let stamps = || [Some("shop"), Some("other"), None].map(|namespace| rbac.stamp(&alice, namespace));
    let role = role_key(Some("shop"), "puller");
    let nothing = stamps();
    rbac.apply_role(&role, &[rule(&["get"], &["base/*"])]);
    rbac.apply_binding(&bind(Some("shop"), "bob", role.clone(), &[user("bob")]));
    assert_eq!(stamps(), nothing, "it is somebody else's");
    rbac.apply_binding(&bind(Some("shop"), "devs", role.clone(), &[group("devs")]));
    let bound = stamps();
    assert!(bound[0] != nothing[0] && bound[1] == nothing[1] && bound[2] != nothing[2]);
    rbac.apply_role(&role, &[rule(&["get"], &["base/*"])]);
    rbac.apply_binding(&bind(Some("shop"), "devs", role.clone(), &[group("devs")]));
    assert_eq!(stamps(), bound, "a list that is read again");
    rbac.apply_role(&role, &[rule(&["get"], &["base/*", "more"])]);
    assert!(stamps()[0] != bound[0] && stamps()[2] != bound[2]);
    rbac.delete_role(&role);
    assert_eq!(stamps(), nothing);
    rbac.apply_role(&role_key(None, "admin"), &[rule(&["*"], &[])]);
    rbac.apply_binding(&bind(None, "alice", role_key(None, "admin"), &[user("alice")]));
    assert!(stamps().iter().zip(nothing).all(|(now, before)| *now != before));
}

#[test]
fn explanations_name_what_is_missing() {
    let rbac = Rbac::new();
    let alice = Caller::named("alice", Source::Cluster).with_groups(["system:authenticated"]);
    for (name, rules) in [
        ("names", vec![rule(&["get"], &["base/*", "[", "app"])]),
        ("verb", vec![rule(&["create", "delete"], &[])]),
        ("gone", vec![]),
    ] {
        let role = role_key(Some("shop"), name);
        rbac.apply_role(&role, &rules);
        rbac.apply_binding(&bind(Some("shop"), name, role, &[user("alice")]));
    }
    // Not near: for others, elsewhere, or about something else in the whole cluster.
    let role = role_key(None, "all");
    rbac.apply_role(&role, &[rule(&["*"], &[])]);
    rbac.apply_binding(&bind(Some("shop"), "others", role.clone(), &[user("bob")]));
    rbac.apply_binding(&bind(Some("other"), "elsewhere", role, &[user("alice")]));
    let basic = role_key(None, "system:basic-user");
    rbac.apply_binding(&bind(None, "system:basic-user", basic, &[group("system:authenticated")]));

    let explanation = rbac.explain(&alice, pull("shop", "app-1"));
    assert!(!explanation.is_granted());
    assert_eq!(
        explanation.to_string(),
        "user \"alice\" may not get payloadrepositoryaccesses.payload-registry.deckhouse.io \"app-1\" in namespace \"shop\"\n  \
         not by RoleBinding shop/gone (user \"alice\"), Role shop/gone: the role does not exist or has no rule about images\n  \
         not by RoleBinding shop/names (user \"alice\"), Role shop/names: [\"base/*\", \"app\"] does not cover it; \
         [\"[\"] cannot be read and matches nothing\n  \
         not by RoleBinding shop/verb (user \"alice\"), Role shop/verb: the role only has create, delete"
    );
    let nobody = rbac.explain(&Caller::named("carol", Source::Cluster), pull("shop", "app"));
    assert!(nobody.to_string().ends_with("no binding gives the user or one of its groups a role on this resource"));
}

#[test]
fn a_role_cannot_take_more_than_its_share() {
    let rbac = Rbac::new();
    let role = role_key(Some("a"), "r");
    let alice = Caller::named("alice", Source::Cluster);
    rbac.apply_binding(&bind(Some("a"), "b", role.clone(), &[user("alice")]));
    let granted = |name: &str| rbac.explain(&alice, pull("a", name)).is_granted();

    let names: Vec<String> = (0..5000).map(|number| format!("app-{number}")).collect();
    let many = PolicyRule { resource_names: names, ..rule(&["get"], &[]) };
    let problems = rbac.apply_role(&role, &[many]);
    assert_eq!(problems.len(), 20, "a bounded number is told");
    assert!(granted("app-0") && granted("app-4095") && !granted("app-4096"));

    let late = format!("*-late{}", "*".repeat(400));
    let costly: Vec<String> = (0..100).map(|number| format!("{number}{}x", "*a".repeat(250))).collect();
    let costly = PolicyRule { resource_names: [costly, texts(&["plain", &late])].concat(), ..rule(&["get"], &[]) };
    assert!(!rbac.apply_role(&role, &[costly]).is_empty());
    assert!(granted("plain") && !granted("x-late-more"), "texts cost nothing, and too many patterns are refused");
    assert!(matches(&late, "x-late-more"));

    let long = "a".repeat(600);
    let problems = rbac.apply_role(&role, &[rule(&["get"], &[&long])]);
    assert!(problems[0].entry.len() <= 64 && problems[0].text.contains("longer"), "{}", problems[0]);
    assert!(!granted("app") && !granted(""), "a name that is left out is no rule about all");
}

#[test]
fn braces_do_not_multiply_what_a_role_takes() {
    let rbac = Rbac::new();
    let role = role_key(Some("a"), "r");
    let alice = Caller::named("alice", Source::Cluster);
    rbac.apply_binding(&bind(Some("a"), "b", role.clone(), &[user("alice")]));
    let granted = |name: &str| rbac.explain(&alice, pull("a", name)).is_granted();
    let inside = format!("{{{}}}", (0..32).map(|number| format!("x{number}")).collect::<Vec<_>>().join(","));
    let names: Vec<String> = (0..1000).map(|number| format!("app-{number}-{inside}")).collect();
    let many = PolicyRule { resource_names: [names, texts(&["plain"])].concat(), ..rule(&["get"], &[]) };
    let problems = rbac.apply_role(&role, std::slice::from_ref(&many));
    assert!(problems[0].text.contains("too many for one role"), "{}", problems[0]);
    assert!(granted("app-0-x31") && granted("plain"), "what fits counts, and plain names take nothing more");
    assert!(!granted("app-999-x0"));
    let rules = Rules::new(&[many]);
    assert!((256 * 1024..1024 * 1024).contains(&rules.bytes()), "{}", rules.bytes());
}

#[test]
fn a_decision_costs_no_more_than_its_share() {
    let rbac = Rbac::new();
    let alice = Caller::named("alice", Source::Cluster).with_groups(["devs"]);
    // Each of them nearly as costly as a role may be.
    let names: Vec<String> = (0..60).map(|number| format!("{}{number}", "*a".repeat(240))).collect();
    let costly = PolicyRule { resource_names: names, ..rule(&["get"], &[]) };
    let more = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let role = role_key(Some("a"), &format!("costly-{number}"));
            assert_eq!(rbac.apply_role(&role, std::slice::from_ref(&costly)), []);
            for binding in 0..100 {
                let name = format!("b-{number}-{binding}");
                rbac.apply_binding(&bind(Some("a"), &name, role.clone(), &[user("alice"), group("devs")]));
            }
        }
    };
    more(0..2);
    let granted = |name: &str| rbac.read().grants(&alice, pull("a", name));
    assert!(!granted("tools"));
    assert!(!rbac.read().has_told(), "two hundred bindings to two roles are two roles");
    more(2..5);
    let covered = format!("{}7", "a".repeat(240));
    assert!(granted(&covered));
    assert!(!granted("tools"));
    assert!(rbac.read().has_told(), "five of them are too many");
    // What costs little is looked at all the same, whatever its binding is called.
    let cheap = role_key(None, "z-cheap");
    rbac.apply_role(&cheap, &[rule(&["get"], &["too*"])]);
    rbac.apply_binding(&bind(Some("a"), "z", cheap, &[group("devs")]));
    assert!(granted("tools"));
}

#[test]
fn what_comes_and_goes_leaves_nothing() {
    let rbac = Rbac::new();
    for round in 0..3 {
        for number in 0..20 {
            let role = role_key(Some("a"), &format!("r-{round}-{number}"));
            rbac.apply_role(&role, &[rule(&["get"], &[])]);
            let subjects = [user(&format!("u-{round}-{number}")), group("g"), group("g")];
            rbac.apply_binding(&bind(Some("a"), &format!("b-{number}"), role.clone(), &subjects));
            rbac.apply_binding(&bind(None, &format!("b-{number}"), role_key(None, "c"), &subjects));
        }
        for cluster in [false, true] {
            rbac.retain_bindings(cluster, |_| false);
            rbac.retain_roles(cluster, |_| false);
        }
        assert_eq!(rbac.read().size(), [0; 5]);
    }
    // Roles about other things take no room in the first place.
    let pods = PolicyRule { resources: texts(&["pods"]), api_groups: texts(&[""]), ..rule(&["get"], &[]) };
    rbac.apply_role(&role_key(None, "view-pods"), &[pods]);
    assert_eq!(rbac.read().size(), [0; 5]);
}

/// The rules of RBAC as Kubernetes states them, over plain lists.
#[derive(Default)]
struct Naive {
    roles: BTreeMap<RoleKey, Vec<PolicyRule>>,
    bindings: BTreeMap<BindingKey, Binding>,
}

impl Naive {
    fn grants(&self, caller: &Caller, right: Right<'_>) -> bool {
        self.bindings.values().any(|binding| {
            let role_namespace = &binding.role.namespace;
            let reaches = binding.key.namespace.is_none() || binding.key.namespace.as_deref() == right.namespace;
            let is_legal = role_namespace.is_none() || *role_namespace == binding.key.namespace;
            let rules = self.roles.get(&binding.role).map(Vec::as_slice).unwrap_or_default();
            reaches
                && is_legal
                && binding.subjects.iter().any(|subject| is(caller, subject))
                && rules.iter().any(|rule| allows(rule, right))
        })
    }
}

fn is(caller: &Caller, subject: &Subject) -> bool {
    match (subject, caller.name()) {
        (Subject::User(name), known) => **name == *known.unwrap_or("system:anonymous"),
        (Subject::Group(name), Some(_)) => caller.groups().contains(name),
        (Subject::Group(name), None) => **name == *"system:unauthenticated",
    }
}

fn allows(rule: &PolicyRule, right: Right<'_>) -> bool {
    let has = |list: &[String], text: &str| list.iter().any(|entry| entry == text || entry == "*");
    let resource = right.resource.as_str();
    let sub_resource = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    has(&rule.verbs, right.verb.as_str())
        && right.resource.groups().iter().any(|group| has(&rule.api_groups, group))
        && (has(&rule.resources, resource) || sub_resource.is_some_and(|sub| rule.resources.contains(&sub)))
        && (rule.resource_names.is_empty()
            || right.name.is_some_and(|name| {
                rule.resource_names.iter().any(|entry| match right.resource {
                    Resource::RepositoryAccesses => matches(entry, name),
                    _ => entry == name,
                })
            }))
}

#[derive(Clone, Debug)]
enum Change {
    ApplyRole(RoleKey, Vec<PolicyRule>),
    DeleteRole(RoleKey),
    ApplyBinding(Binding),
    DeleteBinding(BindingKey),
    RetainRoles(bool, Vec<RoleKey>),
    RetainBindings(bool, Vec<BindingKey>),
}

impl Change {
    fn make(&self, rbac: &Rbac, naive: &mut Naive) {
        match self.clone() {
            Self::ApplyRole(key, rules) => {
                rbac.apply_role(&key, &rules);
                naive.roles.insert(key, rules);
            }
            Self::DeleteRole(key) => {
                rbac.delete_role(&key);
                naive.roles.remove(&key);
            }
            Self::ApplyBinding(binding) => {
                rbac.apply_binding(&binding);
                naive.bindings.insert(binding.key.clone(), binding);
            }
            Self::DeleteBinding(key) => {
                rbac.delete_binding(&key);
                naive.bindings.remove(&key);
            }
            Self::RetainRoles(cluster, seen) => {
                rbac.retain_roles(cluster, |key| seen.contains(key));
                naive.roles.retain(|key, _| key.namespace.is_none() != cluster || seen.contains(key));
            }
            Self::RetainBindings(cluster, seen) => {
                rbac.retain_bindings(cluster, |key| seen.contains(key));
                naive.bindings.retain(|key, _| key.namespace.is_none() != cluster || seen.contains(key));
            }
        }
    }
}

const NAMESPACES: [Option<&str>; 3] = [None, Some("a"), Some("b")];
const VERBS: [Verb; 5] = [Verb::Get, Verb::List, Verb::Create, Verb::Update, Verb::Delete];
const RESOURCES: [Resource; 5] =
    [Resource::RepositoryAccesses, Resource::Layers, Resource::ImageStreams, Resource::Images, Resource::Metrics];

fn some(values: &[&str], most: usize) -> impl Strategy<Value = Vec<String>> + use<> {
    subsequence(texts(values), 0..=most.min(values.len()))
}

fn policy_rule() -> impl Strategy<Value = PolicyRule> {
    let resources = [
        "*",
        "payloadrepositoryaccesses",
        "imagestreams/layers",
        "*/layers",
        "imagestreams",
        "images",
        "registry/metrics",
        "*/metrics",
        "pods",
        "imagestreams/*",
    ];
    let names = ["app", "app*", "x/**", "[", "App"];
    (
        some(&["*", GROUP, "image.openshift.io", "", "apps"], 2),
        some(&resources, 3),
        some(&["*", "get", "list", "create", "update", "delete", "watch"], 3),
        prop_oneof![Just(Vec::new()), some(&names, 3)],
    )
        .prop_map(|(api_groups, resources, verbs, resource_names)| PolicyRule {
            api_groups,
            resources,
            verbs,
            resource_names,
        })
}

fn any_role_key() -> impl Strategy<Value = RoleKey> {
    (select(&NAMESPACES[..]), select(&["r", "s"][..])).prop_map(|(namespace, name)| role_key(namespace, name))
}

fn any_binding_key() -> impl Strategy<Value = BindingKey> {
    (select(&NAMESPACES[..]), select(&["b", "c", "d"][..])).prop_map(|(namespace, name)| binding_key(namespace, name))
}

fn any_binding() -> impl Strategy<Value = Binding> {
    let subjects = ["u", "v", "g", "h", "system:anonymous", "system:unauthenticated"];
    let subject = (any::<bool>(), select(subjects.to_vec()));
    let subject = subject.prop_map(|(is_user, name)| if is_user { user(name) } else { group(name) });
    (any_binding_key(), any_role_key(), prop::collection::vec(subject, 0..4))
        .prop_map(|(key, role, subjects)| Binding { key, role, subjects })
}

fn change() -> impl Strategy<Value = Change> {
    let rules = prop::collection::vec(policy_rule(), 0..3);
    prop_oneof![
        6 => (any_role_key(), rules).prop_map(|(key, rules)| Change::ApplyRole(key, rules)),
        1 => any_role_key().prop_map(Change::DeleteRole),
        8 => any_binding().prop_map(Change::ApplyBinding),
        1 => any_binding_key().prop_map(Change::DeleteBinding),
        1 => (any::<bool>(), prop::collection::vec(any_role_key(), 0..4))
            .prop_map(|(cluster, seen)| Change::RetainRoles(cluster, seen)),
        1 => (any::<bool>(), prop::collection::vec(any_binding_key(), 0..4))
            .prop_map(|(cluster, seen)| Change::RetainBindings(cluster, seen)),
    ]
}

fn callers() -> [Caller; 4] {
    [
        Caller::named("u", Source::Cluster),
        Caller::named("v", Source::Cluster).with_groups(["g", "h", "unknown"]),
        Caller::named("w", Source::Cluster).with_groups(["g", "u"]),
        Caller::anonymous(),
    ]
}

/// Every combination.
fn rights() -> impl Iterator<Item = Right<'static>> {
    let about = VERBS.into_iter().flat_map(|verb| RESOURCES.map(|resource| (verb, resource)));
    about.flat_map(|(verb, resource)| {
        NAMESPACES.into_iter().flat_map(move |namespace| {
            [None, Some("app"), Some("x/y")].map(|name| Right { verb, resource, namespace, name })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn agrees_with_the_naive_evaluator(changes in prop::collection::vec(change(), 1..40)) {
        let (rbac, mut naive) = (Rbac::new(), Naive::default());
        for (step, change) in changes.iter().enumerate() {
            change.make(&rbac, &mut naive);
            // All questions at the end, a few on the way.
            let last = step + 1 == changes.len();
            for right in rights().filter(|right| last || right.verb == Verb::Get && right.name == Some("app")) {
                for caller in &callers() {
                    let expected = naive.grants(caller, right);
                    prop_assert_eq!(rbac.read().grants(caller, right), expected, "{} {}", caller, right);
                    if last {
                        prop_assert_eq!(rbac.explain(caller, right).is_granted(), expected);
                        prop_assert!(!expected || rbac.read().may_grant(caller, right));
                    }
                }
            }
        }
    }
}
