//! The cluster's RBAC rules as far as they concern this registry, evaluated in process.
//!
//! * The index holds what a source applied to it and nothing else; it does no I/O. Rules only ever grant, so a missing
//!   one can only refuse too much.
//! * A role is compiled when it is applied: rules about other resources are dropped, and a role that is left with none
//!   takes no room.
//! * A decision looks up the caller's subjects, and walks the bindings of those in the namespace and in the whole
//!   cluster. Its cost does not depend on how many roles and bindings others have.
//! * A change is one short write lock. An object that is replaced is never missing in between.

mod explain;
mod index;
mod names;
mod object;
mod role;
mod subjects;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use explain::{Explanation, Grant, Miss, NearMiss};
pub use object::{Binding, BindingKey, PolicyRule, RoleKey, RoleProblem, Subject};

use self::index::Index;
use super::glob::Places;
use super::rights::{Right, Rights, Verdict};
use crate::identity::Caller;
use crate::reply::Reply;

/// When to come back while the first lists are still on their way.
const INCOMPLETE_RETRY: Duration = Duration::from_secs(2);

/// All roles and bindings of a cluster, as far as they matter here.
#[derive(Default)]
pub struct Rbac {
    index: RwLock<Index>,
    complete: AtomicBool,
}

impl Rbac {
    /// Without any rules, and not complete.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that every role and binding of the cluster was applied once. Until then a right that no rule grants is
    /// unknown rather than refused.
    pub fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// Puts a role in place of the one of that key. Returns what in it does not do what its author meant.
    pub fn apply_role(&self, key: &RoleKey, rules: &[PolicyRule]) -> Vec<RoleProblem> {
        let (role, problems) = role::compile(rules, key.namespace.as_deref());
        self.write().set_role(key, role);
        problems
    }

    /// Forgets a role. Bindings to it are kept, it may come back.
    pub fn delete_role(&self, key: &RoleKey) {
        self.write().set_role(key, None);
    }

    /// Puts a binding in place of the one of that key.
    pub fn apply_binding(&self, binding: &Binding) {
        self.write().set_binding(binding);
    }

    /// Forgets a binding.
    pub fn delete_binding(&self, key: &BindingKey) {
        self.write().remove_binding(key);
    }

    /// Forgets the ClusterRoles (`cluster`) or the Roles that were not seen in a new list.
    pub fn retain_roles(&self, cluster: bool, seen: impl Fn(&RoleKey) -> bool) {
        // One by one, so that no decision waits for the whole list.
        let gone: Vec<RoleKey> = self.read().roles(cluster).filter(|key| !seen(key)).cloned().collect();
        gone.iter().for_each(|key| self.delete_role(key));
    }

    /// Forgets the ClusterRoleBindings (`cluster`) or the RoleBindings that were not seen in a new list.
    pub fn retain_bindings(&self, cluster: bool, seen: impl Fn(&BindingKey) -> bool) {
        let gone: Vec<BindingKey> = self.read().bindings(cluster).filter(|key| !seen(key)).collect();
        gone.iter().for_each(|key| self.delete_binding(key));
    }

    /// Which rules grant a right, and which of the caller's bindings come near it.
    #[must_use]
    pub fn explain(&self, caller: &Caller, right: Right<'_>) -> Explanation {
        explain::explain(&self.read(), caller, right)
    }

    fn verdict(&self, caller: &Caller, right: Right<'_>) -> Verdict {
        // Asked first: what is applied between the two questions is then not taken for missing.
        let complete = self.complete.load(Ordering::Acquire);
        if self.read().grants(caller, right) {
            return Verdict::Granted;
        }
        if complete { Verdict::NotGranted } else { Verdict::Unavailable { retry_after: INCOMPLETE_RETRY } }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some rules, ready to be asked, with the same bounds as a role.
#[derive(Clone, Debug)]
pub struct Rules(Option<role::Role>);

impl Rules {
    /// Keeps what concerns this registry.
    #[must_use]
    pub fn new(rules: &[PolicyRule]) -> Self {
        Self(role::compile(rules, None).0)
    }

    /// Whether some rule grants the right. Where is not looked at.
    #[must_use]
    pub fn grant(&self, right: Right<'_>) -> bool {
        let path = right.name.map(Places::new);
        self.0.as_ref().is_some_and(|role| role.grants(role::Wanted { right, path: path.as_ref() }))
    }

    /// About how many bytes of memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.0.as_ref().map_or(0, role::Role::bytes)
    }
}

impl Rights for Rbac {
    fn check<'a>(&'a self, caller: &'a Caller, right: Right<'a>) -> Reply<'a, Verdict> {
        Reply::Ready(self.verdict(caller, right))
    }

    fn may_have_any(&self, caller: &Caller, right: Right<'_>) -> bool {
        // Asked first, as for a verdict.
        let complete = self.complete.load(Ordering::Acquire);
        !complete || self.read().may_grant(caller, right)
    }

    fn stamp(&self, caller: &Caller, namespace: Option<&str>) -> u64 {
        self.read().stamp(caller, namespace)
    }
}
