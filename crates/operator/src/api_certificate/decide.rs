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
    /// We made the certificate.
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
        /// Trusted beside it, for pods that still show them.
        beside: Bundle,
    },
}

/// What to do.
pub(super) fn decide(inputs: Inputs<'_>) -> Plan {
    let Registration::Ours { trusted, held } = inputs.registration else { return Plan::Idle };
    let name = server_name(inputs.namespace);
    let good = |bundle: &Bundle| bundle.good_at(&name, inputs.now);
    let Some(stored) = inputs.stored else {
        return Plan::Renew { cause: Cause::Missing, beside: good(trusted) };
    };
    let differs = |wanted: &Bundle| trusted != wanted || !held;
    if !stored.marked {
        let end = bundle::end(&stored.chain, &stored.key.0, &stored.ca, &name, inputs.now);
        // Without a word about it, somebody else may have said what to trust.
        let trust = Some(&stored.ca).filter(|ca| !ca.is_empty() && differs(ca)).cloned();
        return Plan::Keep { end, trust, ca: None };
    }
    let wanted = good(&stored.ca.clone().with_first_of(&stored.chain));
    let end = bundle::end(&stored.chain, &stored.key.0, &wanted, &name, inputs.now);
    let Some(end) = end else { return Plan::Renew { cause: Cause::Unusable, beside: wanted } };
    if end.duration_since(inputs.now) <= RENEW_BEFORE {
        return Plan::Renew { cause: Cause::Age, beside: wanted };
    }
    let ca = (stored.ca != wanted).then(|| wanted.clone());
    Plan::Keep { end: Some(end), trust: differs(&wanted).then_some(wanted), ca }
}

/// What is trusted with a new certificate.
pub(super) fn renewed(beside: Bundle, pair: &Pair) -> Bundle {
    beside.with_first_of(&Bundle::parse(pair.certificate.as_bytes()))
}
