//! A configuration as text with places: what was written, and where.
//!
//! Scalars keep the characters of the file. YAML's own guesses would turn `secretkey: 0123` into a number and `password: yes`
//! into a truth; here the key decides later what its text means. The other obvious way, one serde struct per section, stops at
//! the first mistake, while an operator wants to see all of them at once.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A configuration is small; the bound keeps a wrong path (a disk image, `/dev/zero`) from filling memory.
pub(crate) const BYTES_MAX: usize = 4 << 20;

/// The deepest key has nine levels; the rest is for options that are only named. Trees are walked by recursion.
const DEPTH_MAX: usize = 64;

/// Anchors multiply what they name; a configuration with ten thousand users still fits.
const NODES_MAX: usize = 250_000;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Line(u64),
    Variable(String),
    Flag(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Empty,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) node: Node,
}

/// A text that is not YAML; the message never quotes values, which may be secrets.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) line: Option<u64>,
    pub(crate) message: String,
}

impl Node {
    pub(crate) fn empty(origin: Origin) -> Self {
        Self { value: Value::Empty, origin }
    }

    pub(crate) fn scalar(text: impl Into<String>, origin: Origin) -> Self {
        Self { value: Value::Scalar(text.into()), origin }
    }

    /// Reads YAML; every node gets its line.
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.len() > BYTES_MAX {
            return Err(SyntaxError { line: None, message: format!("longer than {BYTES_MAX} bytes") });
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_nodes: NODES_MAX },
            with_snippet: false,
            non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
            ignore_binary_tag_for_string: true,
        };
        let parsed: Option<Spanned<Raw>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            SyntaxError { line: error.location().map(|location| location.line()), message: first_line(&error) }
        })?;
        Ok(parsed.map_or_else(|| Self::empty(Origin::Line(1)), |raw| convert(raw, text)))
    }

    /// The same tree as if all of it came from one place, such as a variable.
    pub(crate) fn with_origin(mut self, origin: &Origin) -> Self {
        self.origin = origin.clone();
        match &mut self.value {
            Value::Empty | Value::Scalar(_) => {}
            Value::List(items) => {
                *items = std::mem::take(items).into_iter().map(|item| item.with_origin(origin)).collect()
            }
            Value::Map(entries) => {
                for entry in entries {
                    let node = std::mem::replace(&mut entry.node, Self::empty(Origin::Line(0)));
                    entry.node = node.with_origin(origin);
                }
            }
        }
        self
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
            _ => None,
        }
    }

    /// Follows a dotted path of plain keys.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| node.get(key))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            // A single value may stand for a list of one, mostly because a variable holds one value.
            Value::Scalar(_) => std::slice::from_ref(self),
            Value::Empty | Value::Map(_) => &[],
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The member for which `is` holds, or else a new one of this name. What is not a map becomes one.
    pub(crate) fn member_mut(&mut self, name: &str, is: impl Fn(&str) -> bool) -> &mut Self {
        let origin = self.origin.clone();
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        // Made a map on the line above.
        let Value::Map(entries) = &mut self.value else { unreachable!() };
        let index = entries.iter().position(|entry| is(&entry.key)).unwrap_or_else(|| {
            entries.push(Entry { key: name.to_owned(), node: Self::empty(origin) });
            entries.len() - 1
        });
        &mut entries[index].node
    }

    /// Nothing is written here, at any depth.
    pub(crate) fn is_blank(&self) -> bool {
        match &self.value {
            Value::Empty => true,
            Value::Scalar(text) => text.is_empty(),
            Value::List(items) => items.iter().all(Self::is_blank),
            Value::Map(entries) => entries.iter().all(|entry| entry.node.is_blank()),
        }
    }
}

fn first_line(error: &serde_saphyr::Error) -> String {
    let message = error.to_string();
    let message = message.lines().next().unwrap_or_default();
    // The place is told separately, in the form that all messages have.
    message.strip_prefix("error: ").unwrap_or(message).to_owned()
}

