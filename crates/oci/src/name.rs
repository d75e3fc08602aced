//! Repository names and tags (distribution-spec, "Pulling manifests").

use std::fmt;

/// Longest repository name in bytes; with a host name in front the common limit of clients is 255.
pub const REPO_NAME_MAX: usize = 255;
/// Longest tag in bytes.
pub const TAG_MAX: usize = 128;

/// A valid repository name, borrowed from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName<'a>(&'a str);

/// Why a text is not a repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than 255 bytes, or empty.
    #[error("repository name must have 1 to 255 characters")]
    Length,
    /// Against the grammar.
    #[error(
        "repository name may hold lower-case letters, digits and single separators (. _ __ -) between them, in parts divided by /"
    )]
    Grammar,
}

impl<'a> RepoName<'a> {
    /// Checks `name` against `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` for each part between slashes.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn parse(name: &'a str) -> Result<Self, NameError> {
        if name.is_empty() || name.len() > REPO_NAME_MAX {
            return Err(NameError::Length);
        }
        if name.split('/').all(is_path_component) { Ok(Self(name)) } else { Err(NameError::Grammar) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

fn is_path_component(part: &str) -> bool {
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_alphanumeric(*first) || !is_alphanumeric(*last) {
        return false;
    }
    let mut separator = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if is_alphanumeric(*byte) {
            if separator < index && !is_separator(&bytes[separator..index]) {
                return false;
            }
            separator = index + 1;
        }
    }
    true
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_separator(run: &[u8]) -> bool {
    matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-')
}

impl fmt::Display for RepoName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A valid tag, borrowed from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag<'a>(&'a str);

/// The text is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tag must have 1 to 128 characters, letters, digits, _ . - and not start with . or -")]
pub struct TagError;

impl<'a> Tag<'a> {
    /// Checks `tag` against `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn parse(tag: &'a str) -> Result<Self, TagError> {
        let bytes = tag.as_bytes();
        let starts = bytes.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let valid = starts
            && bytes.len() <= TAG_MAX
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if valid { Ok(Self(tag)) } else { Err(TagError) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repository_names() {
        for good in ["a", "0", "library/nginx", "a/b/c/d/e/f", "a.b", "a_b", "a__b", "a-b", "a---b", "a0.b1-c2__d3"] {
            assert!(RepoName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a.",
            ".a",
            "a..b",
            "a___b",
            "_a",
            "a._b",
            "..",
            "a/../b",
            "a/_layers",
            "ä",
            "a b",
            "a%2fb",
            "a\u{0430}",
            "a\0b",
            "a\\b",
            "-a",
            "a-",
        ] {
            assert!(RepoName::parse(bad).is_err(), "{bad}");
        }
        assert!(RepoName::parse(&"a".repeat(255)).is_ok());
        assert_eq!(RepoName::parse(&"a".repeat(256)), Err(NameError::Length));
    }

    #[test]
    fn tags() {
        for good in ["latest", "_x", "1.0", "V1_2-3", "sha256-abc.sig"] {
            assert!(Tag::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a/b", "a:b", "ü", "a b", "a+b", long.as_str()] {
            assert!(Tag::parse(bad).is_err(), "{bad}");
        }
    }

    /// The grammar of the specification as a naive matcher, the oracle of the property below.
    fn oracle(part: &str) -> bool {
        fn rest(text: &str) -> bool {
            let word = text.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            if word.len() == text.len() {
                return false;
            }
            if word.is_empty() {
                return true;
            }
            ["__", "_", "."].iter().any(|s| word.strip_prefix(s).is_some_and(rest))
                || (word.starts_with('-') && rest(word.trim_start_matches('-')))
        }
        rest(part)
    }

    proptest! {
        #[test]
        fn names_agree_with_the_grammar(name in "[a0._/-]{0,12}") {
            prop_assert_eq!(RepoName::parse(&name).is_ok(), name.split('/').all(oracle));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = RepoName::parse(&text);
            let _ = Tag::parse(&text);
        }
    }
}
