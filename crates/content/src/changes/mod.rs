//! What happened to tags, for those who watch them.
//!
//! Storage stays the only truth: a change says where to look again. Each is noted right after storage has it, so whoever
//! takes [`Changes::newest`], then looks at storage, and then follows from there misses nothing; a change may be met twice.

mod note;
mod record;
mod share;
mod standing;

pub(crate) use note::{Noting, ToEnd};
pub(crate) use share::{LOOK_LIFE, LOOKS_APART_MAX, Sharing};
pub(crate) use standing::{Standing, UnderWay};

use crate::TagState;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// So many changes are kept.
pub const CHANGES_MAX: usize = 16_384;

/// So many changes of this process are kept for others.
const OWN_MAX: usize = 512;

/// Something that happened to tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A tag was pushed.
    Pushed {
        /// The repository.
        repo: Arc<str>,
        /// The tag.
        tag: Box<str>,
        /// What it was.
        before: Before,
    },
    /// A tag was removed.
    Removed {
        /// The repository.
        repo: Arc<str>,
        /// The tag.
        tag: Box<str>,
        /// What it was.
        was: TagState,
    },
    /// Everything of a namespace may have changed.
    Namespace {
        /// The namespace.
        namespace: Box<str>,
    },
    /// Some changes are not known: whoever follows has to look at everything again.
    Unknown,
}

/// What a tag was before a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// There was none of that name. Of two that push it at once both may be told so.
    Nothing,
    /// A tag.
    Tag,
    /// Nobody has looked, as that would be a request to a service.
    Unknown {
        /// When the push began, by the clock that also gives the tag its time.
        began: SystemTime,
    },
}

impl Before {
    /// The push has made the tag, which is this now. Of a push that nobody has looked before, as far as the clocks of the
    /// processes that have pushed the tag agree.
    #[must_use]
    pub fn is_new(self, now: &TagState) -> bool {
        match self {
            Self::Nothing => true,
            Self::Tag => false,
            Self::Unknown { began } => now.created >= began,
        }
    }
}

/// A change and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// When it was noted, in microseconds since 1970; made to grow strictly, so it is a position in what this process knows.
    pub at: u64,
    /// What happened.
    pub change: Change,
}

/// The last [`CHANGES_MAX`] changes that this process knows of, its own and those of others on the same storage.
pub struct Changes {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

struct Ring {
    kept: VecDeque<Arc<Noted>>,
    /// Position of the last change that is not kept any more, or of the start.
    oldest: u64,
    newest: u64,
    /// The last ones that were made by this process.
    own: VecDeque<Arc<Noted>>,
    /// How many were made by this process.
    own_count: u64,
}

impl Changes {
    pub(crate) fn new() -> Arc<Self> {
        let start = now();
        let ring = Ring { kept: VecDeque::new(), oldest: start, newest: start, own: VecDeque::new(), own_count: 0 };
        Arc::new(Self { ring: Mutex::new(ring), newest: watch::Sender::new(start) })
    }

    /// Position of the last change, of the start, or that [`Changes::here`] gave out.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.ring().newest
    }

    /// A position of this moment: what is noted from now on comes after it, also when the clock is set back.
    #[must_use]
    pub fn here(&self) -> u64 {
        let mut ring = self.ring();
        ring.newest = now().max(ring.newest);
        ring.newest
    }

