//! Signed upload addresses: `_state` says which session, where it stands and who began it.
//!
//! `base64url( HMAC-SHA256(key, payload) || payload )`. Two keys are accepted, so that the shared secret can be exchanged.
//!
//! The same secret seals places in lists whose name the client must not learn: `base64url( nonce || ChaCha20-Poly1305 )`.

use content::{SessionId, Ticket};
use data_encoding::BASE64URL_NOPAD;
use oci::{Algorithm, Digest, RepoName};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{aead, hmac};
use serde::{Deserialize, Serialize};

/// Longer states are not ours.
const STATE_MAX: usize = 16 * 1024;
/// A ticket lets its holder go on without a fresh token for this long.
pub(crate) const GRANT_SECONDS: u64 = 24 * 3600;

/// Signs and checks upload addresses.
pub struct Signer {
    current: hmac::Key,
    previous: Option<hmac::Key>,
    seal: Option<aead::LessSafeKey>,
    seal_previous: Option<aead::LessSafeKey>,
    random: SystemRandom,
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
    /// UID of the namespace that it began under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    w: Option<String>,
    /// Digest under which the bytes are stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
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
        Self {
            current: hmac::Key::new(hmac::HMAC_SHA256, derive(current, UPLOADS).as_ref()),
            previous: previous.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, derive(secret, UPLOADS).as_ref())),
            seal: sealing(current),
            seal_previous: previous.and_then(sealing),
            random: SystemRandom::new(),
        }
    }

    /// A text that only we can read; `None` when the system gives no random bytes.
    pub(crate) fn seal(&self, text: &str) -> Option<String> {
        let mut nonce = [0; aead::NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = text.as_bytes().to_vec();
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        self.seal.as_ref()?.seal_in_place_append_tag(unique, aead::Aad::empty(), &mut sealed).ok()?;
        Some(BASE64URL_NOPAD.encode(&[&nonce[..], &sealed].concat()))
    }

    /// The text in what [`Signer::seal`] made.
    pub(crate) fn open(&self, sealed: &str) -> Option<String> {
        if sealed.len() > STATE_MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(aead::NONCE_LEN)?;
        [&self.seal, &self.seal_previous].into_iter().flatten().find_map(|key| {
            let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut sealed = sealed.to_vec();
            let opened = key.open_in_place(nonce, aead::Aad::empty(), &mut sealed).ok()?;
            String::from_utf8(opened.to_vec()).ok()
        })
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
            w: ticket.owner.clone(),
            d: ticket.stored.map(|digest| digest.to_string()),
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
        let stored = payload.d.as_deref().map(Digest::parse).transpose().ok()?;
        let ticket = Ticket {
            repository: payload.n,
            id: SessionId::parse(&payload.u)?,
            started: payload.s,
            offset: payload.o,
            algorithm,
            owner: payload.w,
            stored,
        };
        (ticket.repository == repo.as_str() && ticket.id == id).then_some(Checked {
            ticket,
            caller: payload.c,
            source: payload.f,
        })
    }
}

const UPLOADS: &[u8] = b"homeport upload state v1";
const PLACES: &[u8] = b"homeport place in a list v1";

/// A key for each purpose: the same secret also signs tokens.
fn derive(secret: &[u8], purpose: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose)
}

fn sealing(secret: &[u8]) -> Option<aead::LessSafeKey> {
    let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, derive(secret, PLACES).as_ref()).ok()?;
    Some(aead::LessSafeKey::new(key))
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
            owner: Some("3d6b1b2e".into()),
            stored: Some(Digest::sha256(b"hello")),
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

    #[test]
    fn a_sealed_place_reads_back_with_either_secret_and_tells_nothing() {
        let old = Signer::new(b"old", None);
        let new = Signer::new(b"new", Some(b"old"));
        let sealed = old.seal("hidden/name").unwrap();
        assert_eq!(new.open(&sealed).as_deref(), Some("hidden/name"));
        assert_ne!(old.seal("hidden/name").unwrap(), sealed);
        assert_eq!(old.open(&new.seal("hidden/name").unwrap()), None);
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).unwrap();
        assert!(!bytes.windows(4).any(|window| b"hidden/name".windows(4).any(|part| part == window)));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(old.open(&String::from_utf8(changed).unwrap()), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_places_never_open(text in "\\PC{0,80}") {
            prop_assert_eq!(Signer::new(b"secret", None).open(&text), None);
        }

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
