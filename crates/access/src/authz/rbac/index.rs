//! Roles and bindings, arranged for the question "what does this caller have here?".

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::names::{Names, Number};
use super::object::{Binding, BindingKey, RoleKey, Subject};
use super::role::{Role, Wanted};
use super::subjects::{SubjectId, Subjects};
use crate::authz::glob::Places;
use crate::authz::rights::Right;
use crate::identity::Caller;

/// Roles up to this cost are looked at at once, and not counted.
const COST_CHEAP: usize = 8;
/// What all other roles may cost a decision: two roles of the greatest kind.
const COST_MAX: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Index {
    pub(super) subjects: Subjects,
    /// Held by the role itself while it grants something, and by each binding to it.
    role_names: Names<RoleKey>,
    /// By the number of their name; `None` grants nothing or is not there.
    roles: Vec<Option<Role>>,
    cluster: Space,
    namespaces: HashMap<Box<str>, Space>,
    /// Whether it was told that somebody's roles are too costly.
    told: AtomicBool,
}

/// The bindings of a namespace, or those of the whole cluster.
#[derive(Default)]
struct Space {
    by_name: HashMap<Box<str>, Arc<Bound>>,
    by_subject: BTreeMap<SubjectId, Vec<Arc<Bound>>>,
}

/// A binding.
pub(super) struct Bound {
    pub(super) name: Box<str>,
    pub(super) role: Number,
    /// Each once.
    subjects: Box<[SubjectId]>,
}

/// A binding that a caller has a share in.
#[derive(Clone, Copy)]
pub(super) struct Share<'a> {
    pub(super) binding: &'a Bound,
    /// Where it holds; `None` is the whole cluster.
    pub(super) namespace: Option<&'a str>,
    pub(super) subject: SubjectId,
}

impl Index {
    pub(super) fn grants(&self, caller: &Caller, right: Right<'_>) -> bool {
        let path = right.name.map(Places::new);
        let wanted = Wanted { right, path: path.as_ref() };
        let mut costly = Vec::new();
        for share in self.shares(caller, right.namespace) {
            let number = share.binding.role;
            match self.role(number) {
                Some(role) if role.cost > COST_CHEAP => costly.push((role.cost, number)),
                Some(role) if role.grants(wanted) => return true,
                _ => {}
            }
        }
        self.one_grants(costly, wanted)
    }

    /// Whether some rule is about the right, whatever names it has.
    pub(super) fn may_grant(&self, caller: &Caller, right: Right<'_>) -> bool {
        let mut roles = self.shares(caller, right.namespace).filter_map(|share| self.role(share.binding.role));
        roles.any(|role| role.rules.iter().any(|rule| rule.is_about(right)))
    }

