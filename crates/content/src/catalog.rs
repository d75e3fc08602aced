//! The list of repositories, walked in the order of their names.
//!
//! A repository is a directory with a child `_manifests`; repositories nest. To get the full names in ASCII order, a
//! directory `a` stands for two things among its siblings: the repository `a`, sorted as `a`, and what is below it, sorted as
//! `a/`. Everything before `last` is skipped without being listed or looked at, so a page costs what it holds.

use crate::lists::View;
use crate::{Namespace, Result, Store, layout};
use futures_util::future::try_join_all;
use oci::Page;
use std::future::Future;
use std::pin::Pin;
use storage::ListPage;

/// Names of a directory that are listed together: as many as services give in one answer, where a few may not count. Not many
/// in the tests of this module, so that small trees have seams, too.
const LISTED: usize = if cfg!(test) { 3 } else { 992 };
/// Directories that are read together, and at the same time.
const AHEAD: usize = if cfg!(test) { 2 } else { 100 };
const AT_ONCE: usize = 64;

/// Deeper names than a repository name can have parts do not exist.
const DEPTH_MAX: usize = 128;

/// One page of repositories.
#[derive(Debug, Default)]
pub struct CatalogPage {
    /// Their names.
    pub names: Vec<String>,
    /// More follow.
    pub more: bool,
}

struct Walk<'a> {
    view: View<'a>,
    last: &'a str,
    limit: usize,
    found: Vec<String>,
}

impl Store {
    /// Repositories after `page.last`.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub async fn catalog(&self, page: &Page) -> Result<CatalogPage> {
        self.walk(self.view(), String::new(), page.last.as_deref().unwrap_or_default(), page.limit).await
    }

    /// At most `limit` repositories of a namespace after `after`, by their full names in ASCII order. A repository that has
    /// only the name of the namespace is none of them.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub async fn repositories(&self, namespace: Namespace<'_>, after: &str, limit: usize) -> Result<CatalogPage> {
        self.walk(self.view(), namespace.as_str().to_owned(), after, limit).await
    }

    /// [`Store::repositories`] as this view has them, with an empty `below` of all namespaces.
    pub(crate) async fn walk(&self, view: View<'_>, below: String, last: &str, limit: usize) -> Result<CatalogPage> {
        // One more than asked tells whether there are more.
        let mut walk = Walk { view, last, limit: limit.saturating_add(1), found: Vec::new() };
        walk.directory(below, 0).await?;
        let more = walk.found.len() > limit;
        walk.found.truncate(limit);
        Ok(CatalogPage { names: walk.found, more })
    }
}

