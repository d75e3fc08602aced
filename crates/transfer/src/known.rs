//! What has been found out about the bytes of digests, so that a blob of a hundred repositories is looked at once.

use oci::Digest;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Digests that are remembered; about 100 MiB of memory. Others are looked at again when a link names them.
const DIGESTS_MAX: usize = 2 << 20;

/// Where the bytes of a digest are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// At the destination.
    There,
    /// Not even at the source.
    Missing,
    /// At the source, but they are others than the digest says, or cannot be read.
    Broken,
}

/// By the first half of the hash: nobody finds a second content with it.
#[derive(Default)]
pub(crate) struct Known {
    digests: Mutex<HashMap<[u8; 16], Data>>,
}

fn half(digest: &Digest) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_bytes()[..16]);
    half
}

impl Known {
    pub(crate) fn get(&self, digest: &Digest) -> Option<Data> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&half(digest)).copied()
    }

    pub(crate) fn put(&self, digest: &Digest, data: Data) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() < DIGESTS_MAX {
            digests.insert(half(digest), data);
        }
    }
}
