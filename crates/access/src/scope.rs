//! Scopes of the Docker token flow: `repository:<name>:pull,push`.
//!
//! Grammar: `type["(" class ")"] ":" name ":" action *("," action)`. A name may contain colons (`host:5000/app`),
//! so the type ends at the first colon and the actions begin after the last one.
//! See <https://distribution.github.io/distribution/spec/auth/scope/>.

use std::fmt;

use thiserror::Error;

/// Most scopes in one request. Clients send one, two for a mount; a build with many sources a handful.
pub const SCOPES_MAX: usize = 64;
/// Longest single scope in bytes: a name of 255, a host, and actions.
pub const SCOPE_BYTES_MAX: usize = 1024;
/// Most actions in one scope; three exist.
const ACTIONS_MAX: usize = 16;

/// One resource and the actions asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    kind: Box<str>,
    class: Option<Box<str>>,
    name: Box<str>,
    actions: Box<[Box<str>]>,
}

/// Why a scope parameter was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ScopeError {
    /// More than [`SCOPES_MAX`] scopes.
    #[error("more than {SCOPES_MAX} scopes")]
    TooMany,
    /// One scope is longer than [`SCOPE_BYTES_MAX`] or has too many actions.
    #[error("scope is longer than {SCOPE_BYTES_MAX} bytes or has more than {ACTIONS_MAX} actions")]
    TooLong,
    /// Not of the form `type:name:actions`.
    #[error("scope is not of the form type:name:action[,action]")]
    Malformed,
}

impl Scope {
    /// A scope for a repository, for a challenge. Unlike [`Scope::parse`] it takes the name as it is.
    #[must_use]
    pub fn repository(name: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).into()).collect();
        Self { kind: "repository".into(), class: None, name: name.into(), actions }
    }

    /// Parses one scope.
    ///
    /// # Errors
    /// [`ScopeError::TooLong`] and [`ScopeError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if text.len() > SCOPE_BYTES_MAX {
            return Err(ScopeError::TooLong);
        }
        let (kind, rest) = text.split_once(':').ok_or(ScopeError::Malformed)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError::Malformed)?;
        let (kind, class) = match kind.strip_suffix(')').map(|kind| kind.split_once('(')) {
            None => (kind, None),
            Some(Some((kind, class))) => (kind, Some(class)),
            Some(None) => return Err(ScopeError::Malformed),
        };
        if actions.split(',').count() > ACTIONS_MAX {
            return Err(ScopeError::TooLong);
        }
        let valid = is_word(kind) && class.is_none_or(is_word) && is_name(name) && actions.split(',').all(is_action);
        if !valid {
            return Err(ScopeError::Malformed);
        }
        Ok(Self {
            kind: kind.into(),
            class: class.map(Into::into),
            name: name.into(),
            actions: actions.split(',').map(Into::into).collect(),
        })
    }

    /// Parses all `scope` parameters of a request; each may hold several scopes separated by spaces. Empty
    /// parameters count for nothing.
    ///
    /// # Errors
    /// The first scope that cannot be read, or [`ScopeError::TooMany`].
    pub fn parse_all<'p>(parameters: impl IntoIterator<Item = &'p str>) -> Result<Vec<Self>, ScopeError> {
        let mut scopes = Vec::new();
        for text in parameters.into_iter().flat_map(|parameter| parameter.split(' ')).filter(|text| !text.is_empty()) {
            if scopes.len() == SCOPES_MAX {
                return Err(ScopeError::TooMany);
            }
            scopes.push(Self::parse(text)?);
        }
        Ok(scopes)
    }

    /// The resource type: `repository` or `registry`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The class in parentheses, as in `repository(plugin)`.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The resource name. Not checked against the grammar of repository names.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The actions in the order given, at least one.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(AsRef::as_ref)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(class) = &self.class {
            write!(f, "({class})")?;
        }
        write!(f, ":{}:{}", self.name, self.actions.join(","))
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_action(text: &str) -> bool {
    text == "*" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Visible ASCII without what would break out of `scope="…"` in a challenge.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_dockers_grammar_and_prints_it_back() {
        for (text, kind, class, name, actions) in [
            ("repository:a/b:pull", "repository", None, "a/b", &["pull"][..]),
            ("repository:a/b:pull,push", "repository", None, "a/b", &["pull", "push"]),
            ("repository:host:5000/a/b:push,pull", "repository", None, "host:5000/a/b", &["push", "pull"]),
            ("repository(plugin):a:pull", "repository", Some("plugin"), "a", &["pull"]),
            ("registry:catalog:*", "registry", None, "catalog", &["*"]),
        ] {
            let scope = Scope::parse(text).unwrap();
            assert_eq!((scope.kind(), scope.class(), scope.name()), (kind, class, name));
            assert_eq!(scope.actions().collect::<Vec<_>>(), actions);
            assert_eq!(scope.to_string(), text);
        }
        assert_eq!(Scope::repository("a/b", &["pull", "push"]).to_string(), "repository:a/b:pull,push");
    }

    #[test]
    fn refuses_what_is_not_a_scope() {
        for text in [
            "",
            ":",
            "::",
            "repository",
            "repository:a",
            "repository:a:",
            "repository::pull",
            ":a:pull",
            "repository:a:pull,",
            "repository():a:pull",
            "repositoryplugin):a:pull",
            "repository(p:a:pull",
            "repository:a\"b:pull",
            "Repository:a:pull",
            "repository:a\tb:pull",
            "repository:é:pull",
        ] {
            assert_eq!(Scope::parse(text), Err(ScopeError::Malformed), "{text:?}");
        }
        assert_eq!(Scope::parse(&format!("repository:a:{}", ["x"; 17].join(","))), Err(ScopeError::TooLong));
        assert_eq!(Scope::parse(&"a".repeat(SCOPE_BYTES_MAX + 1)), Err(ScopeError::TooLong));
    }

    #[test]
    fn several_scopes_in_several_parameters() {
        let parsed = Scope::parse_all(["repository:a:pull  repository:b:pull", "", "registry:catalog:*"]).unwrap();
        assert_eq!(parsed.iter().map(Scope::name).collect::<Vec<_>>(), ["a", "b", "catalog"]);
        let many = vec!["repository:a:pull"; SCOPES_MAX].join(" ");
        assert_eq!(Scope::parse_all([many.as_str()]).map(|all| all.len()), Ok(SCOPES_MAX));
        assert_eq!(Scope::parse_all([many.as_str(), "repository:b:pull"]), Err(ScopeError::TooMany));
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "(repository(\\([a-z]{0,3}\\))?:)?\\PC{0,40}(:[a-z,*]{0,8})?") {
            if let Ok(scope) = Scope::parse(&text) {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
