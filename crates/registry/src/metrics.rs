//! Counters, and their text for Prometheus (exposition format 0.0.4).
//!
//! Written by hand for two reasons: every request counts here, so it must cost nothing; and OpenShift's names, which
//! dashboards use, include a summary, which the usual libraries do not offer. The aliases come last.

mod cluster;

use crate::auth;
use crate::context::{Identity, MetricsAccess, Registry};
use crate::error::{Error, Result};
use crate::respond;
use crate::service::Request;
use access::{Action, Caller, ClusterTokenCounts, Credential, Deciding, Decision, Target};
use content::CacheCounts;
use http::{Method, Response, header};
use net::Body;
use oci::ErrorCode;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

const ROUTES: [&str; 9] = ["base", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers", "other"];
const METHODS: [&str; 7] = ["get", "head", "put", "post", "patch", "delete", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds in seconds: from an answer out of memory to a large layer over a slow line.
const BOUNDS: [f64; 14] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
/// Only blobs are answered so.
const REDIRECT: u16 = 307;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, seconds: f64) {
        let index = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[index].fetch_add(1, Ordering::Relaxed);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a duration is neither negative nor years"
        )]
        self.sum_micros.fetch_add((seconds * 1e6) as u64, Ordering::Relaxed);
    }

    fn counts(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed))
    }

    fn sum_seconds(&self) -> f64 {
        self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Nothing when nothing was observed.
    fn render(&self, out: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        let counts = self.counts();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return Ok(());
        }
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(&counts) {
            below += count;
            writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
        }
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}")?;
        writeln!(out, "{name}_sum{{{labels}}} {}", self.sum_seconds())?;
        writeln!(out, "{name}_count{{{labels}}} {total}")
    }
}

/// Which build this is.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// `1.2.3`
    pub version: &'static str,
    /// Abbreviated commit, or `unknown`.
    pub commit: &'static str,
}

