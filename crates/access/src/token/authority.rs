//! Issues tokens and accepts them again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use data_encoding::BASE64URL_NOPAD;
use quick_cache::sync::Cache;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use super::claims::{Claims, Expected, TokenError, TokenKind, fingerprint, seconds};
use super::jwt::{self, JwtError};
use super::keys::Keys;
use crate::authn::{AuthError, Authenticating, Authenticator, Claim};
use crate::clock::Clock;
use crate::credential::Credential;
use crate::generation;
use crate::identity::{Caller, Source, Users};
use crate::reply::Reply;

/// Everyday life of an access token. Docker and containers/image take anything below 60 s as 60 s.
pub const ACCESS_LIFE_DEFAULT: Duration = Duration::from_secs(300);
/// Everyday life of a refresh token: how long a `docker login` lasts.
pub const REFRESH_LIFE_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Everyday difference allowed between the clocks of two replicas.
pub const LEEWAY_DEFAULT: Duration = Duration::from_secs(30);

/// Random bytes of a token's `jti`.
const ID_BYTES: usize = 16;

/// Names and times of tokens.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// `iss`: equal on all replicas.
    pub issuer: String,
    /// `aud` and the `service` of the challenge: equal on all replicas.
    pub service: String,
    /// Life of access tokens, in whole seconds; see [`ACCESS_LIFE_DEFAULT`].
    pub access_life: Duration,
    /// Life of refresh tokens, in whole seconds; see [`REFRESH_LIFE_DEFAULT`].
    pub refresh_life: Duration,
    /// Accepted difference of clocks, in whole seconds; see [`LEEWAY_DEFAULT`].
    pub leeway: Duration,
}

/// A fresh token.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token in compact form.
    pub token: String,
    /// For `expires_in`.
    pub life: Duration,
    /// For `issued_at`, seconds since the Unix epoch.
    pub issued_at: i64,
}

/// Why no token was issued.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IssueError {
    /// Name and groups do not fit into a token.
    #[error("token would be longer than {} bytes", jwt::TOKEN_BYTES_MAX)]
    TooLong,
    /// Refresh tokens are for users whose removal we would notice.
    #[error("callers of this kind get no refresh tokens")]
    NotRefreshable,
    /// The system gave no random bytes, or JSON could not be written.
    #[error("token cannot be made")]
    Internal,
}

/// Issues and verifies the registry's own tokens; as an [`Authenticator`] it takes access tokens as Bearer.
pub struct TokenAuthority {
    state: ArcSwap<State>,
    users: Arc<dyn Users>,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
    /// Verified access tokens by SHA-256 of their text. A hit costs about as much as that hash.
    verified: Cache<[u8; 32], Verified>,
}

struct State {
    settings: TokenSettings,
    keys: Keys,
    generation: u64,
}

#[derive(Clone)]
struct Verified {
    caller: Caller,
    exp: i64,
    /// Of keys, settings and users together.
    generation: u64,
}

impl TokenAuthority {
    /// `users` is asked on each verification whether the user still is who it was; `cache_entries` verified
    /// tokens are remembered (about 150 bytes each, besides the caller).
    #[must_use]
    pub fn new(
        settings: TokenSettings,
        keys: Keys,
        users: Arc<dyn Users>,
        clock: Arc<dyn Clock>,
        cache_entries: usize,
    ) -> Self {
        let state = ArcSwap::from_pointee(State { settings, keys, generation: generation::next() });
        Self { state, users, clock, random: SystemRandom::new(), verified: Cache::new(cache_entries) }
    }

    /// Replaces settings and keys; tokens signed with a key that is gone are refused from now on.
    pub fn reload(&self, settings: TokenSettings, keys: Keys) {
        self.state.store(Arc::new(State { settings, keys, generation: generation::next() }));
    }

