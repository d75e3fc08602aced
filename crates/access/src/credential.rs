//! The `Authorization` header, parsed once.
//!
//! Strict on purpose: what is not exactly `Basic <base64>` or `Bearer <token>` is an error, never "no
//! credentials", so that a client with a broken credential is told so instead of going on as anonymous.

use std::fmt;

use data_encoding::BASE64;
use thiserror::Error;

use crate::secret::Secret;

/// Longest accepted header value in bytes. Kubernetes tokens have 1–2 KB and some identity providers' tokens
/// ten times that; clients and proxies stop at 16 or 32 KiB themselves.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;

/// What a client presents to prove who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// No `Authorization` header.
    None,
    /// User name and password.
    Basic(Basic),
    /// A bearer token: only the characters of RFC 6750 `b64token`, therefore ASCII.
    Bearer(Secret),
}

/// User name and password of HTTP Basic (RFC 7617), in one allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    decoded: Box<[u8]>,
    /// Position of the first colon in `decoded`; everything before it is UTF-8.
    colon: usize,
}

impl Basic {
    /// Makes a pair as if it had come in a header; `None` where a header could not carry it (colon in the
    /// user name, control characters, more than the header's limit). For `grant_type=password` forms.
    #[must_use]
    pub fn new(user: &str, password: &[u8]) -> Option<Self> {
        if user.contains(':') || user.len().saturating_add(password.len()) >= HEADER_BYTES_MAX {
            return None;
        }
        Self::from_decoded([user.as_bytes(), b":", password].concat())
    }

    fn from_decoded(decoded: Vec<u8>) -> Option<Self> {
        // RFC 7617 section 2 forbids control characters in both parts. NUL matters most: bcrypt repeats
        // `password NUL` cyclically, so "abc" and "abc\0abc" would be the same password.
        if decoded.iter().any(u8::is_ascii_control) {
            return None;
        }
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        std::str::from_utf8(decoded.get(..colon)?).ok()?;
        Some(Self { decoded: decoded.into(), colon })
    }

    /// The user name: everything before the first colon. May be empty.
    #[must_use]
    pub fn user(&self) -> &str {
        // Checked to be UTF-8 when the value was made.
        std::str::from_utf8(self.decoded.get(..self.colon).unwrap_or_default()).unwrap_or_default()
    }

    /// The password: everything after the first colon, further colons included. May be empty; any bytes but
    /// ASCII control characters.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        self.decoded.get(self.colon + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for Basic {
    /// Shows nothing: users do type passwords into the field for the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Basic")
    }
}

/// Why a header value is not a credential.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CredentialError {
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("authorization header is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// A scheme other than Basic and Bearer.
    #[error("authorization scheme is not supported, use Basic or Bearer")]
    Scheme,
    /// The scheme is known, the rest cannot be read.
    #[error("authorization header is malformed")]
    Malformed,
}

impl Credential {
    /// Parses the value of the `Authorization` header; `None` when the request has none.
    ///
    /// # Errors
    /// See [`CredentialError`]; the message contains nothing of the value.
    pub fn parse(header: Option<&[u8]>) -> Result<Self, CredentialError> {
        let Some(value) = header else { return Ok(Self::None) };
        if value.len() > HEADER_BYTES_MAX {
            return Err(CredentialError::TooLong);
        }
        let value = value.trim_ascii();
        let space = value.iter().position(|byte| *byte == b' ').ok_or(if value.is_empty() {
            CredentialError::Malformed
        } else {
            CredentialError::Scheme
        })?;
        let (scheme, rest) = value.split_at(space);
        let rest = rest.trim_ascii_start();
        if scheme.eq_ignore_ascii_case(b"basic") {
            let decoded = BASE64.decode(rest).map_err(|_| CredentialError::Malformed)?;
            return Basic::from_decoded(decoded).map(Self::Basic).ok_or(CredentialError::Malformed);
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Self::bearer(rest).ok_or(CredentialError::Malformed);
        }
        Err(CredentialError::Scheme)
    }

