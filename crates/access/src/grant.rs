//! What a static user may do: entries of `settings.users.<name>.projects`.

use serde::Deserialize;

/// The two levels of rights that Deckhouse knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Access {
    /// Pull.
    Read,
    /// Pull, push and delete.
    Full,
}

/// One entry: a level for the part of a project that a pattern covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) project: Box<str>,
    pub(crate) paths: PathPattern,
    pub(crate) access: Access,
}

/// A pattern over the path below the project.
///
/// `*` stands for any characters *including* `/` (unlike in RBAC patterns, where it stays in one segment):
/// `*` is the whole project, `frontend/*` everything below `frontend` at any depth but not `frontend` itself,
/// `frontend` exactly that path. Everything else is literal and ASCII letters match in both cases, as in
/// Deckhouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern(Box<[u8]>);

impl PathPattern {
    /// Reads a pattern, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("subPath is empty, write \"*\" for the whole project");
        }
        if text.starts_with('/') || text.ends_with('/') {
            return Err("subPath begins or ends with a slash");
        }
        // Characters that other pattern languages give a meaning and repository names cannot contain: taken
        // literally they would match nothing, which is not what was meant.
        if text.contains(['?', '[', ']', '{', '}', '\\', '!']) {
            return Err("subPath knows no special characters but *");
        }
        let mut pattern = text.to_ascii_lowercase().into_bytes();
        pattern.dedup_by(|next, previous| *next == b'*' && *previous == b'*');
        Ok(Self(pattern.into()))
    }

    /// Whether the pattern covers the path. Time is at most pattern length times path length.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let (pattern, path) = (&*self.0, path.as_bytes());
        let (mut p, mut s) = (0, 0);
        // Where to go on after the last star if the literal text behind it does not fit: only the last star
        // needs another try, since an earlier one could only leave less for it.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(byte) = path.get(s) {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p + 1, s));
                    p += 1;
                }
                Some(literal) if *literal == byte.to_ascii_lowercase() => {
                    p += 1;
                    s += 1;
                }
                _ => {
                    let Some((after_star, swallowed)) = retry else { return false };
                    retry = Some((after_star, swallowed + 1));
                    (p, s) = (after_star, swallowed + 1);
                }
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, covered: &[&str], not_covered: &[&str]) {
        let parsed = PathPattern::parse(pattern).unwrap();
        for path in covered {
            assert!(parsed.covers(path), "{pattern} should cover {path}");
        }
        for path in not_covered {
            assert!(!parsed.covers(path), "{pattern} should not cover {path}");
        }
    }

    #[test]
    fn patterns() {
        check("*", &["a", "x/y/b"], &[]);
        check("**", &["a", "x/y/b"], &[]);
        check("frontend/*", &["frontend/image", "frontend/a/b/c/image"], &["frontend", "frontends/x", "backend/image"]);
        check("frontend", &["frontend", "FrontEnd"], &["frontend/a", "front", "x/frontend"]);
        check("Frontend/*", &["frontend/a"], &["a"]);
        check("*/prod", &["a/prod", "a/b/prod"], &["prod", "a/prod/x", "a/prodx"]);
        check("a*b*c", &["abc", "axbxc", "abbcc", "a/b/c"], &["ab", "acb", "abcd"]);
        check("a.b", &["a.b"], &["axb"]);
    }

    #[test]
    fn odd_patterns_are_refused() {
        for text in ["", "/", "/a", "a/", "a?", "[a]", "{a,b}", "a\\*"] {
            assert!(PathPattern::parse(text).is_err(), "{text:?}");
        }
    }

    /// The obvious definition, exponential but right.
    fn naive(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, _) => path.is_empty(),
            (Some((b'*', rest)), None) => naive(rest, path),
            (Some((b'*', rest)), Some((_, tail))) => naive(rest, path) || naive(pattern, tail),
            (Some((p, rest)), Some((s, tail))) => p == s && naive(rest, tail),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_definition(pattern in "[ab*]([ab*/]{0,6}[ab*])?", path in "[ab/]{0,10}") {
            let parsed = PathPattern::parse(&pattern).unwrap();
            prop_assert_eq!(parsed.covers(&path), naive(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