/// What serde hands over. Numbers and truths only say "a plain scalar that YAML would convert"; their text is in the source.
enum Raw {
    Empty,
    Text(String),
    Converted(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn convert(raw: Spanned<Raw>, source: &str) -> Node {
    let origin = Origin::Line(raw.referenced.line());
    let value = match raw.value {
        Raw::Empty => Value::Empty,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Converted(fallback) => Value::Scalar(plain_text(&raw.defined, source).map_or(fallback, Cow::into_owned)),
        Raw::List(items) => Value::List(items.into_iter().map(|item| convert(item, source)).collect()),
        Raw::Map(entries) => {
            Value::Map(entries.into_iter().map(|(key, node)| convert_entry(key, node, source)).collect())
        }
    };
    Node { value, origin }
}

/// A section begins at its name, not at the first key in it.
fn convert_entry(key: Spanned<String>, node: Spanned<Raw>, source: &str) -> Entry {
    let origin = Origin::Line(key.referenced.line());
    Entry { key: key.value, node: Node { origin, ..convert(node, source) } }
}

/// The characters of a plain scalar; none when the place is unknown or holds a tag or quotes (`!!int "5"`).
fn plain_text<'s>(location: &serde_saphyr::Location, source: &'s str) -> Option<Cow<'s, str>> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    let text = source.get(start..start.checked_add(length)?)?.trim();
    let plain = !text.is_empty() && !text.starts_with(['!', '"', '\'', '&', '|', '>']) && !text.contains('\n');
    plain.then_some(Cow::Borrowed(text))
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Converted(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Converted(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Converted(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Converted(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Converted(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Converted(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> (String, Origin) {
        let node = Node::parse(text).unwrap();
        let node = node.find(path).unwrap();
        (node.text().unwrap_or("<none>").to_owned(), node.origin.clone())
    }

    #[test]
    fn scalars_keep_their_characters() {
        for (written, kept) in [
            ("0123", "0123"),
            ("0x1F", "0x1F"),
            ("1_000", "1_000"),
            ("1e999", "1e999"),
            ("12345678901234567890123", "12345678901234567890123"),
            (".nan", ".nan"),
            ("-.inf", "-.inf"),
            ("yes", "yes"),
            ("Off", "Off"),
            ("0.10", "0.10"),
            ("1.50 # comment", "1.50"),
            ("'007'", "007"),
            ("\"1\\t2\"", "1\t2"),
            ("!!str 012", "012"),
            ("!!int \"5\"", "5"),
            ("&anchor 0123", "0123"),
            ("2024-01-01", "2024-01-01"),
            ("0o17", "0o17"),
            ("+7", "+7"),
        ] {
            assert_eq!(
                at(&format!("ä: ö\na:\n  b: {written}\n"), "a.b"),
                (kept.to_owned(), Origin::Line(3)),
                "{written}"
            );
            assert_eq!(at(&format!("a: {{b: {written}\n}}\n"), "a.b").0, kept, "{written} in a flow map");
        }
    }

    #[test]
    fn aliases_and_merges_work() {
        assert_eq!(at("x: &x 0123\ny: *x\n", "y").0, "0123");
        assert_eq!(at("x: &x {a: 0123}\ny:\n  <<: *x\n", "y.a").0, "0123");
    }

    #[test]
    fn nothing_is_an_empty_node() {
        for text in ["", "# only a comment\n", "---\n", "~"] {
            assert_eq!(Node::parse(text).unwrap().value, Value::Empty, "{text:?}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            assert!(Node::parse(&format!("{}{}", open.repeat(50_000), close.repeat(50_000))).is_err());
            assert!(Node::parse(&format!("{}{}", open.repeat(40), close.repeat(40))).is_ok());
        }
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let below = format!("*a{}", n - 1);
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![below; 10].join(", ")));
        }
        assert!(Node::parse(&text).is_err());
    }

    #[test]
    fn mistakes_have_a_line() {
        for (text, line) in
            [("a: 1\nb: [\n", 2), ("a: 1\na: 2\n", 2), ("users:\n  u:\n    hash: x\n    - name: y\n", 4)]
        {
            assert_eq!(Node::parse(text).unwrap_err().line, Some(line), "{text:?}");
        }
    }
}
