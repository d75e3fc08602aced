//! What to do: a function of what is there.

use jiff::Timestamp;

use super::bundle::{self, Bundle};
use super::pair::{Pair, RENEW_BEFORE};
use super::server_name;

/// The APIService, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    /// There is none, or it leads somewhere else.
    NotOurs,
    /// It leads to our Service.
    Ours {
        /// Its `caBundle`.
        trusted: Bundle,
        /// The `caBundle` is ours to keep: who applies an APIService without one does not take it away.
        held: bool,
    },
}

/// The Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// It says that we made the certificate.
    pub(super) marked: bool,
    pub(super) chain: Bundle,
    pub(super) key: Key,
    pub(super) ca: Bundle,
}

/// A private key as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs<'a> {
    pub(super) namespace: &'a str,
    pub(super) registration: &'a Registration,
    /// `None`: there is none.
    pub(super) stored: Option<&'a Stored>,
    /// The Secret has been as it is for so long that every pod shows what is in it.
    pub(super) settled: bool,
    pub(super) now: Timestamp,
}

/// Why a certificate is made. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no Secret.
    Missing,
    /// It cannot be used: it has ended, is for another name, does not fit its key, or is none at all.
    Unusable,
    /// Its time has come.
    Age,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing that is ours to do.
    Idle,
    /// The certificate stays.
    Keep {
        /// When it ends, where that is known.
        end: Option<Timestamp>,
        /// What the APIService is to trust from now on.
        trust: Option<Bundle>,
        /// What the Secret is to say that is trusted.
        ca: Option<Bundle>,
    },
    /// A new certificate is to be made and trusted, and then stored.
    Renew {
        cause: Cause,
        /// Trusted beside it, for pods that still show another one.
        beside: Bundle,
    },
}

/// What to do.
pub(super) fn decide(inputs: Inputs<'_>) -> Plan {
    let Registration::Ours { trusted, held } = inputs.registration else { return Plan::Idle };
    let Some(stored) = inputs.stored else {
        return Plan::Renew { cause: Cause::Missing, beside: trusted.clone() };
    };
    let name = server_name(inputs.namespace);
    let end = |trusted: &Bundle| bundle::end(&stored.chain, &stored.key.0, trusted, &name, inputs.now);
    // Until pods show what the Secret says, nothing is taken away that they may need.
    let beside = |said: &Bundle| if inputs.settled { said.clone() } else { trusted.clone().with(said) };
    let differs = |wanted: &Bundle| trusted != wanted || !held;
    if !stored.marked || bundle::is_signed_by_another(&stored.chain, &name, inputs.now) {
        let (said, now) = (end(&stored.ca), end(trusted));
        let wanted = match (said, now) {
            // Somebody else may have said what to trust: without a word here, or with a wrong one, that stays.
            _ if stored.ca.is_empty() => None,
            (None, Some(_)) => None,
            (None, None) => Some(trusted.clone().with(&stored.ca)),
            (Some(_), _) => Some(beside(&stored.ca)),
        };
        return Plan::Keep { end: said.or(now), trust: wanted.filter(differs), ca: None };
    }
    let said = stored.ca.clone().with(&stored.chain.first()).good_at(&name, inputs.now);
    let Some(end) = end(&said) else {
        return Plan::Renew { cause: Cause::Unusable, beside: trusted.clone().with(&said) };
    };
    let wanted = beside(&said);
    if end.duration_since(inputs.now) <= RENEW_BEFORE {
        return Plan::Renew { cause: Cause::Age, beside: wanted };
    }
    let ca = (stored.ca != said).then_some(said);
    Plan::Keep { end: Some(end), trust: Some(wanted).filter(differs), ca }
}

/// What is trusted with a new certificate.
pub(super) fn renewed(beside: Bundle, pair: &Pair) -> Bundle {
    beside.with(&Bundle::parse(pair.certificate.as_bytes()).first())
}
