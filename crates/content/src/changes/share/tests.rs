//! What one hears of another, without storage in between.

use super::*;
use proptest::prelude::*;
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
    Change::Pushed { repo: "a/b".into(), tag: number.to_string().into(), new: false }
}

fn number(change: &Change) -> Option<u32> {
    match change {
        Change::Pushed { tag, .. } => tag.parse().ok(),
        _ => None,
    }
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
        let mut sharing = Sharing::new(&ours, &Arc::default());
        let (process, now) = (Uuid::new_v4(), Instant::now());
        let (mut made, mut told, mut beat) = (0, 0, 0);
        let (mut at_last_hearing, mut may_miss) = (0, false);
        let mut record = Record::encode(0, false, 0, &[]);
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
                    record = Record::encode(beat, false, count, &own);
                    told = made;
                }
                Step::Hear => {
                    may_miss |= told - at_last_hearing > 512;
                    at_last_hearing = told;
                    sharing.heard(process, &record, now);
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
    let mut sharing = Sharing::new(&ours, &Arc::default());
    sharing.start = own[1].at + SKEW;
    sharing.heard(Uuid::new_v4(), &Record::encode(1, false, count, &own), Instant::now());
    assert_eq!(heard(&ours), [pushed(1), pushed(2)]);
    // What is not told any more is older than what is: of no interest, too, or not known.
    sharing.heard(Uuid::new_v4(), &Record::encode(1, false, count, &own[1..]), Instant::now());
    assert_eq!(heard(&ours)[2..], [Change::Unknown]);
    sharing.start = own[2].at + SKEW;
    sharing.heard(Uuid::new_v4(), &Record::encode(1, false, count, &own[1..]), Instant::now());
    assert_eq!(heard(&ours)[3..], [pushed(2)]);
}

/// Between the last look and the burial its process may have said that it lives.
#[tokio::test]
async fn only_the_record_that_was_seen_is_removed() {
    let (driver, process) = (MemoryDriver::default(), Uuid::new_v4());
    let put = async |beat| {
        let record = Record::encode(beat, false, 0, &[]);
        driver.apply(Batch::new().put(layout::changes_of(process), record.clone())).await.unwrap();
        record
    };
    let (ours, first) = (Changes::new(), Instant::now());
    let mut sharing = Sharing::new(&ours, &Arc::default());
    sharing.heard(process, &put(1).await, first);
    put(2).await;
    sharing.bury(&driver, vec![process], first).await.unwrap();
    assert!(sharing.peers.contains_key(&process) && heard(&ours).is_empty());
    assert_eq!(driver.keys().len(), 1);
    sharing.hear(&driver, first + SILENCE_MAX).await.unwrap();
    assert!(sharing.peers.contains_key(&process));
    sharing.bury(&driver, vec![process], first + SILENCE_MAX).await.unwrap();
    assert_eq!((sharing.peers.len(), heard(&ours)), (0, vec![Change::Unknown]));
    assert!(driver.keys().is_empty());
}

#[test]
fn a_record_that_cannot_be_read_does_not_move() {
    let ours = Changes::new();
    let mut sharing = Sharing::new(&ours, &Arc::default());
    let (process, first) = (Uuid::new_v4(), Instant::now());
    sharing.heard(process, b"{}", first);
    sharing.heard(process, b"{ }", first + TICK);
    assert!(sharing.peers[&process].moved == first && !sharing.peers[&process].closed);
    sharing.heard(process, &Record::encode(1, true, 0, &[]), first + TICK);
    assert!(sharing.peers[&process].moved == first + TICK && sharing.peers[&process].closed);
    assert!(heard(&ours).is_empty());
}