    /// A bearer credential from the bare token; `None` if it is empty, too long or has other characters than
    /// RFC 6750 allows.
    #[must_use]
    pub fn bearer(token: &[u8]) -> Option<Self> {
        let bare = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        let valid = bare > 0 && token.len() <= HEADER_BYTES_MAX && token.get(..bare)?.iter().all(allowed);
        valid.then(|| Self::Bearer(Secret::new(token)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn basic(text: &[u8]) -> Result<Credential, CredentialError> {
        Credential::parse(Some(format!("Basic {}", BASE64.encode(text)).as_bytes()))
    }

    #[test]
    fn basic_is_cut_at_the_first_colon() {
        for (text, user, password) in [
            (&b"bob:pw"[..], "bob", &b"pw"[..]),
            (b"system:serviceaccount:default:x:tok", "system", b"serviceaccount:default:x:tok"),
            (b":token", "", b"token"),
            (b"bob:", "bob", b""),
            ("jürgen:pä\u{df}".as_bytes(), "jürgen", "pä\u{df}".as_bytes()),
            (b"bob:\xff\xfe", "bob", b"\xff\xfe"),
        ] {
            let Ok(Credential::Basic(parsed)) = basic(text) else { panic!("refused {text:?}") };
            assert_eq!((parsed.user(), parsed.password()), (user, password));
            assert_eq!(format!("{parsed:?}"), "Basic");
        }
    }

    #[test]
    fn what_is_refused() {
        use CredentialError::{Malformed, Scheme};
        for (value, error) in [
            (&b""[..], Malformed),
            (b"   ", Malformed),
            (b"Basic", Scheme),
            (b"Basic !!!", Malformed),
            (b"Basic Ym9i", Malformed),
            (b"Basic Ym9iOnB", Malformed),
            (b"Bearer a b", Malformed),
            (b"Bearer ===", Malformed),
            (b"Bearer a=b", Malformed),
            (b"Bearer \"x\"", Malformed),
            (b"Bearer\tx", Scheme),
            (b"Digest abc", Scheme),
            (b"Basicx Ym9iOnB3", Scheme),
        ] {
            assert_eq!(Credential::parse(Some(value)), Err(error), "{}", String::from_utf8_lossy(value));
        }
        for text in [&b"a\nb:c"[..], b"a:b\0b", b"\xff:x", b"nocolon"] {
            assert_eq!(basic(text), Err(Malformed));
        }
    }

    #[test]
    fn schemes_ignore_case_and_spare_spaces() {
        assert_eq!(Credential::parse(None), Ok(Credential::None));
        for value in [&b"bearer tok"[..], b"BEARER   tok", b" Bearer tok "] {
            assert_eq!(Credential::parse(Some(value)), Ok(Credential::Bearer(Secret::new(*b"tok"))));
        }
    }

    #[test]
    fn sixteen_kib_pass_and_more_than_thirty_two_do_not() {
        let value = |len: usize| [&b"Bearer "[..], &vec![b'a'; len - 7]].concat();
        assert!(Credential::parse(Some(&value(16 * 1024))).is_ok());
        assert!(Credential::parse(Some(&value(HEADER_BYTES_MAX))).is_ok());
        assert_eq!(Credential::parse(Some(&value(HEADER_BYTES_MAX + 1))), Err(CredentialError::TooLong));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, scheme in "(Basic|Bearer|basic) ?") {
            let _ = Credential::parse(Some(&bytes));
            let _ = Credential::parse(Some(&[scheme.as_bytes(), &bytes].concat()));
            let _ = basic(&bytes);
        }

        #[test]
        fn pairs_round_trip(user in "[^:\\p{C}]{0,20}", password in "[^\\p{C}]{0,40}") {
            let text = format!("{user}:{password}");
            let Ok(Credential::Basic(parsed)) = basic(text.as_bytes()) else { panic!("refused {text:?}") };
            prop_assert_eq!(parsed.user(), &user);
            prop_assert_eq!(parsed.password(), password.as_bytes());
            prop_assert_eq!(Some(parsed), Basic::new(&user, password.as_bytes()));
        }
    }
}
