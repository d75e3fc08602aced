//! A sorted list of short names in one piece of memory: fifty thousand tags cost what their letters cost.

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Last part of the key.
    pub text: &'a str,
    /// There are keys below it.
    pub is_prefix: bool,
}

/// Immutable names in ASCII order.
#[derive(Debug, Default, Hash)]
pub struct Names {
    text: String,
    /// End of each name in `text`; the highest bit tells a prefix.
    ends: Vec<u32>,
}

const PREFIX_BIT: u32 = 1 << 31;

impl Names {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// None at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The entry at `index`, which must be below [`Names::len`].
    #[must_use]
    pub fn at(&self, index: usize) -> Name<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] & !PREFIX_BIT };
        let end = self.ends[index];
        Name { text: &self.text[start as usize..(end & !PREFIX_BIT) as usize], is_prefix: end & PREFIX_BIT != 0 }
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Name<'_>> {
        (0..self.len()).map(|index| self.at(index))
    }

    /// Index of the first name that sorts after `last`.
    #[must_use]
    pub fn after(&self, last: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.at(middle).text <= last {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Index of the first name that does not sort before `first`.
    #[must_use]
    pub fn from(&self, first: &str) -> usize {
        let after = self.after(first);
        if after > 0 && self.at(after - 1).text == first { after - 1 } else { after }
    }

    /// True when `name` is in the list.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let index = self.after(name);
        index > 0 && self.at(index - 1).text == name
    }

    /// Bytes of memory, for cache weights.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.text.len() + self.ends.len() * 4 + 64
    }
}

/// Collects names in any order.
#[derive(Debug, Default)]
pub struct NamesBuilder {
    names: Vec<(Box<str>, bool)>,
    bytes: usize,
}

impl NamesBuilder {
    /// Adds one.
    pub fn push(&mut self, text: &str, is_prefix: bool) {
        self.bytes += text.len();
        self.names.push((text.into(), is_prefix));
    }

    /// Sorts and packs. Names beyond 2 GiB of text are dropped; no directory has them.
    #[must_use]
    pub fn build(mut self) -> Names {
        self.names.sort_unstable();
        let mut out = Names { text: String::with_capacity(self.bytes), ends: Vec::with_capacity(self.names.len()) };
        for (text, is_prefix) in self.names {
            let end = u32::try_from(out.text.len() + text.len()).ok().filter(|end| end & PREFIX_BIT == 0);
            let Some(end) = end else { break };
            out.text.push_str(&text);
            out.ends.push(end | if is_prefix { PREFIX_BIT } else { 0 });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_sorted_vector(mut list in proptest::collection::vec("[a-c/.]{0,4}", 0..40), last in "[a-c/.]{0,4}") {
            let mut builder = NamesBuilder::default();
            for name in &list {
                builder.push(name, name.len() % 2 == 0);
            }
            let names = builder.build();
            list.sort();
            prop_assert_eq!(names.iter().map(|n| n.text.to_owned()).collect::<Vec<_>>(), list.clone());
            prop_assert!(names.iter().all(|n| n.is_prefix == (n.text.len() % 2 == 0)));
            prop_assert_eq!(names.after(&last), list.partition_point(|name| name.as_str() <= last.as_str()));
            list.dedup();
            prop_assert_eq!(names.contains(&last), list.contains(&last));
        }
    }
}
