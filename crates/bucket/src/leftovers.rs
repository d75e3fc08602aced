//! What broken uploads leave.

use crate::apply;
use crate::children::{self, KEYS_MAX};
use crate::driver::Shared;
use crate::error::{kind_of, wrap};
use crate::handle::UPLOADS;
use object_store::list::PaginatedListOptions;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use storage::{ErrorKind, Result};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Large objects that were begun and not ended.
    pub uploads: usize,
    /// Session objects and tails.
    pub objects: usize,
}

pub(crate) async fn remove(shared: &Shared, prefixes: &[&str], age: Duration) -> Result<Leftovers> {
    let Some(before) = SystemTime::now().checked_sub(age) else { return Ok(Leftovers::default()) };
    let mut removed = Leftovers::default();
    let (young, objects, mut failed) = remove_objects(shared, before).await?;
    removed.objects = objects;
    for prefix in prefixes.iter().copied().filter(|prefix| *prefix != UPLOADS).chain([UPLOADS]) {
        let below = shared.keys.below(prefix)?;
        let unfinished = shared.bucket.unfinished(&below).await.map_err(|error| wrap("list", prefix, &error))?;
        for upload in unfinished.into_iter().filter(|upload| upload.begun < before) {
            // One that goes on has left a tail a while ago.
            let tail = format!("{}.", upload.path);
            if young.range(tail.clone()..).next().is_some_and(|name| name.starts_with(&tail)) {
                continue;
            }
            match shared.bucket.parts().abort_multipart(&upload.path, &upload.id).await {
                Ok(()) => removed.uploads += 1,
                Err(error) if kind_of(&error) == ErrorKind::NotFound => {}
                Err(error) => {
                    let error = wrap("give up", upload.path.as_ref(), &error);
                    tracing::debug!(%error, "what is left of an upload stays");
                    failed += 1;
                }
            }
        }
    }
    if failed > 0 {
        tracing::warn!(failed, "some of what uploads left could not be removed, and is tried again the next time");
    }
    Ok(removed)
}

/// Removes what is older than `before`; returns the names of the others, how many went, and how many attempts failed.
async fn remove_objects(shared: &Shared, before: SystemTime) -> Result<(BTreeSet<String>, usize, usize)> {
    let below = shared.keys.below(UPLOADS)?;
    let (mut young, mut removed, mut failed, mut token) = (BTreeSet::new(), 0, 0, None);
    loop {
        let options =
            PaginatedListOptions { max_keys: Some(KEYS_MAX), page_token: token, ..PaginatedListOptions::default() };
        let page = children::page(shared.bucket.lists(), Some(&below), options).await;
        let page = page.map_err(|error| wrap("list", UPLOADS, &error))?;
        let mut old = Vec::new();
        for object in page.result.objects {
            // Deeper ones are parts of an upload, which goes as a whole.
            if object.location.as_ref().strip_prefix(&below).is_some_and(|name| name.contains('/')) {
                continue;
            }
            if SystemTime::from(object.last_modified) < before {
                old.push(object.location);
            } else {
                young.insert(object.location.to_string());
            }
        }
        let count = old.len();
        match apply::delete_many(shared, UPLOADS, old).await {
            Ok(()) => removed += count,
            Err(error) => {
                tracing::debug!(%error, "what is left of uploads stays");
                failed += 1;
            }
        }
        token = page.page_token;
        if token.is_none() {
            return Ok((young, removed, failed));
        }
    }
}
