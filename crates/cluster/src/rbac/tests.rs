use access::{Caller, Resource, Right, Rights, Source, Verb, Verdict};
use serde_json::json;

use super::*;

struct World {
    target: Target,
    cluster_roles: List<RoleKey>,
    roles: List<RoleKey>,
    cluster_bindings: List<BindingKey>,
    bindings: List<BindingKey>,
}

impl World {
    fn new() -> Self {
        let target = Target { rbac: Arc::new(Rbac::new()), warnings: None, complete: AtomicU32::new(0) };
        Self {
            target,
            cluster_roles: List::default(),
            roles: List::default(),
            cluster_bindings: List::default(),
            bindings: List::default(),
        }
    }

    /// All lists read, and nothing in them.
    fn complete() -> Self {
        let mut world = Self::new();
        world.target.role::<ClusterRole>(&mut world.cluster_roles, Change::Complete);
        world.target.role::<Role>(&mut world.roles, Change::Complete);
        world.target.binding::<ClusterRoleBinding>(&mut world.cluster_bindings, Change::Complete);
        world.target.binding::<RoleBinding>(&mut world.bindings, Change::Complete);
        world
    }

    fn role(&mut self, change: Change<Role>) {
        self.target.role(&mut self.roles, change);
    }

    fn binding(&mut self, change: Change<RoleBinding>) {
        self.target.binding(&mut self.bindings, change);
    }

    fn verdict(&self, user: &str, path: &str) -> Verdict {
        let right = Right {
            verb: Verb::Get,
            resource: Resource::RepositoryAccesses,
            namespace: Some("shop"),
            name: Some(path),
        };
        let caller = Caller::named(user, Source::Cluster);
        match self.target.rbac.check(&caller, right) {
            access::Reply::Ready(verdict) => verdict,
            access::Reply::Pending(_) => panic!("answers from memory"),
        }
    }

    fn granted(&self, user: &str) -> bool {
        self.verdict(user, "app") == Verdict::Granted
    }
}

fn role(rules: serde_json::Value) -> Role {
    serde_json::from_value(json!({"metadata": {"name": "puller", "namespace": "shop"}, "rules": rules})).unwrap()
}

fn pull() -> serde_json::Value {
    json!([{
        "apiGroups": ["payload-registry.deckhouse.io"],
        "resources": ["payloadrepositoryaccesses"],
        "verbs": ["get"],
    }])
}

fn bind(subjects: serde_json::Value) -> RoleBinding {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "puller"});
    let metadata = json!({"name": "pullers", "namespace": "shop"});
    serde_json::from_value(json!({"metadata": metadata, "roleRef": role, "subjects": subjects})).unwrap()
}

#[test]
fn unknown_until_all_four_lists_are_complete() {
    let mut world = World::new();
    let unavailable = |verdict| matches!(verdict, Verdict::Unavailable { .. });
    world.role(Change::Complete);
    world.role(Change::Start);
    world.role(Change::Complete);
    world.binding(Change::Complete);
    world.target.role::<ClusterRole>(&mut world.cluster_roles, Change::Complete);
    assert!(unavailable(world.verdict("bob", "app")));
    world.target.binding::<ClusterRoleBinding>(&mut world.cluster_bindings, Change::Complete);
    assert_eq!(world.verdict("bob", "app"), Verdict::NotGranted);
}

#[test]
fn subjects_of_all_kinds() {
    let mut world = World::complete();
    world.role(Change::Applied(role(pull())));
    world.binding(Change::Applied(bind(json!([
        {"kind": "User", "name": "bob"},
        {"kind": "ServiceAccount", "name": "ci", "namespace": "build"},
        {"kind": "ServiceAccount", "name": "nowhere"},
        {"kind": "Robot", "name": "marvin"},
        {"kind": "User"},
    ]))));
    assert!(world.granted("bob"));
    assert!(world.granted("system:serviceaccount:build:ci"));
    for stranger in ["system:serviceaccount::nowhere", "system:serviceaccount:shop:nowhere", "marvin", "ci", ""] {
        assert!(!world.granted(stranger), "{stranger}");
    }
}

#[test]
fn a_list_read_again_never_shows_an_empty_moment() {
    let mut world = World::complete();
    let bob = || bind(json!([{"kind": "User", "name": "bob"}]));
    world.role(Change::Applied(role(pull())));
    world.binding(Change::Applied(bob()));
    world.role(Change::Start);
    world.binding(Change::Start);
    assert!(world.granted("bob"));
    world.role(Change::Listed(role(pull())));
    world.role(Change::Complete);
    world.binding(Change::Listed(bob()));
    // Broken off, and begun again.
    world.binding(Change::Start);
    assert!(world.granted("bob"));
    world.binding(Change::Complete);
    assert!(!world.granted("bob"), "the list did not contain the binding any more");
}

#[test]
fn what_is_taken_away_is_gone() {
    let mut world = World::complete();
    world.role(Change::Applied(role(pull())));
    world.binding(Change::Applied(bind(json!([{"kind": "User", "name": "bob"}]))));
    assert!(world.granted("bob"));
    world.binding(Change::Applied(bind(json!(null))));
    assert!(!world.granted("bob"));
    world.binding(Change::Applied(bind(json!([{"kind": "User", "name": "bob"}]))));
    world.role(Change::Deleted(role(pull())));
    assert!(!world.granted("bob"));
    world.role(Change::Applied(role(pull())));
    assert!(world.granted("bob"));
    world.binding(Change::Deleted(bind(json!([]))));
    assert!(!world.granted("bob"));
}

#[test]
fn odd_objects_grant_nothing_and_stop_nobody() {
    let mut world = World::complete();
    world.binding(Change::Applied(bind(json!([{"kind": "User", "name": "bob"}]))));
    world.role(Change::Applied(role(pull())));
    for odd in [json!("x"), json!([{"verbs": 1}]), json!([1]), json!(null)] {
        world.role(Change::Applied(role(odd)));
        assert!(!world.granted("bob"));
        world.role(Change::Applied(role(pull())));
        assert!(world.granted("bob"));
    }
    world.binding(Change::Applied(bind(json!({"kind": "User"}))));
    assert!(!world.granted("bob"), "a binding that cannot be read any more");
    let nothing: RoleBinding =
        serde_json::from_value(json!({"metadata": {"name": "pullers", "namespace": "shop"}})).unwrap();
    world.binding(Change::Applied(nothing));
    assert!(!world.granted("bob"));
}

#[test]
fn a_cluster_role_is_not_a_role_of_the_same_name() {
    let mut world = World::complete();
    world.binding(Change::Applied(bind(json!([{"kind": "User", "name": "bob"}]))));
    let everywhere: ClusterRole =
        serde_json::from_value(json!({"metadata": {"name": "puller"}, "rules": pull()})).unwrap();
    world.target.role(&mut world.cluster_roles, Change::Applied(everywhere));
    assert!(!world.granted("bob"));
}
