//! Compact JSON Web Tokens (RFC 7515, 7519) with HMAC-SHA256, as far as we need them for our own tokens.
//!
//! The header is one constant and must come back byte for byte, so there is no algorithm to choose, no `kid`
//! to follow and no JSON read before the signature holds. `typ` tells our tokens from everybody else's
//! (RFC 8725 section 3.11).

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;

use super::keys::{KeyPair, Keys};

/// Longest token in bytes. Leaves room for other headers within the 16 KiB that servers commonly accept.
pub const TOKEN_BYTES_MAX: usize = 12 * 1024;

/// base64url of `{"alg":"HS256","typ":"homeport+jwt"}`, and the dot behind it.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImhvbWVwb3J0K2p3dCJ9.";

/// Why a text is not a token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JwtError {
    TooLong,
    Malformed,
    Signature,
}

/// Whether the text has the shape of our tokens; says nothing about its validity.
pub(super) fn is_ours(token: &[u8]) -> bool {
    token.starts_with(HEADER.as_bytes())
}

/// Signs a payload; `None` if the token would be longer than [`TOKEN_BYTES_MAX`].
pub(super) fn seal(key: &hmac::Key, payload: &[u8]) -> Option<String> {
    let mut token = String::with_capacity(HEADER.len() + payload.len() / 3 * 4 + 64);
    token.push_str(HEADER);
    BASE64URL_NOPAD.encode_append(payload, &mut token);
    let tag = hmac::sign(key, token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(tag.as_ref(), &mut token);
    (token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// The payload of a token signed with one of the keys, and the keys it was signed with.
pub(super) fn open<'k>(keys: &'k Keys, token: &[u8]) -> Result<(&'k KeyPair, Vec<u8>), JwtError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::TooLong);
    }
    let body = token.strip_prefix(HEADER.as_bytes()).ok_or(JwtError::Malformed)?;
    let dot = body.iter().position(|byte| *byte == b'.').ok_or(JwtError::Malformed)?;
    let payload = body.get(..dot).unwrap_or_default();
    let signature = body.get(dot + 1..).unwrap_or_default();
    // Strict decoding (no padding, no spare bits) also refuses a second dot and makes each token one text.
    let signature = BASE64URL_NOPAD.decode(signature).map_err(|_| JwtError::Malformed)?;
    let signed = token.get(..HEADER.len() + dot).unwrap_or_default();
    let key =
        keys.accepted().find(|pair| hmac::verify(&pair.sign, signed, &signature).is_ok()).ok_or(JwtError::Signature)?;
    let payload = BASE64URL_NOPAD.decode(payload).map_err(|_| JwtError::Malformed)?;
    Ok((key, payload))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::new(&[7; 32], None).unwrap()
    }

    fn with_header(header: &str, keys: &Keys, payload: &[u8]) -> String {
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(payload));
        let tag = hmac::sign(&keys.signing().sign, signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    #[test]
    fn the_header_is_what_its_comment_says() {
        let keys = keys();
        let made = with_header(r#"{"alg":"HS256","typ":"homeport+jwt"}"#, &keys, b"{}");
        assert_eq!(seal(&keys.signing().sign, b"{}"), Some(made.clone()));
        assert_eq!(open(&keys, made.as_bytes()).map(|(_, payload)| payload).ok(), Some(b"{}".to_vec()));
    }

    #[test]
    fn other_algorithms_are_refused_even_if_signed() {
        let keys = keys();
        for header in [
            r#"{"alg":"none","typ":"homeport+jwt"}"#,
            r#"{"alg":"None","typ":"homeport+jwt"}"#,
            r#"{"alg":"HS512","typ":"homeport+jwt"}"#,
            r#"{"alg":"RS256","typ":"homeport+jwt"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"typ":"homeport+jwt"}"#,
            "",
        ] {
            let token = with_header(header, &keys, b"{}");
            assert_eq!(open(&keys, token.as_bytes()).err(), Some(JwtError::Malformed), "{header}");
        }
    }

    #[test]
    fn tampering_is_refused() {
        let keys = keys();
        let token = seal(&keys.signing().sign, br#"{"sub":"bob"}"#).unwrap();
        for position in HEADER.len()..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            assert!(open(&keys, &bytes).is_err(), "changed byte {position}");
        }
        for cut in 0..token.len() {
            assert!(open(&keys, &token.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        for longer in [format!("{token}A"), format!("{token}="), format!("{token}.AA"), format!("{token}\n")] {
            assert!(open(&keys, longer.as_bytes()).is_err());
        }
        assert_eq!(open(&Keys::new(&[8; 32], None).unwrap(), token.as_bytes()).err(), Some(JwtError::Signature));
        assert_eq!(open(&keys, &vec![b'a'; TOKEN_BYTES_MAX + 1]).err(), Some(JwtError::TooLong));
    }

    proptest! {
        #[test]
        fn any_payload_round_trips(payload: Vec<u8>) {
            let keys = keys();
            let token = seal(&keys.signing().sign, &payload).unwrap();
            prop_assert_eq!(open(&keys, token.as_bytes()).map(|(_, payload)| payload).ok(), Some(payload));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[A-Za-z0-9_.=-]{0,80}") {
            let keys = keys();
            prop_assert!(open(&keys, &bytes).is_err());
            prop_assert!(open(&keys, text.as_bytes()).is_err());
            let ours = format!("{HEADER}{text}");
            prop_assert!(open(&keys, ours.as_bytes()).is_err());
        }
    }
}
