//! What one hears of another, without storage in between.

use super::super::record::Record;
use super::super::{Before, Change};
use super::hear::{SILENCE_MAX, SKEW};
use super::*;
use crate::layout;
use proptest::prelude::*;
use storage::Batch;
use storage::memory::MemoryDriver;

#[derive(Clone, Copy, Debug)]
enum Step {
    Note(u32),
    Tell,
    Hear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u32..400).prop_map(Step::Note),
        (500u32..900).prop_map(Step::Note),
        Just(Step::Tell),
        Just(Step::Tell),
        Just(Step::Hear),
        Just(Step::Hear),
    ]
}

fn pushed(number: u32) -> Change {
    Change::Pushed { repo: "a/b".into(), tag: number.to_string().into(), before: Before::Tag }
}

fn number(change: &Change) -> Option<u32> {
    match change {
        Change::Pushed { tag, .. } => tag.parse().ok(),
        _ => None,
    }
}

fn hearing(hub: &Arc<Changes>) -> Hearing {
    Hearing::new(hub, &Lists::new(), Uuid::new_v4())
}

fn heard(hub: &Changes) -> Vec<Change> {
    hub.since(hub.oldest()).unwrap().iter().map(|noted| noted.change.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whenever one tells and the other listens: each change is heard once and in order, or it is said that some are not known.
    #[test]
    fn nothing_is_missed_in_silence(steps in proptest::collection::vec(step(), 0..30)) {
        let (ours, theirs) = (Changes::new(), Changes::new());
        let mut hearing = hearing(&ours);
        let (process, now) = (Uuid::new_v4(), Instant::now());
        let (mut made, mut told, mut beat) = (0, 0, 0);
        let (mut at_last_hearing, mut may_miss) = (0, false);
        let mut record = Record::encode(0, false, &[], 0, &[]);
        for step in steps.into_iter().chain([Step::Tell, Step::Hear]) {
            match step {
                Step::Note(count) => {
                    for _ in 0..count {
                        theirs.note_own(pushed(made));
                        made += 1;
                    }
                }
                Step::Tell => {
                    let (count, own) = theirs.own();
                    beat += 1;
                    record = Record::encode(beat, false, &[], count, &own);
                    told = made;
                }
                Step::Hear => {
                    may_miss |= told - at_last_hearing > 512;
                    at_last_hearing = told;
                    hearing.heard(process, &record, now);
                }
            }
        }
        let (mut expected, mut missed) = (0, false);
        for change in heard(&ours) {
            match number(&change) {
                Some(number) => {
                    prop_assert!(number == expected || (missed && number > expected), "{number} instead of {expected}");
                    (expected, missed) = (number + 1, false);
                }
                None => {
                    prop_assert!(change == Change::Unknown && may_miss, "{change:?} without a reason");
                    missed = true;
                }
            }
        }
        prop_assert!(expected == made || missed, "{expected} of {made}");
    }
}

#[test]
fn of_a_stranger_only_what_is_young_is_of_interest() {
    let (ours, theirs) = (Changes::new(), Changes::new());
    for number in 0..3 {
        theirs.note_own(pushed(number));
    }
    let (count, own) = theirs.own();
    let mut hearing = hearing(&ours);
    hearing.start = own[1].at + SKEW;
    hearing.heard(Uuid::new_v4(), &Record::encode(1, false, &[], count, &own), Instant::now());
    assert_eq!(heard(&ours), [pushed(1), pushed(2)]);
    // What is not told any more is older than what is: of no interest, too, or not known.
    hearing.heard(Uuid::new_v4(), &Record::encode(1, false, &[], count, &own[1..]), Instant::now());
    assert_eq!(heard(&ours)[2..], [Change::Unknown]);
    hearing.start = own[2].at + SKEW;
    hearing.heard(Uuid::new_v4(), &Record::encode(1, false, &[], count, &own[1..]), Instant::now());
    assert_eq!(heard(&ours)[3..], [pushed(2)]);
}

/// Between the last look and the burial its process may have said that it lives.
#[tokio::test]
async fn only_the_record_that_was_seen_is_removed() {
    let (driver, process) = (MemoryDriver::default(), Uuid::new_v4());
    let put = async |beat| {
        let record = Record::encode(beat, false, &[], 0, &[]);
        driver.apply(Batch::new().put(layout::changes_of(process), record.clone())).await.unwrap();
        record
    };
    let (ours, first) = (Changes::new(), Instant::now());
    let mut hearing = hearing(&ours);
    hearing.heard(process, &put(1).await, first);
    put(2).await;
    hearing.bury(&driver, vec![process], first).await.unwrap();
    assert!(hearing.peers.contains_key(&process) && heard(&ours).is_empty());
    assert_eq!(driver.keys().len(), 1);
    hearing.hear(&driver, first + SILENCE_MAX).await.unwrap();
    assert!(hearing.peers.contains_key(&process));
    hearing.bury(&driver, vec![process], first + SILENCE_MAX).await.unwrap();
    assert_eq!((hearing.peers.len(), heard(&ours)), (0, vec![Change::Unknown]));
    assert!(driver.keys().is_empty());
}

#[test]
fn a_record_that_cannot_be_read_does_not_move() {
    let ours = Changes::new();
    let mut hearing = hearing(&ours);
    let (process, first) = (Uuid::new_v4(), Instant::now());
    hearing.heard(process, b"{}", first);
    hearing.heard(process, b"{ }", first + TICK);
    assert!(hearing.peers[&process].moved == first && !hearing.peers[&process].closed);
    hearing.heard(process, &Record::encode(1, true, &[], 0, &[]), first + TICK);
    assert!(hearing.peers[&process].moved == first + TICK && hearing.peers[&process].closed);
    assert!(heard(&ours).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_at_once_and_further_ones_as_fast_as_the_service_takes_them() {
    const APART: Duration = Duration::from_secs(1);
    let hub = Changes::new();
    let mut telling = Telling::new(&hub, &Arc::default(), Uuid::new_v4());
    let driver = MemoryDriver::remote();
    // The namespace is named before the change is made.
    telling.begin(&driver, "a").await.unwrap();
    hub.note_own(pushed(1));
    assert!(telling.is_due(APART));
    telling.tell(&driver).await.unwrap();
    assert!(!telling.is_due(Duration::ZERO), "nothing is new");
    hub.note_own(pushed(2));
    assert!(telling.is_due(Duration::ZERO) && !telling.is_due(APART));
    tokio::time::advance(APART).await;
    assert!(telling.is_due(APART));
    telling.tell(&driver).await.unwrap();
    tokio::time::advance(APART).await;
    assert!(!telling.is_due(APART));
    tokio::time::advance(BEAT).await;
    assert!(telling.is_due(APART), "it shows that we live");
}
