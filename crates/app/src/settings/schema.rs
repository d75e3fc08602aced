//! The table of every key that a configuration file may hold.
//!
//! One table answers all questions about keys, so that the answers cannot disagree: which keys exist (unknown ones are errors
//! with a hint), what a value must look like, what Homeport does with it, whether a running server can take a change, and what
//! `docs/configuration.md` says. The environment overlay walks the same table.
//!
//! A path is dotted; `*` stands for a name that the operator chooses and `[]` for the items of a list.

mod access;
mod azure;
mod gcs;
mod kubernetes;
mod s3;
mod server;
mod storage;
mod swift;

/// What a value must look like. Scalars are checked on their text, never on a guessed YAML type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A map or list of further keys; present only when something is in it.
    Section,
    /// A section whose bare name already says something (`inmemory:`, `auth: none`).
    Named,
    Text,
    Secret,
    Bool,
    /// A whole number, zero or more.
    Count,
    /// A whole number, possibly negative.
    Integer,
    /// Go's form (`1h30m`); a bare number counts nanoseconds, as distribution reads it.
    Duration,
    /// The same form, but the unit must be there.
    Span,
    /// A number of bytes, or one with a unit (`4MiB`).
    Size,
    TextList,
    SecretList,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Anything; kept by name only.
    Anything,
}

/// What Homeport does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A key of distribution or OpenShift that works here.
    Honoured,
    /// A key that only Homeport knows.
    Ours,
    /// Read and then ignored, with a warning that names it.
    Warned,
    /// An error that names it: ignoring it would change what the registry promises.
    Refused,
}

/// Whether a running server can take a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Reload,
    Restart,
    /// The key has no effect, so neither has its change.
    Nothing,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) change: Change,
    /// The value when the key is left out, as the documentation shows it; empty when there is none.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the documentation test reads it"))]
    pub(crate) default: &'static str,
    /// What the key does, or for warned and refused keys why not and what to do instead.
    pub(crate) note: &'static str,
}

/// The keys of one chapter of the documentation.
pub(crate) struct Group {
    /// Names the chapter's markers in `docs/configuration.md`.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the documentation test reads it"))]
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [Key],
}

pub(crate) const GROUPS: &[Group] = &[
    Group { name: "general", keys: server::GENERAL },
    Group { name: "log", keys: server::LOG },
    Group { name: "http", keys: server::HTTP },
    Group { name: "health", keys: server::HEALTH },
    Group { name: "storage", keys: storage::STORAGE },
    Group { name: "s3", keys: s3::S3 },
    Group { name: "azure", keys: azure::AZURE },
    Group { name: "gcs", keys: gcs::GCS },
    Group { name: "swift", keys: swift::SWIFT },
    Group { name: "drivers", keys: storage::DRIVERS },
    Group { name: "content", keys: storage::CONTENT },
    Group { name: "auth", keys: access::AUTH },
    Group { name: "homeport", keys: access::HOMEPORT },
    Group { name: "kubernetes", keys: kubernetes::KUBERNETES },
    Group { name: "openshift", keys: kubernetes::OPENSHIFT },
    Group { name: "foreign", keys: kubernetes::FOREIGN },
];

pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    GROUPS.iter().flat_map(|group| group.keys)
}

/// The row of exactly this path.
pub(crate) fn find(path: &[&str]) -> Option<&'static Key> {
    keys().find(|key| {
        let mut segments = key.path.split('.');
        path.iter().all(|part| segments.next().is_some_and(|segment| same(segment, part))) && segments.next().is_none()
    })
}

/// The names that may follow this path: keys, `*`, or `[]`. Empty for a leaf and for an unknown path.
pub(crate) fn children(path: &[&str]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in keys() {
        let mut segments = key.path.split('.');
        let below = path.iter().all(|part| segments.next().is_some_and(|segment| same(segment, part)));
        if let (true, Some(name)) = (below, segments.next())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn same(segment: &str, part: &str) -> bool {
    segment == part || (segment == "*" && part != "[]")
}

const fn key(
    path: &'static str,
    kind: Kind,
    state: State,
    change: Change,
    default: &'static str,
    note: &'static str,
) -> Key {
    Key { path, kind, state, change, default, note }
}

/// Honoured, and a reload takes a change.
const fn live(path: &'static str, kind: Kind, default: &'static str, note: &'static str) -> Key {
    key(path, kind, State::Honoured, Change::Reload, default, note)
}

/// Honoured, and a change needs a restart.
const fn fixed(path: &'static str, kind: Kind, default: &'static str, note: &'static str) -> Key {
    key(path, kind, State::Honoured, Change::Restart, default, note)
}

const fn ours_live(path: &'static str, kind: Kind, default: &'static str, note: &'static str) -> Key {
    key(path, kind, State::Ours, Change::Reload, default, note)
}

const fn ours_fixed(path: &'static str, kind: Kind, default: &'static str, note: &'static str) -> Key {
    key(path, kind, State::Ours, Change::Restart, default, note)
}

const fn warned(path: &'static str, kind: Kind, note: &'static str) -> Key {
    key(path, kind, State::Warned, Change::Nothing, "", note)
}

const fn refused(path: &'static str, kind: Kind, note: &'static str) -> Key {
    key(path, kind, State::Refused, Change::Nothing, "", note)
}
