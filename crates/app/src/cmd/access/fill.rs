//! From objects of the API to rules that can be asked.

use access::{BindingKey, PolicyRule, Rbac, RoleKey};

use super::list::{Binding, Objects, Role, Rule, Subject};

pub(super) fn rbac(objects: Objects) -> Rbac {
    let rbac = Rbac::new();
    for role in objects.roles {
        let (key, rules) = role_of(role);
        // What is wrong with a pattern is part of each explanation.
        drop(rbac.apply_role(&key, &rules));
    }
    for binding in objects.bindings {
        rbac.apply_binding(&binding_of(binding));
    }
    rbac.set_complete();
    rbac
}

fn role_of(role: Role) -> (RoleKey, Vec<PolicyRule>) {
    let key = RoleKey { namespace: place(role.metadata.namespace), name: role.metadata.name.into() };
    (key, role.rules.unwrap_or_default().into_iter().map(rule_of).collect())
}

fn rule_of(rule: Rule) -> PolicyRule {
    PolicyRule {
        api_groups: rule.api_groups.unwrap_or_default(),
        resources: rule.resources.unwrap_or_default(),
        verbs: rule.verbs.unwrap_or_default(),
        resource_names: rule.resource_names.unwrap_or_default(),
    }
}

fn binding_of(binding: Binding) -> access::Binding {
    let namespace = place(binding.metadata.namespace);
    // A RoleBinding may name a ClusterRole, which is none of its namespace.
    let role_namespace = if binding.role_ref.kind == "Role" { namespace.clone() } else { None };
    access::Binding {
        key: BindingKey { namespace, name: binding.metadata.name.into() },
        role: RoleKey { namespace: role_namespace, name: binding.role_ref.name.into() },
        subjects: binding.subjects.unwrap_or_default().into_iter().filter_map(subject_of).collect(),
    }
}

fn subject_of(subject: Subject) -> Option<access::Subject> {
    match subject.kind.as_str() {
        "User" => Some(access::Subject::User(subject.name.into())),
        "Group" => Some(access::Subject::Group(subject.name.into())),
        "ServiceAccount" => {
            let user = format!("system:serviceaccount:{}:{}", subject.namespace?, subject.name);
            Some(access::Subject::User(user.into()))
        }
        _ => None,
    }
}

fn place(namespace: String) -> Option<Box<str>> {
    (!namespace.is_empty()).then(|| namespace.into())
}
