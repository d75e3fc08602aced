//! The cases of areas 2 and 3 (`reference/cases.md`) as far as they are decisions over values, named after
//! their numbers.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod authentication;
mod authorisation;
mod cluster;

use std::collections::BTreeMap;
use std::sync::Arc;

use access::{
    Access, Action, AuthError, Authenticator, Authorizer, Basic, Caller, Credential, ManualClock, PasswordLimits,
    Passwords, ProjectSpec, StaticUserSpec, StaticUsers, Target,
};

/// Printed in the documents, both of `password123`.
pub(crate) const PRINTED_COST_5: &str = "$2y$05$KbQy.oSLGCS.mm0SIkLtIOYu.G1Lcp8iyPMLfK/Id9AO7nJYmdLXa";
pub(crate) const PRINTED_COST_10: &str = "$2y$10$CeP/hYvBJ05Ih2azafVyIuuMRpf60am4z6USm4jhHfUPsFDBAmn/u";

pub(crate) type Spec = BTreeMap<String, StaticUserSpec>;

pub(crate) fn hash(password: &str) -> String {
    access::hash_password(password.as_bytes(), 4).unwrap()
}

pub(crate) fn passwords() -> Arc<Passwords> {
    Arc::new(Passwords::new(PasswordLimits::standard(), Arc::new(ManualClock::new(0))).unwrap())
}

/// `projects` as `name subPath ACCESS` per entry.
pub(crate) fn user(name: &str, password_hash: Option<&str>, projects: &[&str]) -> (String, StaticUserSpec) {
    let projects = projects.iter().map(|text| {
        let mut words = text.split(' ').map(String::from);
        let mut word = || words.next().unwrap();
        let (name, sub_path) = (word(), word());
        let access = if word() == "FULL" { Access::Full } else { Access::Read };
        ProjectSpec { name, sub_path, access }
    });
    let projects = projects.collect();
    (name.into(), StaticUserSpec { password_hash: password_hash.map(Into::into), projects })
}

pub(crate) fn static_users(users: impl IntoIterator<Item = (String, StaticUserSpec)>) -> Arc<StaticUsers> {
    let (users, problems) = StaticUsers::new(&users.into_iter().collect::<Spec>(), passwords());
    assert_eq!(problems, []);
    Arc::new(users)
}

pub(crate) fn basic(user: &str, password: &str) -> Credential {
    Credential::Basic(Basic::new(user, password.as_bytes()).unwrap())
}

pub(crate) async fn login(authenticator: &dyn Authenticator, user: &str, password: &str) -> Result<Caller, AuthError> {
    authenticator.authenticate(&basic(user, password)).await
}

pub(crate) async fn may(rules: &dyn Authorizer, caller: &Caller, action: Action, repository: &str) -> bool {
    rules.decide(caller, action, Target::Repository(repository)).await.is_allow()
}

/// Whether `caller` may (pull, push, delete).
pub(crate) async fn rights(rules: &dyn Authorizer, caller: &Caller, repository: &str) -> (bool, bool, bool) {
    (
        may(rules, caller, Action::Pull, repository).await,
        may(rules, caller, Action::Push, repository).await,
        may(rules, caller, Action::Delete, repository).await,
    )
}

pub(crate) const NOTHING: (bool, bool, bool) = (false, false, false);
pub(crate) const READ: (bool, bool, bool) = (true, false, false);
pub(crate) const FULL: (bool, bool, bool) = (true, true, true);
