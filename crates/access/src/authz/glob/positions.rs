//! Sets of positions in a path: how far a pattern may have come.

use std::borrow::Cow;
use std::cell::OnceCell;

/// Longest path that is looked at; names of repositories are no longer, their namespace included.
const PATH_BYTES_MAX: usize = 255;
const WORDS: usize = (PATH_BYTES_MAX + 1) / 64;
/// The printable characters, from the space on.
const CHARACTERS: usize = 96;

/// A set of positions: `n` is before the `n`-th byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Positions([u64; WORDS]);

impl Positions {
    pub(super) fn one(position: usize) -> Self {
        let mut set = Self::default();
        set.insert(position);
        set
    }

    fn insert(&mut self, position: usize) {
        if let Some(word) = self.0.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Takes a position out; whether it was there.
    pub(super) fn take(&mut self, position: usize) -> bool {
        let was = self.contains(position);
        if let Some(word) = self.0.get_mut(position / 64) {
            *word &= !(1 << (position % 64));
        }
        was
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    fn zip(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = join(*word, other);
        }
        Self(words)
    }

    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    fn next(self) -> Self {
        let (mut words, mut carry) = (self.0, 0);
        for word in &mut words {
            (*word, carry) = (*word << 1 | carry, *word >> 63);
        }
        Self(words)
    }

    fn plus(self, other: Self) -> Self {
        let (mut words, mut carry) = (self.0, false);
        for (word, other) in words.iter_mut().zip(other.0) {
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, first || second);
        }
        Self(words)
    }

    /// One byte on, where that byte is one of `bytes`.
    pub(super) fn over(self, bytes: Self) -> Self {
        self.zip(bytes, |a, b| a & b).next()
    }

    /// Any number of bytes on, as long as they are all of `bytes`.
    pub(super) fn along(self, bytes: Self) -> Self {
        // The carry of the sum runs through a row of ones from the lowest position in it (Myers, JACM 46, 1999).
        let sum = self.zip(bytes, |a, b| a & b).plus(bytes);
        sum.zip(bytes, |a, b| a ^ b).or(self)
    }

    /// The first position, and every later one of `starts`. That is enough where each further position is such a
    /// start as well.
    pub(super) fn first_and_later(self, starts: Self) -> Self {
        let mut found = Self::default();
        let mut seen = false;
        for (index, word) in self.0.iter().enumerate() {
            let starts = starts.0.get(index).copied().unwrap_or_default();
            let kept = if seen {
                starts
            } else if *word == 0 {
                0
            } else {
                seen = true;
                let first = *word & word.wrapping_neg();
                first | starts & !(first | (first - 1))
            };
            if let Some(word) = found.0.get_mut(index) {
                *word = kept;
            }
        }
        found
    }
}

/// A path, and where in it which bytes are; the latter is made when first needed.
pub(crate) struct Places<'a> {
    /// In lower case; `None` when no repository has this path.
    path: Option<Cow<'a, [u8]>>,
    index: OnceCell<Box<Index>>,
}

struct Index {
    of: [Positions; CHARACTERS],
    /// All bytes but slashes.
    inside: Positions,
    /// After a slash.
    starts: Positions,
}

impl<'a> Places<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        let bytes = path.as_bytes();
        let path =
            (bytes.len() <= PATH_BYTES_MAX && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))).then(
                || match bytes.iter().any(u8::is_ascii_uppercase) {
                    true => Cow::Owned(bytes.to_ascii_lowercase()),
                    false => Cow::Borrowed(bytes),
                },
            );
        Self { path, index: OnceCell::new() }
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// The position after the last byte.
    pub(super) fn end(&self) -> usize {
        self.path.as_ref().map_or(0, |path| path.len())
    }

    /// Where this byte is.
    pub(super) fn of(&self, byte: u8) -> Positions {
        let place = usize::from(byte).checked_sub(usize::from(b' '));
        place.and_then(|place| self.index().of.get(place)).copied().unwrap_or_default()
    }

    /// Where a byte of the class is.
    pub(super) fn of_class(&self, class: u128) -> Positions {
        let mut found = Positions::default();
        let mut rest = class;
        while rest != 0 {
            let byte = u8::try_from(rest.trailing_zeros()).unwrap_or_default();
            found = found.or(self.of(byte));
            rest &= rest - 1;
        }
        found
    }

    /// Where no slash is.
    pub(super) fn inside(&self) -> Positions {
        self.index().inside
    }

    /// Where segments begin, but for the first.
    pub(super) fn starts(&self) -> Positions {
        self.index().starts
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let none = Positions::default();
            let mut index = Box::new(Index { of: [none; CHARACTERS], inside: none, starts: none });
            for (position, byte) in self.bytes().unwrap_or_default().iter().enumerate() {
                match byte {
                    b'/' => index.starts.insert(position + 1),
                    _ => index.inside.insert(position),
                }
                if let Some(places) = index.of.get_mut(usize::from(byte - b' ')) {
                    places.insert(position);
                }
            }
            index
        })
    }
}
