//! What is kept of one list: stretches of it, each as one request has fetched it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use storage::{ListPage, Names, NamesBuilder};
use tokio::time::Instant;

/// Names that are fetched together at most: a service gives 1,000, and some may not count.
pub(super) const FETCHED: usize = if cfg!(test) { 4 } else { 992 };

/// How long a stretch is good, for the sake of those who change something and tell nobody.
const LIFE: Duration = Duration::from_secs(60);

/// Stretches of one list.
const STRETCHES_MAX: usize = 1000;

/// Some stretches of a list, in the order of their beginnings. They may overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Vec<Stretch>);

/// All names after one.
#[derive(Clone, Debug)]
struct Stretch {
    after: Box<str>,
    names: Arc<Names>,
    range: Range<usize>,
    /// Others follow the last name.
    more: bool,
    begun: Instant,
}

impl Stretch {
    /// Tells the names after `after`, at least one if there are any.
    fn reaches(&self, after: &str) -> bool {
        *self.after <= *after && (!self.more || self.last().is_some_and(|last| last > after))
    }

    fn last(&self) -> Option<&str> {
        self.range.clone().next_back().map(|index| self.names.at(index).text)
    }

    fn is_good(&self) -> bool {
        self.begun.elapsed() < LIFE
    }
}

impl Kept {
    /// What was kept before, and what was fetched now.
    pub(super) fn with(before: Option<&Self>, after: &str, page: &ListPage, begun: Instant) -> Self {
        let new = Stretch {
            after: after.into(),
            names: Arc::clone(&page.names),
            range: page.range.clone(),
            more: page.more,
            begun,
        };
        let within = |old: &Stretch| old.after >= new.after && (!new.more || old.last() <= new.last() && old.more);
        let old = before.into_iter().flat_map(|kept| &kept.0).filter(|old| old.is_good() && !within(old));
        let mut all: Vec<Stretch> = old.cloned().collect();
        if all.len() >= STRETCHES_MAX {
            all.clear();
        }
        let at = all.partition_point(|old| old.after <= new.after);
        all.insert(at, new);
        Self(all)
    }

    /// Names after `after` as far as one stretch knows them, at most `limit`.
    pub(super) fn page(&self, after: &str, limit: usize) -> Option<ListPage> {
        let candidates = self.0.get(..self.0.partition_point(|stretch| *stretch.after <= *after))?;
        let stretch = candidates.iter().rev().find(|stretch| stretch.is_good() && stretch.reaches(after))?;
        let start = stretch.names.after(after).clamp(stretch.range.start, stretch.range.end);
        let rest = ListPage {
            names: Arc::clone(&stretch.names),
            range: start..stretch.range.end,
            more: stretch.more,
            stamp: None,
        };
        Some(part(&rest, limit))
    }

    /// A stretch ends with this name, and others follow.
    pub(super) fn ends_at(&self, name: &str) -> bool {
        self.0.iter().any(|stretch| stretch.more && stretch.last() == Some(name))
    }

    /// Bytes of memory.
    pub(super) fn weight(&self) -> usize {
        let of = |stretch: &Stretch| stretch.names.weight() + stretch.after.len() + size_of::<Stretch>();
        self.0.iter().map(of).sum::<usize>() + 64
    }
}

/// A page that is put together.
pub(super) struct Joined {
    after: String,
    limit: usize,
    names: Vec<(Box<str>, bool)>,
}

impl Joined {
    /// Of the names after `after`, at most `limit`.
    pub(super) fn new(after: &str, limit: usize) -> Self {
        Self { after: after.to_owned(), limit, names: Vec::new() }
    }

    /// Where it is to go on.
    pub(super) fn after(&self) -> &str {
        &self.after
    }

    /// How many names are left.
    pub(super) fn wanted(&self) -> usize {
        self.limit - self.names.len()
    }

    /// Adds names; returns the page when it is whole.
    pub(super) fn add(&mut self, page: ListPage) -> Option<ListPage> {
        let page = part(&page, self.wanted());
        let last = page.range.clone().next_back().map(|index| page.names.at(index).text);
        let is_whole = page.range.len() >= self.wanted() || !page.more || last.is_none();
        if is_whole && self.names.is_empty() {
            return Some(page);
        }
        if let Some(last) = last {
            last.clone_into(&mut self.after);
        }
        let found = page.range.clone().map(|index| page.names.at(index));
        self.names.extend(found.map(|name| (name.text.into(), name.is_prefix)));
        is_whole.then(|| {
            let mut all = NamesBuilder::default();
            self.names.iter().for_each(|(text, is_prefix)| all.push(text, *is_prefix));
            let names = Arc::new(all.build());
            ListPage { range: 0..names.len(), names, more: page.more, stamp: None }
        })
    }
}

/// The first names of a page.
fn part(page: &ListPage, limit: usize) -> ListPage {
    let end = page.range.end.min(page.range.start.saturating_add(limit));
    ListPage {
        names: Arc::clone(&page.names),
        range: page.range.start..end,
        more: page.more || end < page.range.end,
        stamp: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(all: &[String]) -> Arc<Names> {
        let mut builder = NamesBuilder::default();
        all.iter().for_each(|name| builder.push(name, true));
        Arc::new(builder.build())
    }

    fn texts(page: &ListPage) -> Vec<String> {
        page.range.clone().map(|index| page.names.at(index).text.to_owned()).collect()
    }

    proptest! {
        /// Whatever was fetched before, in whichever order: a page is the beginning of what follows in the list.
        #[test]
        fn pages_are_those_of_the_list(
            all in proptest::collection::btree_set("[ab]{1,4}", 0..25),
            fetches in proptest::collection::vec(("[ab]{0,3}", 1usize..8), 0..12),
            after in "[ab]{0,3}",
            limit in 1usize..30,
        ) {
            let all: Vec<String> = all.into_iter().collect();
            let names = names(&all);
            let fetch = |after: &str, limit| {
                let rest = ListPage { range: names.after(after)..all.len(), names: Arc::clone(&names), more: false, stamp: None };
                part(&rest, limit)
            };
            let mut kept: Option<Kept> = None;
            for (after, limit) in &fetches {
                let page = fetch(after, *limit);
                kept = Some(Kept::with(kept.as_ref(), after, &page, Instant::now()));
                let again = kept.as_ref().and_then(|kept| kept.page(after, *limit));
                prop_assert!(again.is_some(), "what was fetched is there");
            }
            if let Some(page) = kept.as_ref().and_then(|kept| kept.page(&after, limit)) {
                let expected = fetch(&after, page.range.len());
                prop_assert_eq!(texts(&page), texts(&expected));
                prop_assert_eq!(page.more, expected.more);
                prop_assert!(!page.range.is_empty() || !page.more);
                prop_assert!(page.range.len() <= limit);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_for_long() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let page = ListPage { range: 0..3, names: names(&all), more: true, stamp: None };
        let kept = Kept::with(None, "", &page, Instant::now());
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert_eq!(kept.page("", 2).map(|page| texts(&page)), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert!(kept.page("c", 2).is_none(), "nobody knows what follows");
        let again = Kept::with(Some(&kept), "b", &page, Instant::now());
        assert_eq!(again.0.len(), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(kept.page("", 2).is_none());
        assert_eq!(Kept::with(Some(&again), "b", &page, Instant::now()).0.len(), 1);
    }
}
