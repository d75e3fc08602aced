//! Authorisation: from a caller and a wish to a decision.

mod anonymous;
mod cluster;
mod glob;
mod namespaces;
mod open;
mod projects;
mod rbac;
mod rights;
mod source;

pub use anonymous::{AnonymousPolicy, WithAnonymous};
pub use cluster::{ClusterPolicy, ClusterRules};
pub use glob::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use namespaces::{EveryNamespaceExists, NamespaceState, NamespaceUid, Namespaces};
pub use open::{AllowAll, AuthenticatedAllowAll};
pub use projects::Projects;
pub use rbac::{
    Binding, BindingKey, Explanation, Grant, Miss, NearMiss, PolicyRule, Rbac, RoleKey, RoleProblem, Rules, Subject,
};
pub use rights::{Reach, Resource, Right, Rights, Verb, Verdict};
pub use source::BySource;
