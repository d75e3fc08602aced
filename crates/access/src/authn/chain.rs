//! Several authenticators as one.

use std::sync::Arc;

use super::{AuthError, Authenticating, Authenticator, Claim};
use crate::credential::Credential;
use crate::reply::Reply;

/// Asks each member in order whether a credential is its own; the first to say so decides alone. If none
/// does, the first that could judge it refuses it, in its own time: an unknown user then takes as long as a
/// wrong password.
///
/// So a configured name belongs to its source (a static user `token` is that user, never a Kubernetes token),
/// and a password is never tried against two sources.
pub struct Chain(Vec<Arc<dyn Authenticator>>);

impl Chain {
    /// Joins the members in order of precedence.
    #[must_use]
    pub fn new(members: Vec<Arc<dyn Authenticator>>) -> Self {
        Self(members)
    }

    fn judge(&self, credential: &Credential) -> (Claim, Option<&dyn Authenticator>) {
        let mut fallback = None;
        for member in &self.0 {
            match member.claim(credential) {
                Claim::Mine => return (Claim::Mine, Some(&**member)),
                Claim::Fallback if fallback.is_none() => fallback = Some(&**member),
                Claim::Fallback | Claim::Never => {}
            }
        }
        (if fallback.is_some() { Claim::Fallback } else { Claim::Never }, fallback)
    }
}

impl Authenticator for Chain {
    fn claim(&self, credential: &Credential) -> Claim {
        self.judge(credential).0
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        match self.judge(credential).1 {
            Some(member) => member.authenticate(credential),
            None => Reply::Ready(Err(AuthError::Invalid)),
        }
    }
}
