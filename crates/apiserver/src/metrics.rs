//! Counters, and their lines for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::limits::Limits;
use crate::route::Verb;

/// Upper bounds in seconds: from a document in memory to the time limit.
const BOUNDS: [f64; 12] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];
const VERBS: usize = Verb::ALL.len();
/// Codes from 100 on.
const CODES: usize = 500;

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// Counts since the start.
pub(crate) struct Metrics {
    requests: [[AtomicU64; CODES]; VERBS],
    durations: [Histogram; VERBS],
    events: AtomicU64,
    limited: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            durations: Default::default(),
            events: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// A request has been answered.
    pub(crate) fn observe(&self, verb: Verb, status: StatusCode, duration: Duration) {
        let code = usize::from(status.as_u16()).saturating_sub(100);
        if let Some(counter) = self.requests[verb as usize].get(code) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        // How long a watch lasts says nothing.
        if verb != Verb::Watch {
            self.durations[verb as usize].observe(duration);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event has been sent to a watcher.
    pub(crate) fn watch_event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn render(&self, out: &mut String, limits: &Limits) -> std::fmt::Result {
        let name = "homeport_api_requests_total";
        head(out, name, "counter", "Answered requests of the Kubernetes API.")?;
        for (verb, codes) in Verb::ALL.iter().zip(&self.requests) {
            for (index, counter) in codes.iter().enumerate() {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    writeln!(out, "{name}{{verb=\"{}\",code=\"{}\"}} {count}", verb.as_str(), index + 100)?;
                }
            }
        }
        let name = "homeport_api_request_duration_seconds";
        head(out, name, "histogram", "Time from the request's head to the answer's last byte, without watches.")?;
        for (verb, histogram) in Verb::ALL.iter().zip(&self.durations) {
            histogram.render(out, name, verb.as_str())?;
        }
        let (running, waiting) = limits.requests();
        head(out, "homeport_api_limited_requests", "gauge", "Requests for tags, running or waiting for a place.")?;
        writeln!(out, "homeport_api_limited_requests{{state=\"running\"}} {running}")?;
        writeln!(out, "homeport_api_limited_requests{{state=\"waiting\"}} {waiting}")?;
        for (name, kind, help, value) in [
            ("homeport_api_watches", "gauge", "Watches that run.", limits.watches() as u64),
            (
                "homeport_api_watch_events_total",
                "counter",
                "Events sent to watchers.",
                self.events.load(Ordering::Relaxed),
            ),
            (
                "homeport_api_limited_total",
                "counter",
                "Requests that were told to come later.",
                self.limited.load(Ordering::Relaxed),
            ),
        ] {
            head(out, name, kind, help)?;
            writeln!(out, "{name} {value}")?;
        }
        Ok(())
    }
}

impl Histogram {
    fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let index = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[index].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Nothing when nothing was observed.
    fn render(&self, out: &mut String, name: &str, verb: &str) -> std::fmt::Result {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return Ok(());
        }
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&counts) {
            below += count;
            writeln!(out, "{name}_bucket{{verb=\"{verb}\",le=\"{bound}\"}} {below}")?;
        }
        writeln!(out, "{name}_bucket{{verb=\"{verb}\",le=\"+Inf\"}} {total}")?;
        writeln!(out, "{name}_sum{{verb=\"{verb}\"}} {}", self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6)?;
        writeln!(out, "{name}_count{{verb=\"{verb}\"}} {total}")
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_count_requests_watches_and_refusals() {
        let (metrics, limits) = (Metrics::default(), Limits::new());
        metrics.observe(Verb::List, StatusCode::OK, Duration::from_millis(20));
        metrics.observe(Verb::List, StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(5));
        metrics.observe(Verb::Watch, StatusCode::OK, Duration::from_secs(600));
        metrics.watch_event();
        let mut text = String::new();
        metrics.render(&mut text, &limits).unwrap();
        for line in [
            "homeport_api_requests_total{verb=\"list\",code=\"200\"} 1\n",
            "homeport_api_requests_total{verb=\"list\",code=\"429\"} 1\n",
            "homeport_api_requests_total{verb=\"watch\",code=\"200\"} 1\n",
            "homeport_api_request_duration_seconds_bucket{verb=\"list\",le=\"0.025\"} 1\n",
            "homeport_api_request_duration_seconds_count{verb=\"list\"} 2\n",
            "homeport_api_request_duration_seconds_sum{verb=\"list\"} 5.02\n",
            "homeport_api_watches 0\n",
            "homeport_api_watch_events_total 1\n",
            "homeport_api_limited_total 1\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("duration_seconds_count{verb=\"watch\"}"), "{text}");
    }
}
