//! The text of many tags: made ahead on several processors, handed out in order, and never much of it at once.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::details::{Depth, Keep};
use super::look::{self, Referred};
use super::object::Found;
use super::render::Renderer;
use super::view::View;
use super::walk::{Entry, Start, Walk};
use crate::status::{Failure, Result};

/// How much is made at once, and ahead of what is read. A piece ends with the tag that reaches its length.
struct Measure {
    /// Most tags that are looked at together.
    share: usize,
    /// Bytes of a piece.
    text: usize,
    /// Pieces that are made ahead.
    ahead: usize,
}

const OF_LISTS: Measure = Measure { share: 128, text: 256 << 10, ahead: 4 };
/// There are many more watches than lists, and their clients may never read.
const OF_WATCHES: Measure = Measure { share: 64, text: TEXT_MAX, ahead: 2 };
/// About as much text has an image of ten layers.
const TEXT_OF_ONE: usize = 3 << 10;
/// So much text is collected for a watch before it is sent.
pub(crate) const TEXT_MAX: usize = 64 << 10;

/// What a tag becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An item of a list, with a comma before it.
    Item,
    /// The event that tells of it to a watch; changes behind `position` are told later.
    Added { position: u64 },
}

impl Shape {
    fn measure(self) -> &'static Measure {
        match self {
            Self::Item => &OF_LISTS,
            Self::Added { .. } => &OF_WATCHES,
        }
    }
}

/// Text of some tags.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) text: Vec<u8>,
    /// How many tags it shows.
    pub(crate) count: usize,
    /// The last tag that was looked at.
    pub(crate) last: Option<Start>,
}

/// The pieces. Dropping them ends the work.
pub(crate) struct Pieces {
    job: Arc<Job>,
    walk: Walk,
    /// Tags that may still be taken from the walk.
    left: usize,
    walked: bool,
    /// Tags of the next share, so that it makes about one piece.
    share: usize,
    /// Some text was handed out.
    begun: bool,
    flights: VecDeque<Flight>,
}

impl Pieces {
    /// At most `limit` tags.
    pub(crate) fn new(view: View, renderer: Renderer, walk: Walk, shape: Shape, limit: usize) -> Self {
        let job = Arc::new(Job { view, renderer, shape });
        let share = shape.measure().share;
        Self { job, walk, left: limit, walked: false, share, begun: false, flights: VecDeque::new() }
    }

    /// The next piece, perhaps without text when its tags are gone meanwhile; `None` at the end.
    ///
    /// # Errors
    /// Those of storage, and 503 when rights or namespaces cannot be told.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>> {
        self.fill().await?;
        let Some(flight) = self.flights.front_mut() else { return Ok(None) };
        let done = (&mut flight.0).await.map_err(|error| Failure::internal(error.to_string()))?;
        self.flights.pop_front();
        let Done { piece, rest } = done?;
        self.begun |= piece.count > 0;
        if !rest.is_empty() {
            self.flights.push_front(self.start(rest));
        }
        let measure = self.job.shape.measure();
        // A little less than there is room for: the rest of a share is a piece of its own.
        if let Some(share) = (measure.text / 10 * 9 * piece.count).checked_div(piece.text.len()) {
            self.share = share.clamp(1, measure.share);
        }
        Ok(Some(piece))
    }

    /// Nothing comes any more, as far as is known.
    pub(crate) fn is_done(&self) -> bool {
        self.flights.is_empty() && (self.walked || self.left == 0)
    }

    /// Whether there are tags behind those that were handed out, also beyond the limit.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub(crate) async fn into_more(mut self) -> Result<bool> {
        Ok(!self.flights.is_empty() || (!self.walked && !self.walk.next(1).await?.is_empty()))
    }

    async fn fill(&mut self) -> Result<()> {
        let ahead = match self.job.shape {
            // The first event is not like the others.
            Shape::Added { .. } if !self.begun => 1,
            shape => shape.measure().ahead,
        };
        while self.flights.len() < ahead && self.left > 0 && !self.walked {
            let wanted = self.share.min(self.left);
            let entries = self.walk.next(wanted).await?;
            self.walked = entries.len() < wanted;
            self.left -= entries.len();
            if !entries.is_empty() {
                self.flights.push_back(self.start(entries));
            }
        }
        Ok(())
    }

    fn start(&self, entries: Vec<Entry>) -> Flight {
        Flight(tokio::spawn(Arc::clone(&self.job).share(entries, !self.begun)))
    }
}

struct Job {
    view: View,
    renderer: Renderer,
    shape: Shape,
}

struct Done {
    piece: Piece,
    /// Tags that there was no room for.
    rest: Vec<Entry>,
}

impl Job {
    async fn share(self: Arc<Self>, entries: Vec<Entry>, first: bool) -> Result<Done> {
        let (mut piece, depth) = (Piece::default(), self.renderer.style.depth());
        if depth == Some(Depth::Whole) {
            // So that it seldom has to move while it grows.
            piece.text.reserve(self.shape.measure().text.min(TEXT_OF_ONE * entries.len()) + TEXT_OF_ONE);
        }
        let mut entries = entries.into_iter();
        let mut referred = Referred::default();
        while piece.text.len() < self.shape.measure().text
            && let Some(entry) = entries.next()
        {
            piece.last = Some(Start { repo: Arc::clone(&entry.repo), tag: entry.tag.clone() });
            let any = depth == Some(Depth::Whole) && referred.any(&self.view, &entry.repo).await?;
            if let Some(found) = look::one(&self.view, entry, depth, Keep::Costly, any).await? {
                self.write(found, first && piece.count == 0, &mut piece.text);
                piece.count += 1;
            }
            // What the page cache answers never waits, and others want to go on, too.
            tokio::task::consume_budget().await;
        }
        if piece.text.len() < piece.text.capacity() / 4 * 3 {
            piece.text.shrink_to_fit();
        }
        Ok(Done { piece, rest: entries.collect() })
    }

    fn write(&self, mut found: Found, first: bool, text: &mut Vec<u8>) {
        match self.shape {
            Shape::Item => {
                text.push(b',');
                self.renderer.item(&found, text);
            }
            Shape::Added { position } => {
                found.version = found.version.told_at(position, self.view.server.tags.origin);
                self.renderer.event("ADDED", &found, first, text);
            }
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Flight(JoinHandle<Result<Done>>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.abort();
    }
}
