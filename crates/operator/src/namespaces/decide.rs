//! What to do about a namespace: functions over values.

use std::time::Duration;

use access::NamespaceState;

use super::content::{Owned, Standing};

/// That so many namespaces are gone at once is nothing unusual.
const MANY: usize = 10;

/// What an administrator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between two looks at everything, when nothing changes.
    pub interval: Duration,
    /// How long content stays after its namespace was first missed: until then every replica has noticed, or has stopped
    /// writing because it is cut off from the API server.
    pub drain: Duration,
    /// The same when most namespaces seem to be gone at once.
    pub hold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(300), drain: Duration::from_secs(10), hold: Duration::from_secs(3600) }
    }
}

/// What memory says about an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is there.
    There,
    /// Nobody can tell.
    Unknown,
    /// It seems to be gone.
    Missed,
}

pub(super) fn sight(owner: &str, state: &NamespaceState) -> Sight {
    match state {
        NamespaceState::Exists(uid) | NamespaceState::Terminating(uid) if *uid.0 == *owner => Sight::There,
        NamespaceState::Exists(_) | NamespaceState::Terminating(_) | NamespaceState::Absent => Sight::Missed,
        NamespaceState::Unknown => Sight::Unknown,
    }
}

/// Whether so many of the owners are missed at once that something else is likely than that somebody deleted them.
pub(super) fn is_alarming(owned: usize, missed: usize) -> bool {
    missed > MANY && missed * 2 > owned
}

/// How long the content of an owner stays yet, that has been missed for a time.
pub(super) fn stays(missed_for: Duration, alarming: bool, settings: &Settings) -> Duration {
    let whole = if alarming { settings.hold.max(settings.drain) } else { settings.drain };
    whole.saturating_sub(missed_for)
}

/// Leave to remove the content of one namespace. Made only from the API server's own words, in [`judge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    owned: Owned,
    successor: Option<String>,
}

impl Removal {
    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.owned.namespace
    }

    /// The UID of the namespace that is gone: only what it owns may be removed.
    #[must_use]
    pub fn gone(&self) -> &str {
        &self.owned.uid
    }

    /// The UID of the namespace that has the name now, to be the next owner.
    #[must_use]
    pub fn successor(&self) -> Option<&str> {
        self.successor.as_deref()
    }
}

/// Leave to remove what `owned` tells of, if the API server has said that the owner is gone and that it is the right
/// API server.
pub(super) fn judge(owned: &Owned, identity: &Identity, standing: &Standing) -> Option<Removal> {
    match (identity, standing) {
        (Identity::Same, Standing::Gone { successor }) if successor.as_deref() != Some(owned.uid.as_str()) => {
            Some(Removal { owned: owned.clone(), successor: successor.clone() })
        }
        _ => None,
    }
}

/// Which cluster answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The one that the records are of.
    Same,
    /// Another one. The UID is that of its `kube-system`, if it has one.
    Other(Option<String>),
    /// Nobody can tell. The reason is for the log.
    Unknown(String),
}

/// Which cluster answers: the one that the records are of is known by the UID `stored`, the API server has been asked about
/// that, and memory has to agree, lest a list that is not complete be taken for one that is.
pub(super) fn identify(stored: &str, standing: Standing, remembered: &NamespaceState) -> Identity {
    match standing {
        Standing::Present => match sight(stored, remembered) {
            Sight::There => Identity::Same,
            Sight::Unknown => Identity::Unknown("the namespaces have not been read yet".to_owned()),
            Sight::Missed => Identity::Unknown("the list of namespaces and the API server do not agree".to_owned()),
        },
        Standing::Gone { successor } => Identity::Other(successor),
        Standing::Unknown(reason) => Identity::Unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::NamespaceUid;

    fn exists(uid: &str) -> NamespaceState {
        NamespaceState::Exists(NamespaceUid(uid.into()))
    }

    fn terminating(uid: &str) -> NamespaceState {
        NamespaceState::Terminating(NamespaceUid(uid.into()))
    }

    fn gone(successor: Option<&str>) -> Standing {
        Standing::Gone { successor: successor.map(str::to_owned) }
    }

    fn owned() -> Owned {
        Owned { namespace: "shop".into(), uid: "1".into() }
    }

    #[test]
    fn memory_makes_suspects_only() {
        let table = [
            (exists("1"), Sight::There),
            (terminating("1"), Sight::There),
            (exists("2"), Sight::Missed),
            (terminating("2"), Sight::Missed),
            (NamespaceState::Absent, Sight::Missed),
            (NamespaceState::Unknown, Sight::Unknown),
        ];
        for (state, expected) in table {
            assert_eq!(sight("1", &state), expected, "{state:?}");
        }
    }

    #[test]
    fn only_the_right_api_server_gives_leave() {
        let unknown = || Standing::Unknown("away".into());
        let identities =
            [Identity::Same, Identity::Other(None), Identity::Other(Some("k".into())), Identity::Unknown("".into())];
        for identity in identities {
            for standing in [Standing::Present, unknown(), gone(None), gone(Some("2")), gone(Some("1"))] {
                let leave = judge(&owned(), &identity, &standing).map(|removal| removal.successor().map(str::to_owned));
                let expected = match (&identity, &standing) {
                    (Identity::Same, Standing::Gone { successor: None }) => Some(None),
                    (Identity::Same, Standing::Gone { successor: Some(uid) }) if uid == "2" => {
                        Some(Some("2".to_owned()))
                    }
                    _ => None,
                };
                assert_eq!(leave, expected, "{identity:?} {standing:?}");
            }
        }
        let removal = judge(&owned(), &Identity::Same, &gone(None)).unwrap();
        assert_eq!((removal.namespace(), removal.gone()), ("shop", "1"));
    }

    #[test]
    fn a_cluster_is_known_by_one_namespace_that_memory_and_server_agree_on() {
        assert_eq!(identify("k", Standing::Present, &exists("k")), Identity::Same);
        for disagrees in [NamespaceState::Absent, exists("x"), NamespaceState::Unknown] {
            assert!(matches!(identify("k", Standing::Present, &disagrees), Identity::Unknown(_)), "{disagrees:?}");
        }
        assert_eq!(identify("k", gone(Some("x")), &exists("x")), Identity::Other(Some("x".into())));
        assert_eq!(identify("k", gone(None), &NamespaceState::Absent), Identity::Other(None));
        assert_eq!(identify("k", Standing::Unknown("away".into()), &exists("k")), Identity::Unknown("away".into()));
    }

    #[test]
    fn many_at_once_wait_longer() {
        let settings = Settings::default();
        for (owned, missed, expected) in
            [(10, 10, false), (11, 11, true), (100, 50, false), (100, 51, true), (9, 9, false), (0, 0, false)]
        {
            assert_eq!(is_alarming(owned, missed), expected, "{missed} of {owned}");
        }
        let seconds = Duration::from_secs;
        assert_eq!(stays(seconds(0), false, &settings), seconds(10));
        assert_eq!(stays(seconds(9), false, &settings), seconds(1));
        assert_eq!(stays(seconds(10), false, &settings), Duration::ZERO);
        assert_eq!(stays(seconds(10), true, &settings), seconds(3590));
        assert_eq!(stays(seconds(3600), true, &settings), Duration::ZERO);
        let short = Settings { hold: Duration::ZERO, ..settings };
        assert_eq!(stays(seconds(9), true, &short), seconds(1));
    }
}
