//! How often the API was asked for what, and how it went.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the API is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Who is the owner of a token?
    TokenReview,
    /// May somebody do something?
    AccessReview,
    /// May somebody see a path that is no object?
    PathReview,
    /// What may somebody do in a namespace?
    RulesReview,
    /// Is this namespace there?
    Namespace,
    /// A page of a list, before a watch.
    List,
    /// A watch; counted when it begins, and when it fails later.
    Watch,
    /// Are you there?
    Probe,
    /// Who leads?
    Lease,
    /// A report for people.
    Event,
    /// A token for a ServiceAccount.
    TokenRequest,
    /// A ServiceAccount.
    ServiceAccount,
    /// A Secret.
    Secret,
    /// The registration of an aggregated API.
    ApiService,
    /// Anything else.
    Other,
}

impl Call {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 15] = [
        Self::TokenReview,
        Self::AccessReview,
        Self::PathReview,
        Self::RulesReview,
        Self::Namespace,
        Self::List,
        Self::Watch,
        Self::Probe,
        Self::Lease,
        Self::Event,
        Self::TokenRequest,
        Self::ServiceAccount,
        Self::Secret,
        Self::ApiService,
        Self::Other,
    ];

    /// The value of the label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenReview => "tokenreview",
            Self::AccessReview => "subjectaccessreview",
            Self::PathReview => "nonresourceaccessreview",
            Self::RulesReview => "selfsubjectrulesreview",
            Self::Namespace => "namespace",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Probe => "probe",
            Self::Lease => "lease",
            Self::Event => "event",
            Self::TokenRequest => "tokenrequest",
            Self::ServiceAccount => "serviceaccount",
            Self::Secret => "secret",
            Self::ApiService => "apiservice",
            Self::Other => "other",
        }
    }

    /// How long an answer may take.
    pub(crate) const fn time_max(self) -> Duration {
        match self {
            // Pages of large clusters take the API server seconds.
            Self::List => Duration::from_secs(30),
            Self::Watch => Duration::from_secs(10),
            Self::Probe => Duration::from_secs(3),
            _ => Duration::from_secs(5),
        }
    }

    /// How long an answer may be.
    pub(crate) const fn bytes_max(self) -> usize {
        match self {
            Self::List => 64 * 1024 * 1024,
            // etcd takes no object above 1.5 MiB.
            _ => 4 * 1024 * 1024,
        }
    }
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An answer.
    Ok,
    /// A refusal, also "not found".
    Refused,
    /// No answer, or one that means "not now".
    Unavailable,
}

impl Outcome {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Refused, Self::Unavailable];

    /// The value of the label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Calls since the start, by kind and outcome.
#[derive(Debug, Default)]
pub struct ApiCounters([[AtomicU64; Outcome::ALL.len()]; Call::ALL.len()]);

impl ApiCounters {
    pub(crate) fn count(&self, call: Call, outcome: Outcome) {
        if let Some(counter) = self.at(call, outcome) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many calls of this kind went this way.
    #[must_use]
    pub fn get(&self, call: Call, outcome: Outcome) -> u64 {
        self.at(call, outcome).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn at(&self, call: Call, outcome: Outcome) -> Option<&AtomicU64> {
        self.0.get(call as usize)?.get(outcome as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_a_counter_of_its_own() {
        let counters = ApiCounters::default();
        for (position, call) in Call::ALL.into_iter().enumerate() {
            for (offset, outcome) in Outcome::ALL.into_iter().enumerate() {
                for _ in 0..=position * Outcome::ALL.len() + offset {
                    counters.count(call, outcome);
                }
            }
        }
        let mut expected = 1;
        for call in Call::ALL {
            for outcome in Outcome::ALL {
                assert_eq!(counters.get(call, outcome), expected, "{call:?} {outcome:?}");
                expected += 1;
            }
        }
    }
}
