//! The children of a prefix in the order of their names, from a service that has another order.
//!
//! A service sorts keys, and a child that has keys below it sorts as `name/`: after `name-x` and `name.x`, whose next byte
//! is below the slash, although its name is the beginning of theirs. When a list is cut at some entry, the names that may
//! still come and yet sort before it are beginnings of that entry's name, and only those where it goes on with such a
//! byte. Each of them is looked for by itself, all at once; most lists need none.

use std::collections::BTreeMap;

/// An entry of a service's list, without the prefix and without the slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_prefix: bool,
}

impl Entry {
    /// What the service sorts by.
    fn sort_key(&self) -> String {
        if self.is_prefix { format!("{}/", self.name) } else { self.name.clone() }
    }
}

/// Gathers pages of a service until they tell a page of names.
pub(crate) struct Gather<'a> {
    after: &'a str,
    limit: usize,
    names: BTreeMap<String, bool>,
    /// The last entry in the order of the service, when more follow it.
    cut: Option<Entry>,
}

impl<'a> Gather<'a> {
    /// Names that sort after `after`, at most `limit`.
    pub(crate) fn new(after: &'a str, limit: usize) -> Self {
        Self { after, limit, names: BTreeMap::new(), cut: None }
    }

    /// How many keys to ask for next; `most` is what the service gives at once.
    pub(crate) fn want(&self, most: usize) -> usize {
        // Some of the first entries may sort before `after`; they are beginnings of it.
        self.limit.saturating_sub(self.names.len()).saturating_add(8).min(most)
    }

    /// Takes the next page; true when another one is needed.
    pub(crate) fn take(&mut self, page: impl IntoIterator<Item = Entry>, more: bool) -> bool {
        let mut last: Option<Entry> = None;
        for entry in page {
            if last.as_ref().is_none_or(|last| last.sort_key() < entry.sort_key()) {
                last = Some(entry.clone());
            }
            if entry.name.as_str() > self.after {
                let is_prefix = self.names.entry(entry.name).or_default();
                *is_prefix |= entry.is_prefix;
            }
        }
        if let Some(last) = last {
            self.cut = Some(last);
        }
        if !more {
            self.cut = None;
        }
        more && self.names.len() < self.limit
    }

    /// Names that may be there although they have not been seen.
    pub(crate) fn doubtful(&self) -> Vec<String> {
        let Some(cut) = &self.cut else { return Vec::new() };
        // What sorts after the last name of the page is for the next page.
        let last = self.limit.checked_sub(1).and_then(|index| self.names.keys().nth(index));
        let bytes = cut.name.as_bytes();
        (1..bytes.len())
            .filter(|end| bytes[*end] < b'/')
            .filter_map(|end| cut.name.get(..end))
            .filter(|name| *name > self.after && last.is_none_or(|last| *name < last.as_str()))
            .filter(|name| !self.names.contains_key(*name))
            .map(str::to_owned)
            .collect()
    }

    /// The page: names in order, and whether more follow. `found` are those doubtful names that are there.
    pub(crate) fn finish(mut self, found: impl IntoIterator<Item = String>) -> (Vec<(String, bool)>, bool) {
        self.names.extend(found.into_iter().map(|name| (name, true)));
        let more = self.cut.is_some() || self.names.len() > self.limit;
        (self.names.into_iter().take(self.limit).collect(), more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What a service says to a list with a delimiter: at most `most` entries after `after`, in the order of keys.
    fn service(keys: &BTreeSet<String>, after: &str, most: usize) -> (Vec<Entry>, bool) {
        let mut entries: Vec<Entry> = Vec::new();
        for key in keys.iter().filter(|key| key.as_str() > after) {
            let entry = match key.split_once('/') {
                Some((name, _)) => Entry { name: name.to_owned(), is_prefix: true },
                None => Entry { name: key.clone(), is_prefix: false },
            };
            if entries.last() == Some(&entry) {
                continue;
            }
            if entries.len() == most {
                return (entries, true);
            }
            entries.push(entry);
        }
        (entries, false)
    }

    /// A page through the algorithm; also how many requests it took.
    fn page(keys: &BTreeSet<String>, after: &str, limit: usize, most: usize) -> (Vec<(String, bool)>, bool, usize) {
        let mut gather = Gather::new(after, limit);
        let (mut from, mut requests) = (after.to_owned(), 0);
        loop {
            let (entries, more) = service(keys, &from, gather.want(most));
            requests += 1;
            if let Some(last) = entries.last() {
                // A continuation goes on behind everything that an entry stands for.
                from = if last.is_prefix { format!("{}/\u{10ffff}", last.name) } else { last.name.clone() };
            }
            if !gather.take(entries, more) {
                break;
            }
        }
        let doubtful = gather.doubtful();
        requests += doubtful.len();
        let below = |name: &String| keys.iter().any(|key| key.starts_with(&format!("{name}/")));
        let found: Vec<String> = doubtful.into_iter().filter(below).collect();
        let (names, more) = gather.finish(found);
        (names, more, requests)
    }

    fn truth(keys: &BTreeSet<String>, after: &str) -> Vec<(String, bool)> {
        let mut names = BTreeMap::new();
        for key in keys {
            let (name, is_prefix) = key.split_once('/').map_or((key.as_str(), false), |(name, _)| (name, true));
            *names.entry(name.to_owned()).or_default() |= is_prefix;
        }
        names.into_iter().filter(|(name, _)| name.as_str() > after).collect()
    }

    /// No name is an object and has keys below it: content has no such keys.
    fn consistent(keys: Vec<String>) -> BTreeSet<String> {
        let all: BTreeSet<String> = keys.into_iter().collect();
        let prefixes: BTreeSet<String> = all.iter().filter_map(|key| Some(key.split_once('/')?.0.to_owned())).collect();
        all.into_iter().filter(|key| !prefixes.contains(key)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn pages_are_those_of_the_sorted_names(
            keys in proptest::collection::vec("[ab.0-]{1,4}(/[ab-]{1,2})?", 0..60),
            after in "[ab.-]{0,3}",
            limit in 1..12_usize,
            most in 1..12_usize,
        ) {
            let keys = consistent(keys);
            let expected = truth(&keys, &after);
            let (names, more, _) = page(&keys, &after, limit, most);
            prop_assert_eq!(&names[..], &expected[..limit.min(expected.len())]);
            if expected.len() > limit {
                prop_assert!(more, "more names follow");
            }
            let (all, more, _) = page(&keys, &after, usize::MAX, most);
            prop_assert_eq!(all, expected);
            prop_assert!(!more);
        }
    }

    #[test]
    fn a_page_of_many_costs_one_request_and_few_looks() {
        let keys: BTreeSet<String> = (0..50_000).map(|index| format!("v1.{index:05}-rc.1/current/link")).collect();
        let (names, more, requests) = page(&keys, "v1.20000-rc.1", 100, 1000);
        assert_eq!((names.len(), more), (100, true));
        assert_eq!(names[0].0, "v1.20001-rc.1");
        // `v1` and `v1.20000` sort before what was asked for.
        assert!(requests <= 4, "{requests}");
    }
}
