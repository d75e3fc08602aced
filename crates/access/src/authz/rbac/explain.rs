//! Why a right is granted or not, for people.

use std::fmt;

use super::index::{Index, Share};
use super::object::{BindingKey, RoleKey, Subject};
use super::role::{Role, Wanted};
use crate::authz::glob::Places;
use crate::authz::rights::Right;
use crate::identity::Caller;

/// So many bindings of each kind are listed.
const LISTED_MAX: usize = 50;
/// So many names of one rule are listed.
const NAMES_MAX: usize = 10;

/// The rules behind an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Who asked.
    pub caller: String,
    /// For what.
    pub right: String,
    /// The bindings that grant it; empty when none does.
    pub granted_by: Vec<Grant>,
    /// Bindings of the caller that nearly do.
    pub near_misses: Vec<NearMiss>,
}

/// A binding that grants the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The binding.
    pub binding: BindingKey,
    /// By which of its names the caller is meant.
    pub subject: Subject,
    /// The role that it gives.
    pub role: RoleKey,
    /// The verbs of the rule that applies.
    pub verbs: Vec<&'static str>,
    /// The name or pattern that covers what was asked for; `None` when the rule has none and is about all.
    pub pattern: Option<String>,
}

/// A binding of the caller that does not grant the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The binding.
    pub binding: BindingKey,
    /// By which of its names the caller is meant.
    pub subject: Subject,
    /// The role that it gives.
    pub role: RoleKey,
    /// What is missing.
    pub miss: Miss,
}

/// What keeps a binding from granting a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The role does not exist, or has no rule about images.
    Role,
    /// The role has other verbs on this resource.
    Verb {
        /// Those that it has.
        has: Vec<&'static str>,
    },
    /// The rule names others.
    Name {
        /// Names and patterns that do not cover what was asked for.
        tried: Vec<String>,
        /// Patterns that cannot be read, and match nothing.
        unreadable: Vec<String>,
    },
}

pub(super) fn explain(index: &Index, caller: &Caller, right: Right<'_>) -> Explanation {
    let path = right.name.map(Places::new);
    let wanted = Wanted { right, path: path.as_ref() };
    let (mut granted_by, mut near_misses) = (Vec::new(), Vec::new());
    for share in index.shares(caller, right.namespace) {
        let Some((binding, subject, role)) = parts(index, share) else { continue };
        match judge(index.role(share.binding.role), share, wanted) {
            Judged::Grants { verbs, pattern } if granted_by.len() < LISTED_MAX => {
                granted_by.push(Grant { binding, subject, role, verbs, pattern });
            }
            Judged::Misses(miss) if near_misses.len() < LISTED_MAX => {
                near_misses.push(NearMiss { binding, subject, role, miss });
            }
            Judged::Grants { .. } | Judged::Misses(_) | Judged::Elsewhere => {}
        }
    }
    granted_by.sort_by(|a, b| a.binding.cmp(&b.binding));
    near_misses.sort_by(|a, b| a.binding.cmp(&b.binding));
    Explanation { caller: caller.to_string(), right: right.to_string(), granted_by, near_misses }
}

fn parts(index: &Index, share: Share<'_>) -> Option<(BindingKey, Subject, RoleKey)> {
    let binding = BindingKey { namespace: share.namespace.map(Into::into), name: share.binding.name.clone() };
    Some((binding, index.subjects.describe(share.subject)?, index.role_name(share.binding.role)?.clone()))
}

enum Judged {
    Grants {
        verbs: Vec<&'static str>,
        pattern: Option<String>,
    },
    Misses(Miss),
    /// About something else.
    Elsewhere,
}

fn judge(role: Option<&Role>, share: Share<'_>, wanted: Wanted<'_>) -> Judged {
    let Some(role) = role else {
        // Every caller has bindings for the whole cluster to roles about other things.
        return if share.namespace.is_some() { Judged::Misses(Miss::Role) } else { Judged::Elsewhere };
    };
    let (mut tried, mut unreadable, mut has) = (Vec::new(), Vec::new(), Vec::new());
    let mut named = false;
    for rule in role.rules.iter().filter(|rule| rule.concerns(wanted.right.resource)) {
        if !rule.is_about(wanted.right) {
            has.extend(rule.verbs());
            continue;
        }
        let Some(names) = rule.names() else {
            return Judged::Grants { verbs: rule.verbs().collect(), pattern: None };
        };
        if let Some(name) = rule.name_for(wanted) {
            return Judged::Grants { verbs: rule.verbs().collect(), pattern: Some(name.text.to_string()) };
        }
        named = true;
        for name in names {
            let list = if name.is_unreadable(wanted.right.resource) { &mut unreadable } else { &mut tried };
            if list.len() < NAMES_MAX {
                list.push(name.text.to_string());
            }
        }
    }
    if named {
        return Judged::Misses(Miss::Name { tried, unreadable });
    }
    has.sort_unstable();
    has.dedup();
    if has.is_empty() { Judged::Elsewhere } else { Judged::Misses(Miss::Verb { has }) }
}

impl Explanation {
    /// Whether the right is granted.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        !self.granted_by.is_empty()
    }
}

impl fmt::Display for Explanation {
    /// Several lines, the answer first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = if self.is_granted() { "may" } else { "may not" };
        write!(f, "{} {answer} {}", self.caller, self.right)?;
        for grant in &self.granted_by {
            write!(f, "\n  granted by {grant}")?;
        }
        if self.is_granted() {
            return Ok(());
        }
        for near_miss in &self.near_misses {
            write!(f, "\n  not by {near_miss}")?;
        }
        if self.near_misses.is_empty() {
            f.write_str("\n  no binding gives the user or one of its groups a role on this resource")?;
        }
        Ok(())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binding, subject, role, verbs, pattern } = self;
        write!(f, "{binding} ({subject}), {role}: {}", verbs.join(", "))?;
        match pattern {
            Some(pattern) => write!(f, " on {pattern:?}"),
            None => f.write_str(" on all names"),
        }
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binding, subject, role, miss } = self;
        write!(f, "{binding} ({subject}), {role}: {miss}")
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role => f.write_str("the role does not exist or has no rule about images"),
            Self::Verb { has } => write!(f, "the role only has {}", has.join(", ")),
            Self::Name { tried, unreadable } => {
                if !tried.is_empty() {
                    write!(f, "{tried:?} does not cover it")?;
                }
                if !unreadable.is_empty() {
                    let comma = if tried.is_empty() { "" } else { "; " };
                    write!(f, "{comma}{unreadable:?} cannot be read and matches nothing")?;
                }
                if tried.is_empty() && unreadable.is_empty() {
                    f.write_str("none of its resourceNames can be used")?;
                }
                Ok(())
            }
        }
    }
}
