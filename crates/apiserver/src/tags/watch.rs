//! Watching tags: first what there is, if that is wanted, then what changes.
//!
//! A change only says where to look. What is told is what storage has when the change is looked at, so events may repeat what
//! the client knows, but the last one about a tag is always true.

mod event;
mod start;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use content::{Changes, Noted};
use futures_util::stream::unfold;
use http::Response;
use net::Body;
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) use event::Truths;

use super::look;
use super::options::ListOptions;
use super::position::Version;
use super::random;
use super::render::{Renderer, Style, line};
use super::selectors::Selectors;
use super::view::View;
use super::walk::Walk;
use crate::call::{Call, Shutdown};
use crate::respond;
use crate::status::{Failure, Result};

/// Time between two bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without a wish of its own ends after this time and up to as much again, so that not all end at once.
const LIFE: Duration = Duration::from_secs(30 * 60);
const LIFE_MAX: Duration = Duration::from_secs(60 * 60);
/// Tags that are told together at the start.
const PIECE: usize = 256;
/// So much text is collected before it is sent.
const TEXT_MAX: usize = 64 << 10;

/// # Errors
/// 400, 410; everything that comes up later is an event.
pub(crate) fn watch(call: Call, namespace: Option<&str>, options: ListOptions) -> Result<Response<Body>> {
    let style = Style::of(call.form, &call.query)?;
    let server = Arc::clone(&call.server);
    let from = start::from(&server, &options)?;
    let view = View { server, caller: call.caller };
    let selectors = Arc::new(options.selectors);
    let initial = from.initial.then(|| Walk::new(view.clone(), Arc::clone(&selectors), namespace, None)).map(Box::new);
    let life = options.timeout.unwrap_or_else(|| LIFE + LIFE.mul_f64((random() >> 11) as f64 / (1u64 << 53) as f64));
    let now = Instant::now();
    let watcher = Watcher {
        renderer: Renderer { style, host: (view.server.parts.host)() },
        view,
        selectors,
        namespace: namespace.map(Into::into),
        initial,
        marks_end: options.send_initial_events == Some(true) && options.bookmarks,
        bookmarks: options.bookmarks,
        told_columns: false,
        position: from.position,
        waiting: VecDeque::new(),
        deadline: now + life.min(LIFE_MAX),
        wake: Box::pin(sleep_until(now)),
        next_bookmark: now + BOOKMARK_EVERY,
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
    initial: Option<Box<Walk>>,
    /// The client waits for a bookmark behind the last of what there is.
    marks_end: bool,
    bookmarks: bool,
    told_columns: bool,
    /// All changes up to here were told, or are in `waiting`.
    position: u64,
    waiting: VecDeque<Arc<Noted>>,
    deadline: Instant,
    wake: std::pin::Pin<Box<Sleep>>,
    next_bookmark: Instant,
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
                Some(text) if text.is_empty() => {}
                Some(text) => return Some(text.into()),
                None => return None,
            }
        }
    }

    /// Some lines, perhaps none; `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<u8>>> {
        if self.initial.is_some() {
            return Box::pin(self.tell_initial()).await.map(Some);
        }
        if self.waiting.is_empty() {
            match self.wait().await {
                Woken::Changed => {
                    let changes = self.changes().since(self.position).ok_or_else(too_old)?;
                    self.position = changes.last().map_or(self.position, |last| last.at);
                    self.waiting = changes.into();
                }
                Woken::Bookmark => return Ok(Some(self.bookmark(false))),
                Woken::End => {
                    self.ended = true;
                    return Ok(self.bookmarks.then(|| self.bookmark(false)));
                }
                Woken::Stop => return Ok(None),
            }
        }
        Box::pin(self.tell_changes()).await.map(Some)
    }

    /// Everything that there is, piece by piece, and a mark behind it.
    async fn tell_initial(&mut self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let Some(walk) = &mut self.initial else { return Ok(text) };
        let entries = walk.next(PIECE).await?;
        if entries.is_empty() {
            self.initial = None;
            if self.marks_end {
                text = self.bookmark(true);
            }
            return Ok(text);
        }
        for found in look::all(&self.view, entries, self.renderer.style.depth()).await? {
            self.tell("ADDED", &found, &mut text);
        }
        Ok(text)
    }

    /// What is waiting, until there is enough text.
    async fn tell_changes(&mut self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() < TEXT_MAX {
            let Some(noted) = self.waiting.pop_front() else {
                // A burst should not be paid for as long as the watch lasts.
                self.waiting = VecDeque::new();
                break;
            };
            for (kind, found) in self.events(&noted).await? {
                self.tell(kind, &found, &mut text);
            }
        }
        Ok(text)
    }

    fn tell(&mut self, kind: &'static str, found: &super::object::Found, text: &mut Vec<u8>) {
        text.extend(self.renderer.event(kind, found, !self.told_columns));
        self.told_columns = true;
        self.view.server.metrics.watch_event();
    }

    /// Only when everything up to now was told.
    fn bookmark(&mut self, initial_end: bool) -> Vec<u8> {
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        let version = Version::of_change(self.position, self.view.server.tags.origin);
        let text = self.renderer.bookmark(version, initial_end, !self.told_columns);
        self.told_columns = true;
        text
    }

    async fn wait(&mut self) -> Woken {
        let changes = Arc::clone(self.changes());
        let mut until = self.deadline;
        if self.bookmarks {
            until = until.min(self.next_bookmark);
        }
        self.wake.as_mut().reset(until);
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
