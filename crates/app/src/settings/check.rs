//! Compares a document with the table of keys: unknown keys, wrong shapes and types, and keys that are warned about or refused.
//!
//! What depends on more than one key is left to `resolve`.

use super::document::{Node, Value};
use super::hint;
use super::report::Report;
use super::schema::{self, Key, Kind, State};
use super::value;

/// Reports everything that the table can tell about this document.
pub(crate) fn check(root: &Node, report: &mut Report) {
    Walk { report }.node(root, &mut Vec::new(), "", false);
}

struct Walk<'r> {
    report: &'r mut Report,
}

impl<'n> Walk<'_> {
    /// `muted`: a section above has been reported already, so its members are checked for mistakes only.
    fn node(&mut self, node: &'n Node, path: &mut Vec<&'n str>, shown: &str, muted: bool) {
        let key = schema::find(path);
        let muted = muted || key.is_some_and(|key| self.judge(key, node, shown));
        let children = schema::children(path);
        if children.is_empty() {
            if let Some(key) = key {
                self.leaf(key, node, shown);
            }
        } else if children == ["[]"] {
            self.list(node, path, shown, muted);
        } else {
            self.map(node, path, shown, &children, muted);
        }
    }

    fn list(&mut self, node: &'n Node, path: &mut Vec<&'n str>, shown: &str, muted: bool) {
        match &node.value {
            Value::Empty => {}
            Value::List(items) => {
                path.push("[]");
                for (index, item) in items.iter().enumerate() {
                    self.node(item, path, &format!("{shown}[{index}]"), muted);
                }
                path.pop();
            }
            Value::Scalar(_) | Value::Map(_) => self.report.error(Some(&node.origin), shown, "must be a list"),
        }
    }

    fn map(&mut self, node: &'n Node, path: &mut Vec<&'n str>, shown: &str, children: &[&'static str], muted: bool) {
        match &node.value {
            Value::Empty => {}
            Value::Map(entries) => {
                for entry in entries {
                    let below = if shown.is_empty() { entry.key.clone() } else { format!("{shown}.{}", entry.key) };
                    if children.contains(&"*") || children.contains(&entry.key.as_str()) {
                        path.push(&entry.key);
                        self.node(&entry.node, path, &below, muted);
                        path.pop();
                    } else {
                        let message = hint::with("unknown key", &entry.key, children);
                        self.report.error(Some(&entry.node.origin), below, message);
                    }
                }
            }
            Value::Scalar(_) | Value::List(_) if shown.is_empty() => {
                self.report.error(Some(&node.origin), "", "must be a map of sections, beginning with `version: 0.1`");
            }
            Value::Scalar(_) | Value::List(_) => {
                let message = format!("must be a section with keys such as {}", examples(children));
                self.report.error(Some(&node.origin), shown, message);
            }
        }
    }

    /// Reports a warned or refused key; true when it did.
    fn judge(&mut self, key: &Key, node: &Node, shown: &str) -> bool {
        if key.note.is_empty() || !in_use(key, node) {
            return false;
        }
        match key.state {
            State::Honoured | State::Ours => false,
            State::Refused if !harmless(node) => {
                self.report.error(Some(&node.origin), shown, format!("not supported: {}", key.note));
                true
            }
            State::Warned | State::Refused => {
                self.report.warning(Some(&node.origin), shown, format!("has no effect: {}", key.note));
                true
            }
        }
    }

    fn leaf(&mut self, key: &Key, node: &Node, shown: &str) {
        let result = match (key.kind, &node.value) {
            (_, Value::Empty) | (Kind::Anything, _) => Ok(()),
            (Kind::TextList | Kind::SecretList, Value::Scalar(_)) => Ok(()),
            (Kind::TextList | Kind::SecretList, Value::List(items)) => {
                if items.iter().all(|item| item.text().is_some()) {
                    Ok(())
                } else {
                    Err("must be a list of texts".to_owned())
                }
            }
            (Kind::TextList | Kind::SecretList, Value::Map(_)) => Err("must be a list of texts".to_owned()),
            (Kind::Section | Kind::Named, _) => Err("has no keys in it".to_owned()),
            (kind, Value::Scalar(text)) => scalar(kind, text),
            (_, Value::List(_) | Value::Map(_)) => Err("must be a single value".to_owned()),
        };
        if let Err(message) = result {
            self.report.error(Some(&node.origin), shown, message);
        }
    }
}

fn scalar(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Bool => value::truth(text).map(drop),
        Kind::Count => value::count(text).map(drop),
        Kind::Integer => value::integer(text).map(drop),
        Kind::Duration => value::duration(text).map(drop),
        Kind::Span => value::span(text).map(drop),
        Kind::Size => value::size(text).map(drop),
        Kind::Choice(words) => match words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            true => Ok(()),
            false => Err(hint::with(&format!("must be one of {}", words.join(", ")), text, words)),
        },
        Kind::Text
        | Kind::Secret
        | Kind::TextList
        | Kind::SecretList
        | Kind::Anything
        | Kind::Section
        | Kind::Named => Ok(()),
    }
}

fn in_use(key: &Key, node: &Node) -> bool {
    match key.kind {
        Kind::Named => true,
        // Switching off what is not there is no surprise to anyone.
        Kind::Bool => node.text().is_some_and(|text| value::truth(text) == Ok(true)),
        _ => !node.is_blank(),
    }
}

/// Every entry of the list is switched off, or is OpenShift's own plug-in, whose work is done here without one.
fn harmless(node: &Node) -> bool {
    let off =
        |item: &Node| item.get("disabled").and_then(Node::text).is_some_and(|text| value::truth(text) == Ok(true));
    let openshift = |item: &Node| item.get("name").and_then(Node::text) == Some("openshift");
    matches!(&node.value, Value::List(items) if items.iter().all(|item| off(item) || openshift(item)))
}

fn examples(children: &[&str]) -> String {
    let names: Vec<_> = children.iter().copied().filter(|name| *name != "*").take(3).collect();
    if names.is_empty() { "`name: value`".to_owned() } else { names.join(", ") }
}
