//! Patterns over the path of a repository below its namespace, as `resourceNames` of a rule hold them.
//!
//! They mean what `bmatcuk/doublestar` v4 makes of them, pattern and path in lower case; the table beside the tests is
//! its own answers. `*` is any text within a segment, `**` as a whole segment any number of segments, `?` one
//! character, `[a-c]` and `[!a-c]` one of a class, `{a,b}` one of several texts, `\` takes the next character as it is.
//! The path may end before a last `/**`.
//!
//! Three things are stricter, all where the original surprises: no class matches a slash, a pattern with a part that
//! cannot be read matches nothing, wherever the part is, and `a**/` does not match `a`.
//!
//! Whoever may write a Role writes patterns, so nothing here backtracks: braces become a bounded number of
//! alternatives, each a list of steps, and a step moves a set of positions at once.

mod compile;
mod expand;
mod positions;
mod program;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub(crate) use self::positions::Places;
use self::program::Program;

/// Longest pattern: twice what the longest path of a repository needs.
pub const PATTERN_BYTES_MAX: usize = 512;
/// What an alternative takes beside its text: its place in the list, and what the allocator adds.
const ALTERNATIVE_BYTES: usize = 40;

/// Why a pattern matches nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// Longer than anybody needs.
    #[error("it is longer than {PATTERN_BYTES_MAX} characters")]
    TooLong,
    /// No name of a repository has this character.
    #[error("no name of a repository has the character {0:?}")]
    Character(char),
    /// Nothing follows the last backslash.
    #[error("it ends with a backslash")]
    Escape,
    /// A class has no end or nothing in it.
    #[error("a [class] is empty or has no end")]
    Class,
    /// A brace has no partner.
    #[error("the braces are not in pairs")]
    Brace,
    /// Its braces stand for too many texts.
    #[error("its braces stand for too many alternatives")]
    Alternatives,
}

/// A pattern, ready to be matched.
#[derive(Clone, Debug)]
pub struct Pattern(Box<[Shape]>);

/// One alternative. Nearly all patterns in use are of the first three kinds.
#[derive(Clone, Debug)]
enum Shape {
    Everything,
    Exactly(Box<[u8]>),
    /// This path and all below it.
    Below(Box<[u8]>),
    Program(Box<Program>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A pattern that cannot be read; it is to be taken as one that matches nothing.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        read(text).map(|(pattern, _)| pattern)
    }

    /// Whether the pattern covers the path. Takes time in proportion to the length of the pattern.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.covers(&Places::new(path))
    }

    pub(crate) fn covers(&self, path: &Places<'_>) -> bool {
        let Some(bytes) = path.bytes() else { return false };
        self.0.iter().any(|shape| match shape {
            Shape::Everything => true,
            Shape::Exactly(text) => **text == *bytes,
            Shape::Below(top) => {
                bytes.strip_prefix(&**top).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
            }
            Shape::Program(program) => program.covers(path),
        })
    }

    /// How many texts and steps a match may have to look at.
    pub(crate) fn cost(&self) -> usize {
        self.0.len() + self.steps()
    }

    /// The bytes that it takes beyond those of its text: what braces and steps make of it.
    pub(crate) fn extra_bytes(&self) -> usize {
        if let [Shape::Everything | Shape::Exactly(_) | Shape::Below(_)] = &*self.0 {
            return 0;
        }
        let bytes = |shape: &Shape| match shape {
            Shape::Everything => 0,
            Shape::Exactly(text) | Shape::Below(text) => text.len(),
            Shape::Program(program) => program.bytes(),
        };
        self.0.iter().map(|shape| ALTERNATIVE_BYTES + bytes(shape)).sum()
    }

    /// How many steps a match may take, beyond a comparison of texts.
    pub(crate) fn steps(&self) -> usize {
        let steps = |shape: &Shape| match shape {
            Shape::Everything | Shape::Exactly(_) | Shape::Below(_) => 0,
            Shape::Program(program) => program.steps(),
        };
        self.0.iter().map(steps).sum()
    }

    /// What the author of a pattern probably did not mean, in one sentence; `None` when nothing looks wrong.
    /// `namespace` is that of the Role, a ClusterRole has none.
    #[must_use]
    pub fn problem(text: &str, namespace: Option<&str>) -> Option<String> {
        let lone_stars = match read(text) {
            Ok((_, lone_stars)) => lone_stars,
            Err(error) => return Some(format!("{error}, so it matches nothing")),
        };
        if text.is_empty() {
            return Some("it is empty and matches nothing; leave resourceNames out to match everything".into());
        }
        if let Some(rest) = text.strip_prefix('/') {
            return Some(format!("it begins with a slash and matches nothing, paths begin without one: {rest:?}"));
        }
        if text.ends_with('/') || text.contains("//") {
            return Some("it has an empty segment, no path has one".into());
        }
        if lone_stars {
            return Some(
                "a ** that is not a whole segment acts as *, which stays within one segment; everything below a path is \
                 \"path/**\""
                    .into(),
            );
        }
        let below = namespace.and_then(|namespace| text.strip_prefix(namespace)?.strip_prefix('/'))?;
        Some(format!("it begins with the name of the namespace, but names the path below the namespace: {below:?}?"))
    }
}

/// The pattern, and whether some `**` in it acts as `*`.
fn read(text: &str) -> Result<(Pattern, bool), PatternError> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong);
    }
    if let Some(odd) = text.chars().find(|c| !matches!(c, ' '..='~')) {
        return Err(PatternError::Character(odd));
    }
    let text = text.to_ascii_lowercase();
    let mut lone_stars = false;
    let mut shapes = Vec::new();
    for alternative in expand::expand(text.as_bytes())? {
        let program = compile::compile(&alternative)?;
        lone_stars |= program.lone_stars;
        shapes.push(program.into_shape());
    }
    Ok((Pattern(shapes.into()), lone_stars))
}
