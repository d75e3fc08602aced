//! Which tags may not become anything else.

use crate::{Error, Store};
use oci::{Digest, RepoName, Tag};
use std::sync::{Arc, PoisonError};

/// Longest pattern, in bytes.
const PATTERN_MAX: usize = 512;

/// Patterns of tags that stay what they are.
///
/// A pattern is `TAG` or `REPOSITORY:TAG`, where `*` stands for any characters, `/` included; with `!` before it, what it
/// covers is excepted. Of several that cover a tag the last one counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ImmutableTags(Vec<Rule>);

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    immutable: bool,
    repository: String,
    tag: String,
}

impl ImmutableTags {
    /// Reads patterns.
    ///
    /// # Errors
    /// Index of a pattern and what is wrong with it.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<Self, (usize, &'static str)> {
        let mut rules = Vec::with_capacity(patterns.len());
        for (index, text) in patterns.iter().enumerate() {
            let rule = Rule::parse(text.as_ref()).map_err(|error| (index, error))?;
            if !rule.immutable && rules.is_empty() {
                return Err((index, "excepts nothing: it must stand behind the pattern that it excepts from"));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// Whether the tag stays what it is once it is there.
    #[must_use]
    pub fn covers(&self, repository: &str, tag: &str) -> bool {
        let last = self.0.iter().rev().find(|rule| fits(&rule.repository, repository) && fits(&rule.tag, tag));
        last.is_some_and(|rule| rule.immutable)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (immutable, pattern) = text.strip_prefix('!').map_or((true, text), |rest| (false, rest));
        let (repository, tag) = pattern.rsplit_once(':').unwrap_or(("*", pattern));
        if repository.is_empty() || tag.is_empty() {
            return Err("must be TAG or REPOSITORY:TAG, neither of them empty");
        }
        if text.len() > PATTERN_MAX {
            return Err("is too long: at most 512 characters");
        }
        // What no name can have would never fit: it was meant otherwise.
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        if !tag.bytes().all(known) {
            return Err(
                "has a character in the tag that a tag cannot have: letters, digits, `.`, `_`, `-`, and `*` for any",
            );
        }
        if !repository.bytes().all(|byte| !byte.is_ascii_uppercase() && (known(byte) || byte == b'/')) {
            return Err(
                "has a character in the repository that a name cannot have: a-z, digits, `.`, `_`, `-`, `/`, and `*` for any",
            );
        }
        Ok(Self { immutable, repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

/// `*` stands for any characters. Takes at most the product of both lengths.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Only the last star needs another try: an earlier one could only leave less for it.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, seen));
            at += 1;
        } else if pattern.get(at) == text.get(seen) {
            at += 1;
            seen += 1;
        } else if let Some((behind, taken)) = star {
            star = Some((behind, taken + 1));
            (at, seen) = (behind, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl Store {
    /// From now on these tags stay what they are.
    pub fn set_immutable_tags(&self, tags: ImmutableTags) {
        *self.immutable.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tags);
    }

    /// Which tags stay what they are.
    #[must_use]
    pub fn immutable_tags(&self) -> Arc<ImmutableTags> {
        Arc::clone(&self.immutable.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Error {
    pub(crate) fn immutable(repo: RepoName<'_>, tag: Tag<'_>, is: Option<Digest>) -> Self {
        let (repository, tag) = (repo.as_str().to_owned(), tag.as_str().to_owned());
        Self::TagImmutable { repository, tag, is: is.map(Box::new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covered(patterns: &[&str], name: &str) -> bool {
        let (repository, tag) = name.split_once(':').unwrap();
        ImmutableTags::parse(patterns).unwrap().covers(repository, tag)
    }

    #[test]
    fn the_last_pattern_that_covers_a_tag_counts() {
        for (patterns, name, expected) in [
            (&[][..], "a:v1", false),
            (&["v*"], "team/app:v1", true),
            (&["v*"], "team/app:rc-v1", false),
            (&["v*"], "team/app:V1", false),
            (&["team/*:release-*"], "team/a/b:release-", true),
            (&["team/*:release-*"], "team:release-1", false),
            (&["team/*:release-*"], "other/team/a:release-1", false),
            (&["*", "!latest", "!*/cache:*"], "a:v1", true),
            (&["*", "!latest", "!*/cache:*"], "a:latest", false),
            (&["*", "!latest", "!*/cache:*"], "a/cache:v1", false),
            (&["*", "!latest", "prod/*:latest"], "prod/a:latest", true),
            (&["*.*.*"], "a:1.2.3", true),
            (&["*.*.*"], "a:1.2", false),
        ] {
            assert_eq!(covered(patterns, name), expected, "{patterns:?} {name}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (patterns, index) in [
            (&[""][..], 0),
            (&["v*", "!"], 1),
            (&[":v1"], 0),
            (&["a:"], 0),
            (&["!latest", "*"], 0),
            (&["v?"], 0),
            (&["v1", "[0-9]"], 1),
            (&["Team/*:v*"], 0),
            (&["a/b"], 0),
            (&["host:5000/a:v1"], 0),
            (&["!!a"], 0),
        ] {
            assert_eq!(ImmutableTags::parse(patterns).unwrap_err().0, index, "{patterns:?}");
        }
    }

    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                naive(rest, text) || text.split_first().is_some_and(|(_, less)| naive(pattern, less))
            }
            (Some((want, pattern)), Some((have, text))) => want == have && naive(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_stand_for_anything(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(fits(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
