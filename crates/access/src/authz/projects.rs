//! Rights of static users: READ and FULL on parts of projects.

use std::fmt;
use std::sync::Arc;

use super::namespaces::{NamespaceState, Namespaces, UNKNOWN_RETRY, for_writing};
use crate::authn::StaticUsers;
use crate::decision::{Action, Authorizer, Deciding, Decision, Target};
use crate::grant::{Access, Grant};
use crate::identity::{Caller, Source};
use crate::reply::Reply;

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

    fn rule<'t>(&self, caller: &Caller, action: Action, target: Target<'t>) -> Result<Rule<'t>, Missing> {
        let name = match (caller.source(), caller.name()) {
            (Source::StaticUser, Some(name)) => name,
            (_, Some(_)) => return Err(Missing::NotStatic),
            (_, None) => return Err(Missing::Authentication),
        };
        self.users.with_grants(name, |grants| granted(grants, action, target)).unwrap_or(Err(Missing::User))
    }
}

/// What the grants say before the cluster is asked.
enum Rule<'t> {
    Allowed,
    /// Only if this namespace exists.
    AllowedIn(&'t str),
}

fn granted<'t>(grants: &[Grant], action: Action, target: Target<'t>) -> Result<Rule<'t>, Missing> {
    match (target, action) {
        (Target::Catalog, Action::Catalog) => Ok(Rule::Allowed),
        (Target::Repository(name), Action::Pull) => reach(grants, name, Access::Read).map(|_| Rule::Allowed),
        (Target::Repository(name), Action::Push | Action::Delete) => {
            reach(grants, name, Access::Full).map(Rule::AllowedIn)
        }
        _ => Err(Missing::NotGranted),
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
        let namespace = match self.rule(caller, action, target) {
            Ok(Rule::Allowed) => return Reply::Ready(Decision::Allow),
            Ok(Rule::AllowedIn(namespace)) => namespace,
            Err(missing) => return Reply::Ready(Decision::deny(caller, action, target, missing)),
        };
        for_writing(&*self.namespaces, namespace).map(move |state| match state {
            NamespaceState::Exists(_) => Decision::Allow,
            NamespaceState::Terminating(_) | NamespaceState::Absent => {
                Decision::deny(caller, action, target, Missing::Namespace(namespace.into()))
            }
            NamespaceState::Unknown => Decision::Unavailable { retry_after: UNKNOWN_RETRY },
        })
    }
}
