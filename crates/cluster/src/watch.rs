//! Follows a collection: lists it, then watches, for ever.
//!
//! Not kube's watcher, because that does not tell when an interrupted watch goes on, waits without end for a server that
//! accepts and says nothing, and reads whole objects.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::call::{ApiError, chain, get};
use crate::connect::Connection;
use crate::counters::{Call, Outcome};
use crate::object::Meta;
use crate::reach::Feed;

/// Objects per page of a list; fewer once a page was too long.
const PAGE: usize = 500;
/// After this time the API server ends a watch, and it is begun anew where it ended: so a connection that died silently
/// is found soon.
const WATCH_SECONDS: u64 = 30;
/// What a watch may last longer than that before it counts as dead.
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// A watch that ends sooner, with nothing said, has failed.
const WATCH_MIN: Duration = Duration::from_secs(1);
/// Pauses after failures, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// After this many failures in a row the list is read anew.
const FAILURES_BEFORE_LIST: u32 = 5;

/// Objects of one kind.
pub(crate) trait Kind: DeserializeOwned + Clone + Send + 'static {
    /// The path of their collection, such as `/api/v1/namespaces`.
    const PATH: &'static str;
    /// Parameters that choose some of them, such as `fieldSelector=metadata.name%3Da`; empty for all.
    const QUERY: &'static str = "";

    /// The metadata.
    fn meta(&self) -> &Meta;
}

/// What happened to a collection. Between `Start` and `Complete` come all objects that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change<K> {
    /// A list begins, perhaps again. Until `Complete`, what is known stays.
    Start,
    /// One of the list.
    Listed(K),
    /// The list is complete: what it did not contain is gone.
    Complete,
    /// New or changed.
    Applied(K),
    /// Gone.
    Deleted(K),
}

#[derive(Deserialize)]
struct Page<K> {
    metadata: PageMeta,
    items: Option<Vec<K>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Why a list or watch ended before its time.
enum Broken {
    /// What was asked for is too old: list again.
    TooOld,
    /// The answer was longer than it may be: ask for less.
    TooLong,
    /// For the log.
    Failed(String),
}

impl Broken {
    fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<ApiError> for Broken {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused(status) if status.code == 410 => Self::TooOld,
            ApiError::Refused(status) => Self::failed(format!("{} {}: {}", status.code, status.reason, status.message)),
            ApiError::Unavailable { reason, .. } | ApiError::Busy { reason, .. } => Self::failed(reason),
            ApiError::TooLong { .. } => Self::TooLong,
        }
    }
}

/// Hands every change of a collection to `apply`, for ever, whatever fails in between. `feed` says whether it is current.
pub(crate) async fn follow<K: Kind>(connection: &Connection, feed: &Feed, mut apply: impl FnMut(Change<K>) + Send) {
    let mut version: Option<String> = None;
    let mut limit = PAGE;
    let mut failures = 0;
    let mut returns = connection.reach().returns();
    loop {
        returns.mark_unchanged();
        let ended = match &version {
            None => list(connection, limit, &mut apply).await.map(|reached| {
                feed.read();
                version = Some(reached);
            }),
            Some(from) => {
                // Also a watch that breaks has come this far.
                let mut reached = from.clone();
                let ended = watch(connection, feed, &mut reached, &mut apply).await;
                if reached != *from {
                    failures = 0;
                }
                version = Some(reached);
                ended
            }
        };
        match ended {
            Ok(()) => {
                failures = 0;
                continue;
            }
            Err(Broken::TooOld) => {
                feed.interrupted("what the watch had reached is too old, the list is read again");
                version = None;
            }
            Err(Broken::TooLong) if limit > 1 => {
                limit /= 2;
                tracing::debug!(path = K::PATH, limit, "page of the list is too long, reading shorter ones");
                continue;
            }
            Err(Broken::TooLong) => feed.interrupted("a single object is longer than a page of the list may be"),
            Err(Broken::Failed(reason)) => feed.interrupted(&reason),
        }
        failures += 1;
        if failures % FAILURES_BEFORE_LIST == 0 {
            version = None;
        }
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            Ok(()) = returns.changed() => {}
        }
    }
}

