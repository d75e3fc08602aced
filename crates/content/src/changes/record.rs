//! What one process tells the others: its last changes, numbered so that a gap shows.

use super::{Before, Change, Noted, micros};
use crate::{Namespace, TagState};
use bytes::Bytes;
use oci::{Digest, RepoName, Tag};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storage::INLINE_MAX;

const VERSION: u32 = 1;
/// Changes and names of namespaces together; what is beside them fits into the rest of [`INLINE_MAX`].
const BYTES_MAX: usize = INLINE_MAX - 1024;
/// So many namespaces are named. Where more are changed, any may be.
const CHANGING_MAX: usize = 256;

/// A record as it was read.
#[derive(Debug)]
pub(super) struct Record {
    /// Nothing will follow.
    pub(super) closed: bool,
    /// The namespaces in which something changes, or did a moment ago. `None`: it may be any.
    pub(super) changing: Option<Vec<Box<str>>>,
    /// Number of the first change.
    pub(super) first: u64,
    /// Changes with the time at which their process has noted them, in microseconds since 1970.
    pub(super) changes: Vec<(u64, Change)>,
}

#[derive(Serialize, Deserialize)]
struct Text<E> {
    version: u32,
    /// Grows with every record, so that each differs from the last one.
    beat: u64,
    closed: bool,
    #[serde(default)]
    changing: Option<Vec<Box<str>>>,
    /// Number of the change that comes next.
    next: u64,
    changes: Vec<E>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    at: u64,
    change: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Pushed { repo: Box<str>, tag: Box<str>, before: Was },
    Removed { repo: Box<str>, tag: Box<str>, digest: Digest, pushed: u64, created: u64 },
    Namespace { namespace: Box<str> },
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Was {
    Nothing,
    Tag,
    Unknown { began: u64 },
}

impl Record {
    /// The record of a process that has made `count` changes, of which `own` are the last ones. As many as fit are in it.
    pub(super) fn encode(beat: u64, closed: bool, changing: &[Box<str>], count: u64, own: &[Arc<Noted>]) -> Bytes {
        let changing = (changing.len() <= CHANGING_MAX).then(|| changing.to_vec());
        let mut bytes: usize = changing.iter().flatten().map(|name| name.len() + 3).sum();
        let mut changes: Vec<Box<RawValue>> = Vec::with_capacity(own.len());
        for noted in own.iter().rev() {
            let entry = Entry { at: noted.at, change: What::of(&noted.change) };
            let Ok(text) = to_raw_value(&entry) else { break };
            bytes += text.get().len() + 1;
            if bytes > BYTES_MAX {
                break;
            }
            changes.push(text);
        }
        changes.reverse();
        let text = Text { version: VERSION, beat, closed, changing, next: count, changes };
        // Strings and numbers always have a JSON form.
        serde_json::to_vec(&text).unwrap_or_default().into()
    }

    /// `None`: damaged, or of a version that we do not know.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let text: Text<Entry> = serde_json::from_slice(bytes).ok()?;
        let first = text.next.checked_sub(text.changes.len() as u64)?;
        let changes: Option<Vec<_>> =
            text.changes.into_iter().map(|entry| Some((entry.at, entry.change.check()?))).collect();
        let Text { closed, changing, .. } = text;
        (text.version == VERSION).then_some(Self { closed, changing, first, changes: changes? })
    }
}

impl Was {
    fn of(before: Before) -> Self {
        match before {
            Before::Nothing => Self::Nothing,
            Before::Tag => Self::Tag,
            Before::Unknown { began } => Self::Unknown { began: micros(began) },
        }
    }

    fn check(self) -> Option<Before> {
        Some(match self {
            Self::Nothing => Before::Nothing,
            Self::Tag => Before::Tag,
            Self::Unknown { began } => Before::Unknown { began: time(began)? },
        })
    }
}

impl What {
    fn of(change: &Change) -> Self {
        match change.clone() {
            Change::Pushed { repo, tag, before } => Self::Pushed { repo: (*repo).into(), tag, before: Was::of(before) },
            Change::Removed { repo, tag, was: TagState { digest, pushed, created } } => {
                Self::Removed { repo: (*repo).into(), tag, digest, pushed: micros(pushed), created: micros(created) }
            }
            Change::Namespace { namespace } => Self::Namespace { namespace },
            Change::Unknown => Self::Unknown,
        }
    }

