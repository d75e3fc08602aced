//! Roles and bindings as the API writes them.

use access::{Binding, BindingKey, PolicyRule, RoleKey, Subject};
use serde::Deserialize;

use crate::object::{Lenient, Meta};
use crate::watch::Kind;

/// A Role or ClusterRole.
pub(super) trait RoleObject: Kind {
    /// Whether it is one of the whole cluster.
    const CLUSTER: bool;

    /// Its rules, or why they cannot be read.
    fn rules(&self) -> Result<Vec<PolicyRule>, String>;
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) trait BindingObject: Kind {
    /// Whether it is one of the whole cluster.
    const CLUSTER: bool;

    /// What it binds, or why that cannot be read.
    fn binding(&self, key: BindingKey) -> Result<Binding, String>;
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    api_groups: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    verbs: Option<Vec<String>>,
    resource_names: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SubjectRef {
    kind: String,
    name: String,
    namespace: String,
}

fn rules(rules: &Lenient<Vec<Rule>>) -> Result<Vec<PolicyRule>, String> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    match rules {
        Lenient::Odd(error) => Err(error.clone()),
        Lenient::Read(rules) => Ok(rules
            .iter()
            .map(|rule| PolicyRule {
                api_groups: list(&rule.api_groups),
                resources: list(&rule.resources),
                verbs: list(&rule.verbs),
                resource_names: list(&rule.resource_names),
            })
            .collect()),
    }
}

fn binding(key: BindingKey, role: &Lenient<RoleRef>, subjects: &Lenient<Vec<SubjectRef>>) -> Result<Binding, String> {
    let (role, subjects) = match (role, subjects) {
        (Lenient::Read(role), Lenient::Read(subjects)) => (role, subjects),
        (Lenient::Odd(error), _) | (_, Lenient::Odd(error)) => return Err(error.clone()),
    };
    let namespace = match (role.kind.as_str(), &key.namespace) {
        ("ClusterRole", _) => None,
        ("Role", Some(namespace)) => Some(namespace.clone()),
        (kind, _) => return Err(format!("it binds a role of kind {kind:?}")),
    };
    let role = RoleKey { namespace, name: role.name.as_str().into() };
    Ok(Binding { key, role, subjects: subjects.iter().filter_map(subject).collect() })
}

/// Who is meant; nobody if the kind is not known.
fn subject(subject: &SubjectRef) -> Option<Subject> {
    let SubjectRef { kind, name, namespace } = subject;
    if name.is_empty() {
        return None;
    }
    match kind.as_str() {
        "User" => Some(Subject::User(name.as_str().into())),
        "Group" => Some(Subject::Group(name.as_str().into())),
        "ServiceAccount" if !namespace.is_empty() => {
            Some(Subject::User(format!("system:serviceaccount:{namespace}:{name}").into()))
        }
        _ => None,
    }
}

macro_rules! role_object {
    ($name:ident, $path:literal, $cluster:literal) => {
        #[derive(Clone, Debug, Deserialize)]
        pub(super) struct $name {
            metadata: Meta,
            #[serde(default)]
            rules: Lenient<Vec<Rule>>,
        }

        impl Kind for $name {
            const PATH: &'static str = concat!("/apis/rbac.authorization.k8s.io/v1/", $path);

            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }

        impl RoleObject for $name {
            const CLUSTER: bool = $cluster;

            fn rules(&self) -> Result<Vec<PolicyRule>, String> {
                rules(&self.rules)
            }
        }
    };
}

macro_rules! binding_object {
    ($name:ident, $path:literal, $cluster:literal) => {
        #[derive(Clone, Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            metadata: Meta,
            #[serde(default)]
            role_ref: Lenient<RoleRef>,
            #[serde(default)]
            subjects: Lenient<Vec<SubjectRef>>,
        }

        impl Kind for $name {
            const PATH: &'static str = concat!("/apis/rbac.authorization.k8s.io/v1/", $path);

            fn meta(&self) -> &Meta {
                &self.metadata
            }
        }

        impl BindingObject for $name {
            const CLUSTER: bool = $cluster;

            fn binding(&self, key: BindingKey) -> Result<Binding, String> {
                binding(key, &self.role_ref, &self.subjects)
            }
        }
    };
}

role_object!(ClusterRole, "clusterroles", true);
role_object!(Role, "roles", false);
binding_object!(ClusterRoleBinding, "clusterrolebindings", true);
binding_object!(RoleBinding, "rolebindings", false);
