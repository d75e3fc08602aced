//! Follows roles and bindings into the index of `access`.

mod objects;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use access::{BindingKey, Rbac, RoleKey, RoleProblem};

use crate::connect::Connection;
use crate::events::{EventKind, Events, Regarding, Report};
use crate::object::Meta;
use crate::reach::Feed;
use crate::watch::{Change, follow};
use objects::{BindingObject, ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleObject};

/// The four collections.
const LISTS: u32 = 4;
/// Problems of one role that are told; the rest is of the same kind.
const WARNINGS_MAX: usize = 5;

/// Follows roles and bindings.
pub struct RbacSource {
    connection: Connection,
    target: Target,
    feeds: [Arc<Feed>; LISTS as usize],
}

struct Target {
    rbac: Arc<Rbac>,
    warnings: Option<Arc<Events>>,
    /// How many first lists are complete.
    complete: AtomicU32,
}

impl RbacSource {
    /// Nothing is known before [`RbacSource::run`] has read the first lists. With `warnings`, authors of roles are told what
    /// does not do what they meant. Every replica may: what one has told, the API server does not take again.
    #[must_use]
    pub fn new(connection: &Connection, rbac: Arc<Rbac>, warnings: Option<Arc<Events>>) -> Arc<Self> {
        let names = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];
        Arc::new(Self {
            connection: connection.clone(),
            target: Target { rbac, warnings, complete: AtomicU32::new(0) },
            feeds: names.map(|name| connection.reach().feed(name)),
        })
    }

    /// Follows the cluster for ever.
    pub async fn run(self: Arc<Self>) {
        let [cluster_roles, roles, cluster_bindings, bindings] = &self.feeds;
        tokio::join!(
            self.follow_roles::<ClusterRole>(cluster_roles),
            self.follow_roles::<Role>(roles),
            self.follow_bindings::<ClusterRoleBinding>(cluster_bindings),
            self.follow_bindings::<RoleBinding>(bindings),
        );
    }

    /// Whether all first lists are complete.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.target.complete.load(Ordering::Acquire) >= LISTS
    }

    async fn follow_roles<K: RoleObject>(&self, feed: &Feed) {
        let mut list = List::default();
        follow::<K>(&self.connection, feed, |change| self.target.role(&mut list, change)).await;
    }

    async fn follow_bindings<K: BindingObject>(&self, feed: &Feed) {
        let mut list = List::default();
        follow::<K>(&self.connection, feed, |change| self.target.binding(&mut list, change)).await;
    }
}

/// What the list under way has contained so far.
struct List<Key> {
    seen: HashSet<Key>,
    /// Whether a list was complete before.
    complete: bool,
}

impl<Key> Default for List<Key> {
    fn default() -> Self {
        Self { seen: HashSet::new(), complete: false }
    }
}

impl Target {
    fn role<K: RoleObject>(&self, list: &mut List<RoleKey>, change: Change<K>) {
        match change {
            Change::Start => list.seen.clear(),
            Change::Listed(role) => {
                let key = key::<K>(role.meta());
                self.apply_role(&key, &role);
                list.seen.insert(key);
            }
            Change::Applied(role) => self.apply_role(&key::<K>(role.meta()), &role),
            Change::Deleted(role) => self.rbac.delete_role(&key::<K>(role.meta())),
            Change::Complete => {
                self.rbac.retain_roles(K::CLUSTER, |key| list.seen.contains(key));
                self.listed(list);
            }
        }
    }

    fn apply_role<K: RoleObject>(&self, key: &RoleKey, role: &K) {
        let rules = role.rules().unwrap_or_else(|error| {
            tracing::warn!(%key, error, "role cannot be read and grants nothing");
            Vec::new()
        });
        let problems = self.rbac.apply_role(key, &rules);
        if !problems.is_empty() {
            self.warn(key, role.meta(), &problems);
        }
    }

    fn warn(&self, key: &RoleKey, meta: &Meta, problems: &[RoleProblem]) {
        let Some(events) = &self.warnings else { return };
        let kind = if key.namespace.is_some() { "Role" } else { "ClusterRole" };
        for problem in problems.iter().take(WARNINGS_MAX) {
            events.publish(Report {
                regarding: Regarding {
                    api_version: "rbac.authorization.k8s.io/v1".into(),
                    kind: kind.into(),
                    namespace: key.namespace.as_deref().map(Into::into),
                    name: key.name.clone().into(),
                    uid: meta.uid.clone(),
                    resource_version: Some(meta.resource_version.clone()),
                },
                kind: EventKind::Warning,
                reason: "PatternProblem",
                message: problem.to_string(),
            });
        }
    }

    fn binding<K: BindingObject>(&self, list: &mut List<BindingKey>, change: Change<K>) {
        match change {
            Change::Start => list.seen.clear(),
            Change::Listed(binding) => {
                list.seen.insert(binding_key::<K>(binding.meta()));
                self.apply_binding(&binding);
            }
            Change::Applied(binding) => self.apply_binding(&binding),
            Change::Deleted(binding) => self.rbac.delete_binding(&binding_key::<K>(binding.meta())),
            Change::Complete => {
                self.rbac.retain_bindings(K::CLUSTER, |key| list.seen.contains(key));
                self.listed(list);
            }
        }
    }

    fn apply_binding<K: BindingObject>(&self, object: &K) {
        let key = binding_key::<K>(object.meta());
        match object.binding(key.clone()) {
            Ok(binding) => self.rbac.apply_binding(&binding),
            Err(error) => {
                tracing::warn!(%key, error, "binding cannot be read and grants nothing");
                self.rbac.delete_binding(&key);
            }
        }
    }

    fn listed<Key>(&self, list: &mut List<Key>) {
        list.seen = HashSet::new();
        if !std::mem::replace(&mut list.complete, true) {
            // One task follows all four.
            let complete = self.complete.load(Ordering::Relaxed) + 1;
            if complete == LISTS {
                self.rbac.set_complete();
            }
            self.complete.store(complete, Ordering::Release);
        }
    }
}

fn key<K: RoleObject>(meta: &Meta) -> RoleKey {
    RoleKey { namespace: (!K::CLUSTER).then(|| meta.namespace.as_str().into()), name: meta.name.as_str().into() }
}

fn binding_key<K: BindingObject>(meta: &Meta) -> BindingKey {
    BindingKey { namespace: (!K::CLUSTER).then(|| meta.namespace.as_str().into()), name: meta.name.as_str().into() }
}
