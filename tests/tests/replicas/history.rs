//! What clients saw of one register, and whether any order of events explains it.
//!
//! The search of Wing and Gong, with Lowe's memory of what was tried: put the operations in an order, one after the other,
//! so that each takes effect between its begin and its end and sees what the ones before it have left. An operation whose
//! answer was lost may take effect at any time after its begin, or never.

use std::collections::HashSet;
use std::sync::Arc;

/// What a register may hold.
pub(crate) type Value = Arc<str>;

/// One operation as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Write(Value),
    Delete,
    /// Deletes if this is what it holds.
    DeleteIf(Value),
    /// Saw this.
    Read(Option<Value>),
    /// Saw it, or not, in a list.
    Listed(bool),
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) op: Op,
    /// Moments are numbered over all clients.
    pub(crate) begun: u64,
    /// `None`: the answer was lost.
    pub(crate) ended: Option<u64>,
}

impl Event {
    fn end(&self) -> u64 {
        self.ended.unwrap_or(u64::MAX)
    }

    fn changes(&self) -> bool {
        matches!(self.op, Op::Write(_) | Op::Delete | Op::DeleteIf(_))
    }
}

/// Leaves out lists that had a tag which was deleted while somebody pushed it, and of which nothing is known since: where
/// processes have no locks in common, the push may write its history after the deletion, and until that is removed it is
/// listed.
pub(crate) fn forget_remains(events: &mut Vec<Event>) {
    let changes: Vec<Event> = events.iter().filter(|event| event.changes()).cloned().collect();
    let pushes = changes.iter().filter(|event| matches!(event.op, Op::Write(_)));
    let met: Vec<(u64, u64)> = pushes
        .flat_map(|push| {
            changes.iter().filter(|other| !matches!(other.op, Op::Write(_))).map(move |other| (push, other))
        })
        .filter(|(push, deletion)| push.begun < deletion.end() && deletion.begun < push.end())
        .map(|(push, deletion)| (deletion.begun, deletion.end().max(push.end())))
        .collect();
    let changed = |from, to| changes.iter().any(|change| change.begun > from && change.end() < to);
    events.retain(|event| {
        let may_be_left = |(begun, ended): &(u64, u64)| *begun < event.end() && !changed(*ended, event.begun);
        !(event.op == Op::Listed(true) && met.iter().any(may_be_left))
    });
}

/// The register after an operation; `None` when the operation cannot have seen it.
fn after(op: &Op, state: &Option<Value>) -> Option<Option<Value>> {
    match op {
        Op::Write(value) => Some(Some(Arc::clone(value))),
        Op::Delete => Some(None),
        Op::DeleteIf(value) => Some(state.clone().filter(|held| held != value)),
        Op::Read(seen) => (seen == state).then(|| state.clone()),
        Op::Listed(seen) => (*seen == state.is_some()).then(|| state.clone()),
    }
}

/// What was tried: all before the first number and the others are in order, and this is the state.
type Tried = (usize, Vec<usize>, Option<Value>);

/// Fails with the operations that no order explains.
pub(crate) fn check(mut events: Vec<Event>) -> Result<(), String> {
    // A lost read says nothing.
    events.retain(|event| event.changes() || event.ended.is_some());
    events.sort_by_key(|event| event.begun);
    let mut search = Search { events: &events, tried: HashSet::new(), furthest: 0 };
    if search.go_on(0, &mut Vec::new(), None) {
        return Ok(());
    }
    let from = search.furthest.saturating_sub(12);
    let shown: Vec<String> = events.iter().skip(from).take(30).map(|event| format!("{event:?}")).collect();
    Err(format!("no order explains what was seen about here:\n{}", shown.join("\n")))
}

struct Search<'a> {
    events: &'a [Event],
    tried: HashSet<Tried>,
    furthest: usize,
}

