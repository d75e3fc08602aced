//! What a token of a ServiceAccount says about itself. Read, not verified: it decides when to ask for another one and
//! which entries of a document are ours, never who somebody is.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// Longer texts are no tokens of ours.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) exp: Option<i64>,
    pub(super) iat: Option<i64>,
    #[serde(rename = "kubernetes.io", default)]
    pub(super) kubernetes: Kubernetes,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Kubernetes {
    pub(super) namespace: Option<String>,
    pub(super) serviceaccount: Option<Object>,
    pub(super) secret: Option<Object>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) uid: String,
}

impl Claims {
    pub(super) fn read(token: &str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let payload = token.split('.').nth(1)?;
        serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
    }

    /// The token was bound to the Secret of this name. The UID is left out on purpose: a Secret that was deleted and
    /// applied again still holds the dead token of the one before.
    pub(super) fn is_bound_to(&self, namespace: &str, name: &str) -> bool {
        self.kubernetes.namespace.as_deref() == Some(namespace)
            && self.kubernetes.secret.as_ref().is_some_and(|secret| secret.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_says_nothing() {
        for text in ["", "a", "a.b", "a.!.c", "a.e30=.c", "a.W10.c", &format!("a.{}.c", "e".repeat(20_000))] {
            assert_eq!(Claims::read(text), None, "{text:.20}");
        }
    }

    #[test]
    fn foreign_tokens_are_bound_to_nothing() {
        let token =
            format!("h.{}.s", BASE64URL_NOPAD.encode(br#"{"sub":"x","exp":5,"kubernetes.io":{"namespace":"a"}}"#));
        let claims = Claims::read(&token).unwrap();
        assert_eq!((claims.exp, claims.iat), (Some(5), None));
        assert!(!claims.is_bound_to("a", "pull"));
    }
}
