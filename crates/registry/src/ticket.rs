//! Signed upload addresses: `_state` says which session, where it stands and who began it.
//!
//! `base64url( HMAC-SHA256(key, payload) || payload )`. Two keys are accepted, so that the shared secret can be exchanged.

use content::{SessionId, Ticket};
use data_encoding::BASE64URL_NOPAD;
use oci::{Algorithm, RepoName};
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Longer states are not ours.
const STATE_MAX: usize = 16 * 1024;
/// A ticket lets its holder go on without a fresh token for this long.
pub(crate) const GRANT_SECONDS: u64 = 24 * 3600;

/// Signs and checks upload addresses.
pub struct Signer {
    current: hmac::Key,
    previous: Option<hmac::Key>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    /// Repository.
    n: String,
    /// Session.
    u: String,
    /// Offset.
    o: u64,
    /// Started.
    s: u64,
    /// Algorithm, when it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<String>,
    /// Who began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<String>,
    /// Where that caller is known: equal names of two sources are two callers.
    f: String,
}

/// A ticket that we signed.
pub(crate) struct Checked {
    pub(crate) ticket: Ticket,
    pub(crate) caller: Option<String>,
    pub(crate) source: String,
}

impl Signer {
    /// Keys from the shared secret and, while it is being exchanged, the one before.
    #[must_use]
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        Self { current: derive(current), previous: previous.map(derive) }
    }

    pub(crate) fn sign(&self, ticket: &Ticket, caller: Option<&str>, source: &str) -> String {
        let payload = Payload {
            n: ticket.repository.clone(),
            u: ticket.id.to_string(),
            o: ticket.offset,
            s: ticket.started,
            a: (ticket.algorithm != Algorithm::Sha256).then(|| ticket.algorithm.name().to_owned()),
            c: caller.map(str::to_owned),
            f: source.to_owned(),
        };
        // Strings and numbers always have a JSON form.
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        let mut out = hmac::sign(&self.current, &payload).as_ref().to_vec();
        out.extend_from_slice(&payload);
        BASE64URL_NOPAD.encode(&out)
    }

    /// The ticket, when it is ours and of this repository and session.
    pub(crate) fn check(&self, state: &str, repo: RepoName<'_>, id: SessionId) -> Option<Checked> {
        if state.len() > STATE_MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(state.trim_end_matches('=').as_bytes()).ok()?;
        let (tag, payload) = bytes.split_at_checked(32)?;
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        if !keys.any(|key| hmac::verify(key, payload, tag).is_ok()) {
            return None;
        }
        let payload: Payload = serde_json::from_slice(payload).ok()?;
        let algorithm = payload.a.as_deref().map_or(Some(Algorithm::Sha256), |name| Algorithm::parse(name).ok())?;
        let ticket = Ticket {
            repository: payload.n,
            id: SessionId::parse(&payload.u)?,
            started: payload.s,
            offset: payload.o,
            algorithm,
        };
        (ticket.repository == repo.as_str() && ticket.id == id).then_some(Checked {
            ticket,
            caller: payload.c,
            source: payload.f,
        })
    }
}

/// A key of its own for this purpose: the same secret also signs tokens.
fn derive(secret: &[u8]) -> hmac::Key {
    let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, b"homeport upload state v1").as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        Ticket {
            repository: "a/b".into(),
            id: SessionId::parse("0b1f9f9e-6f53-4b0e-9a3c-0f6c3d0d7a11").unwrap(),
            started: 17,
            offset: 5,
            algorithm: Algorithm::Sha512,
        }
    }

    #[test]
    fn a_ticket_reads_back_with_either_secret() {
        let old = Signer::new(b"old", None);
        let new = Signer::new(b"new", Some(b"old"));
        let repo = RepoName::parse("a/b").unwrap();
        let state = old.sign(&ticket(), Some("bob"), "static");
        let checked = new.check(&state, repo, ticket().id).unwrap();
        assert_eq!((checked.ticket, checked.caller.as_deref()), (ticket(), Some("bob")));
        assert!(old.check(&new.sign(&ticket(), None, "anonymous"), repo, ticket().id).is_none());
        assert!(new.check(&state, RepoName::parse("a/c").unwrap(), ticket().id).is_none());
    }

    proptest! {
        #[test]
        fn changed_states_are_refused(at in 0usize..60, state in "\\PC{0,200}") {
            let signer = Signer::new(b"secret", None);
            let repo = RepoName::parse("a/b").unwrap();
            prop_assert!(signer.check(&state, repo, ticket().id).is_none());
            let mut text = signer.sign(&ticket(), None, "anonymous").into_bytes();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(signer.check(&String::from_utf8(text).unwrap(), repo, ticket().id).is_none());
        }
    }
}