impl Walk<'_> {
    fn directory(&mut self, path: String, depth: usize) -> Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> {
        Box::pin(async move {
            if depth > DEPTH_MAX {
                return Ok(());
            }
            let key = if path.is_empty() { layout::REPOSITORIES.to_owned() } else { layout::repository(&path) };
            let first = self.first(&path).to_owned();
            let mut open = self.shorter(&path, &first).await?;
            let mut after = just_before(&first);
            loop {
                let page = self.view.list(&key, &after, LISTED).await?;
                let listed = || page.range.clone().map(|index| page.names.at(index));
                let may_count = |text: &str| *text >= *first && !text.starts_with('_');
                let names: Vec<&str> =
                    listed().filter(|name| name.is_prefix && may_count(name.text)).map(|name| name.text).collect();
                self.names(&path, &names, &mut open, depth).await?;
                if self.is_full() {
                    return Ok(());
                }
                match listed().next_back() {
                    Some(name) if page.more => name.text.clone_into(&mut after),
                    _ => break,
                }
            }
            self.leave(&path, &mut open, None, depth).await
        })
    }

    /// Looks at directories of one directory, in order.
    async fn names(&mut self, path: &str, names: &[&str], open: &mut Vec<String>, depth: usize) -> Result<()> {
        let mut left = names;
        while !left.is_empty() && !self.is_full() {
            let (next, rest) = left.split_at(left.len().min(AHEAD).min(self.limit - self.found.len()));
            left = rest;
            let children = self.children(path, next).await?;
            for (name, children) in next.iter().zip(children) {
                self.leave(path, open, Some(name), depth).await?;
                if self.is_full() {
                    return Ok(());
                }
                if self.repository(join(path, name), &children).await? {
                    open.push((*name).to_owned());
                }
            }
        }
        Ok(())
    }

    /// What is in some directories of a directory.
    async fn children(&self, path: &str, names: &[&str]) -> Result<Vec<ListPage>> {
        let keys: Vec<String> = names.iter().map(|name| layout::repository(&join(path, name))).collect();
        self.view.expect(&keys).await?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let lists: Vec<_> = keys.iter().map(|key| self.view.list(key, "", LISTED)).collect();
            found.extend(try_join_all(lists).await?);
        }
        Ok(found)
    }

    /// The part of `last` that is a name in this directory.
    fn first(&self, path: &str) -> &str {
        let below = if path.is_empty() {
            Some(self.last)
        } else {
            self.last.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'))
        };
        below.map_or("", |below| below.split('/').next().unwrap_or_default())
    }

    /// The names before `first` whose insides come after it: `a/x` comes after `a-b`.
    async fn shorter(&self, path: &str, first: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let ends = first.bytes().enumerate().skip(1).filter(|(_, byte)| *byte < b'/').map(|(end, _)| end);
        for name in ends.filter_map(|end| first.get(..end)).filter(|name| !name.starts_with('_')) {
            let key = layout::repository(&join(path, name));
            // A name that no repository can have is no key either.
            if oci::RepoName::parse(&join(path, name)).is_ok() && !self.view.list(&key, "", 1).await?.range.is_empty() {
                found.push(name.to_owned());
            }
        }
        Ok(found)
    }

    /// Walks into the open names whose insides come before `next`; the one that was opened last comes first.
    async fn leave(&mut self, path: &str, open: &mut Vec<String>, next: Option<&str>, depth: usize) -> Result<()> {
        while let Some(name) = open.last() {
            if self.is_full() || next.is_some_and(|next| !is_before(name, next)) {
                return Ok(());
            }
            let below = join(path, name);
            open.pop();
            if self.may_hold_wanted(&below) {
                self.directory(below, depth + 1).await?;
            }
        }
        Ok(())
    }

    /// Takes the repository if it is one; tells whether there may be others below it.
    async fn repository(&mut self, name: String, children: &ListPage) -> Result<bool> {
        // Names of repositories do not begin with `_`; our own directories do, and sort together.
        let others = children.names.iter().any(|child| child.is_prefix && !child.text.starts_with('_'));
        if name.as_str() > self.last && self.has_manifests(&name, children).await? {
            self.found.push(name);
        }
        Ok(others || children.more)
    }

    async fn has_manifests(&self, name: &str, children: &ListPage) -> Result<bool> {
        if children.names.contains(layout::MANIFESTS) || !children.more {
            return Ok(children.names.contains(layout::MANIFESTS));
        }
        let key = layout::repository(name);
        let page = self.view.list(&key, &just_before(layout::MANIFESTS), 1).await?;
        Ok(page.range.clone().any(|index| page.names.at(index).text == layout::MANIFESTS))
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    /// Some name that starts with `below/` sorts after `last`.
    fn may_hold_wanted(&self, below: &str) -> bool {
        let prefix = format!("{below}/");
        prefix.as_str() > self.last || self.last.starts_with(&prefix)
    }
}

/// Sorts before `name`, and behind nearly everything else that does.
fn just_before(name: &str) -> String {
    let Some((end, last)) = name.char_indices().next_back() else { return String::new() };
    let start = name.get(..end).unwrap_or_default();
    // No name of a repository has `~` or anything behind it.
    match u8::try_from(last).ok().filter(|byte| (b'!'..=b'~').contains(byte)) {
        Some(byte) => format!("{start}{}~", char::from(byte - 1)),
        None => start.to_owned(),
    }
}

/// `name/` sorts before `next`.
fn is_before(name: &str, next: &str) -> bool {
    name.bytes().chain(std::iter::once(b'/')).lt(next.bytes())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { [path, "/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use storage::Batch;
    use storage::memory::MemoryDriver;

    proptest! {
        /// Pages put together are the sorted list, whatever the names.
        #[test]
        fn pages_add_up(names in proptest::collection::btree_set("[ab](-[ab]|/[ab]|[.]a){0,4}", 0..25), limit in 1usize..5) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let driver = MemoryDriver::default();
                for name in &names {
                    let key = format!("{}/{}/x", layout::repository(name), layout::MANIFESTS);
                    storage::Driver::apply(&driver, Batch::new().put(key, "1")).await.unwrap();
                }
                let store = Store::new(std::sync::Arc::new(driver), crate::Settings::default());
                let mut all: Vec<String> = Vec::new();
                loop {
                    let page = Page { limit, last: all.last().cloned(), explicit: true };
                    let found = store.catalog(&page).await.unwrap();
                    all.extend(found.names);
                    if !found.more {
                        break;
                    }
                }
                assert_eq!(all, names.iter().cloned().collect::<Vec<_>>());
                for namespace in ["a", "a-b", "b", "none"] {
                    let namespace = Namespace::parse(namespace).unwrap();
                    let mut all: Vec<String> = Vec::new();
                    loop {
                        let last = all.last().map_or("", String::as_str);
                        let found = store.repositories(namespace, last, limit).await.unwrap();
                        assert!(found.names.len() <= limit);
                        all.extend(found.names);
                        if !found.more {
                            break;
                        }
                    }
                    let below = names.iter().filter(|name| name.contains('/') && namespace.has(name));
                    assert_eq!(all, below.cloned().collect::<Vec<_>>());
                }
            });
        }
    }
}