impl Search<'_> {
    /// `first`: all before are in order; `beyond`: so are these.
    fn go_on(&mut self, mut first: usize, beyond: &mut Vec<usize>, state: Option<Value>) -> bool {
        while beyond.first() == Some(&first) {
            beyond.remove(0);
            first += 1;
        }
        self.furthest = self.furthest.max(first);
        let open: Vec<usize> = (first..self.events.len()).filter(|index| !beyond.contains(index)).collect();
        let Some(deadline) = open.iter().map(|index| self.events[*index].end()).min() else { return true };
        if deadline == u64::MAX {
            // Only lost ones are left, and they may never have happened.
            return true;
        }
        if !self.tried.insert((first, beyond.clone(), state.clone())) {
            return false;
        }
        // Whoever has to come before the first end.
        let may_be_next = open.into_iter().take_while(|index| self.events[*index].begun < deadline);
        for index in may_be_next.collect::<Vec<_>>() {
            let Some(next) = after(&self.events[index].op, &state) else { continue };
            let mut beyond = beyond.clone();
            let place = beyond.partition_point(|known| *known < index);
            beyond.insert(place, index);
            if self.go_on(first, &mut beyond, next) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: &str, begun: u64, ended: u64) -> Event {
        Event { op: Op::Write(value.into()), begun, ended: Some(ended) }
    }

    fn read(value: &str, begun: u64, ended: u64) -> Event {
        let seen = (!value.is_empty()).then(|| value.into());
        Event { op: Op::Read(seen), begun, ended: Some(ended) }
    }

    fn lost(event: Event) -> Event {
        Event { ended: None, ..event }
    }

    #[test]
    fn what_can_happen_is_accepted() {
        for history in [
            vec![read("", 0, 1), write("a", 2, 3), read("a", 4, 5)],
            // Side by side: either order.
            vec![write("a", 0, 9), write("b", 1, 8), read("a", 10, 11), read("a", 12, 13)],
            vec![write("a", 0, 9), write("b", 1, 8), read("a", 2, 3), read("b", 10, 13)],
            // Lost, and late.
            vec![lost(write("a", 0, 0)), read("", 1, 2), write("b", 3, 4), read("b", 5, 6), read("a", 7, 8)],
            vec![lost(write("a", 0, 0)), read("", 1, 2), read("", 9, 10)],
            vec![
                write("a", 0, 1),
                Event { op: Op::DeleteIf("b".into()), begun: 2, ended: Some(3) },
                read("a", 4, 5),
                Event { op: Op::DeleteIf("a".into()), begun: 6, ended: Some(7) },
                Event { op: Op::Listed(false), begun: 8, ended: Some(9) },
            ],
        ] {
            check(history.clone()).unwrap_or_else(|error| panic!("{error}\n{history:?}"));
        }
    }

    #[test]
    fn lists_may_have_what_a_push_leaves_beside_a_deletion() {
        let deleted = |begun, ended| Event { op: Op::Delete, begun, ended: Some(ended) };
        let listed = |begun, ended| Event { op: Op::Listed(true), begun, ended: Some(ended) };
        let none = Event { op: Op::Listed(false), begun: 12, ended: Some(13) };
        let mut left = vec![write("a", 0, 9), deleted(4, 6), listed(10, 11), none.clone()];
        check(left.clone()).unwrap_err();
        forget_remains(&mut left);
        check(left).unwrap();
        // After the push, or after another change.
        for mut wrong in [
            vec![write("a", 0, 3), deleted(4, 6), listed(10, 11), none.clone()],
            vec![write("a", 0, 3), deleted(2, 5), deleted(6, 7), listed(10, 11), none],
        ] {
            forget_remains(&mut wrong);
            check(wrong).unwrap_err();
        }
    }

    #[test]
    fn what_cannot_happen_is_found() {
        for history in [
            // A lost update, an old value, a value from nowhere.
            vec![write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
            vec![write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("a", 5, 6)],
            vec![read("x", 0, 1)],
            vec![write("a", 0, 1), read("", 2, 3)],
            // A deletion of another value.
            vec![
                write("a", 0, 1),
                Event { op: Op::DeleteIf("b".into()), begun: 2, ended: Some(3) },
                Event { op: Op::Listed(false), begun: 4, ended: Some(5) },
            ],
            // It came late, and once only.
            vec![lost(write("a", 0, 0)), write("b", 1, 2), read("a", 3, 4), write("b", 5, 6), read("a", 7, 8)],
        ] {
            assert!(check(history.clone()).is_err(), "{history:?}");
        }
    }
}