async fn list<K: Kind>(
    connection: &Connection,
    limit: usize,
    apply: &mut (impl FnMut(Change<K>) + Send),
) -> Result<String, Broken> {
    apply(Change::Start);
    let mut next = String::new();
    loop {
        let from = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let page: Page<K> = connection.call(Call::List, get(&target::<K>(&format!("limit={limit}{from}")))?).await?;
        for object in page.items.unwrap_or_default() {
            apply(Change::Listed(object));
        }
        next = page.metadata.next.as_deref().map(escape).unwrap_or_default();
        if next.is_empty() {
            let version = escape(&page.metadata.resource_version);
            // Without a version nobody can tell what a list contains.
            if version.is_empty() {
                return Err(Broken::failed("list without a resourceVersion"));
            }
            apply(Change::Complete);
            return Ok(version);
        }
    }
}

fn target<K: Kind>(query: &str) -> String {
    let separator = if K::QUERY.is_empty() { "" } else { "&" };
    format!("{}?{}{separator}{query}", K::PATH, K::QUERY)
}

/// Watches from `reached` on, and keeps it at the version that the last event stands for.
async fn watch<K: Kind>(
    connection: &Connection,
    feed: &Feed,
    reached: &mut String,
    apply: &mut (impl FnMut(Change<K>) + Send),
) -> Result<(), Broken> {
    let version = reached.clone();
    let query = "watch=true&allowWatchBookmarks=true";
    let path = target::<K>(&format!("{query}&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"));
    let start = timeout(Call::Watch.time_max(), connection.client().request_events::<K>(get(&path)?)).await;
    let events = match start {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => return Err(failure(connection, error)),
        Err(_) => {
            connection.counters().count(Call::Watch, Outcome::Unavailable);
            connection.reach().suspect();
            return Err(Broken::failed("watch does not begin"));
        }
    };
    connection.counters().count(Call::Watch, Outcome::Ok);
    connection.reach().answered();
    feed.runs();
    let began = Instant::now();
    let mut events = pin!(events);
    loop {
        match timeout(Duration::from_secs(WATCH_SECONDS) + WATCH_GRACE, events.try_next()).await {
            Ok(Ok(Some(event))) => {
                if let Some(version) = take(event, apply)? {
                    *reached = escape(&version);
                }
            }
            Ok(Ok(None)) if *reached == version && began.elapsed() < WATCH_MIN => {
                return Err(Broken::failed("watch ends at once"));
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(kube::Error::SerdeError(error))) => {
                tracing::warn!(path = K::PATH, %error, "object cannot be read and is left out");
            }
            Ok(Err(error)) => return Err(failure(connection, error)),
            Err(_) => return Err(Broken::failed("watch is silent")),
        }
    }
}

/// Hands an event on; the version that it stands for, if it does.
fn take<K: Kind>(event: WatchEvent<K>, apply: &mut impl FnMut(Change<K>)) -> Result<Option<String>, Broken> {
    let (object, gone) = match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
        WatchEvent::Deleted(object) => (object, true),
        WatchEvent::Bookmark(bookmark) => return Ok(Some(bookmark.metadata.resource_version)),
        WatchEvent::Error(status) => return Err(ApiError::Refused(status).into()),
    };
    let version = object.meta().resource_version.clone();
    apply(if gone { Change::Deleted(object) } else { Change::Applied(object) });
    Ok(Some(version).filter(|version| !version.is_empty()))
}

fn failure(connection: &Connection, error: kube::Error) -> Broken {
    match error {
        kube::Error::Api(status) => {
            connection.counters().count(Call::Watch, Outcome::Refused);
            ApiError::Refused(status).into()
        }
        error => {
            connection.counters().count(Call::Watch, Outcome::Unavailable);
            connection.reach().suspect();
            Broken::failed(chain(&error))
        }
    }
}

/// A value of the API server's as part of a query.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Longer with each failure in a row, and never the same for all replicas.
fn pause(failures: u32) -> Duration {
    let (first, longest) = PAUSES;
    let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest);
    let random = RandomState::new().hash_one(failures) % 256;
    pause.mul_f64(0.75 + f64::from(u32::try_from(random).unwrap_or(0)) / 512.0)
}
