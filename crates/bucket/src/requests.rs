//! How often the service was asked for what, and how it went.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the service is asked for. Each attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Length and time of an object.
    Head,
    /// An object or a part of it.
    Get,
    /// A page of keys.
    List,
    /// A whole object.
    Put,
    /// Start of a large object.
    Create,
    /// One part of a large object.
    Part,
    /// End of a large object.
    Complete,
    /// A large object is given up.
    Abort,
    /// A copy within the service, or a part of one.
    Copy,
    /// One object goes.
    Delete,
    /// Many objects go.
    DeleteMany,
    /// Which large objects were begun, or their parts.
    Unfinished,
}

impl Request {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 12] = [
        Self::Head,
        Self::Get,
        Self::List,
        Self::Put,
        Self::Create,
        Self::Part,
        Self::Complete,
        Self::Abort,
        Self::Copy,
        Self::Delete,
        Self::DeleteMany,
        Self::Unfinished,
    ];

    /// The value of the label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Get => "get",
            Self::List => "list",
            Self::Put => "put",
            Self::Create => "create_multipart",
            Self::Part => "put_part",
            Self::Complete => "complete_multipart",
            Self::Abort => "abort_multipart",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::Unfinished => "list_multipart",
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done.
    Ok,
    /// Nothing is there.
    NotFound,
    /// A condition did not hold.
    Conflict,
    /// The credentials do not allow it.
    Denied,
    /// The service asks for patience.
    Slow,
    /// Any other error of the service.
    Error,
    /// No answer, or none in time.
    Failed,
}

impl Outcome {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::NotFound, Self::Conflict, Self::Denied, Self::Slow, Self::Error, Self::Failed];

    /// The value of the label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Slow => "slow_down",
            Self::Error => "error",
            Self::Failed => "no_answer",
        }
    }

    pub(crate) const fn of(status: u16) -> Self {
        match status {
            200..300 => Self::Ok,
            404 => Self::NotFound,
            304 | 409 | 412 => Self::Conflict,
            401 | 403 => Self::Denied,
            429 | 503 => Self::Slow,
            _ => Self::Error,
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Requests {
    counts: [[AtomicU64; Outcome::ALL.len()]; Request::ALL.len()],
}

impl Requests {
    pub(crate) fn count(&self, request: Request, outcome: Outcome) {
        self.counts[request as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often this happened.
    #[must_use]
    pub fn of(&self, request: Request, outcome: Outcome) -> u64 {
        self.counts[request as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// All requests of a kind, whatever their outcome.
    #[must_use]
    pub fn all(&self, request: Request) -> u64 {
        Outcome::ALL.into_iter().map(|outcome| self.of(request, outcome)).sum()
    }

    /// All requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        Request::ALL.into_iter().map(|request| self.all(request)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_kind_and_outcome() {
        let requests = Requests::default();
        for (index, request) in Request::ALL.into_iter().enumerate() {
            assert_eq!(request as usize, index);
            requests.count(request, Outcome::of(503));
        }
        requests.count(Request::Get, Outcome::of(206));
        assert_eq!(requests.of(Request::Get, Outcome::Slow), 1);
        assert_eq!(requests.all(Request::Get), 2);
        assert_eq!(requests.total(), 13);
        assert!(Outcome::ALL.into_iter().enumerate().all(|(index, outcome)| outcome as usize == index));
    }
}
