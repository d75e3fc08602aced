//! Watching tags: first what there is, if that is wanted, then what changes.
//!
//! A change only says where to look. What is told is what storage has when the change is looked at, so events may repeat what
//! the client knows, but the last one about a tag is always true.

mod event;
mod start;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use content::{Change, Changes};
use futures_util::stream::unfold;
use http::Response;
use net::Body;
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) use event::Truths;

use super::grants;
use super::object::Found;
use super::options::ListOptions;
use super::pieces::{Pieces, Shape, TEXT_MAX};
use super::position::Version;
use super::random;
use super::render::{Renderer, Style, line};
use super::selectors::Selectors;
use super::view::View;
use super::walk::Walk;
use crate::call::{Call, Shutdown};
use crate::respond;
use crate::status::{Failure, Result};

/// Time between two bookmarks, and the longest that a change of the caller's rights is not noticed.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without a wish of its own ends after this time and up to as much again, so that not all end at once.
const LIFE: Duration = Duration::from_secs(30 * 60);
const LIFE_MAX: Duration = Duration::from_secs(60 * 60);

/// # Errors
/// 400, 410; everything that comes up later is an event.
pub(crate) fn watch(call: Call, namespace: Option<&str>, options: ListOptions) -> Result<Response<Body>> {
    let style = Style::of(call.form, &call.query)?;
    let view = View { server: call.server, caller: call.caller };
    let from = start::from(&view, namespace, &options)?;
    let selectors = Arc::new(options.selectors);
    let renderer = Renderer { style, host: (view.server.parts.host)() };
    let initial = from.initial.then(|| {
        let walk = Walk::new(view.clone(), Arc::clone(&selectors), namespace, None);
        let shape = Shape::Added { position: from.position };
        Box::new(Pieces::new(view.clone(), renderer.clone(), walk, shape, usize::MAX))
    });
    let life = options.timeout.unwrap_or_else(|| LIFE + LIFE.mul_f64((random() >> 11) as f64 / (1u64 << 53) as f64));
    let now = Instant::now();
    let watcher = Watcher {
        renderer,
        view,
        selectors,
        namespace: namespace.map(Into::into),
        initial,
        marks_end: options.send_initial_events == Some(true) && options.bookmarks,
        bookmarks: options.bookmarks,
        told_columns: false,
        position: from.position,
        grants: from.grants,
        deadline: now + life.min(LIFE_MAX),
        wake: Box::pin(sleep_until(now)),
        next_mark: now + BOOKMARK_EVERY,
        shutdown: call.shutdown,
        ended: false,
    };
    let events = unfold(Box::new(watcher), |mut watcher| async move {
        let text = watcher.next().await?;
        Some((Ok::<_, io::Error>(text), watcher))
    });
    Ok(respond::stream(events, call.encoding))
}

/// One watch. There may be thousands, and most of the time nothing happens: what is large is boxed, and gone when it is done.
struct Watcher {
    view: View,
    renderer: Renderer,
    selectors: Arc<Selectors>,
    namespace: Option<Box<str>>,
    /// What there is, while it is being told.
    initial: Option<Box<Pieces>>,
    /// The client waits for a bookmark behind the last of what there is.
    marks_end: bool,
    bookmarks: bool,
    told_columns: bool,
    /// All changes up to here were told.
    position: u64,
    /// What the caller may do since the watch began.
    grants: u64,
    deadline: Instant,
    wake: std::pin::Pin<Box<Sleep>>,
    next_mark: Instant,
    shutdown: Shutdown,
    ended: bool,
}