    /// Issues a token for a caller that has just been authenticated.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub fn issue(&self, caller: &Caller, kind: TokenKind) -> Result<Issued, IssueError> {
        if kind == TokenKind::Refresh && caller.record().is_none() {
            return Err(IssueError::NotRefreshable);
        }
        let state = self.state.load();
        let pair = state.keys.signing();
        let life = match kind {
            TokenKind::Access => state.settings.access_life,
            TokenKind::Refresh => state.settings.refresh_life,
        };
        let mut id = [0; ID_BYTES];
        self.random.fill(&mut id).map_err(|_| IssueError::Internal)?;
        let issued_at = self.clock.unix_seconds();
        let claims = Claims {
            iss: state.settings.issuer.clone(),
            sub: caller.name().unwrap_or_default().to_owned(),
            aud: state.settings.service.clone(),
            exp: issued_at.saturating_add(seconds(life)),
            nbf: issued_at,
            iat: issued_at,
            jti: BASE64URL_NOPAD.encode(&id),
            kind,
            src: caller.source().as_str().to_owned(),
            groups: caller.groups().to_vec(),
            rec: caller.record().map(|record| fingerprint(pair, record)),
        };
        let payload = serde_json::to_vec(&claims).map_err(|_| IssueError::Internal)?;
        let token = jwt::seal(&pair.sign, &payload).ok_or(IssueError::TooLong)?;
        Ok(Issued { token, life, issued_at })
    }

    /// The caller that a token names.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &[u8], kind: TokenKind) -> Result<Caller, TokenError> {
        if token.len() > jwt::TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let state = self.state.load();
        // Read before the users are looked at: if they change in between, what is remembered is outdated.
        let generation = state.generation.wrapping_add(self.users.generation());
        let now = self.clock.unix_seconds();
        if kind == TokenKind::Refresh {
            return self.verify_slow(&state, token, kind, now).map(|(caller, _)| caller);
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
        if let Some(known) = self.verified.get(&key) {
            // No leeway here; in its last seconds a token takes the long way.
            if known.generation == generation && now < known.exp {
                return Ok(known.caller);
            }
        }
        let (caller, exp) = self.verify_slow(&state, token, kind, now)?;
        self.verified.insert(key, Verified { caller: caller.clone(), exp, generation });
        Ok(caller)
    }

    /// The caller that an access token names which may have ended, but not longer than `max` ago. Everything else holds:
    /// it was ours, and its user is still the same.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify_ended(&self, token: &[u8], max: Duration) -> Result<Caller, TokenError> {
        let state = self.state.load();
        self.verify_with(&state, token, TokenKind::Access, self.clock.unix_seconds(), max).map(|(caller, _)| caller)
    }

    fn verify_slow(&self, state: &State, token: &[u8], kind: TokenKind, now: i64) -> Result<(Caller, i64), TokenError> {
        self.verify_with(state, token, kind, now, state.settings.leeway)
    }

    fn verify_with(
        &self,
        state: &State,
        token: &[u8],
        kind: TokenKind,
        now: i64,
        leeway: Duration,
    ) -> Result<(Caller, i64), TokenError> {
        let (pair, payload) = jwt::open(&state.keys, token).map_err(|error| match error {
            JwtError::TooLong => TokenError::TooLong,
            JwtError::Malformed => TokenError::Malformed,
            JwtError::Signature => TokenError::Signature,
        })?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        let TokenSettings { issuer, service, .. } = &state.settings;
        claims.check(&Expected { issuer, service, kind, now, leeway })?;
        let caller = claims.caller(pair, |source: Source, name: &str| self.users.standing(source, name))?;
        Ok((caller, claims.exp))
    }
}

impl Authenticator for TokenAuthority {
    fn claim(&self, credential: &Credential) -> Claim {
        match credential {
            Credential::Bearer(token) if jwt::is_ours(token.expose()) => Claim::Mine,
            Credential::Bearer(_) => Claim::Fallback,
            Credential::None | Credential::Basic(_) => Claim::Never,
        }
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential) -> Authenticating<'a> {
        let Credential::Bearer(token) = credential else { return Reply::Ready(Err(AuthError::Invalid)) };
        Reply::Ready(self.verify(token.expose(), TokenKind::Access).map_err(|error| {
            tracing::debug!(%error, "token refused");
            AuthError::Invalid
        }))
    }
}
