//! Content digests, `sha256:<64 hex>` and `sha512:<128 hex>` (image-spec, descriptor.md, "Digests").

use std::fmt;
use std::str::FromStr;

/// A digest algorithm that this registry stores content under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// The canonical algorithm.
    Sha256,
    /// The second registered algorithm.
    Sha512,
}

impl Algorithm {
    /// Name as it stands before the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes.
    #[must_use]
    pub fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Parses the name of an algorithm.
    ///
    /// # Errors
    /// [`DigestError::Unsupported`] for every other name.
    pub fn parse(name: &str) -> Result<Self, DigestError> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Unsupported),
        }
    }
}

/// A verified-by-syntax content digest. `Copy`, comparable, usable as a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `algorithm:hex` with lower-case hex of the right length.
    #[error("a digest is written as sha256:<64 lower-case hex digits> or sha512:<128 lower-case hex digits>")]
    Malformed,
    /// The grammar is right, the algorithm is not one that we store.
    #[error("digest algorithm is not supported, use sha256 or sha512")]
    Unsupported,
}

impl Digest {
    /// Builds a digest from the raw hash.
    ///
    /// # Errors
    /// [`DigestError::Malformed`] when the length does not fit the algorithm.
    pub fn new(algorithm: Algorithm, hash: &[u8]) -> Result<Self, DigestError> {
        let mut bytes = [0; 64];
        bytes
            .get_mut(..hash.len())
            .filter(|_| hash.len() == algorithm.hash_len())
            .ok_or(DigestError::Malformed)?
            .copy_from_slice(hash);
        Ok(Self { algorithm, bytes })
    }

    /// SHA-256 of `content`.
    #[must_use]
    pub fn sha256(content: &[u8]) -> Self {
        crate::Hasher::digest(Algorithm::Sha256, content)
    }

    /// Parses `algorithm:hex`.
    ///
    /// # Errors
    /// See [`DigestError`].
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Malformed)?;
        let algorithm = match Algorithm::parse(name) {
            Ok(algorithm) => algorithm,
            Err(error) => {
                let is_digest = !name.is_empty() && !hex.is_empty();
                let is_digest = is_digest && name.bytes().all(is_algorithm_byte) && hex.bytes().all(is_encoded_byte);
                return Err(if is_digest { error } else { DigestError::Malformed });
            }
        };
        if hex.len() != algorithm.hash_len() * 2 {
            return Err(DigestError::Malformed);
        }
        let mut bytes = [0; 64];
        let target = &mut bytes[..algorithm.hash_len()];
        data_encoding::HEXLOWER.decode_mut(hex.as_bytes(), target).map_err(|_| DigestError::Malformed)?;
        Ok(Self { algorithm, bytes })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.hash_len()]
    }

    /// Lower-case hex on the stack.
    #[must_use]
    pub fn hex(&self) -> HexDigest {
        let mut buffer = [0; 128];
        let len = self.algorithm.hash_len() * 2;
        data_encoding::HEXLOWER.encode_mut(self.as_bytes(), &mut buffer[..len]);
        HexDigest { buffer, len }
    }
}

fn is_algorithm_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'.' | b'_' | b'-')
}

fn is_encoded_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-')
}

/// The hex part of a digest, without an allocation.
#[derive(Clone, Copy)]
pub struct HexDigest {
    buffer: [u8; 128],
    len: usize,
}

impl HexDigest {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Hex digits are ASCII, so the empty fallback is never taken.
        std::str::from_utf8(&self.buffer[..self.len]).unwrap_or_default()
    }
}

impl fmt::Display for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_digests() {
        let empty = Digest::sha256(b"");
        assert_eq!(empty.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Digest::parse(&empty.to_string()), Ok(empty));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:abc",
            "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "sha256:../../../../../../../../etc/passwd",
            "sha256:é",
            "sha256:%00",
        ] {
            assert_eq!(Digest::parse(text), Err(DigestError::Malformed), "{text}");
        }
        assert_eq!(Digest::parse("md5:d41d8cd98f00b204e9800998ecf8427e"), Err(DigestError::Unsupported));
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_round_trips(text in "\\PC{0,200}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn every_hash_round_trips(hash in proptest::collection::vec(any::<u8>(), 64)) {
            let long = Digest::new(Algorithm::Sha512, &hash).unwrap();
            prop_assert_eq!(Digest::parse(&long.to_string()), Ok(long));
            let short = Digest::new(Algorithm::Sha256, &hash[..32]).unwrap();
            prop_assert_eq!(Digest::parse(&short.to_string()), Ok(short));
        }
    }
}
