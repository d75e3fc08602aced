//! The question "may this caller do that?" and its answer.

use std::fmt;
use std::time::Duration;

use crate::identity::Caller;
use crate::reply::Reply;

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Read blobs, manifests, tags and referrers of a repository.
    Pull,
    /// Write to a repository, and read back what an upload needs.
    Push,
    /// Delete tags, manifests or blobs of a repository.
    Delete,
    /// List the repositories of the registry.
    Catalog,
    /// Read the metrics.
    Metrics,
}

impl Action {
    /// The word for messages and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Catalog => "list",
            Self::Metrics => "read",
        }
    }
}

/// What it is to be done to. A pair that makes no sense (pull the catalog) is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target<'a> {
    /// A repository by its full name, already checked against the grammar of names.
    Repository(&'a str),
    /// The list of all repositories.
    Catalog,
    /// The metrics of the registry.
    Metrics,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name) => write!(f, "repository {name:?}"),
            Self::Catalog => f.write_str("the catalog"),
            Self::Metrics => f.write_str("the metrics"),
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Refused. An anonymous caller is to be asked for credentials (401), everybody else is told the reason
    /// (403).
    Deny {
        /// One line for a human: verb, resource, namespace and path, and what is missing. Contains nothing
        /// that the caller did not send, except its own rights and its namespace's absence.
        reason: String,
    },
    /// Cannot be decided now; neither yes nor no may be assumed.
    Unavailable {
        /// When another try makes sense.
        retry_after: Duration,
    },
}

impl Decision {
    /// Whether the caller may go on.
    #[must_use]
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow)
    }

    pub(crate) fn deny(caller: &Caller, action: Action, target: Target<'_>, missing: impl fmt::Display) -> Self {
        Self::Deny { reason: format!("{caller} cannot {} {target}: {missing}", action.as_str()) }
    }
}

/// A decision, or the wait for one.
pub type Deciding<'a> = Reply<'a, Decision>;

/// Decides over rights. Implementations answer from memory where they can.
pub trait Authorizer: Send + Sync {
    /// Whether `caller` may do `action` to `target`, now.
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a>;

    /// False when no repository of `namespace` would be allowed, so that lists need not look there. Answers from memory;
    /// true whenever it would take more.
    fn may_have_any(&self, _caller: &Caller, _action: Action, _namespace: &str) -> bool {
        true
    }

    /// Changes when what the caller may do in `namespace`, or anywhere, changes. Always 0 where nobody can tell from memory.
    fn grants_stamp(&self, _caller: &Caller, _namespace: Option<&str>) -> u64 {
        0
    }
}
