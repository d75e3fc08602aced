//! Reports to people, as Events of the cluster: few, and each once.

mod report;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::is_label;
use quick_cache::sync::Cache;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;

pub use report::{EventKind, Regarding, Report};

use crate::call::{ApiError, merge_patch, post};
use crate::connect::Connection;
use crate::counters::Call;

/// Reports that wait; more are dropped.
const QUEUE_MAX: usize = 1_024;
/// Reports that are remembered, so that a repetition is counted and not told again.
const REMEMBERED_MAX: usize = 4_096;
/// Within this time a repetition is only counted.
const REPEAT_PAUSE: Duration = Duration::from_secs(300);
/// Calls at once after a quiet time, and the time in which one more is allowed.
const BURST: u32 = 50;
const CALL_PAUSE: Duration = Duration::from_millis(200);
/// Tries of a call that gets no answer, and the longest pause before another one.
const TRIES_MAX: u32 = 3;
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest message.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Sends reports, in the background.
pub struct Events {
    connection: Connection,
    component: &'static str,
    instance: String,
    queue: mpsc::Sender<Dated>,
    waiting: Mutex<Option<mpsc::Receiver<Dated>>>,
    dropped: AtomicU64,
}

/// A report, and when it was handed in, in seconds since 1970: it may wait while the API server is away.
struct Dated {
    report: Report,
    seconds: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    count: u32,
    at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Make the Event.
    Make,
    /// Write this count into it.
    Count(u32),
    /// Only remember that it happened again.
    Keep(u32),
}

fn step(told: Option<Told>, now: Duration) -> Step {
    match told {
        None => Step::Make,
        Some(told) if now.saturating_sub(told.at) < REPEAT_PAUSE => Step::Keep(told.count.saturating_add(1)),
        Some(told) => Step::Count(told.count.saturating_add(1)),
    }
}

impl Events {
    /// `component` is who reports, `instance` which of them.
    #[must_use]
    pub fn new(connection: &Connection, component: &'static str, instance: &str) -> Arc<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        Arc::new(Self {
            connection: connection.clone(),
            component,
            instance: instance.to_owned(),
            queue,
            waiting: Mutex::new(Some(waiting)),
            dropped: AtomicU64::new(0),
        })
    }

    /// Hands in a report. Never waits: if too many wait already, it is dropped.
    pub fn publish(&self, report: Report) {
        let seconds = self.connection.clock().unix_seconds();
        if self.queue.try_send(Dated { report, seconds }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many reports were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends what is handed in, for ever. To be run once; a second run ends at once.
    pub async fn run(self: Arc<Self>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let told = Cache::new(REMEMBERED_MAX);
        let mut budget = Budget { calls: BURST, at: self.now() };
        while let Some(dated) = waiting.recv().await {
            let number = dated.report.number();
            let known = told.get(&number);
            let at = self.now();
            let count = match step(known, at) {
                Step::Keep(count) => {
                    told.insert(number, Told { count, at: known.map_or(at, |told| told.at) });
                    continue;
                }
                Step::Count(count) => Some(count),
                Step::Make => None,
            };
            match self.tell(&dated, count, &mut budget).await {
                Ok(()) => told.insert(number, Told { count: count.unwrap_or(1), at }),
                Err(error) => tracing::debug!(%error, reason = dated.report.reason, "event cannot be sent"),
            }
        }
    }

    fn now(&self) -> Duration {
        self.connection.clock().elapsed()
    }

    /// Makes the Event, or writes a count into it. Nobody hands the report in again because of a call that got no answer.
    async fn tell(&self, dated: &Dated, count: Option<u32>, budget: &mut Budget) -> Result<(), ApiError> {
        let mut tries = 1;
        loop {
            let told = match count {
                Some(count) => self.count(dated, count, budget).await,
                None => self.make(dated, budget).await,
            };
            match told {
                Err(error @ (ApiError::Unavailable { .. } | ApiError::Busy { .. })) if tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(error.retry_after().min(RETRY_PAUSE_MAX)).await;
                }
                told => return told,
            }
        }
    }

    async fn make(&self, dated: &Dated, budget: &mut Budget) -> Result<(), ApiError> {
        let namespace = dated.report.namespace();
        if !is_label(namespace) {
            return Err(ApiError::refused(400, "not a namespace"));
        }
        budget.spend(self).await;
        let path = format!("/api/v1/namespaces/{namespace}/events");
        let event = self.event(dated);
        match self.connection.call::<IgnoredAny>(Call::Event, post(&path, &event)?).await {
            // Another replica, or this one before its last start, has told it.
            Err(error) if error.code() == Some(409) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn count(&self, dated: &Dated, count: u32, budget: &mut Budget) -> Result<(), ApiError> {
        budget.spend(self).await;
        let report = &dated.report;
        let path = format!("/api/v1/namespaces/{}/events/{}", report.namespace(), report.name());
        let change = json!({"count": count, "lastTimestamp": dated.timestamp()});
        match self.connection.call::<IgnoredAny>(Call::Event, merge_patch(&path, &change)?).await {
            // Events live for an hour.
            Err(error) if error.code() == Some(404) => self.make(dated, budget).await,
            other => other.map(|_| ()),
        }
    }

    fn event(&self, dated: &Dated) -> serde_json::Value {
        let report = &dated.report;
        let Regarding { api_version, kind, namespace, name, uid, resource_version } = &report.regarding;
        let time = dated.timestamp();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": report.name(), "namespace": report.namespace()},
            "involvedObject": {
                "apiVersion": api_version,
                "kind": kind,
                "namespace": namespace,
                "name": name,
                "uid": uid,
                "resourceVersion": resource_version,
            },
            "type": match report.kind {
                EventKind::Normal => "Normal",
                EventKind::Warning => "Warning",
            },
            "reason": report.reason,
            "message": report.message.chars().take(MESSAGE_CHARS_MAX).collect::<String>(),
            "source": {"component": self.component},
            "reportingComponent": self.component,
            "reportingInstance": self.instance,
            "count": 1,
            "firstTimestamp": time,
            "lastTimestamp": time,
        })
    }
}

