//! What an administrator may set.

use std::time::Duration;

/// The API server refuses shorter lives.
const LIFETIME_MIN: Duration = Duration::from_secs(600);

/// What an administrator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    operator: String,
    hosts: Vec<String>,
    audience: Option<String>,
    lifetime: Duration,
}

impl Settings {
    /// `operator` tells this installation from others of the cluster, and stays the same for all of its processes: the
    /// namespace of its Lease. `hosts` are the names of the registry that nodes pull from, with the port where it is not
    /// 443; without `audience` tokens are made for the API server. A `lifetime` below ten minutes counts as ten.
    #[must_use]
    pub fn new(operator: &str, mut hosts: Vec<String>, audience: Option<String>, lifetime: Duration) -> Self {
        hosts.sort_unstable();
        hosts.dedup();
        let audience = audience.filter(|audience| !audience.is_empty());
        Self { operator: operator.to_owned(), hosts, audience, lifetime: lifetime.max(LIFETIME_MIN) }
    }

    /// Which installation this is.
    #[must_use]
    pub fn operator(&self) -> &str {
        &self.operator
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
