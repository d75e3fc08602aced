//! What the registry and the operator may do in the cluster: no more than they do.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::metadata::{Component, cluster_wide, namespaced, texts};
use super::{Authorization, Inputs, Object, api};

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];

pub(super) fn objects(inputs: &Inputs) -> Vec<Object> {
    let mut objects = Vec::new();
    for (component, rules) in [(Component::Registry, registry(inputs)), (Component::Operator, operator(inputs))] {
        objects.push(account(inputs, component));
        objects.extend(in_the_cluster(inputs, component, rules));
        objects.extend(at_home(inputs, component));
    }
    objects.extend(audiences(inputs));
    objects.extend(api::rights(inputs));
    objects
}

fn registry(inputs: &Inputs) -> Vec<PolicyRule> {
    let mut rules = vec![rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"])];
    match inputs.authorization {
        Authorization::Rbac => {
            rules.push(rule(&[RBAC], &["clusterrolebindings", "clusterroles", "rolebindings", "roles"], READ));
        }
        // Patterns are asked for in the name of the caller: as user, groups, UID and what else is known.
        Authorization::Review => rules.extend([
            rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
            rule(&[""], &["groups", "serviceaccounts", "users"], &["impersonate"]),
            rule(&["authentication.k8s.io"], &["*"], &["impersonate"]),
        ]),
    }
    rules.extend([rule(&[""], &["namespaces"], READ), events()]);
    rules
}

fn operator(inputs: &Inputs) -> Vec<PolicyRule> {
    let mut rules = vec![
        rule(&[""], &["secrets"], &["get", "list", "watch", "patch", "delete"]),
        rule(&[""], &["serviceaccounts"], READ),
        rule(&[""], &["serviceaccounts/token"], &["create"]),
        events(),
    ];
    if inputs.api.is_some() {
        rules.extend(api::keeper(inputs));
    }
    rules
}

fn events() -> PolicyRule {
    rule(&[""], &["events"], &["create", "patch"])
}

fn account(inputs: &Inputs, component: Component) -> Object {
    ServiceAccount { metadata: namespaced(inputs, component, component.name()), ..ServiceAccount::default() }.into()
}

fn in_the_cluster(inputs: &Inputs, component: Component, rules: Vec<PolicyRule>) -> [Object; 2] {
    let name = format!("{}:{}", inputs.namespace, component.word());
    let role = ClusterRole { metadata: cluster_wide(&name, &[]), rules: Some(rules), aggregation_rule: None };
    let binding = ClusterRoleBinding {
        metadata: cluster_wide(&name, &[]),
        role_ref: reference("ClusterRole", &name),
        subjects: Some(vec![subject(inputs, component)]),
    };
    [role.into(), binding.into()]
}

/// Leases tell which of several pods does what only one may do.
fn at_home(inputs: &Inputs, component: Component) -> [Object; 2] {
    let metadata = namespaced(inputs, component, component.name());
    let leases = |verbs: &[&str]| rule(&["coordination.k8s.io"], &["leases"], verbs);
    let own = PolicyRule { resource_names: Some(texts(&[component.lease()])), ..leases(&["get", "update"]) };
    // What is made has no name yet that a rule could compare.
    let mut rules = vec![leases(&["create"]), own];
    if component == Component::Operator && inputs.api.is_some() {
        // For the certificate of the API, when its Secret is gone.
        rules.push(rule(&[""], &["secrets"], &["create"]));
    }
    let binding = RoleBinding {
        metadata: metadata.clone(),
        role_ref: reference("Role", component.name()),
        subjects: Some(vec![subject(inputs, component)]),
    };
    [Role { metadata, rules: Some(rules) }.into(), binding.into()]
}

/// A kubelet may ask for tokens of an audience of its own only when it is told so (Kubernetes 1.33 and later).
fn audiences(inputs: &Inputs) -> Vec<Object> {
    if inputs.audiences.is_empty() {
        return Vec::new();
    }
    let name = format!("{}:kubelet-audience", inputs.namespace);
    let audiences: Vec<&str> = inputs.audiences.iter().map(String::as_str).collect();
    let rules = vec![rule(&[""], &audiences, &["request-serviceaccounts-token-audience"])];
    let nodes = Subject {
        api_group: Some(RBAC.to_owned()),
        kind: "Group".to_owned(),
        name: "system:nodes".to_owned(),
        namespace: None,
    };
    let role = ClusterRole { metadata: cluster_wide(&name, &[]), rules: Some(rules), aggregation_rule: None };
    let binding = ClusterRoleBinding {
        metadata: cluster_wide(&name, &[]),
        role_ref: reference("ClusterRole", &name),
        subjects: Some(vec![nodes]),
    };
    vec![role.into(), binding.into()]
}

pub(super) fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(texts(groups)),
        resources: Some(texts(resources)),
        verbs: texts(verbs),
        ..PolicyRule::default()
    }
}

pub(super) fn reference(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: RBAC.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

pub(super) fn subject(inputs: &Inputs, component: Component) -> Subject {
    Subject {
        api_group: None,
        kind: "ServiceAccount".to_owned(),
        name: component.name().to_owned(),
        namespace: Some(inputs.namespace.clone()),
    }
}