impl Dated {
    fn timestamp(&self) -> Option<String> {
        jiff::Timestamp::from_second(self.seconds).ok().map(|time| time.to_string())
    }
}

/// How many calls may be made now.
struct Budget {
    calls: u32,
    at: Duration,
}

impl Budget {
    /// Takes one, after a pause if there is none.
    async fn spend(&mut self, events: &Events) {
        self.refill(events.now());
        if self.calls == 0 {
            tokio::time::sleep(CALL_PAUSE).await;
            self.refill(events.now());
        }
        self.calls = self.calls.saturating_sub(1);
    }

    fn refill(&mut self, now: Duration) {
        let more = now.saturating_sub(self.at).as_millis() / CALL_PAUSE.as_millis();
        let more = u32::try_from(more).unwrap_or(BURST);
        if more > 0 {
            self.calls = self.calls.saturating_add(more).min(BURST);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_report_is_sent_again_when_nobody_answers_and_with_its_own_time() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let bodies = Arc::clone(&said);
        let server = Server::start(move |_, body| {
            let mut bodies = bodies.lock().unwrap();
            bodies.push(body.to_owned());
            Some((if bodies.len() == 1 { 503 } else { 201 }, "{}".to_owned()))
        })
        .await;
        let events = Events::new(&server.connection, "homeport", "test");
        let regarding = Regarding {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "pull".to_owned(),
            uid: "1".to_owned(),
            resource_version: None,
        };
        let message = "it waits".to_owned();
        events.publish(Report { regarding, kind: EventKind::Warning, reason: "Waiting", message });
        server.clock.advance(Duration::from_secs(3600));
        tokio::spawn(Arc::clone(&events).run());
        server.until("the second try", |asked| asked.len() == 2).await;
        let said = said.lock().unwrap();
        assert!(said[0] == said[1] && said[1].contains(r#""firstTimestamp":"1970-01-01T00:00:00Z""#), "{said:?}");
    }

    #[test]
    fn a_repetition_is_counted_and_told_later() {
        let told = |count, seconds| Some(Told { count, at: Duration::from_secs(seconds) });
        assert_eq!(step(None, Duration::ZERO), Step::Make);
        assert_eq!(step(told(1, 100), Duration::from_secs(399)), Step::Keep(2));
        assert_eq!(step(told(7, 100), Duration::from_secs(400)), Step::Count(8));
        assert_eq!(step(told(u32::MAX, 100), Duration::from_secs(101)), Step::Keep(u32::MAX));
    }

    #[test]
    fn calls_are_bounded_by_time() {
        let mut budget = Budget { calls: 0, at: Duration::ZERO };
        budget.refill(Duration::from_millis(199));
        assert_eq!(budget.calls, 0);
        budget.refill(Duration::from_millis(450));
        assert_eq!(budget.calls, 2);
        budget.refill(Duration::from_secs(3600));
        assert_eq!(budget.calls, BURST);
    }
}