    /// Positions from here on can be resumed.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.ring().oldest
    }

    /// What was noted after `position`, in order; `None`: it is older than what is kept.
    #[must_use]
    pub fn since(&self, position: u64) -> Option<Vec<Arc<Noted>>> {
        let ring = self.ring();
        if position < ring.oldest {
            return None;
        }
        let first = ring.kept.partition_point(|noted| noted.at <= position);
        Some(ring.kept.range(first..).cloned().collect())
    }

    /// Waits until there is something newer than `position`; returns the newest position.
    pub async fn after(&self, position: u64) -> u64 {
        let mut newest = self.newest.subscribe();
        let found = newest.wait_for(|newest| *newest > position).await.map(|newest| *newest);
        // The other end is part of `self`.
        found.unwrap_or(position)
    }

    /// Somebody waits for what is new.
    pub(crate) fn is_followed(&self) -> bool {
        self.newest.receiver_count() > 0
    }

    /// Notes what this process has done.
    pub(crate) fn note_own(&self, change: Change) {
        let mut ring = self.ring();
        let noted = self.push(&mut ring, change);
        ring.own_count += 1;
        if ring.own.len() == OWN_MAX {
            ring.own.pop_front();
        }
        ring.own.push_back(noted);
    }

    /// Notes what others have done.
    pub(crate) fn note_foreign(&self, changes: impl IntoIterator<Item = Change>) {
        let mut ring = self.ring();
        for change in changes {
            self.push(&mut ring, change);
        }
    }

    fn push(&self, ring: &mut Ring, change: Change) -> Arc<Noted> {
        ring.newest = now().max(ring.newest + 1);
        let noted = Arc::new(Noted { at: ring.newest, change });
        if ring.kept.len() == CHANGES_MAX
            && let Some(dropped) = ring.kept.pop_front()
        {
            ring.oldest = dropped.at;
        }
        ring.kept.push_back(Arc::clone(&noted));
        self.newest.send_replace(ring.newest);
        noted
    }

    /// How many changes this process has made, and the last of them.
    fn own(&self) -> (u64, Vec<Arc<Noted>>) {
        let ring = self.ring();
        (ring.own_count, ring.own.iter().cloned().collect())
    }

    fn own_count(&self) -> u64 {
        self.ring().own_count
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    micros(SystemTime::now())
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(number: usize) -> Change {
        Change::Pushed { repo: "a/b".into(), tag: number.to_string().into(), before: Before::Tag }
    }

    fn all(changes: &Changes) -> Vec<Arc<Noted>> {
        changes.since(changes.oldest()).unwrap()
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_says_so() {
        let changes = Changes::new();
        let start = changes.newest();
        assert_eq!((changes.oldest(), changes.since(start).unwrap().len()), (start, 0));
        assert_eq!(changes.since(start - 1), None, "nothing is known of what was before the start");
        for number in 0..CHANGES_MAX {
            changes.note_own(pushed(number));
        }
        assert_eq!(changes.since(start).unwrap().len(), CHANGES_MAX);
        let first = changes.since(start).unwrap()[0].at;
        changes.note_own(pushed(CHANGES_MAX));
        assert_eq!((changes.oldest(), changes.since(start)), (first, None));
        let kept = changes.since(first).unwrap();
        assert_eq!(kept.len(), CHANGES_MAX);
        assert_eq!((&kept[0].change, &kept[CHANGES_MAX - 1].change), (&pushed(1), &pushed(CHANGES_MAX)));
        let (count, own) = changes.own();
        assert_eq!((count, own.len()), (CHANGES_MAX as u64 + 1, OWN_MAX));
        assert_eq!(own[OWN_MAX - 1], kept[CHANGES_MAX - 1]);
    }

    proptest! {
        /// However many note at once: positions grow strictly, and every position resumes right behind itself.
        #[test]
        fn positions_grow_strictly(counts in proptest::collection::vec(0usize..40, 1..4)) {
            let changes = Changes::new();
            std::thread::scope(|scope| {
                for (thread, count) in counts.iter().copied().enumerate() {
                    let changes = &changes;
                    scope.spawn(move || {
                        for number in 0..count {
                            if thread == 0 {
                                changes.note_foreign([pushed(number), Change::Unknown]);
                            } else {
                                changes.note_own(pushed(number));
                            }
                        }
                    });
                }
            });
            let noted = all(&changes);
            prop_assert_eq!(noted.len(), counts.iter().sum::<usize>() + counts[0]);
            prop_assert!(noted.windows(2).all(|pair| pair[0].at < pair[1].at));
            for (index, one) in noted.iter().enumerate() {
                prop_assert_eq!(changes.since(one.at).unwrap(), noted[index + 1..].to_vec());
            }
            prop_assert_eq!(changes.newest(), noted.last().map_or(changes.oldest(), |last| last.at));
            prop_assert!(changes.since(u64::MAX).unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn waiting_ends_with_something_newer() {
        let changes = Changes::new();
        let start = changes.newest();
        let waiting = tokio::spawn({
            let changes = Arc::clone(&changes);
            async move { changes.after(start).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let here = changes.here();
        assert!(here >= start && changes.since(here).unwrap().is_empty());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "a position is no change");
        changes.note_own(pushed(1));
        assert_eq!(changes.since(here).unwrap().len(), 1);
        let newest = waiting.await.unwrap();
        assert_eq!(newest, changes.newest());
        assert_eq!(changes.after(start).await, newest, "what is newer already is not waited for");
    }
}
