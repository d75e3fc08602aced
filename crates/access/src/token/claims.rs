//! What stands in a token: who, for whom and until when. No rights.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::keys::KeyPair;
use crate::identity::{Caller, Record, Source, Standing};

/// How much of the keyed hash of a user's record goes into a token, in bytes: too much to meet by chance.
const FINGERPRINT_BYTES: usize = 16;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Sent as Bearer with requests.
    Access,
    /// Sent to the token endpoint only, to get access tokens.
    Refresh,
}

/// Why a token was refused; for the log. Clients are told "invalid" only.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// Longer than [`super::TOKEN_BYTES_MAX`].
    #[error("token is too long")]
    TooLong,
    /// Not a token of ours, or another algorithm.
    #[error("token is malformed or of another kind")]
    Malformed,
    /// Signed with none of the accepted keys.
    #[error("signature does not match")]
    Signature,
    /// From another issuer.
    #[error("token is from another issuer")]
    Issuer,
    /// For another service.
    #[error("token is for another service")]
    Audience,
    /// An access token where a refresh token is needed, or the reverse.
    #[error("token is of the wrong kind")]
    Kind,
    /// Past its end.
    #[error("token has expired")]
    Expired,
    /// Before its start.
    #[error("token is not valid yet")]
    NotYet,
    /// The user was removed or its password changed since.
    #[error("user was removed or changed since the token was issued")]
    UserChanged,
}

/// The payload. Fields that a newer version adds are ignored, so that versions can run side by side.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    /// Empty for the anonymous caller.
    pub(super) sub: String,
    pub(super) aud: String,
    /// Seconds since the Unix epoch, like the next two.
    pub(super) exp: i64,
    pub(super) nbf: i64,
    pub(super) iat: i64,
    pub(super) jti: String,
    pub(super) kind: TokenKind,
    /// Name of the caller's source.
    pub(super) src: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<Box<str>>,
    /// Fingerprint of the user's record, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rec: Option<String>,
}

/// What the verifier insists on.
pub(super) struct Expected<'e> {
    pub(super) issuer: &'e str,
    pub(super) service: &'e str,
    pub(super) kind: TokenKind,
    pub(super) now: i64,
    pub(super) leeway: Duration,
}

impl Claims {
    /// Everything that can be checked without knowing the users.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), TokenError> {
        let leeway = seconds(expected.leeway);
        if self.iss != expected.issuer {
            return Err(TokenError::Issuer);
        }
        if self.aud != expected.service {
            return Err(TokenError::Audience);
        }
        if self.kind != expected.kind {
            return Err(TokenError::Kind);
        }
        if self.exp.saturating_add(leeway) <= expected.now {
            return Err(TokenError::Expired);
        }
        if self.nbf.saturating_sub(leeway) > expected.now {
            return Err(TokenError::NotYet);
        }
        Ok(())
    }

    /// The caller that the token names, if its user still is who it was.
    pub(super) fn caller(
        &self,
        keys: &KeyPair,
        standing: impl FnOnce(Source, &str) -> Standing,
    ) -> Result<Caller, TokenError> {
        let source = Source::from_name(&self.src).ok_or(TokenError::Malformed)?;
        if source == Source::Anonymous {
            return if self.sub.is_empty() { Ok(Caller::anonymous()) } else { Err(TokenError::Malformed) };
        }
        if self.sub.is_empty() {
            return Err(TokenError::Malformed);
        }
        let caller = Caller::named(&self.sub, source).with_groups(self.groups.iter().cloned());
        match (standing(source, &self.sub), &self.rec, source) {
            (Standing::Current(record), Some(claimed), _) if fingerprint(keys, record) == *claimed => {
                Ok(caller.with_record(record))
            }
            // The cluster's users are not listed here; their tokens live shortly and rights are looked up anew.
            (Standing::NotTracked, None, Source::Cluster) => Ok(caller),
            // Removed, changed, or the whole source was switched off.
            _ => Err(TokenError::UserChanged),
        }
    }
}

/// A short keyed hash of a record: equal on all replicas, and worthless for guessing the password.
pub(super) fn fingerprint(keys: &KeyPair, record: Record) -> String {
    let tag = hmac::sign(&keys.fingerprint, &record.0);
    BASE64URL_NOPAD.encode(tag.as_ref().get(..FINGERPRINT_BYTES).unwrap_or(tag.as_ref()))
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
