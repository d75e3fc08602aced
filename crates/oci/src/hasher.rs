//! Incremental hashing whose state can be stored and continued by another process.
//!
//! The stored form is the one of Go's `crypto/sha256` and `crypto/sha512` (`MarshalBinary`), which is what
//! distribution keeps beside its upload sessions: magic, chaining words (big endian), the partial block, and
//! the total length in bytes (big endian).

use crate::{Algorithm, Digest};
use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

/// A running hash of one of the supported algorithms.
#[derive(Clone)]
pub struct Hasher(Inner);

#[derive(Clone)]
enum Inner {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

/// The stored state is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored hash state is damaged")]
pub struct HashStateError;

impl Hasher {
    /// A hash of nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Inner::Sha512(sha2::Sha512::new()),
        })
    }

    /// Which algorithm is running.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Inner::Sha256(_) => Algorithm::Sha256,
            Inner::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hash) => hash.update(bytes),
            Inner::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Ends the hash.
    #[must_use]
    pub fn finish(self) -> Digest {
        let digest = match self.0 {
            Inner::Sha256(hash) => Digest::new(Algorithm::Sha256, &hash.finalize()),
            Inner::Sha512(hash) => Digest::new(Algorithm::Sha512, &hash.finalize()),
        };
        #[expect(clippy::expect_used, reason = "the output length of each algorithm is fixed")]
        digest.expect("hash length fits its algorithm")
    }

    /// Digest of one piece of content.
    #[must_use]
    pub fn digest(algorithm: Algorithm, content: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The state after `length` bytes, in Go's form.
    #[must_use]
    pub fn save(&self, length: u64) -> Vec<u8> {
        match &self.0 {
            Inner::Sha256(hash) => encode::<4>(b"sha\x03", &hash.serialize(), 64, length),
            Inner::Sha512(hash) => encode::<8>(b"sha\x07", &hash.serialize(), 128, length),
        }
    }

    /// Continues from a saved state; returns the hash and the number of bytes it has seen.
    ///
    /// # Errors
    /// [`HashStateError`] when `state` is not a state of `algorithm`.
    pub fn load(algorithm: Algorithm, state: &[u8]) -> Result<(Self, u64), HashStateError> {
        match algorithm {
            Algorithm::Sha256 => {
                let (raw, length) = decode::<4>(b"sha\x03", state, 64)?;
                let raw = SerializedState::<sha2::Sha256>::try_from(raw.as_slice()).map_err(|_| HashStateError)?;
                let hash = sha2::Sha256::deserialize(&raw).map_err(|_| HashStateError)?;
                Ok((Self(Inner::Sha256(hash)), length))
            }
            Algorithm::Sha512 => {
                let (raw, length) = decode::<8>(b"sha\x07", state, 128)?;
                let raw = SerializedState::<sha2::Sha512>::try_from(raw.as_slice()).map_err(|_| HashStateError)?;
                let hash = sha2::Sha512::deserialize(&raw).map_err(|_| HashStateError)?;
                Ok((Self(Inner::Sha512(hash)), length))
            }
        }
    }
}

// sha2's form: 8 chaining words (little endian), the number of whole blocks (u64, for SHA-512 u128, little endian),
// then the fill level of the partial block in one byte and its bytes.
const WORDS: usize = 8;

fn encode<const WORD: usize>(magic: &[u8; 4], raw: &[u8], block: usize, length: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + WORDS * WORD + block + 8);
    out.extend_from_slice(magic);
    for word in raw[..WORDS * WORD].chunks_exact(WORD) {
        out.extend(word.iter().rev());
    }
    let partial = usize::try_from(length % block as u64).unwrap_or(0);
    let buffer = &raw[raw.len() - block..];
    // The first byte of the serialised buffer is the fill level, the bytes follow it.
    out.extend_from_slice(&buffer[1..=partial]);
    out.resize(4 + WORDS * WORD + block, 0);
    out.extend_from_slice(&length.to_be_bytes());
    out
}

fn decode<const WORD: usize>(magic: &[u8; 4], state: &[u8], block: usize) -> Result<(Vec<u8>, u64), HashStateError> {
    if state.len() != 4 + WORDS * WORD + block + 8 || !state.starts_with(magic) {
        return Err(HashStateError);
    }
    let (words, rest) = state[4..].split_at(WORDS * WORD);
    let (buffer, tail) = rest.split_at(block);
    let length = u64::from_be_bytes(tail.try_into().map_err(|_| HashStateError)?);
    let mut raw = Vec::with_capacity(WORDS * WORD + 16 + block);
    for word in words.chunks_exact(WORD) {
        raw.extend(word.iter().rev());
    }
    let blocks = length / block as u64;
    raw.extend_from_slice(&blocks.to_le_bytes());
    if WORD == 8 {
        raw.extend_from_slice(&[0; 8]);
    }
    let partial = u8::try_from(length % block as u64).map_err(|_| HashStateError)?;
    raw.push(partial);
    raw.extend_from_slice(&buffer[..usize::from(partial)]);
    raw.resize(WORDS * WORD + if WORD == 8 { 16 } else { 8 } + block, 0);
    Ok((raw, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gos_state_of_abc() {
        // fmt.Printf("%x", state) of Go's crypto/sha256 after writing "abc".
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"abc");
        let state = data_encoding::HEXLOWER.encode(&hasher.save(3));
        assert!(state.starts_with("736861036a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19616263"));
        assert!(state.ends_with("0000000000000003"));
        assert_eq!(state.len(), 216);
    }

    proptest! {
        #[test]
        fn a_stored_state_continues(content in proptest::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
            let cut = cut.min(content.len());
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let mut first = Hasher::new(algorithm);
                first.update(&content[..cut]);
                let (mut second, length) = Hasher::load(algorithm, &first.save(cut as u64)).unwrap();
                prop_assert_eq!(length, cut as u64);
                second.update(&content[cut..]);
                prop_assert_eq!(second.finish(), Hasher::digest(algorithm, &content));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_loaded(state in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Hasher::load(Algorithm::Sha256, &state);
            let _ = Hasher::load(Algorithm::Sha512, &state);
        }
    }
}
