//! `docs/configuration.md` holds the table of keys; this keeps it so.
//!
//! After a change of the table: `HOMEPORT_BLESS=1 cargo test -p homeport settings::tests::docs` writes the tables anew.

use std::path::Path;

use crate::settings::schema::{self, Change, Group, Key, Kind, State};

#[test]
fn every_key_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut expected = text.clone();
    for group in schema::GROUPS {
        let (begin, end) = (format!("<!-- keys: {} -->\n", group.name), "<!-- end of keys -->");
        let (before, rest) = expected.split_once(&begin).unwrap_or_else(|| panic!("{} has no {begin}", path.display()));
        let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("no end after {begin}"));
        expected = format!("{before}{begin}{}{end}{after}", table(group));
    }
    if text != expected && std::env::var_os("HOMEPORT_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(text == expected, "{} is out of date; run this test with HOMEPORT_BLESS=1", path.display());
    }
    for key in schema::keys() {
        assert!(expected.contains(&format!("`{}`", key.path)), "{}", key.path);
    }
}

fn table(group: &Group) -> String {
    let mut text = "\n| key | state | type | default | change | notes |\n|---|---|---|---|---|---|\n".to_owned();
    for key in group.keys {
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let cells = [&format!("`{}`", key.path), state(key), &kind(key), &default, change(key), key.note];
        text.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    text.push('\n');
    text
}

fn state(key: &Key) -> &'static str {
    match key.state {
        State::Honoured => "honoured",
        State::Ours => "ours",
        State::Warned => "warned",
        State::Refused => "refused",
    }
}

fn change(key: &Key) -> &'static str {
    match key.change {
        Change::Reload => "reload",
        Change::Restart => "restart",
        Change::Nothing => "",
    }
}

fn kind(key: &Key) -> String {
    let plain = match key.kind {
        Kind::Section | Kind::Named => "section",
        Kind::Text => "text",
        Kind::Secret => "secret",
        Kind::Bool => "true/false",
        Kind::Count => "number ≥ 0",
        Kind::Integer => "number",
        Kind::Duration => "duration",
        Kind::Span => "duration, with unit",
        Kind::Size => "bytes",
        Kind::TextList => "list of texts",
        Kind::SecretList => "list of secrets",
        Kind::Anything => "anything",
        Kind::Choice(words) => return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
    };
    plain.to_owned()
}
