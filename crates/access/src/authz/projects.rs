//! Rights of static users: READ and FULL on parts of projects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::authn::StaticUsers;
use crate::decision::{Action, Authorizer, Deciding, Decision, Target};
use crate::grant::{Access, Grant};
use crate::identity::{Caller, Source};
use crate::reply::Reply;

/// When to come back if it is not known whether a namespace exists: a watch is set up in about this time.
const UNKNOWN_RETRY: Duration = Duration::from_secs(2);

/// Whether a Kubernetes namespace can take images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceState {
    /// It exists and is not being deleted.
    Exists,
    /// It certainly does not exist, or is being deleted.
    Absent,
    /// Not known now.
    Unknown,
}

/// The namespaces of the cluster.
pub trait Namespaces: Send + Sync {
    /// The state of one. Answers from memory.
    fn state(&self, namespace: &str) -> NamespaceState;
}

/// Without a cluster: every name is a namespace.
#[derive(Clone, Copy, Debug)]
pub struct EveryNamespaceExists;

impl Namespaces for EveryNamespaceExists {
    fn state(&self, _: &str) -> NamespaceState {
        NamespaceState::Exists
    }
}

/// Decides for static users; everybody else is refused.
///
/// * The first segment of a repository's name is the project, compared exactly. A name of one segment has no
///   path within a project and is refused.
/// * READ allows pull; FULL allows pull, push and delete. Rights of several entries add up.
/// * Where the namespace is absent only READ is left; where that is unknown, push and delete must wait.
/// * The catalog is open to every user; metrics to none.
pub struct Projects {
    users: Arc<StaticUsers>,
    namespaces: Arc<dyn Namespaces>,
}

impl Projects {
    /// Rights come from `users` as they are at each decision.
    #[must_use]
    pub fn new(users: Arc<StaticUsers>, namespaces: Arc<dyn Namespaces>) -> Self {
        Self { users, namespaces }
    }

    fn verdict(&self, caller: &Caller, action: Action, target: Target<'_>) -> Result<Decision, Missing> {
        let name = match (caller.source(), caller.name()) {
            (Source::StaticUser, Some(name)) => name,
            (_, Some(_)) => return Err(Missing::NotStatic),
            (_, None) => return Err(Missing::Authentication),
        };
        self.users.with_grants(name, |grants| self.rule(grants, action, target)).unwrap_or(Err(Missing::User))
    }

    fn rule(&self, grants: &[Grant], action: Action, target: Target<'_>) -> Result<Decision, Missing> {
        match (target, action) {
            (Target::Catalog, Action::Catalog) => Ok(Decision::Allow),
            (Target::Repository(name), Action::Pull) => {
                reach(grants, name, Access::Read)?;
                Ok(Decision::Allow)
            }
            (Target::Repository(name), Action::Push | Action::Delete) => {
                let namespace = reach(grants, name, Access::Full)?;
                match self.namespaces.state(namespace) {
                    NamespaceState::Exists => Ok(Decision::Allow),
                    NamespaceState::Absent => Err(Missing::Namespace(namespace.into())),
                    NamespaceState::Unknown => Ok(Decision::Unavailable { retry_after: UNKNOWN_RETRY }),
                }
            }
            _ => Err(Missing::NotGranted),
        }
    }
}

/// The namespace of the repository, if one of the grants covers it with at least the level asked for.
fn reach<'n>(grants: &[Grant], repository: &'n str, level: Access) -> Result<&'n str, Missing> {
    let (namespace, path) = repository.split_once('/').ok_or(Missing::Segment)?;
    if namespace.is_empty() || path.is_empty() {
        return Err(Missing::Segment);
    }
    let mut covering =
        grants.iter().filter(|grant| *grant.project == *namespace && grant.paths.covers(path)).peekable();
    let some = covering.peek().is_some();
    if covering.any(|grant| level == Access::Read || grant.access == Access::Full) {
        return Ok(namespace);
    }
    let (namespace, path) = (namespace.into(), path.into());
    Err(match (level, some) {
        (Access::Read, _) => Missing::Read { namespace, path },
        (Access::Full, has_read) => Missing::Full { namespace, path, has_read },
    })
}

/// What a refused caller would need.
enum Missing {
    Authentication,
    NotStatic,
    User,
    NotGranted,
    Segment,
    Namespace(Box<str>),
    Read { namespace: Box<str>, path: Box<str> },
    Full { namespace: Box<str>, path: Box<str>, has_read: bool },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication => f.write_str("authentication is required"),
            Self::NotStatic => f.write_str("project rights are for static users"),
            Self::User => f.write_str("the user no longer exists"),
            Self::NotGranted => f.write_str("static users have no such right"),
            Self::Segment => f.write_str("the name has one segment, repositories are named <namespace>/<path>"),
            Self::Namespace(name) => {
                write!(f, "namespace {name:?} does not exist or is being deleted, only reading is left")
            }
            Self::Read { namespace, path } => {
                write!(f, "access READ or FULL to path {path:?} of project {namespace:?} is needed")
            }
            Self::Full { namespace, path, has_read: true } => {
                write!(f, "access FULL to path {path:?} of project {namespace:?} is needed, the user has READ")
            }
            Self::Full { namespace, path, has_read: false } => {
                write!(f, "access FULL to path {path:?} of project {namespace:?} is needed")
            }
        }
    }
}

impl Authorizer for Projects {
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a> {
        Reply::Ready(
            self.verdict(caller, action, target)
                .unwrap_or_else(|missing| Decision::deny(caller, action, target, missing)),
        )
    }
}
