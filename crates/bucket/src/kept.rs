//! Objects of content that never differs, which this process has written or met: they are probably still there. Looking is one
//! request, writing what is there already is two: a refusal, and a look at what refused it.

use quick_cache::sync::Cache;
use std::hash::{BuildHasher, RandomState};

/// Images that are pushed under several tags are so one after the other.
const KEYS: usize = 8_192;

/// Keys, by their hashes.
pub(crate) struct Kept {
    hashes: Cache<u64, ()>,
    hasher: RandomState,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self { hashes: Cache::new(KEYS), hasher: RandomState::new() }
    }

    pub(crate) fn is_likely(&self, key: &str) -> bool {
        self.hashes.get(&self.hasher.hash_one(key)).is_some()
    }

    pub(crate) fn note(&self, key: &str) {
        self.hashes.insert(self.hasher.hash_one(key), ());
    }
}
