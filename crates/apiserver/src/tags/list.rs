//! Lists of tags: in pages, or whole and then in pieces as they are read.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Response, StatusCode};
use net::Body;
use tokio::task::JoinSet;

use super::continuation::Continuation;
use super::look;
use super::options::{ListOptions, Match};
use super::render::{Renderer, Style};
use super::view::View;
use super::walk::{Start, Walk};
use crate::call::Call;
use crate::respond;
use crate::status::{Failure, Result};

/// Most tags of a page. A client that asks for more gets these, and goes on.
const PAGE_MAX: usize = 1_000;
/// Tags that are looked at together. Two such pieces are in memory for a list.
const PIECE: usize = 256;

/// # Errors
/// What the client is told.
pub(crate) async fn list(call: Call, namespace: Option<&str>, options: ListOptions) -> Result<Response<Body>> {
    let style = Style::of(call.form, &call.query)?;
    if options.version_match == Some(Match::Exact) {
        return Err(Failure::expired("The resourceVersion for the provided list is too old.", None));
    }
    let server = Arc::clone(&call.server);
    let proceed = options.proceed.as_deref();
    let proceed = proceed.map(|text| Continuation::decode(text, &options.mark, SystemTime::now())).transpose()?;
    // Before anything is read: what changes meanwhile is newer.
    let here = server.tags.here(&server.parts.store);
    let version = proceed.as_ref().map_or(here, |proceed| proceed.version);
    let start = proceed.map(|proceed| Start { repo: proceed.repo.into(), tag: proceed.tag.into() });
    let renderer = Renderer { style, host: (server.parts.host)() };
    let view = View { server, caller: call.caller };
    let mut walk = Walk::new(view.clone(), Arc::new(options.selectors), namespace, start);
    let Some(limit) = options.limit.map(|limit| limit.min(PAGE_MAX)) else {
        let first = walk.next(PIECE).await?;
        let is_last = first.len() < PIECE;
        let mut text = renderer.head(version, None);
        let found = look::all(&view, first, style.depth()).await?;
        let is_empty = found.is_empty();
        renderer.items(&found, true, &mut text);
        if is_last {
            text.extend_from_slice(renderer.tail());
            return Ok(respond::document(StatusCode::OK, "application/json", text, call.encoding));
        }
        let work = Work { view, walk, renderer, is_empty };
        return Ok(respond::stream(pieces(text, work), call.encoding));
    };
    // One more than asked for tells whether there are more.
    let mut entries = walk.next(limit + 1).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| more);
    let proceed = last.map(|last| Continuation { version, repo: last.repo.to_string(), tag: last.tag.to_string() });
    let token = proceed.map(|proceed| proceed.encode(&options.mark));
    let found = look::all(&view, entries, style.depth()).await?;
    let mut text = renderer.head(version, token.as_deref());
    renderer.items(&found, true, &mut text);
    text.extend_from_slice(renderer.tail());
    Ok(respond::document(StatusCode::OK, "application/json", text, call.encoding))
}

/// What is left of a list.
struct Work {
    view: View,
    walk: Walk,
    renderer: Renderer,
    /// No item was written yet.
    is_empty: bool,
}

impl Work {
    /// The next piece of text, and the rest unless it was the last one.
    async fn piece(mut self) -> Result<(Vec<u8>, Option<Self>)> {
        let entries = self.walk.next(PIECE).await?;
        let is_last = entries.len() < PIECE;
        let found = look::all(&self.view, entries, self.renderer.style.depth()).await?;
        let mut text = Vec::new();
        self.renderer.items(&found, self.is_empty, &mut text);
        self.is_empty &= found.is_empty();
        if is_last {
            text.extend_from_slice(self.renderer.tail());
            return Ok((text, None));
        }
        Ok((text, Some(self)))
    }
}

/// The text that is there, and then the pieces; the next one is made while the last one is on its way. When the client goes
/// away the work ends.
fn pieces(first: Vec<u8>, work: Work) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut task = JoinSet::new();
    task.spawn(Box::pin(work.piece()));
    unfold((Some(first), task), |(ready, mut task)| async move {
        if let Some(text) = ready {
            return Some((Ok(text.into()), (None, task)));
        }
        let done = task.join_next().await?.map_err(|error| Failure::internal(error.to_string()));
        match done.and_then(|result| result) {
            Ok((text, rest)) => {
                if let Some(rest) = rest {
                    task.spawn(Box::pin(rest.piece()));
                }
                Some((Ok(text.into()), (None, task)))
            }
            Err(failure) => {
                // The status is long out: the client sees that the list is cut off.
                let cause = failure.cause().unwrap_or(failure.reason());
                tracing::error!(cause, "a list of tags was cut off");
                Some((Err(io::Error::other(failure.reason())), (None, task)))
            }
        }
    })
}