impl Watcher {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            let told = match self.step().await {
                Ok(told) => told,
                Err(failure) => {
                    self.ended = true;
                    Some(line("ERROR", &failure))
                }
            };
            match told {
                Some(text) if text.is_empty() && self.ended => return None,
                Some(text) if text.is_empty() => {}
                Some(text) => return Some(text.into()),
                None => return None,
            }
        }
    }

    /// Some lines, perhaps none; `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<u8>>> {
        if self.initial.is_some() {
            return Box::pin(self.tell_initial()).await;
        }
        match self.wait().await {
            Woken::Changed => Box::pin(self.tell_changes()).await.map(Some),
            Woken::Bookmark => {
                self.check_grants()?;
                Ok(Some(self.mark()))
            }
            Woken::End => {
                self.check_grants()?;
                self.ended = true;
                Ok(Some(self.mark()))
            }
            Woken::Stop => Ok(None),
        }
    }

    /// Everything that there is, piece by piece, and a mark behind it.
    async fn tell_initial(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(pieces) = &mut self.initial else { return Ok(Some(Vec::new())) };
        self.wake.as_mut().reset(self.deadline);
        let piece = tokio::select! {
            biased;
            () = self.shutdown.begun() => return Ok(None),
            () = &mut self.wake => return Ok(None),
            piece = pieces.next() => piece?,
        };
        let Some(piece) = piece else {
            self.initial = None;
            return Ok(Some(if self.marks_end { self.bookmark(true) } else { Vec::new() }));
        };
        for _ in 0..piece.count {
            self.view.server.metrics.watch_event();
        }
        self.told_columns |= piece.count > 0;
        Ok(Some(piece.text))
    }

    /// What has changed, until there is enough text.
    async fn tell_changes(&mut self) -> Result<Vec<u8>> {
        let changes = self.changes().since(self.position).ok_or_else(too_old)?;
        self.check_grants()?;
        // Before anything is told: what is noted before the end of a namespace may be an earlier one's of the same name.
        if changes.iter().any(|noted| self.is_lost(&noted.change)) {
            return Err(too_old());
        }
        let mut text = Vec::new();
        for noted in changes {
            for (kind, found) in self.events(&noted).await? {
                self.tell(kind, &found, &mut text);
            }
            self.position = noted.at;
            if text.len() >= TEXT_MAX {
                break;
            }
            tokio::task::consume_budget().await;
        }
        Ok(text)
    }

    /// Everything has to be looked at again.
    fn is_lost(&self, change: &Change) -> bool {
        match change {
            Change::Unknown => true,
            Change::Namespace { namespace } => self.concerns(namespace),
            Change::Pushed { .. } | Change::Removed { .. } => false,
        }
    }

    fn concerns(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// # Errors
    /// 410 when the caller's rights are not those that the watch began with: tags that are seen now or not any more have not
    /// changed, and so would never be told of.
    fn check_grants(&self) -> Result<()> {
        let now = grants::stamp(&self.view, self.namespace.as_deref());
        if now == self.grants { Ok(()) } else { Err(too_old()) }
    }

    fn tell(&mut self, kind: &'static str, found: &Found, text: &mut Vec<u8>) {
        self.renderer.event(kind, found, !self.told_columns, text);
        self.told_columns = true;
        self.view.server.metrics.watch_event();
    }

    /// A bookmark for who wants any.
    fn mark(&mut self) -> Vec<u8> {
        self.next_mark = Instant::now() + BOOKMARK_EVERY;
        if self.bookmarks { self.bookmark(false) } else { Vec::new() }
    }

    /// Only when everything up to now was told.
    fn bookmark(&mut self, initial_end: bool) -> Vec<u8> {
        let version = Version::of_change(self.position, self.view.server.tags.origin);
        let text = self.renderer.bookmark(version, initial_end, !self.told_columns);
        self.told_columns = true;
        text
    }

    async fn wait(&mut self) -> Woken {
        let changes = Arc::clone(self.changes());
        self.wake.as_mut().reset(self.deadline.min(self.next_mark));
        tokio::select! {
            biased;
            () = self.shutdown.begun() => Woken::Stop,
            _ = changes.after(self.position) => Woken::Changed,
            () = &mut self.wake => {
                // The moment first: what is noted after it is told later.
                let here = changes.here();
                if changes.since(self.position).is_none_or(|changes| !changes.is_empty()) {
                    return Woken::Changed;
                }
                self.position = here;
                if Instant::now() >= self.deadline { Woken::End } else { Woken::Bookmark }
            }
        }
    }

    fn changes(&self) -> &Arc<Changes> {
        self.view.store().changes()
    }
}

enum Woken {
    Changed,
    Bookmark,
    /// The time of the watch is over.
    End,
    /// The process stops.
    Stop,
}

fn too_old() -> Failure {
    Failure::expired("The resourceVersion for the provided watch is too old.", None)
}
