//! `labelSelector`: the grammar of apimachinery's `labels/selector.go`.

mod parse;

/// What must hold of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: Box<str>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Box<[Box<str>]>),
    /// Holds for what does not have the label as well.
    NotIn(Box<[Box<str>]>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
}

/// All of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Box<[Requirement]>);

impl LabelSelector {
    /// # Errors
    /// What is wrong with it, for the client.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        parse::requirements(text).map(|requirements| Self(requirements.into()))
    }

    /// `label` gives the value of a label that is there.
    pub(crate) fn matches<V: AsRef<str>>(&self, label: impl Fn(&str) -> Option<V>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            let value = value.as_ref().map(AsRef::as_ref);
            let among = |values: &[Box<str>]| value.map(|value| values.iter().any(|one| **one == *value));
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.test {
                Test::In(values) => among(values) == Some(true),
                Test::NotIn(values) => among(values) != Some(true),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::Above(bound) => number().is_some_and(|number| number > *bound),
                Test::Below(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

/// Longest value of a label, and longest name of its key.
const PART_MAX: usize = 63;
/// Longest prefix of a key.
const PREFIX_MAX: usize = 253;

/// Whether a text can be the value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_part(text)
}

fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= PART_MAX && text.bytes().all(inner) && end(text.bytes().next()) && end(text.bytes().next_back())
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_part(text),
        Some((prefix, name)) => is_part(name) && is_subdomain(prefix),
    }
}

fn is_subdomain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |part: &str| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(inner);
    text.len() <= PREFIX_MAX && text.split('.').all(label)
}

#[cfg(test)]
mod tests;
