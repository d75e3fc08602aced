//! Making a hash, for `homeport passwd`.

use bcrypt::Version;
use thiserror::Error;

use super::stored::{COST_MAX, COST_MIN, PASSWORD_BYTES_MAX};

/// Cost of new hashes where nothing else is asked for: about 60 ms per check, which is paid once per
/// credential and some minutes. `htpasswd -B` uses 5, which is too little today.
pub const COST_DEFAULT: u32 = 10;

/// Why no hash was made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PasswordError {
    /// The empty password.
    #[error("password is empty")]
    Empty,
    /// bcrypt would ignore the end of it.
    #[error("password is longer than {PASSWORD_BYTES_MAX} bytes, bcrypt would ignore the rest")]
    TooLong,
    /// HTTP Basic cannot carry it.
    #[error("password contains a control character, which cannot be sent as HTTP Basic credentials")]
    ControlCharacter,
    /// Cost below [`COST_MIN`] or above [`COST_MAX`].
    #[error("cost {0} is outside {COST_MIN} to {COST_MAX}")]
    Cost(u32),
    /// The system gave no random salt.
    #[error("no random bytes from the operating system")]
    Random,
}

/// Hashes a password as `$2y$…`, the form of `htpasswd -B`. Computes for milliseconds to seconds.
///
/// # Errors
/// See [`PasswordError`].
pub fn hash_password(password: &[u8], cost: u32) -> Result<String, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    if password.iter().any(u8::is_ascii_control) {
        return Err(PasswordError::ControlCharacter);
    }
    if !(COST_MIN..=COST_MAX).contains(&cost) {
        return Err(PasswordError::Cost(cost));
    }
    // Length and cost are checked above; only the salt is left to fail.
    let parts = bcrypt::hash_with_result(password, cost).map_err(|_| PasswordError::Random)?;
    Ok(parts.format_for_version(Version::TwoY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::StoredHash;

    #[test]
    fn made_hashes_are_accepted() {
        for password in [&b"p"[..], b"pass:word", &[b'x'; 72]] {
            let text = hash_password(password, 4).unwrap();
            assert!(text.starts_with("$2y$04$"), "{text}");
            assert!(StoredHash::parse(text.as_bytes()).unwrap().matches_slow(password));
        }
        assert_ne!(hash_password(b"p", 4), hash_password(b"p", 4), "the salt differs each time");
    }

    #[test]
    fn what_cannot_be_hashed() {
        for (password, cost, error) in [
            (&b""[..], 4, PasswordError::Empty),
            (&[b'x'; 73], 4, PasswordError::TooLong),
            (b"a\nb", 4, PasswordError::ControlCharacter),
            (b"p", 3, PasswordError::Cost(3)),
            (b"p", 17, PasswordError::Cost(17)),
        ] {
            assert_eq!(hash_password(password, cost), Err(error));
        }
    }
}
