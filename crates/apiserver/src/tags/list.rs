//! Lists of tags: in pages, or whole and then in pieces as they are read.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::{iter, unfold};
use futures_util::{Stream, StreamExt};
use http::{Response, StatusCode};
use net::Body;

use super::continuation::Continuation;
use super::options::{ListOptions, Match};
use super::pieces::{Pieces, Shape};
use super::position::Version;
use super::render::{Renderer, Style};
use super::view::View;
use super::walk::{Start, Walk};
use crate::call::Call;
use crate::respond::{self, Encoding};
use crate::status::{Failure, Result};

/// Most tags of a page. A client that asks for more gets these, and goes on.
const PAGE_MAX: usize = 1_000;
/// A page ends early when it has so much text.
const PAGE_TEXT_MAX: usize = 4 << 20;

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
    let view = View { server: Arc::clone(&server), caller: call.caller };
    // Before anything is read: what changes meanwhile is newer.
    let here = server.tags.here(&server.parts.store);
    options.since.check(here)?;
    server.tags.grants.look(&view, namespace);
    let version = proceed.as_ref().map_or(here, |proceed| proceed.version);
    let start = proceed.map(|proceed| Start { repo: proceed.repo.into(), tag: proceed.tag.into() });
    let renderer = Renderer { style, host: (server.parts.host)() };
    let walk = Walk::new(view.clone(), Arc::new(options.selectors), namespace, start);
    let limit = options.limit.map(|limit| limit.min(PAGE_MAX));
    let pieces = Pieces::new(view, renderer.clone(), walk, Shape::Item, limit.unwrap_or(usize::MAX));
    let list = List { renderer, version, pieces };
    if limit.is_some() { list.page(&options.mark, call.encoding).await } else { list.whole(call.encoding).await }
}

struct List {
    renderer: Renderer,
    version: Version,
    pieces: Pieces,
}

impl List {
    async fn page(mut self, mark: &str, encoding: Encoding) -> Result<Response<Body>> {
        let (mut texts, mut size, mut last) = (vec![Vec::new()], 0, None);
        while size < PAGE_TEXT_MAX
            && let Some(piece) = self.pieces.next().await?
        {
            let text = unseparated(piece.text, size == 0);
            size += text.len();
            last = piece.last;
            texts.push(text);
        }
        let last = if self.pieces.into_more().await? { last } else { None };
        let version = self.version;
        let proceed = last.map(|last| Continuation { version, repo: last.repo.to_string(), tag: last.tag.into() });
        let token = proceed.map(|proceed| proceed.encode(mark));
        texts[0] = self.renderer.head(version, token.as_deref());
        texts.push(self.renderer.tail().to_vec());
        if size <= PAGE_TEXT_MAX / 16 {
            return Ok(respond::document(StatusCode::OK, "application/json", texts.concat(), encoding));
        }
        // Each piece goes when it is sent.
        Ok(respond::stream(iter(texts).map(|text| Ok(Bytes::from(text))), encoding))
    }

    async fn whole(mut self, encoding: Encoding) -> Result<Response<Body>> {
        let mut text = self.renderer.head(self.version, None);
        // While nothing was sent yet a failure is an answer of its own.
        let piece = self.pieces.next().await?.unwrap_or_default();
        let is_empty = piece.count == 0;
        text.extend(unseparated(piece.text, true));
        if self.pieces.is_done() {
            text.extend_from_slice(self.renderer.tail());
            return Ok(respond::document(StatusCode::OK, "application/json", text, encoding));
        }
        Ok(respond::stream(self.rest(text, is_empty), encoding))
    }

    /// The text that is there, and then the pieces. When the client goes away the work ends.
    fn rest(self, first: Vec<u8>, is_empty: bool) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        unfold((Some(first), Some(self), is_empty), |(ready, list, is_empty)| async move {
            if let Some(text) = ready {
                return Some((Ok(text.into()), (None, list, is_empty)));
            }
            let mut list = list?;
            match list.pieces.next().await {
                Ok(Some(piece)) => {
                    let now_empty = is_empty && piece.count == 0;
                    let text = unseparated(piece.text, is_empty);
                    Some((Ok(text.into()), (None, Some(list), now_empty)))
                }
                Ok(None) => Some((Ok(Bytes::from_static(list.renderer.tail())), (None, None, false))),
                Err(failure) => {
                    // The status is long out: the client sees that the list is cut off.
                    let cause = failure.cause().unwrap_or(failure.reason());
                    tracing::error!(cause, "a list of tags was cut off");
                    Some((Err(io::Error::other(failure.reason())), (None, None, false)))
                }
            }
        })
    }
}

/// The items; nothing stands before the first one of a list.
fn unseparated(mut text: Vec<u8>, first: bool) -> Vec<u8> {
    if first && !text.is_empty() {
        text.remove(0);
    }
    text
}
