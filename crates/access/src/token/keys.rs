//! Keys derived from the secret that all replicas share.

use ring::{hkdf, hmac};
use thiserror::Error;

/// Shortest accepted secret in bytes. Whoever holds one token can try secrets against it offline, so a word
/// is not enough.
pub const SECRET_BYTES_MIN: usize = 16;

/// Names this use of the shared secret; other uses (upload state) must derive with another salt or label.
const SALT: &[u8] = b"homeport/v1/tokens";

/// The shared secret cannot protect tokens.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("secret is shorter than {SECRET_BYTES_MIN} bytes")]
pub struct WeakSecret;

/// The keys in force: the first one signs, both are accepted. To rotate, give every replica the new secret as
/// `previous`, then swap the two, then drop the old one after a token's life.
pub struct Keys {
    current: KeyPair,
    previous: Option<KeyPair>,
}

/// What is derived from one secret.
pub(super) struct KeyPair {
    /// Signs tokens.
    pub(super) sign: hmac::Key,
    /// Turns a user's record into the fingerprint in a token.
    pub(super) fingerprint: hmac::Key,
}

impl Keys {
    /// Derives the keys from one or two secrets.
    ///
    /// # Errors
    /// [`WeakSecret`] if one of them is shorter than [`SECRET_BYTES_MIN`].
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Self, WeakSecret> {
        Ok(Self { current: KeyPair::derive(current)?, previous: previous.map(KeyPair::derive).transpose()? })
    }

    pub(super) fn signing(&self) -> &KeyPair {
        &self.current
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = &KeyPair> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl KeyPair {
    fn derive(secret: &[u8]) -> Result<Self, WeakSecret> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(WeakSecret);
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let key = |label: &[u8]| {
            // Expanding fails only for outputs longer than 255 hashes; this is one hash.
            root.expand(&[label], hmac::HMAC_SHA256).map(hmac::Key::from).map_err(|_| WeakSecret)
        };
        Ok(Self { sign: key(b"sign")?, fingerprint: key(b"user fingerprint")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_secrets_are_refused() {
        assert!(Keys::new(&[1; 15], None).is_err());
        assert!(Keys::new(&[1; 16], Some(b"")).is_err());
        assert!(Keys::new(&[1; 16], Some(&[2; 16])).is_ok());
    }
}
