use super::*;

fn namespace(name: &str, uid: &str) -> Namespace {
    Namespace { metadata: Meta { name: name.into(), uid: uid.into(), ..Meta::default() } }
}

fn exists(uid: &str) -> NamespaceState {
    NamespaceState::Exists(NamespaceUid(uid.into()))
}

#[test]
fn a_list_read_again_never_shows_an_empty_moment() {
    let known = Known::default();
    let mut seen = HashSet::new();
    let mut apply = |change| known.apply(&mut seen, change);
    assert_eq!(known.state("a"), NamespaceState::Unknown);
    apply(Change::Start);
    apply(Change::Listed(namespace("a", "1")));
    assert_eq!((known.state("a"), known.state("b")), (exists("1"), NamespaceState::Unknown));
    apply(Change::Complete);
    assert_eq!(known.state("b"), NamespaceState::Absent);
    apply(Change::Applied(namespace("b", "2")));
    // A list that breaks off changes nothing but what it showed.
    apply(Change::Start);
    assert_eq!((known.state("a"), known.state("b")), (exists("1"), exists("2")));
    apply(Change::Start);
    apply(Change::Listed(namespace("b", "3")));
    assert_eq!((known.state("a"), known.state("b")), (exists("1"), exists("3")));
    apply(Change::Complete);
    assert_eq!((known.state("a"), known.state("b")), (NamespaceState::Absent, exists("3")));
}

#[test]
fn a_late_end_does_not_hit_the_successor() {
    let known = Known::default();
    let mut seen = HashSet::new();
    let mut apply = |change| known.apply(&mut seen, change);
    apply(Change::Complete);
    apply(Change::Applied(namespace("a", "1")));
    apply(Change::Applied(namespace("a", "2")));
    apply(Change::Deleted(namespace("a", "1")));
    assert_eq!(known.state("a"), exists("2"));
    let mut leaving = namespace("a", "2");
    leaving.metadata.deleting = true;
    apply(Change::Applied(leaving.clone()));
    assert_eq!(known.state("a"), NamespaceState::Terminating(NamespaceUid("2".into())));
    apply(Change::Deleted(leaving));
    assert_eq!(known.state("a"), NamespaceState::Absent);
}

#[test]
fn changes_are_told_and_repetitions_are_not() {
    let known = Known::default();
    let changes = known.changes.subscribe();
    let mut seen = HashSet::new();
    let mut count_after = |change| {
        known.apply(&mut seen, change);
        *changes.borrow()
    };
    assert_eq!(count_after(Change::Listed(namespace("a", "1"))), 1);
    assert_eq!(count_after(Change::Complete), 2, "ready");
    assert_eq!(count_after(Change::Applied(namespace("a", "1"))), 2);
    assert_eq!(count_after(Change::Start), 2);
    assert_eq!(count_after(Change::Listed(namespace("a", "1"))), 2);
    assert_eq!(count_after(Change::Complete), 2);
    assert_eq!(count_after(Change::Deleted(namespace("a", "1"))), 3);
    assert_eq!(count_after(Change::Deleted(namespace("a", "1"))), 3);
}
