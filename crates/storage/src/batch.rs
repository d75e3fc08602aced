//! Small changes that become durable together.

use bytes::Bytes;

/// How a put treats what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// Last writer wins.
    Replace,
    /// The content of the key never differs: an existing one stays, a damaged one is replaced.
    Keep,
    /// First writer wins: where something is, the batch fails with [`crate::ErrorKind::Conflict`] at this point.
    Create,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Write a small object.
    Put {
        /// Where.
        key: String,
        /// What, at most [`crate::INLINE_MAX`] bytes.
        data: Bytes,
        /// How.
        mode: PutMode,
    },
    /// Remove one object; a missing one is fine.
    Delete {
        /// Which.
        key: String,
    },
    /// Remove everything below a prefix, at once for readers; nothing there is fine.
    DeleteTree {
        /// Which, without a slash at the end.
        prefix: String,
    },
    /// The same, but only while the object at `key` still holds `expected`.
    DeleteTreeIf {
        /// Which, without a slash at the end.
        prefix: String,
        /// The object to look at.
        key: String,
        /// Its content.
        expected: Bytes,
    },
}

impl Op {
    /// Key or prefix.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
            Self::DeleteTree { prefix } | Self::DeleteTreeIf { prefix, .. } => prefix,
        }
    }
}

/// Changes in order. Either all of them become durable and visible, or an error is returned and any part of them may
/// have happened; the order is kept, so that a part is always a beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub ops: Vec<Op>,
    /// Names of what must not change by two batches at once. Two batches that share a name are applied in the order in
    /// which they are recorded. A batch that names nothing locks its own keys.
    pub locks: Vec<String>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put that replaces.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), data: data.into(), mode: PutMode::Replace });
        self
    }

    /// Adds a put of content that never differs.
    #[must_use]
    pub fn keep(mut self, key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), data: data.into(), mode: PutMode::Keep });
        self
    }

    /// Adds a put that succeeds only where nothing is.
    #[must_use]
    pub fn create(mut self, key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), data: data.into(), mode: PutMode::Create });
        self
    }

    /// Adds a removal.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Adds a removal of everything below.
    #[must_use]
    pub fn delete_tree(mut self, prefix: impl Into<String>) -> Self {
        self.ops.push(Op::DeleteTree { prefix: prefix.into() });
        self
    }

    /// Adds a removal of everything below, if `key` holds `expected`.
    #[must_use]
    pub fn delete_tree_if(
        mut self,
        prefix: impl Into<String>,
        key: impl Into<String>,
        expected: impl Into<Bytes>,
    ) -> Self {
        self.ops.push(Op::DeleteTreeIf { prefix: prefix.into(), key: key.into(), expected: expected.into() });
        self
    }

    /// Adds a lock name.
    #[must_use]
    pub fn lock(mut self, name: impl Into<String>) -> Self {
        self.locks.push(name.into());
        self
    }

    /// The names to lock, sorted, each once.
    #[must_use]
    pub fn lock_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = if self.locks.is_empty() {
            self.ops.iter().map(Op::key).collect()
        } else {
            self.locks.iter().map(String::as_str).collect()
        };
        names.sort_unstable();
        names.dedup();
        names
    }
}
