//! Authentication: from a credential to a caller.

mod anonymous;
mod chain;
mod cluster_tokens;
mod flights;
mod htpasswd;
mod local;
mod review;
mod static_users;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use anonymous::Anonymous;
pub use chain::Chain;
pub use cluster_tokens::{CLUSTER_TOKEN_BYTES_MAX, ClusterTokenCounts, ClusterTokenLimits, ClusterTokens};
pub use flights::{Flight, Flights, Joined};
pub use htpasswd::{Htpasswd, HtpasswdError};
pub use review::{ReviewError, Reviewed, Reviewing, TokenReviewer};
pub use static_users::{ProjectSpec, StaticUserSpec, StaticUsers};

use crate::credential::Credential;
use crate::identity::Caller;
use crate::reply::Reply;

/// Why there is no caller.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AuthError {
    /// The credential proves nothing. Says on purpose not whether user, password or token was wrong.
    #[error("invalid credentials")]
    Invalid,
    /// Cannot be decided now: overloaded, or a remote authority does not answer.
    #[error("authentication is not available, try again in {} s", retry_after.as_secs())]
    Unavailable {
        /// When another try makes sense.
        retry_after: Duration,
    },
}

/// A caller, or the wait for one.
pub type Authenticating<'a> = Reply<'a, Result<Caller, AuthError>>;

/// How an authenticator stands to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Cannot judge credentials of this kind.
    Never,
    /// Can judge it, but does not know the user; somebody else might.
    Fallback,
    /// This credential is this authenticator's to judge; nobody else is asked.
    Mine,
}

/// Turns credentials into callers.
pub trait Authenticator: Send + Sync {
    /// Whether this credential is this authenticator's to judge. Answers from memory.
    fn claim(&self, credential: &Credential) -> Claim;

    /// Judges a credential, whatever `claim` said.
    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a>;
}

/// Something in a list of users that does not do what its author meant. Nobody is let in by it; to be shown
/// to the administrator (log line, condition, `config check`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The entry: user name, or `line 7`.
    pub entry: String,
    /// What is wrong with it and, where possible, what to write instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entry, self.text)
    }
}
