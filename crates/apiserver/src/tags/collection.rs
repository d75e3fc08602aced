//! Deleting many tags of a namespace.

use std::sync::Arc;

use access::Action;
use http::{Response, StatusCode};
use net::Body;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::delete::{Meant, Remover, check, check_switches, is_immutable};
use super::look;
use super::options::{DeleteOptions, ListOptions, Match};
use super::view::View;
use super::walk::{Entry, Walk};
use crate::call::Call;
use crate::respond;
use crate::status::{self, Failure, Result};

/// Tags that are removed at the same time.
const TOGETHER: usize = 64;

/// Deletes what is selected of what the caller sees.
///
/// # Errors
/// 403 when some of it may not be deleted by the caller or is immutable (the rest is); 504 when there is no time left, with the number of
/// those that are gone; 405, and 503 while the registry is read-only, only when there is something to delete: the end of a
/// namespace that has no tags must not depend on the configuration. What fails on the way is told at once ([`Failure::at_once`]).
pub(crate) async fn delete(call: Call, namespace: &str, body: &[u8]) -> Result<Response<Body>> {
    let deletion = DeleteOptions::parse(&call.query, body)?;
    let options = ListOptions::parse(&call.query, Some(namespace))?;
    if options.version_match == Some(Match::Exact) || options.proceed.is_some() {
        return Err(Failure::bad_request(
            "deletecollection takes selectors and limit, no continue and no exact version",
        ));
    }
    let view = View { server: Arc::clone(&call.server), caller: call.caller };
    options.since.check(view.server.tags.here(view.store()))?;
    let walk = Walk::new(view.clone(), Arc::new(options.selectors), Some(namespace), None);
    let remover = Remover::new(&view, call.origin);
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut run = Run { view, remover, deletion, gone: 0, kept: 0, fixed: 0, allowed: None };
    run.all(walk, limit, call.deadline).await.map_err(Failure::at_once)?;
    if run.kept + run.fixed > 0 {
        let mut message = format!("{} tags were deleted", run.gone);
        let whys = [(run.kept, "others you may see but not delete"), (run.fixed, "others are immutable")];
        for (count, why) in whys.into_iter().filter(|(count, _)| *count > 0) {
            message.push_str(&format!(", {count} {why}"));
        }
        return Err(Failure::forbidden(message));
    }
    Ok(respond::json(StatusCode::OK, &status::success(None, None), call.encoding))
}

struct Run {
    view: View,
    remover: Remover,
    deletion: DeleteOptions,
    gone: usize,
    kept: usize,
    /// Stay by the configuration.
    fixed: usize,
    /// The last repository that was asked about.
    allowed: Option<(Arc<str>, bool)>,
}

impl Run {
    async fn all(&mut self, mut walk: Walk, limit: usize, deadline: Instant) -> Result<()> {
        let mut left = limit;
        while left > 0 {
            let entries = walk.next(TOGETHER.min(left)).await?;
            if entries.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                let message = format!("{} tags were deleted, and others are left; repeat the request", self.gone);
                return Err(Failure::timeout(&message));
            }
            left -= entries.len();
            self.some(entries).await?;
        }
        Ok(())
    }

    async fn some(&mut self, entries: Vec<Entry>) -> Result<()> {
        let mut removals = JoinSet::new();
        for entry in entries {
            let is_allowed = self.is_allowed(&entry).await?;
            let switches = check_switches(&self.view, &entry.space);
            // A selector may name what is not there.
            if (!is_allowed || switches.is_err()) && look::state(&self.view, &entry).await?.is_none() {
                continue;
            }
            if !is_allowed {
                self.kept += 1;
                continue;
            }
            switches?;
            if is_immutable(&self.view, &entry) {
                // A selector may name what is not there.
                self.fixed += usize::from(look::state(&self.view, &entry).await?.is_some());
                continue;
            }
            let meant = self.check(&entry).await?;
            if !self.deletion.dry_run {
                let remover = self.remover.clone();
                removals.spawn(async move { remover.remove(entry, meant).await });
            }
        }
        while let Some(done) = removals.join_next().await {
            let removed = done.map_err(|error| Failure::internal(error.to_string()))??;
            self.gone += usize::from(removed);
        }
        Ok(())
    }

    async fn check(&self, entry: &Entry) -> Result<Meant> {
        if self.deletion.uid.is_none() && self.deletion.version.is_none() {
            return Ok(Meant::Any);
        }
        check(&self.deletion, entry, look::state(&self.view, entry).await?.as_ref())
    }

    async fn is_allowed(&mut self, entry: &Entry) -> Result<bool> {
        if let Some((repo, allowed)) = &self.allowed
            && *repo == entry.repo
        {
            return Ok(*allowed);
        }
        let allowed = self.view.may(Action::Delete, &entry.repo).await?;
        self.allowed = Some((Arc::clone(&entry.repo), allowed));
        Ok(allowed)
    }
}
