//! What has been done so far, and what was found.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Findings of one kind that are named; all are counted.
const NAMED_MAX: usize = 100;

/// What is wrong with an object of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The bytes are others than the digest says, or cannot be read.
    Broken,
    /// A link names bytes or a manifest that the source does not have, or is damaged itself: not found there either.
    Dangling,
    /// Nothing that a registry is known to write.
    Unknown,
}

/// An object that was not copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// Which.
    pub key: String,
    /// More about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// Figures that grow while a copy runs.
        #[derive(Debug, Default)]
        pub struct Progress {
            $(pub(crate) $name: AtomicU64,)*
            findings: Mutex<Vec<Finding>>,
        }

        /// The figures at one moment, at the end of all that there is to say.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Report {
            $($(#[doc = $doc])* pub $name: u64,)*
            /// Objects that were not copied, the first of each kind.
            pub findings: Vec<Finding>,
        }

        impl Progress {
            /// The figures now.
            #[must_use]
            pub fn report(&self) -> Report {
                let findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Report { $($name: self.$name.load(Ordering::Relaxed),)* findings }
            }
        }
    };
}

counters! {
    /// Parts of the store of blobs.
    shards,
    /// Those of them that are done.
    shards_done,
    /// Repositories of the source.
    repositories,
    /// Those of them that are done.
    repositories_done,
    /// Blobs and manifests that were copied.
    blobs_copied,
    /// Their bytes, and those of blobs on their way.
    bytes_copied,
    /// Blobs and manifests that were there already.
    blobs_there,
    /// Links and records that were copied.
    links_copied,
    /// Links and records that were there already.
    links_there,
    /// Tags that were copied or moved.
    tags_copied,
    /// Tags that were the same already.
    tags_there,
    /// Repositories, tags, links and records that were removed at the destination.
    removed,
    /// Repositories in which manifests and blobs that are gone at the source stay for now, since clients changed them
    /// meanwhile, or since the destination has something whole that is damaged at the source.
    repositories_held,
    /// Blobs of the source that were not copied since their bytes are not what their name says.
    broken,
    /// Links of the source that lead nowhere.
    dangling,
    /// Names at the source that nobody knows.
    unknown,
}

impl Report {
    /// The destination has everything that the source could serve. What leads nowhere at the source is not a part of that, and
    /// with `delete` there may be more at the destination, see [`Report::repositories_held`].
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.broken == 0
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Progress {
    pub(crate) fn find(&self, kind: Kind, key: impl Into<String>, text: impl Into<String>) {
        let counter = match kind {
            Kind::Broken => &self.broken,
            Kind::Dangling => &self.dangling,
            Kind::Unknown => &self.unknown,
        };
        add(counter, 1);
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.iter().filter(|finding| finding.kind == kind).count() < NAMED_MAX {
            findings.push(Finding { kind, key: key.into(), text: text.into() });
        }
    }
}
