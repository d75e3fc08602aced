//! The direct children of a prefix, by as few requests as the order of names allows.

use crate::driver::Shared;
use crate::error::wrap;
use crate::list::{Entry, Gather};
use futures_util::stream::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use std::sync::Arc;
use storage::{Error, ErrorKind, ListPage, NamesBuilder, Result};

/// What a service gives at most in one answer.
pub(crate) const KEYS_MAX: usize = 1000;

/// Looks for single names under way at once.
const LOOKS_MAX: usize = 16;

/// One page of a list. If it has a token, that leads further: where a service gives back the one it was asked with, nobody
/// would ever see the end.
pub(crate) async fn page(
    lists: &dyn PaginatedListStore,
    prefix: Option<&str>,
    options: PaginatedListOptions,
) -> object_store::Result<PaginatedListResult> {
    let asked = options.page_token.clone();
    let mut page = lists.list_paginated(prefix, options).await?;
    page.page_token = page.page_token.filter(|token| !token.is_empty());
    if page.page_token.is_some() && page.page_token == asked {
        let source = "the list goes on where it was".into();
        return Err(object_store::Error::Generic { store: "bucket", source });
    }
    Ok(page)
}

/// [`storage::Driver::list`].
pub(crate) async fn list(shared: &Shared, prefix: &str, after: &str, limit: usize) -> Result<ListPage> {
    let below = shared.keys.below(prefix)?;
    let mut gather = Gather::new(after, limit);
    let mut token = None;
    loop {
        let want = gather.want(KEYS_MAX);
        let page = children(shared, prefix, &below, after, token, want).await?;
        token = page.page_token;
        let prefixes = page.result.common_prefixes.iter().map(|path| (path, true));
        let objects = page.result.objects.iter().map(|object| (&object.location, false));
        let entries: Vec<Entry> = prefixes
            .chain(objects)
            // An object that stands for the folder itself has no name in it.
            .filter_map(|(path, is_prefix)| Some((path.as_ref().strip_prefix(&below)?, is_prefix)))
            .filter(|(name, _)| !name.is_empty() && !name.contains('/'))
            .map(|(name, is_prefix)| Entry { name: name.to_owned(), is_prefix })
            .collect();
        if !gather.take(entries, token.is_some()) {
            break;
        }
    }
    let looks = gather.doubtful().into_iter().map(|name| async {
        let there = exists_below(shared, &format!("{below}{name}/")).await?;
        Ok::<_, storage::Error>(there.then_some(name))
    });
    let found: Vec<Option<String>> = futures_util::stream::iter(looks).buffered(LOOKS_MAX).try_collect().await?;
    let (names, more) = gather.finish(found.into_iter().flatten());
    let mut builder = NamesBuilder::default();
    for (name, is_prefix) in &names {
        builder.push(name, *is_prefix);
    }
    let names = Arc::new(builder.build());
    Ok(ListPage { range: 0..names.len(), names, more, stamp: None })
}

async fn children(
    shared: &Shared,
    prefix: &str,
    below: &str,
    after: &str,
    token: Option<String>,
    want: usize,
) -> Result<PaginatedListResult> {
    // No name has these characters, and Ceph puts them into its answers as they are, which is no XML then.
    let after = after.split(|character| character < ' ').next().unwrap_or_default();
    let options = PaginatedListOptions {
        // A continuation knows where it is; some services refuse both.
        offset: (token.is_none() && !after.is_empty()).then(|| format!("{below}{after}")),
        delimiter: Some("/".into()),
        max_keys: Some(want),
        page_token: token,
        ..PaginatedListOptions::default()
    };
    let prefix_of_keys = (!below.is_empty()).then_some(below);
    page(shared.bucket.lists(), prefix_of_keys, options).await.map_err(|error| wrap("list", prefix, &error))
}

/// Pages without a key that are turned before it is said that this leads nowhere.
const EMPTY_PAGES_MAX: usize = 100;

/// Some key begins with `below`.
pub(crate) async fn exists_below(shared: &Shared, below: &str) -> Result<bool> {
    let prefix = (!below.is_empty()).then_some(below);
    let mut token = None;
    for _ in 0..EMPTY_PAGES_MAX {
        let options = PaginatedListOptions { max_keys: Some(1), page_token: token, ..PaginatedListOptions::default() };
        let page = page(shared.bucket.lists(), prefix, options).await.map_err(|error| wrap("list", below, &error))?;
        token = page.page_token;
        if !page.result.objects.is_empty() || token.is_none() {
            return Ok(!page.result.objects.is_empty());
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "list", below, "one empty page after the other"))
}
