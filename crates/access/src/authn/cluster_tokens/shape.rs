//! What can be told of a token without proof.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// `typ` of the tokens that we issue ourselves; they are never shown to the cluster.
const OUR_TYPE: &str = "homeport+jwt";

/// Whether these are three non-empty parts of base64url with dots between them.
pub(super) fn looks_like_jwt(token: &[u8]) -> bool {
    let part = |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
    let mut parts = token.split(|byte| *byte == b'.');
    let three = parts.by_ref().take(3).filter(|text| part(text)).count() == 3;
    three && parts.next().is_none()
}

/// What a token says of itself.
pub(super) struct Shape {
    /// When it ends, in seconds since the Unix epoch.
    pub(super) exp: Option<i64>,
    /// Whether we issued it.
    pub(super) ours: bool,
}

#[derive(Deserialize)]
struct Header {
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<serde_json::Number>,
}

impl Shape {
    /// Reads header and claims; `None` if they are not what a JSON Web Token has there.
    pub(super) fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let mut decode = || BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok();
        let header: Header = serde_json::from_slice(&decode()?).ok()?;
        let claims: Claims = serde_json::from_slice(&decode()?).ok()?;
        Some(Self { exp: claims.exp.as_ref().and_then(seconds), ours: header.typ.as_deref() == Some(OUR_TYPE) })
    }
}

/// A time in whole seconds; RFC 7519 allows fractions.
fn seconds(number: &serde_json::Number) -> Option<i64> {
    // A float beyond the range becomes the nearest end of it, which is what is meant.
    #[allow(clippy::cast_possible_truncation)]
    let whole = |seconds: f64| seconds.floor() as i64;
    number.as_i64().or_else(|| number.as_f64().map(whole))
}
