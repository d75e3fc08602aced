//! What one leader remembers between two looks.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::pair::Pair;

#[derive(Default)]
pub(super) struct Memory {
    /// The state of the Secret, and since when it is known.
    secret: Option<(State, Duration)>,
    /// Made and perhaps trusted, but not stored: the next attempt takes it, so that attempts do not add up in what is trusted.
    pub(super) made: Option<Pair>,
}

/// The UID of an object and its version.
type State = (Option<String>, Option<String>);

impl Memory {
    /// For how long the Secret is known to have been as it is. `now` is monotonic.
    pub(super) fn unchanged_for(&mut self, secret: &ObjectMeta, now: Duration) -> Duration {
        let state = (secret.uid.clone(), secret.resource_version.clone());
        match &self.secret {
            Some((known, since)) if *known == state => now.saturating_sub(*since),
            _ => {
                self.secret = Some((state, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_the_secret_starts_the_time_anew() {
        let state = |uid: &str, version: &str| ObjectMeta {
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        let mut memory = Memory::default();
        let mut unchanged = |uid, version, now| memory.unchanged_for(&state(uid, version), Duration::from_secs(now));
        assert_eq!(unchanged("a", "1", 100), Duration::ZERO);
        assert_eq!(unchanged("a", "1", 130), Duration::from_secs(30));
        assert_eq!(unchanged("a", "2", 160), Duration::ZERO);
        assert_eq!(unchanged("a", "2", 400), Duration::from_secs(240));
        assert_eq!(unchanged("b", "2", 430), Duration::ZERO);
    }
}