    fn check(self) -> Option<Change> {
        let named = |repo: &str, tag: &str| RepoName::parse(repo).is_ok() && Tag::parse(tag).is_ok();
        match self {
            Self::Pushed { repo, tag, before } => {
                let before = before.check()?;
                named(&repo, &tag).then(|| Change::Pushed { repo: repo.into(), tag, before })
            }
            Self::Removed { repo, tag, digest, pushed, created } => {
                let was = TagState { digest, pushed: time(pushed)?, created: time(created)? };
                named(&repo, &tag).then(|| Change::Removed { repo: repo.into(), tag, was })
            }
            Self::Namespace { namespace } => {
                Namespace::parse(&namespace).is_some().then_some(Change::Namespace { namespace })
            }
            Self::Unknown => Some(Change::Unknown),
        }
    }
}

fn time(micros: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        let named = ("[a-z]{1,9}/[a-z]{1,100}", "[a-z0-9]{1,100}");
        let state = (any::<[u8; 4]>(), 0..u64::MAX / 4, 0..u64::MAX / 4).prop_map(|(seed, pushed, created)| TagState {
            digest: Digest::sha256(&seed),
            pushed: time(pushed).unwrap(),
            created: time(created).unwrap(),
        });
        let before = prop_oneof![
            Just(Before::Nothing),
            Just(Before::Tag),
            (0..u64::MAX / 4).prop_map(|began| Before::Unknown { began: time(began).unwrap() }),
        ];
        prop_oneof![
            (named, before).prop_map(|((repo, tag), before)| Change::Pushed {
                repo: repo.into(),
                tag: tag.into(),
                before
            }),
            (named, state).prop_map(|((repo, tag), was)| Change::Removed { repo: repo.into(), tag: tag.into(), was }),
            "[a-z]{1,63}".prop_map(|namespace| Change::Namespace { namespace: namespace.into() }),
            Just(Change::Unknown),
        ]
    }

    proptest! {
        #[test]
        fn what_is_told_is_understood(
            changes in proptest::collection::vec(change(), 0..20),
            changing in proptest::collection::vec("[a-z]{1,63}", 0..300),
            before in 0u64..5,
            closed: bool,
        ) {
            let changing: Vec<Box<str>> = changing.into_iter().map(Into::into).collect();
            let own: Vec<_> =
                changes.iter().zip(7..).map(|(change, at)| Arc::new(Noted { at, change: change.clone() })).collect();
            let count = before + own.len() as u64;
            let record = Record::decode(&Record::encode(1, closed, &changing, count, &own)).unwrap();
            prop_assert_eq!((record.closed, record.first), (closed, before));
            prop_assert_eq!(record.changing, Some(changing).filter(|changing| changing.len() <= CHANGING_MAX));
            let expected: Vec<_> = (7..).zip(changes).collect();
            prop_assert_eq!(record.changes, expected);
        }

        #[test]
        fn damaged_records_are_none(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Record::decode(&bytes).is_none());
        }
    }

    #[test]
    fn the_newest_fit_however_long_they_are() {
        let was = TagState { digest: Digest::sha256(b""), pushed: UNIX_EPOCH, created: UNIX_EPOCH };
        let long = |number: u64| Change::Removed {
            repo: format!("{}/{number}", "r".repeat(240)).into(),
            tag: "t".repeat(128).into(),
            was,
        };
        let own: Vec<_> = (0..512).map(|at| Arc::new(Noted { at, change: long(at) })).collect();
        let names: Vec<Box<str>> = (0..CHANGING_MAX).map(|number| format!("{number:0>255}").into()).collect();
        let bytes = Record::encode(u64::MAX, false, &names, 10_000, &own);
        assert!(bytes.len() <= INLINE_MAX);
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.changing, Some(names));
        assert!(record.changes.len() > 100 && record.changes.len() < 512);
        assert_eq!(record.first + record.changes.len() as u64, 10_000);
        assert_eq!(record.changes.last(), Some(&(511, long(511))));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for bad in [
            r#"{"version":2,"beat":1,"closed":false,"next":0,"changes":[]}"#,
            r#"{"version":1,"beat":1,"closed":false,"next":0,"changes":[{"at":1,"change":"unknown"}]}"#,
            r#"{"version":1,"beat":1,"closed":false,"next":1,"changes":[{"at":1,"change":{"namespace":{"namespace":"a/b"}}}]}"#,
            r#"{"version":1,"beat":1,"closed":false,"next":1,"changes":[{"at":1,"change":{"pushed":{"repo":"../x","tag":"t","new":true}}}]}"#,
        ] {
            assert!(Record::decode(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(
            Record::decode(
                br#"{"version":1,"beat":1,"closed":false,"next":1,"changes":[{"at":1,"change":"unknown"}]}"#
            )
            .is_some()
        );
    }
}
