//! The list of repositories, walked in the order of their names.
//!
//! A repository is a directory with a child `_manifests`; repositories nest. To get the full names in ASCII order, a
//! directory `a` stands for two things among its siblings: the repository `a`, sorted as `a`, and what is below it, sorted as
//! `a/`. Everything before `last` is skipped without being looked at, so a page costs what it holds.

use crate::{Namespace, Result, Store, layout};
use oci::Page;
use std::future::Future;
use std::pin::Pin;
use storage::Names;

/// Directories that are read together.
const AHEAD: usize = 100;

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
    store: &'a Store,
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
        self.walk(String::new(), page.last.as_deref().unwrap_or_default(), page.limit).await
    }

    /// At most `limit` repositories of a namespace after `after`, by their full names in ASCII order. A repository that has
    /// only the name of the namespace is none of them.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub async fn repositories(&self, namespace: Namespace<'_>, after: &str, limit: usize) -> Result<CatalogPage> {
        self.walk(namespace.as_str().to_owned(), after, limit).await
    }

    async fn walk(&self, below: String, last: &str, limit: usize) -> Result<CatalogPage> {
        // One more than asked tells whether there are more.
        let mut walk = Walk { store: self, last, limit: limit.saturating_add(1), found: Vec::new() };
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
            let names = self.store.driver.list(&key, "", usize::MAX).await?.names;
            let (start, mut open) = self.start(&path, &names);
            for index in start..names.len() {
                if (index - start).is_multiple_of(AHEAD) {
                    let next = (index..names.len().min(index + AHEAD.min(self.limit - self.found.len())))
                        .map(|index| names.at(index))
                        .filter(|name| name.is_prefix && !name.text.starts_with('_'));
                    let next = next.map(|name| layout::repository(&join(&path, name.text))).collect();
                    self.store.driver.expect_lists(next).await?;
                }
                let name = names.at(index);
                if !name.is_prefix || name.text.starts_with('_') {
                    continue;
                }
                self.leave(&path, &mut open, Some(name.text), depth).await?;
                if self.is_full() {
                    return Ok(());
                }
                if self.repository(join(&path, name.text)).await? {
                    open.push(name.text);
                }
            }
            self.leave(&path, &mut open, None, depth).await
        })
    }

    /// Where to begin among the names of a directory, and the names before that whose insides may still be wanted: those
    /// that `last` begins with. (`a/x` comes after `a-b`.)
    fn start<'n>(&self, path: &str, names: &'n Names) -> (usize, Vec<&'n str>) {
        let below = if path.is_empty() {
            Some(self.last)
        } else {
            self.last.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'))
        };
        let first = below.map_or("", |below| below.split('/').next().unwrap_or_default());
        let start = names.from(first);
        let shorter = (1..first.len()).filter_map(|len| first.get(..len)).filter_map(|prefix| {
            let name = names.len().checked_sub(1).map(|_| names.from(prefix)).filter(|index| *index < names.len())?;
            let name = names.at(name);
            (name.text == prefix && name.is_prefix && !prefix.starts_with('_')).then_some(name.text)
        });
        (start, shorter.collect())
    }

    /// Walks into the open names whose insides come before `next`; the one that was opened last comes first.
    async fn leave(&mut self, path: &str, open: &mut Vec<&str>, next: Option<&str>, depth: usize) -> Result<()> {
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
    async fn repository(&mut self, name: String) -> Result<bool> {
        let children = self.store.driver.list(&layout::repository(&name), "", usize::MAX).await?.names;
        // Names of repositories do not begin with `_`; our own directories do, and sort together.
        let others = children.iter().any(|child| child.is_prefix && !child.text.starts_with('_'));
        if name.as_str() > self.last && children.contains(layout::MANIFESTS) {
            self.found.push(name);
        }
        Ok(others)
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
