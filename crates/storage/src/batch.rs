//! Small changes that become durable together.

use bytes::Bytes;
use std::ops::Range;

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
/// have happened; the order is kept, so that a part is always a beginning, but for changes that may go at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes.
    pub ops: Vec<Op>,
    /// Names of what must not change by two batches at once. Two batches that share a name are applied in the order in
    /// which they are recorded. A batch that names nothing locks its own keys.
    pub locks: Vec<String>,
    /// Changes by their position: those within one range may go at once, and of them any may have happened after an error.
    /// In order, none within another.
    pub at_once: Vec<Range<usize>>,
    /// Changes from this position on need not be waited for: see [`Batch::soon`].
    pub soon: Option<usize>,
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

    /// Adds changes that may go at once: after all that were added before, and before all that come later.
    #[must_use]
    pub fn at_once(mut self, add: impl FnOnce(Self) -> Self) -> Self {
        let (start, ranges) = (self.ops.len(), self.at_once.len());
        self = add(self);
        self.at_once.truncate(ranges);
        self.at_once.push(start..self.ops.len());
        self
    }

    /// All changes that follow need not be waited for; not within [`Batch::at_once`]. A driver whose changes take their time
    /// acknowledges the batch before them, and carries them out right after it under the same locks; they may be lost with
    /// the process.
    #[must_use]
    pub fn soon(mut self) -> Self {
        self.soon.get_or_insert(self.ops.len());
        self
    }

    /// The steps that have to be waited for, and those that need not be.
    #[must_use]
    pub fn now_and_soon(self) -> (Vec<Vec<Op>>, Vec<Vec<Op>>) {
        let mut left = self.soon.unwrap_or(self.ops.len());
        let mut now = self.steps();
        let is_soon = |step: &Vec<Op>| match left.checked_sub(step.len()) {
            Some(rest) => {
                left = rest;
                false
            }
            None => {
                debug_assert_eq!(left, 0, "soon within at_once");
                true
            }
        };
        let from = now.iter().position(is_soon).unwrap_or(now.len());
        let soon = now.split_off(from);
        (now, soon)
    }

    /// The changes in steps: those of one step may go at once, the steps are in order.
    #[must_use]
    pub fn steps(self) -> Vec<Vec<Op>> {
        let mut steps: Vec<Vec<Op>> = Vec::new();
        let mut ranges = self.at_once.into_iter().filter(|range| !range.is_empty()).peekable();
        for (position, op) in self.ops.into_iter().enumerate() {
            while ranges.next_if(|range| range.end <= position).is_some() {}
            let joins = ranges.peek().is_some_and(|range| range.start < position && position < range.end);
            match steps.last_mut() {
                Some(step) if joins => step.push(op),
                _ => steps.push(vec![op]),
            }
        }
        steps
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_go_at_once_is_one_step() {
        let batch = Batch::new()
            .put("a", "")
            .at_once(|batch| batch)
            .at_once(|batch| batch.put("b", "").at_once(|batch| batch.delete("c").keep("d", "")))
            .at_once(|batch| batch.delete("e"))
            .put("f", "")
            .put("g", "");
        let steps = batch.steps();
        let keys: Vec<Vec<&str>> = steps.iter().map(|step| step.iter().map(Op::key).collect()).collect();
        assert_eq!(keys, [&["a"][..], &["b", "c", "d"], &["e"], &["f"], &["g"]]);
        let strict = Batch::new().put("a", "").delete("b").steps();
        assert_eq!(strict.len(), 2);
    }

    #[test]
    fn what_need_not_be_waited_for_comes_last() {
        let keys = |steps: Vec<Vec<Op>>| -> Vec<Vec<String>> {
            steps.iter().map(|step| step.iter().map(|op| op.key().to_owned()).collect()).collect()
        };
        let batch = Batch::new().put("a", "").at_once(|batch| batch.put("b", "").put("c", ""));
        let (now, soon) =
            batch.clone().soon().at_once(|batch| batch.put("d", "").put("e", "")).put("f", "").now_and_soon();
        assert_eq!(keys(now), [vec!["a"], vec!["b", "c"]]);
        assert_eq!(keys(soon), [vec!["d", "e"], vec!["f"]]);
        let (now, soon) = batch.clone().now_and_soon();
        assert_eq!((keys(now), soon.len()), (vec![vec!["a".to_owned()], vec!["b".into(), "c".into()]], 0));
        let (now, soon) = Batch::new().soon().put("a", "").soon().now_and_soon();
        assert_eq!((now.len(), keys(soon)), (0, vec![vec!["a".to_owned()]]));
    }
}
