//! What an administrator may set.

use std::time::Duration;

/// The API server refuses shorter lives.
const LIFETIME_MIN: Duration = Duration::from_secs(600);

/// What an administrator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    hosts: Vec<String>,
    audience: Option<String>,
    lifetime: Duration,
}

impl Settings {
    /// `hosts` are the names of the registry that nodes pull from, with the port where it is not 443; without `audience`
    /// tokens are made for the API server. A `lifetime` below ten minutes counts as ten.
    #[must_use]
    pub fn new(mut hosts: Vec<String>, audience: Option<String>, lifetime: Duration) -> Self {
        hosts.sort_unstable();
        hosts.dedup();
        Self { hosts, audience: audience.filter(|audience| !audience.is_empty()), lifetime: lifetime.max(LIFETIME_MIN) }
    }

    /// The names of the registry, in order, each once.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    pub(super) fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    pub(super) fn lifetime_seconds(&self) -> i64 {
        i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX)
    }
}
