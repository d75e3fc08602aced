//! Roles and bindings as a source hands them in.

use std::fmt;

/// A rule of a Role or ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// `apiGroups`; `*` is all.
    pub api_groups: Vec<String>,
    /// `resources`, a sub-resource after a slash; `*` is all.
    pub resources: Vec<String>,
    /// `verbs`; `*` is all.
    pub verbs: Vec<String>,
    /// `resourceNames`; empty is all.
    pub resource_names: Vec<String>,
}

/// Which role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleKey {
    /// `None` is a ClusterRole.
    pub namespace: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
}

impl fmt::Display for RoleKey {
    /// `Role shop/puller` or `ClusterRole registry-viewer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, "Role", self.namespace.as_deref(), &self.name)
    }
}

/// Which binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingKey {
    /// `None` is a ClusterRoleBinding.
    pub namespace: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
}

impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, "RoleBinding", self.namespace.as_deref(), &self.name)
    }
}

fn write_key(f: &mut fmt::Formatter<'_>, kind: &str, namespace: Option<&str>, name: &str) -> fmt::Result {
    match namespace {
        Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
        None => write!(f, "Cluster{kind} {name}"),
    }
}

/// Who has a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user name. A ServiceAccount is the user `system:serviceaccount:NAMESPACE:NAME`.
    User(Box<str>),
    /// A group name.
    Group(Box<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Group(name) => write!(f, "group {name:?}"),
        }
    }
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Which one.
    pub key: BindingKey,
    /// What it gives.
    pub role: RoleKey,
    /// To whom.
    pub subjects: Vec<Subject>,
}

/// Something in a role that does not do what its author meant; to be shown as an Event on the role. It never grants
/// more than was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleProblem {
    /// The text in the role: a pattern or the name of a resource. Cut if it is long.
    pub entry: String,
    /// What is wrong with it and, where possible, what to write instead.
    pub text: String,
}

impl fmt::Display for RoleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.entry, self.text)
    }
}
