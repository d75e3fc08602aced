//! Registries without rules.

use crate::decision::{Action, Authorizer, Deciding, Decision, Target};
use crate::identity::Caller;
use crate::reply::Reply;

/// Everybody may do everything: a registry without users.
#[derive(Clone, Copy, Debug)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn decide<'a>(&'a self, _: &'a Caller, _: Action, _: Target<'a>) -> Deciding<'a> {
        Reply::Ready(Decision::Allow)
    }
}

/// Everybody with a name may do everything: distribution's htpasswd.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticatedAllowAll;

impl Authorizer for AuthenticatedAllowAll {
    fn decide<'a>(&'a self, caller: &'a Caller, action: Action, target: Target<'a>) -> Deciding<'a> {
        Reply::Ready(match caller.is_anonymous() {
            false => Decision::Allow,
            true => Decision::deny(caller, action, target, "authentication is required"),
        })
    }
}