    /// Changes when what the caller may do in `namespace`, or anywhere, changes.
    pub(super) fn stamp(&self, caller: &Caller, namespace: Option<&str>) -> u64 {
        let one = |share: Share<'_>| {
            let role = self.role(share.binding.role)?;
            let mut hasher = DefaultHasher::new();
            (share.namespace, role.print).hash(&mut hasher);
            Some(hasher.finish())
        };
        // In any order, and each as often as it is there.
        let sum = |shares: &mut dyn Iterator<Item = Share<'_>>| shares.filter_map(one).fold(0, u64::wrapping_add);
        if namespace.is_some() {
            return sum(&mut self.shares(caller, namespace));
        }
        let subjects: Vec<SubjectId> = self.subjects.of(caller).collect();
        let elsewhere = self.namespaces.iter().flat_map(|(name, space)| {
            let of = |subject: &SubjectId| (*subject, space.of(*subject));
            subjects.iter().map(of).flat_map(move |(subject, bindings)| {
                bindings.map(move |binding| Share { binding, namespace: Some(name), subject })
            })
        });
        sum(&mut self.shares(caller, None).chain(elsewhere))
    }

    /// Looks at costly roles, each once and the cheapest first, until a decision has cost enough: whoever may write Roles
    /// and RoleBindings may make as many as they like.
    fn one_grants(&self, mut roles: Vec<(usize, Number)>, wanted: Wanted<'_>) -> bool {
        roles.sort_unstable();
        roles.dedup();
        let mut left = COST_MAX;
        for (cost, number) in roles {
            let Some(rest) = left.checked_sub(cost) else {
                if !self.told.swap(true, Ordering::Relaxed) {
                    let right = wanted.right.to_string();
                    tracing::warn!(right, "somebody's roles are too costly, not all were looked at; not told again");
                }
                return false;
            };
            left = rest;
            if self.role(number).is_some_and(|role| role.grants(wanted)) {
                return true;
            }
        }
        false
    }

    /// The caller's bindings for the whole cluster, and those in `namespace`.
    pub(super) fn shares<'a>(
        &'a self,
        caller: &'a Caller,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = Share<'a>> {
        let there = namespace.and_then(|name| self.namespaces.get(name));
        self.subjects.of(caller).flat_map(move |subject| {
            let everywhere = self.cluster.of(subject).map(move |binding| Share { binding, namespace: None, subject });
            let here = there.into_iter().flat_map(move |space| space.of(subject));
            everywhere.chain(here.map(move |binding| Share { binding, namespace, subject }))
        })
    }

    pub(super) fn role(&self, number: Number) -> Option<&Role> {
        self.roles.get(number as usize)?.as_ref()
    }

    pub(super) fn role_name(&self, number: Number) -> Option<&RoleKey> {
        self.role_names.name(number)
    }

    pub(super) fn roles(&self, cluster: bool) -> impl Iterator<Item = &RoleKey> {
        let present = self.role_names.all().filter(|(number, _)| self.role(*number).is_some());
        present.map(|(_, key)| key).filter(move |key| key.namespace.is_none() == cluster)
    }

    pub(super) fn bindings(&self, cluster: bool) -> impl Iterator<Item = BindingKey> {
        let everywhere = cluster.then_some((None, &self.cluster));
        let spaces = self.namespaces.iter().filter(move |_| !cluster).map(|(name, space)| (Some(name), space));
        everywhere.into_iter().chain(spaces).flat_map(|(namespace, space)| {
            space.by_name.keys().map(move |name| BindingKey { namespace: namespace.cloned(), name: name.clone() })
        })
    }

    pub(super) fn set_role(&mut self, key: &RoleKey, role: Option<Role>) {
        let known = self.role_names.find(key).filter(|number| self.role(*number).is_some());
        match (known, role) {
            (None, None) => {}
            (Some(number), None) => {
                self.put_role(number, None);
                self.role_names.release(number);
            }
            (Some(number), role) => self.put_role(number, role),
            (None, role) => {
                let number = self.role_names.hold(Arc::new(key.clone()));
                self.put_role(number, role);
            }
        }
    }

    /// Roles and bindings in it, namespaces with bindings, and names of roles and of subjects.
    #[cfg(test)]
    pub(super) fn size(&self) -> [usize; 5] {
        let bindings = self.bindings(false).chain(self.bindings(true)).count();
        let roles = self.roles.iter().flatten().count();
        [roles, bindings, self.namespaces.len(), self.role_names.all().count(), self.subjects.size()]
    }

    #[cfg(test)]
    pub(super) fn has_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    fn put_role(&mut self, number: Number, role: Option<Role>) {
        let place = number as usize;
        if place >= self.roles.len() {
            self.roles.resize_with(place + 1, || None);
        }
        if let Some(slot) = self.roles.get_mut(place) {
            *slot = role;
        }
    }

    pub(super) fn set_binding(&mut self, binding: &Binding) {
        self.remove_binding(&binding.key);
        // The API server lets nobody write such a binding: a Role is of one namespace, and so are its bindings.
        if binding.role.namespace.is_some() && binding.role.namespace != binding.key.namespace {
            return;
        }
        let named: BTreeSet<&Subject> = binding.subjects.iter().collect();
        let subjects = named.into_iter().map(|subject| self.subjects.hold(subject)).collect();
        let role = self.role_names.hold(Arc::new(binding.role.clone()));
        let bound = Arc::new(Bound { name: binding.key.name.clone(), role, subjects });
        match &binding.key.namespace {
            Some(namespace) => self.namespaces.entry(namespace.clone()).or_default().add(bound),
            None => self.cluster.add(bound),
        }
    }

    pub(super) fn remove_binding(&mut self, key: &BindingKey) {
        let space = match &key.namespace {
            Some(namespace) => self.namespaces.get_mut(namespace),
            None => Some(&mut self.cluster),
        };
        let Some((space, bound)) = space.and_then(|space| space.remove(&key.name).map(|bound| (space, bound))) else {
            return;
        };
        let is_empty = space.by_name.is_empty();
        if let Some(namespace) = key.namespace.as_ref().filter(|_| is_empty) {
            self.namespaces.remove(namespace);
        }
        self.role_names.release(bound.role);
        bound.subjects.iter().for_each(|subject| self.subjects.release(*subject));
    }
}

impl Space {
    fn of(&self, subject: SubjectId) -> impl Iterator<Item = &Bound> {
        self.by_subject.get(&subject).into_iter().flatten().map(|bound| &**bound)
    }

    fn add(&mut self, bound: Arc<Bound>) {
        for subject in &bound.subjects {
            let shares = self.by_subject.entry(*subject).or_default();
            if shares.is_empty() {
                // Most subjects have one binding in a namespace.
                shares.reserve_exact(1);
            }
            shares.push(bound.clone());
        }
        self.by_name.insert(bound.name.clone(), bound);
    }

    fn remove(&mut self, name: &str) -> Option<Arc<Bound>> {
        let bound = self.by_name.remove(name)?;
        for subject in &bound.subjects {
            if let Some(shares) = self.by_subject.get_mut(subject) {
                shares.retain(|other| !Arc::ptr_eq(other, &bound));
                if shares.is_empty() {
                    self.by_subject.remove(subject);
                }
            }
        }
        Some(bound)
    }
}
