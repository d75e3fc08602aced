//! Static users: Deckhouse's `settings.users`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::local::{Entry, LocalUsers, Table, check_name};
use super::{Authenticating, Authenticator, Claim, Problem};
use crate::credential::Credential;
use crate::grant::{Access, Grant, PathPattern};
use crate::identity::{Source, Standing, Users};
use crate::password::{Passwords, StoredHash};

/// One user as written in the settings.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticUserSpec {
    /// bcrypt text. Without a usable one the user can never log in.
    #[serde(default)]
    pub password_hash: Option<String>,
    /// What the user may do; rights of several entries add up.
    #[serde(default)]
    pub projects: Vec<ProjectSpec>,
}

impl fmt::Debug for StaticUserSpec {
    /// Without the hash: it can be guessed against.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticUserSpec").field("projects", &self.projects).finish_non_exhaustive()
    }
}

/// Rights on one project as written in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectSpec {
    /// The namespace: first segment of the repository names, compared exactly.
    pub name: String,
    /// Pattern over the rest of the name; `*` spans folders. See the user documentation of `subPath`.
    #[serde(default = "whole_project")]
    pub sub_path: String,
    /// Level of the rights.
    pub access: Access,
}

fn whole_project() -> String {
    "*".into()
}

/// Static users with their hashes and rights. Replaced users take effect with the next request.
pub struct StaticUsers(LocalUsers);

impl StaticUsers {
    /// Takes the users of the settings. Entries that cannot work are left without effect and reported.
    #[must_use]
    pub fn new(users: &BTreeMap<String, StaticUserSpec>, passwords: Arc<Passwords>) -> (Self, Vec<Problem>) {
        let (table, problems) = resolve(users);
        (Self(LocalUsers::new(Source::StaticUser, passwords, table)), problems)
    }

    /// Replaces all users.
    pub fn reload(&self, users: &BTreeMap<String, StaticUserSpec>) -> Vec<Problem> {
        let (table, problems) = resolve(users);
        self.0.replace(table);
        problems
    }

    pub(crate) fn with_grants<T>(&self, name: &str, decide: impl FnOnce(&[Grant]) -> T) -> Option<T> {
        self.0.with_grants(name, decide)
    }
}

fn resolve(users: &BTreeMap<String, StaticUserSpec>) -> (Table, Vec<Problem>) {
    let (mut entries, mut problems) = (HashMap::new(), Vec::new());
    for (name, user) in users {
        let mut report = |text: String| problems.push(Problem { entry: name.clone(), text });
        if let Err(text) = check_name(name) {
            report(text.into());
            continue;
        }
        let stored = user.password_hash.as_deref().unwrap_or_default().as_bytes();
        let hash = StoredHash::parse(stored).inspect_err(|problem| report(problem.to_string())).ok();
        let grants = user.projects.iter().filter_map(|project| {
            grant(project).inspect_err(|text| report(format!("project {:?}: {text}", project.name))).ok()
        });
        let grants = grants.collect();
        entries.insert(name.as_str().into(), Entry::new(Source::StaticUser, name, hash, stored, grants));
    }
    (Table::new(entries), problems)
}

fn grant(project: &ProjectSpec) -> Result<Grant, &'static str> {
    if project.name.is_empty() || project.name.contains(['/', '*']) {
        return Err("project must be the name of one namespace, without / and *");
    }
    let paths = PathPattern::parse(&project.sub_path)?;
    Ok(Grant { project: project.name.as_str().into(), paths, access: project.access })
}

impl Authenticator for StaticUsers {
    fn claim(&self, credential: &Credential) -> Claim {
        self.0.claim(credential)
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        self.0.authenticate(credential)
    }
}

impl Users for StaticUsers {
    fn standing(&self, source: Source, name: &str) -> Standing {
        self.0.standing(source, name)
    }

    fn generation(&self) -> u64 {
        self.0.generation()
    }
}