/// All counters of the registry.
pub struct Metrics {
    build: BuildInfo,
    in_flight: AtomicI64,
    durations: [[Histogram; METHODS.len()]; ROUTES.len()],
    statuses: [[AtomicU64; 500]; METHODS.len()],
    classes: [[[AtomicU64; CLASSES.len()]; METHODS.len()]; ROUTES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    decisions: cluster::Decisions,
}

/// A request under way.
pub(crate) struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new(build: BuildInfo) -> Arc<Self> {
        Arc::new(Self {
            build,
            in_flight: AtomicI64::new(0),
            durations: Default::default(),
            statuses: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            classes: Default::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            decisions: cluster::Decisions::default(),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    pub(crate) fn observe(&self, route: &str, method: &Method, status: u16, seconds: f64, received: u64, sent: u64) {
        let route = ROUTES.iter().position(|name| *name == route).unwrap_or(ROUTES.len() - 1);
        let method = method_index(method);
        self.durations[route][method].observe(seconds);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[route][method][class].fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = self.statuses[method].get(usize::from(status.saturating_sub(100))) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.received.fetch_add(received, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    /// A decision, counted when it is about a caller of the cluster.
    pub(crate) async fn decided<'a>(&self, caller: &Caller, decide: impl FnOnce() -> Deciding<'a>) -> Decision {
        self.decisions.decided(caller, decide).await
    }

    /// The text for Prometheus.
    #[must_use]
    pub(crate) fn render(&self, gates: [usize; 4], caches: CacheCounts, tokens: Option<ClusterTokenCounts>) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = self.render_own(&mut out, gates, caches).and_then(|()| self.render_openshift(&mut out, caches));
        if let Some(tokens) = tokens {
            let _ = cluster::render_tokens(&mut out, tokens).and_then(|()| self.decisions.render(&mut out));
        }
        out
    }

    /// `gates`: running and waiting reads, running and waiting writes.
    fn render_own(&self, out: &mut String, gates: [usize; 4], caches: CacheCounts) -> std::fmt::Result {
        head(out, "homeport_build_info", "gauge", "Version of the running program.")?;
        writeln!(out, "homeport_build_info{{version=\"{}\",commit=\"{}\"}} 1", self.build.version, self.build.commit)?;
        head(out, "homeport_http_in_flight_requests", "gauge", "Requests that are being answered.")?;
        writeln!(out, "homeport_http_in_flight_requests {}", self.in_flight.load(Ordering::Relaxed))?;
        head(out, "homeport_http_received_bytes_total", "counter", "Bytes of request bodies.")?;
        writeln!(out, "homeport_http_received_bytes_total {}", self.received.load(Ordering::Relaxed))?;
        head(out, "homeport_http_sent_bytes_total", "counter", "Bytes of response bodies.")?;
        writeln!(out, "homeport_http_sent_bytes_total {}", self.sent.load(Ordering::Relaxed))?;
        head(out, "homeport_limited_requests", "gauge", "Requests under the limits, running or waiting for a place.")?;
        for (index, labels) in
            ["read\",state=\"running", "read\",state=\"waiting", "write\",state=\"running", "write\",state=\"waiting"]
                .into_iter()
                .enumerate()
        {
            writeln!(out, "homeport_limited_requests{{class=\"{labels}\"}} {}", gates[index])?;
        }
        head(
            out,
            "homeport_cache_lookups_total",
            "counter",
            "Look-ups in memory, of content by digest, of what a repository has and of lists.",
        )?;
        let caches_asked = [("digest", caches.by_digest), ("repository", caches.by_repository), ("list", caches.lists)];
        for (cache, (hits, misses)) in caches_asked {
            writeln!(out, "homeport_cache_lookups_total{{cache=\"{cache}\",result=\"hit\"}} {hits}")?;
            writeln!(out, "homeport_cache_lookups_total{{cache=\"{cache}\",result=\"miss\"}} {misses}")?;
        }
        head(out, "homeport_blob_redirects_total", "counter", "Clients that were sent to storage for a blob.")?;
        let redirects = &self.statuses[method_index(&Method::GET)][usize::from(REDIRECT - 100)];
        writeln!(out, "homeport_blob_redirects_total {}", redirects.load(Ordering::Relaxed))?;
        head(out, "homeport_http_requests_total", "counter", "Answered requests.")?;
        for (r, route) in ROUTES.iter().enumerate() {
            for (m, method) in METHODS.iter().enumerate() {
                for (c, class) in CLASSES.iter().enumerate() {
                    let count = self.classes[r][m][c].load(Ordering::Relaxed);
                    if count > 0 {
                        writeln!(
                            out,
                            "homeport_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{class}\"}} {count}"
                        )?;
                    }
                }
            }
        }
        self.render_durations(out)
    }

    fn render_durations(&self, out: &mut String) -> std::fmt::Result {
        let name = "homeport_http_request_duration_seconds";
        head(out, name, "histogram", "Time from the request's head to the answer's last byte.")?;
        for (r, route) in ROUTES.iter().enumerate() {
            for (m, method) in METHODS.iter().enumerate() {
                let labels = format!("route=\"{route}\",method=\"{method}\"");
                self.durations[r][m].render(out, name, &labels)?;
            }
        }
        Ok(())
    }

    /// OpenShift's names, ordered as there.
    fn render_openshift(&self, out: &mut String, caches: CacheCounts) -> std::fmt::Result {
        let mut version = self.build.version.split('.');
        let (major, minor) = (version.next().unwrap_or("0"), version.next().unwrap_or("0"));
        head(out, "imageregistry_build_info", "gauge", "Version of the running program.")?;
        writeln!(
            out,
            "imageregistry_build_info{{gitCommit=\"{}\",gitVersion=\"v{}\",major=\"{major}\",minor=\"{minor}\"}} 1",
            self.build.commit, self.build.version
        )?;
        for (name, (hits, misses), help) in [
            ("imageregistry_digest_cache_requests_total", caches.by_digest, "Look-ups of content by digest."),
            (
                "imageregistry_digest_cache_scoped_requests_total",
                caches.by_repository,
                "Look-ups of what a repository has.",
            ),
        ] {
            head(out, name, "counter", help)?;
            writeln!(out, "{name}{{type=\"Hit\"}} {hits}\n{name}{{type=\"Miss\"}} {misses}")?;
        }
        head(out, "imageregistry_http_in_flight_requests", "gauge", "Requests that are being answered.")?;
        writeln!(out, "imageregistry_http_in_flight_requests {}", self.in_flight.load(Ordering::Relaxed))?;
        let name = "imageregistry_http_request_duration_seconds";
        head(out, name, "summary", "Time from the request's head to the answer's last byte.")?;
        for (m, method) in METHODS.iter().enumerate() {
            let mut counts = [0; BOUNDS.len() + 1];
            let mut sum = 0.0;
            for route in &self.durations {
                for (total, count) in counts.iter_mut().zip(route[m].counts()) {
                    *total += count;
                }
                sum += route[m].sum_seconds();
            }
            let total: u64 = counts.iter().sum();
            if total == 0 {
                continue;
            }
            for quantile in QUANTILES {
                let value = estimate(&counts, quantile);
                writeln!(out, "{name}{{method=\"{method}\",quantile=\"{quantile}\"}} {value}")?;
            }
            writeln!(out, "{name}_sum{{method=\"{method}\"}} {sum}")?;
            writeln!(out, "{name}_count{{method=\"{method}\"}} {total}")?;
        }
        head(out, "imageregistry_http_requests_total", "counter", "Answered requests.")?;
        for (m, method) in METHODS.iter().enumerate() {
            for (index, counter) in self.statuses[m].iter().enumerate() {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    writeln!(
                        out,
                        "imageregistry_http_requests_total{{code=\"{}\",method=\"{method}\"}} {count}",
                        index + 100
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// A quantile of all requests since the start, interpolated between the bounds.
fn estimate(counts: &[u64; BOUNDS.len() + 1], quantile: f64) -> f64 {
    let total: u64 = counts.iter().sum();
    let wanted = quantile * total as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (count, upper) in counts.iter().zip(BOUNDS) {
        let count = *count as f64;
        if below + count >= wanted && count > 0.0 {
            return lower + (upper - lower) * (wanted - below) / count;
        }
        below += count;
        lower = upper;
    }
    lower
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::PUT => 2,
        Method::POST => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        _ => 6,
    }
}

/// `GET /extensions/v2/metrics`
pub(crate) async fn answer(registry: &Registry, identity: &Identity, request: &Request<'_>) -> Result<Response<Body>> {
    match request.live.metrics {
        MetricsAccess::Off => return Err(Error::new(ErrorCode::NameUnknown, "metrics are switched off")),
        MetricsAccess::Open => {}
        MetricsAccess::Authorized => {
            if !has_secret(request) {
                authorize(registry, identity, request).await?;
            }
        }
    }
    if !matches!(*request.method, Method::GET | Method::HEAD) {
        return Err(Error::method("GET, HEAD"));
    }
    Ok(text(registry))
}

pub(crate) fn text(registry: &Registry) -> Response<Body> {
    let gates = &registry.gates;
    let gates = [gates.read.running(), gates.read.queued(), gates.write.running(), gates.write.queued()];
    let identity = registry.identity.load();
    let tokens = identity.cluster.as_ref().map(|cluster| cluster.tokens.counts());
    let mut text = registry.metrics.render(gates, registry.store.cache_counts(), tokens);
    (registry.figures)(&mut text);
    if let Some(cluster) = &identity.cluster {
        (cluster.figures)(&mut text);
    }
    respond::full("text/plain; version=0.0.4; charset=utf-8", text)
}

/// The fixed token of the configuration, as a bearer token or a password.
fn has_secret(request: &Request<'_>) -> bool {
    let Some(secret) = &request.live.metrics_secret else { return false };
    let value = request.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
    let credential = Credential::parse(value);
    let given = match &credential {
        Ok(Credential::Bearer(token)) => token.expose(),
        Ok(Credential::Basic(basic)) => basic.password(),
        _ => return false,
    };
    // Comparing digests takes the same time wherever the first difference is.
    let digest = |bytes| ring::digest::digest(&ring::digest::SHA256, bytes);
    digest(given).as_ref() == digest(secret).as_ref()
}

async fn authorize(registry: &Registry, identity: &Identity, request: &Request<'_>) -> Result<()> {
    let caller = auth::authenticate(identity, request).await?;
    let decide = || identity.authorizer.decide(&caller, Action::Metrics, Target::Metrics);
    match registry.metrics.decided(&caller, decide).await {
        Decision::Allow => Ok(()),
        Decision::Deny { .. } if caller.is_anonymous() => {
            Err(auth::unauthorized(identity, request, "authentication required", None))
        }
        Decision::Deny { reason } => Err(Error::new(ErrorCode::Denied, reason)),
        Decision::Unavailable { retry_after } => Err(Error::unavailable("rights cannot be checked now", retry_after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_counts_requests() {
        let metrics = Metrics::new(BuildInfo { version: "1.2.3", commit: "abc" });
        let running = metrics.enter();
        metrics.observe("blob", &Method::GET, 200, 0.003, 0, 7);
        metrics.observe("blob", &Method::GET, 404, 0.2, 0, 0);
        let text = metrics.render([1, 2, 3, 4], CacheCounts { by_digest: (5, 6), ..CacheCounts::default() }, None);
        for line in [
            "homeport_http_requests_total{route=\"blob\",method=\"get\",status=\"4xx\"} 1",
            "homeport_http_request_duration_seconds_bucket{route=\"blob\",method=\"get\",le=\"0.005\"} 1",
            "homeport_http_sent_bytes_total 7",
            "homeport_limited_requests{class=\"write\",state=\"waiting\"} 4",
            "imageregistry_http_in_flight_requests 1",
            "imageregistry_digest_cache_requests_total{type=\"Miss\"} 6",
            "imageregistry_http_requests_total{code=\"404\",method=\"get\"} 1",
            "imageregistry_build_info{gitCommit=\"abc\",gitVersion=\"v1.2.3\",major=\"1\",minor=\"2\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        drop(running);
        assert!(
            metrics.render([0; 4], CacheCounts::default(), None).contains("imageregistry_http_in_flight_requests 0")
        );
    }
}
