//! Rights of everybody.

use std::sync::Arc;

use crate::decision::{Action, Authorizer, Deciding, Decision, Target};
use crate::identity::Caller;
use crate::reply::Reply;

/// What callers without credentials may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnonymousPolicy {
    /// Nothing.
    #[default]
    None,
    /// Pull from every repository. Not the catalog: who may pull by name need not learn all names.
    Pull,
    /// Pull, push, delete and read the catalog. Not the metrics.
    All,
}

impl AnonymousPolicy {
    fn allows(self, action: Action, target: Target<'_>) -> bool {
        match (self, target, action) {
            (Self::Pull | Self::All, Target::Repository(_), Action::Pull)
            | (Self::All, Target::Repository(_), Action::Push | Action::Delete)
            | (Self::All, Target::Catalog, Action::Catalog) => true,
            (Self::None | Self::Pull | Self::All, _, _) => false,
        }
    }
}

/// Adds rights of everybody in front of other rules. They hold for named callers too: logging in never takes
/// a right away. What they do not give, the other rules may: a cluster knows rights of the unauthenticated.
pub struct WithAnonymous {
    policy: AnonymousPolicy,
    inner: Arc<dyn Authorizer>,
}

impl WithAnonymous {
    /// Puts `policy` in front of `inner`.
    #[must_use]
    pub fn new(policy: AnonymousPolicy, inner: Arc<dyn Authorizer>) -> Self {
        Self { policy, inner }
    }
}

impl Authorizer for WithAnonymous {
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a> {
        if self.policy.allows(action, target) {
            return Reply::Ready(Decision::Allow);
        }
        self.inner.decide(caller, action, target)
    }
}
