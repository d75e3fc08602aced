//! Bodies of pushes: large, unique, and nearly free.
//!
//! All share one random block, repeated; only the last bytes differ. The hash of the shared part
//! is computed once per size, so that a new digest costs one step of the hash.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

const BLOCK: usize = 4 << 20;
const TAIL: usize = 32;

/// Content of a request, sent from memory.
#[derive(Clone)]
pub struct Body {
    block: Arc<[u8]>,
    shared: u64,
    tail: Arc<[u8]>,
}

impl Body {
    /// A body that is all its own, for manifests.
    pub fn small(bytes: &[u8]) -> Self {
        Self { block: Arc::from([]), shared: 0, tail: Arc::from(bytes) }
    }

    pub fn len(&self) -> u64 {
        self.shared + self.tail.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The longest piece at `offset` that lies in one place; empty at the end.
    pub fn piece(&self, offset: u64) -> &[u8] {
        if offset >= self.shared {
            let start = usize::try_from(offset - self.shared).unwrap_or(usize::MAX);
            return self.tail.get(start..).unwrap_or_default();
        }
        // A remainder of the block's length fits its type.
        let start = usize::try_from(offset % self.block.len() as u64).unwrap_or_default();
        let left = usize::try_from(self.shared - offset).unwrap_or(usize::MAX);
        let end = self.block.len().min(start.saturating_add(left));
        &self.block[start..end]
    }
}

/// Makes unique bodies of any size with their digests.
pub struct Source {
    block: Arc<[u8]>,
    /// The hash of the shared part, by its size.
    states: HashMap<u64, Sha256>,
    seed: u64,
    count: u64,
}

impl Source {
    /// Sources of different seeds never make the same body.
    pub fn new(seed: u64) -> Self {
        Self { block: random(BLOCK).into(), states: HashMap::new(), seed, count: 0 }
    }

    /// Hashes the shared part of bodies of this size now, outside the timed section.
    pub fn prepare(&mut self, size: u64) {
        let shared = size.saturating_sub(TAIL as u64);
        let body = Body { block: self.block.clone(), shared, tail: Arc::from([]) };
        self.states.entry(shared).or_insert_with(|| {
            let (mut hash, mut offset) = (Sha256::new(), 0);
            while offset < shared {
                let piece = body.piece(offset);
                hash.update(piece);
                offset += piece.len() as u64;
            }
            hash
        });
    }

    /// A body that nobody has seen, and its digest. Never smaller than its unique part.
    pub fn make(&mut self, size: u64) -> (Body, String) {
        self.prepare(size);
        let shared = size.saturating_sub(TAIL as u64);
        self.count += 1;
        let tail = format!("{:016x}{:016x}", self.seed, self.count);
        let hash = self.states.get(&shared).cloned().unwrap_or_default().chain_update(&tail);
        let body = Body { block: self.block.clone(), shared, tail: Arc::from(tail.into_bytes()) };
        (body, digest_text(&hash.finalize()))
    }
}

/// `sha256:` and the hexadecimal digits.
pub fn digest_text(hash: &[u8]) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes that do not compress, the same on every run.
fn random(size: usize) -> Vec<u8> {
    // xorshift64*, enough to be incompressible and quick to make.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_pieces_and_bodies_are_unique() {
        let mut source = Source::new(7);
        let mut seen = Vec::new();
        for size in [32, 33, 10_240, BLOCK as u64 + 32, BLOCK as u64 * 2 + 5] {
            for _ in 0..2 {
                let (body, digest) = source.make(size);
                assert_eq!(body.len(), size);
                let (mut hash, mut offset) = (Sha256::new(), 0);
                while !body.piece(offset).is_empty() {
                    hash.update(body.piece(offset));
                    offset += body.piece(offset).len() as u64;
                }
                assert_eq!(offset, size);
                assert_eq!(digest_text(&hash.finalize()), digest);
                assert!(!seen.contains(&digest));
                seen.push(digest);
            }
        }
    }
}
