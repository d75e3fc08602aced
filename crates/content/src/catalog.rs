//! The list of repositories, walked in the order of their names.
//!
//! A repository is a directory with a child `_manifests`; repositories nest. To get the full names in ASCII order, a
//! directory `a` stands for two things among its siblings: the repository `a`, sorted as `a`, and what is below it, sorted as
//! `a/`. Everything before `last` is skipped without being looked at, so a page costs what it holds.

use crate::{Result, Store, layout};
use oci::Page;
use std::future::Future;
use std::pin::Pin;

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

enum Item<'a> {
    Repository(&'a str),
    Below(&'a str),
}

impl Item<'_> {
    /// Compares as the text that the item stands for.
    fn key(&self) -> String {
        match self {
            Self::Repository(name) => (*name).to_owned(),
            Self::Below(name) => format!("{name}/"),
        }
    }
}

impl Store {
    /// Repositories after `page.last`.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub async fn catalog(&self, page: &Page) -> Result<CatalogPage> {
        // One more than asked tells whether there are more.
        let last = page.last.as_deref().unwrap_or_default();
        let mut walk = Walk { store: self, last, limit: page.limit.saturating_add(1), found: Vec::new() };
        walk.directory(String::new(), 0).await?;
        let more = walk.found.len() > page.limit;
        walk.found.truncate(page.limit);
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
            let page = self.store.driver.list(&key, "", usize::MAX).await?;
            let children = page.names.iter().filter(|name| name.is_prefix && !name.text.starts_with('_'));
            let mut items: Vec<Item<'_>> =
                children.flat_map(|name| [Item::Repository(name.text), Item::Below(name.text)]).collect();
            if items.len() > 2 {
                items.sort_by_cached_key(Item::key);
            }
            for item in items {
                if self.found.len() >= self.limit {
                    break;
                }
                match item {
                    Item::Repository(name) => self.repository(join(&path, name)).await?,
                    Item::Below(name) => {
                        let below = join(&path, name);
                        if self.may_hold_wanted(&below) {
                            self.directory(below, depth + 1).await?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    async fn repository(&mut self, name: String) -> Result<()> {
        if name.as_str() <= self.last {
            return Ok(());
        }
        let children = self.store.driver.list(&layout::repository(&name), "", usize::MAX).await?;
        if children.names.contains(layout::MANIFESTS) {
            self.found.push(name);
        }
        Ok(())
    }

    /// Some name that starts with `below/` sorts after `last`.
    fn may_hold_wanted(&self, below: &str) -> bool {
        let prefix = format!("{below}/");
        prefix.as_str() > self.last || self.last.starts_with(&prefix)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}
