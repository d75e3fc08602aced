//! What a client knows of the server: what was acknowledged, and what was under way when the server died.

use std::collections::BTreeMap;

/// Something with a value that one client changes. More than one value is possible while a change is not acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Register<T> {
    possible: Vec<T>,
    /// Touched since it was last looked at.
    pub(crate) fresh: bool,
}

impl<T: Clone + PartialEq> Register<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { possible: vec![value], fresh: false }
    }

    /// A change to `value` is under way.
    pub(crate) fn attempt(&mut self, value: T) {
        self.fresh = true;
        self.possible.push(value);
    }

    /// The change to `value` was acknowledged, or `value` was seen while nobody changes anything.
    pub(crate) fn settle(&mut self, value: T) {
        self.possible = vec![value];
    }

    pub(crate) fn may_be(&self, value: &T) -> bool {
        self.possible.contains(value)
    }

    pub(crate) fn is(&self, value: &T) -> bool {
        self.possible.iter().all(|found| found == value)
    }

    pub(crate) fn settled(&self) -> Option<&T> {
        if let [value] = &self.possible[..] { Some(value) } else { None }
    }
}

/// Repository, and a digest or tag in it.
pub(crate) type Item = (String, String);

pub(crate) struct Manifest {
    pub(crate) present: Register<bool>,
    pub(crate) subject: Option<String>,
}

/// An upload that the server has acknowledged with 202.
pub(crate) struct Session {
    pub(crate) repo: String,
    pub(crate) location: String,
    pub(crate) content: Vec<u8>,
    /// Bytes that the server has; `None` once the session has ended.
    pub(crate) offset: Register<Option<u64>>,
}

/// Everything that one client has pushed.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) blobs: BTreeMap<Item, Register<bool>>,
    pub(crate) manifests: BTreeMap<Item, Manifest>,
    pub(crate) tags: BTreeMap<Item, Register<Option<String>>>,
    pub(crate) sessions: Vec<Session>,
    /// Blobs that no manifest needs.
    pub(crate) loose: Vec<Item>,
}

impl Known {
    pub(crate) fn blob(&mut self, item: Item) -> &mut Register<bool> {
        self.blobs.entry(item).or_insert_with(|| Register::new(false))
    }

    pub(crate) fn tag(&mut self, item: Item) -> &mut Register<Option<String>> {
        self.tags.entry(item).or_insert_with(|| Register::new(None))
    }

    /// Tags that certainly are `digest` now, in `repo`.
    pub(crate) fn tags_of(&self, repo: &str, digest: &str) -> Vec<String> {
        let named = self.tags.iter().filter(|((found, _), value)| found == repo && value.is(&Some(digest.to_owned())));
        named.map(|((_, tag), _)| tag.clone()).collect()
    }

    /// Manifests that certainly are there, in `repo`.
    pub(crate) fn manifests_in(&self, repo: &str) -> Vec<String> {
        let there = self.manifests.iter().filter(|((found, _), manifest)| found == repo && manifest.present.is(&true));
        there.map(|((_, digest), _)| digest.clone()).collect()
    }
}
