//! Who a caller is, and whether that is still so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use ring::digest;

/// Where an identity comes from. Two users of the same name from different sources are different callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// No credentials were given.
    Anonymous,
    /// A line of an htpasswd file.
    Htpasswd,
    /// A static user of the settings (Deckhouse `settings.users`).
    StaticUser,
    /// The Kubernetes cluster.
    Cluster,
}

impl Source {
    /// The name used in tokens and logs; stable, since tokens outlive a version.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Htpasswd => "htpasswd",
            Self::StaticUser => "static",
            Self::Cluster => "cluster",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Anonymous, Self::Htpasswd, Self::StaticUser, Self::Cluster].into_iter().find(|s| s.as_str() == name)
    }
}

/// Digest of a user's entry as stored: source, name and password hash. It changes when the password changes,
/// and is equal on every replica that loaded the same settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record(pub(crate) [u8; 32]);

impl Record {
    /// The record of an entry whose secret is stored as `stored` (for local users the bcrypt text).
    #[must_use]
    pub fn of(source: Source, name: &str, stored: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [source.as_str().as_bytes(), name.as_bytes(), stored] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record")
    }
}

/// An authenticated (or anonymous) caller. Cloning is one reference count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Arc<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    name: Option<Box<str>>,
    groups: Box<[Box<str>]>,
    uid: Option<Box<str>>,
    extra: BTreeMap<String, Vec<String>>,
    source: Source,
    record: Option<Record>,
}

impl Inner {
    fn new(name: Option<&str>, source: Source) -> Self {
        let (name, groups) = (name.map(Into::into), Box::default());
        Self { name, groups, uid: None, extra: BTreeMap::new(), source, record: None }
    }
}

impl Caller {
    /// The caller without credentials; does not allocate.
    #[must_use]
    pub fn anonymous() -> Self {
        static ANONYMOUS: LazyLock<Caller> = LazyLock::new(|| Caller(Arc::new(Inner::new(None, Source::Anonymous))));
        ANONYMOUS.clone()
    }

    /// A caller with a name.
    #[must_use]
    pub fn named(name: &str, source: Source) -> Self {
        Self(Arc::new(Inner::new(Some(name), source)))
    }

    /// The same caller with these groups.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        Arc::make_mut(&mut self.0).groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// The same caller with the UID that its source knows it by; an empty one is none.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        Arc::make_mut(&mut self.0).uid = (!uid.is_empty()).then(|| uid.into());
        self
    }

    /// The same caller with what else its source knows about it.
    #[must_use]
    pub fn with_extra(mut self, extra: BTreeMap<String, Vec<String>>) -> Self {
        Arc::make_mut(&mut self.0).extra = extra;
        self
    }

    /// The same caller, tied to the entry that it was authenticated against.
    #[must_use]
    pub fn with_record(mut self, record: Record) -> Self {
        Arc::make_mut(&mut self.0).record = Some(record);
        self
    }

    /// The user name; `None` for the anonymous caller.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The groups, in the order of their source.
    #[must_use]
    pub fn groups(&self) -> &[Box<str>] {
        &self.0.groups
    }

    /// The UID, if the source gives one.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.0.uid.as_deref()
    }

    /// What else the source knows about the caller: keys and their values. Asking the cluster in the caller's name
    /// needs it.
    #[must_use]
    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0.extra
    }

    /// Where the identity comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.0.source
    }

    /// The entry that the caller was authenticated against, if its source keeps one.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        self.0.record
    }

    /// Whether no credentials were given.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0.name.is_none()
    }
}

impl fmt::Display for Caller {
    /// For messages and logs: `user "bob"` or `anonymous user`. Control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "user {name:?}"),
            None => f.write_str("anonymous user"),
        }
    }
}

/// What a source says today about a user it once let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This source is not looked after here.
    NotTracked,
    /// The user does not exist any more, or can no longer log in.
    Gone,
    /// The user exists and its entry is this one.
    Current(Record),
}

/// The users that exist now; asked when a token issued earlier comes back.
pub trait Users: Send + Sync {
    /// The standing of a user. Must answer from memory.
    fn standing(&self, source: Source, name: &str) -> Standing;

    /// A number that grows with every change, so that remembered answers can be told to be outdated.
    fn generation(&self) -> u64;
}

/// Several sources of users as one.
#[derive(Clone, Default)]
pub struct Directory(Vec<Arc<dyn Users>>);

impl Directory {
    /// Joins the sources; each [`Source`] should be looked after by one of them.
    #[must_use]
    pub fn new(members: Vec<Arc<dyn Users>>) -> Self {
        Self(members)
    }
}

impl Users for Directory {
    fn standing(&self, source: Source, name: &str) -> Standing {
        self.0
            .iter()
            .map(|member| member.standing(source, name))
            .find(|standing| *standing != Standing::NotTracked)
            .unwrap_or(Standing::NotTracked)
    }

    fn generation(&self) -> u64 {
        // Each summand only grows, so the sum changes whenever one of them does.
        self.0.iter().fold(0, |sum, member| sum.wrapping_add(member.generation()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_tell_sources_names_and_hashes_apart() {
        let base = Record::of(Source::Htpasswd, "ab", b"c");
        assert_eq!(base, Record::of(Source::Htpasswd, "ab", b"c"));
        assert_ne!(base, Record::of(Source::Htpasswd, "a", b"bc"));
        assert_ne!(base, Record::of(Source::StaticUser, "ab", b"c"));
    }

    #[test]
    fn source_names_round_trip() {
        for source in [Source::Anonymous, Source::Htpasswd, Source::StaticUser, Source::Cluster] {
            assert_eq!(Source::from_name(source.as_str()), Some(source));
        }
        assert_eq!(Source::from_name("root"), None);
    }

    #[test]
    fn what_the_source_knows_stays_with_the_caller() {
        let extra = BTreeMap::from([("scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
        let bare = Caller::named("bob", Source::Cluster);
        let full = bare.clone().with_uid("u-1").with_extra(extra.clone()).with_groups(["g"]);
        assert_eq!((full.uid(), full.extra(), full.name()), (Some("u-1"), &extra, Some("bob")));
        assert_eq!((bare.uid(), bare.extra().len()), (None, 0), "the original is left alone");
        assert_eq!(bare.clone().with_uid(""), bare);
        assert_ne!(bare.clone().with_uid("u-1"), bare.with_uid("u-2"), "same name, another user");
    }

    #[test]
    fn names_are_escaped_for_logs() {
        assert_eq!(Caller::named("a\nb", Source::Cluster).to_string(), r#"user "a\nb""#);
        assert_eq!(Caller::anonymous().to_string(), "anonymous user");
    }
}
