//! Numbers for names that many objects use.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// The number of a name, as long as somebody holds it.
pub(super) type Number = u32;

/// Gives each name in use a small number.
pub(super) struct Names<K: ?Sized> {
    numbers: HashMap<Arc<K>, Number>,
    slots: Vec<Option<Slot<K>>>,
    free: Vec<Number>,
}

struct Slot<K: ?Sized> {
    name: Arc<K>,
    holders: usize,
}

impl<K: ?Sized> Default for Names<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<K: ?Sized + Eq + Hash> Names<K> {
    pub(super) fn find(&self, name: &K) -> Option<Number> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: Number) -> Option<&K> {
        self.slots.get(number as usize)?.as_ref().map(|slot| &*slot.name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Number, &K)> {
        self.numbers.iter().map(|(name, number)| (*number, &**name))
    }

    /// The number of a name, held once more.
    pub(super) fn hold(&mut self, name: Arc<K>) -> Number {
        let known = self.find(&name);
        if let Some(slot) = known.and_then(|number| self.slots.get_mut(number as usize)?.as_mut()) {
            slot.holders += 1;
        }
        known.unwrap_or_else(|| self.add(name))
    }

    fn add(&mut self, name: Arc<K>) -> Number {
        let slot = Some(Slot { name: name.clone(), holders: 1 });
        let number = self.free.pop().unwrap_or(self.slots.len() as Number);
        match self.slots.get_mut(number as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        self.numbers.insert(name, number);
        number
    }

    /// One holder less; with the last one the number is free for another name.
    pub(super) fn release(&mut self, number: Number) {
        let Some(place) = self.slots.get_mut(number as usize) else { return };
        let Some(slot) = place else { return };
        slot.holders -= 1;
        if slot.holders == 0 {
            self.numbers.remove(&slot.name);
            *place = None;
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lives_as_long_as_its_holders() {
        let mut names = Names::<str>::default();
        let (a, b) = (names.hold("a".into()), names.hold("b".into()));
        assert_eq!((names.hold("a".into()), names.find("b"), names.name(b)), (a, Some(b), Some("b")));
        names.release(a);
        assert_eq!(names.find("a"), Some(a));
        names.release(a);
        assert_eq!((names.find("a"), names.name(a), names.find("b")), (None, None, Some(b)));
        assert_eq!(names.hold("c".into()), a, "numbers do not grow with what came and went");
        assert_eq!(names.all().count(), 2);
    }
}
