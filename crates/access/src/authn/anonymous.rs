//! The caller without credentials.

use super::{AuthError, Authenticating, Authenticator, Claim};
use crate::credential::Credential;
use crate::identity::Caller;
use crate::reply::Reply;

/// Lets callers in without a name. What they may do is decided elsewhere ([`crate::AnonymousPolicy`]).
#[derive(Clone, Copy, Debug)]
pub struct Anonymous {
    ignore_credentials: bool,
}

impl Anonymous {
    /// For a chain: callers without credentials are anonymous, given credentials are others' to judge.
    #[must_use]
    pub const fn without_credentials() -> Self {
        Self { ignore_credentials: false }
    }

    /// For a registry without users: everybody is anonymous, and credentials that a client happens to send
    /// are ignored, as distribution does without `auth`.
    #[must_use]
    pub const fn everybody() -> Self {
        Self { ignore_credentials: true }
    }
}

impl Authenticator for Anonymous {
    fn claim(&self, credential: &Credential) -> Claim {
        match credential {
            Credential::None => Claim::Mine,
            _ if self.ignore_credentials => Claim::Mine,
            _ => Claim::Never,
        }
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        Reply::Ready(match self.claim(credential) {
            Claim::Mine => Ok(Caller::anonymous()),
            _ => Err(AuthError::Invalid),
        })
    }
}
