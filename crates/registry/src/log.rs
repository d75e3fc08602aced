//! One line per request, one line per push and delete.

use crate::context::{Live, Registry};
use crate::metrics::InFlight;
use crate::service::Request;
use access::Caller;
use http::{HeaderName, Method, Response, header};
use net::{Body, Permit, Sent};
use oci::{Digest, ErrorCode, Reference, Route};
use std::sync::Arc;
use std::time::Instant;

/// Longest text of a client that goes into the log.
const TEXT_MAX: usize = 200;

/// What the log will know of a request.
pub(crate) struct Record {
    started: Instant,
    method: Method,
    label: &'static str,
    access: bool,
    details: Option<Box<Details>>,
    received: u64,
    code: Option<ErrorCode>,
    cause: Option<String>,
    permit: Option<Permit>,
}

/// Collected only when a line will be written.
#[derive(Default)]
struct Details {
    id: String,
    client: String,
    agent: String,
    path: String,
    caller: String,
    repository: String,
    reference: String,
    digest: String,
    tags: Vec<String>,
    actions: Vec<&'static str>,
}

impl Record {
    pub(crate) fn new(request: &Request<'_>, started: Instant) -> Self {
        let access = request.live.access_log && tracing::enabled!(target: "access", tracing::Level::INFO);
        let changes = !matches!(*request.method, Method::GET | Method::HEAD);
        let wanted = access || (changes && request.live.audit);
        let details = wanted.then(|| {
            Box::new(Details {
                id: request_id(request),
                client: request.client(),
                agent: clip(request.header(header::USER_AGENT).unwrap_or_default()),
                path: clip(request.path),
                ..Details::default()
            })
        });
        Self {
            started,
            method: request.method.clone(),
            label: "other",
            access,
            details,
            received: 0,
            code: None,
            cause: None,
            permit: None,
        }
    }

    pub(crate) fn route(&mut self, route: &Route<'_>) {
        self.label = route.label();
        if let (Some(details), Some(name)) = (&mut self.details, route.repository()) {
            details.repository = name.to_string();
        }
    }

    pub(crate) fn caller(&mut self, caller: &Caller) {
        if let Some(details) = &mut self.details {
            details.caller = clip(caller.name().unwrap_or("anonymous"));
        }
    }

    pub(crate) fn digest(&mut self, digest: &Digest) {
        if let Some(details) = &mut self.details {
            details.digest = digest.to_string();
        }
    }

    pub(crate) fn reference(&mut self, reference: &Reference<'_>) {
        if let Some(details) = &mut self.details {
            match reference {
                Reference::Tag(tag) => details.reference = tag.to_string(),
                Reference::Digest(digest) => details.digest = digest.to_string(),
                Reference::Invalid(text) => details.reference = clip(text),
            }
        }
    }

    pub(crate) fn tags_removed(&mut self, tags: &[String]) {
        if let Some(details) = &mut self.details {
            details.tags = tags.to_vec();
        }
    }

    /// Bytes of the request's body.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.received = bytes;
    }

    /// The place among others of a request that went well, until its line is written.
    pub(crate) fn keep(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    /// The request has changed something.
    pub(crate) fn audit(&mut self, action: &'static str) {
        if let Some(details) = &mut self.details {
            details.actions.push(action);
        }
    }

    pub(crate) fn refused(&mut self, code: &ErrorCode, cause: Option<String>) {
        self.code = Some(*code);
        self.cause = cause;
    }

    /// Writes what can be written now; the line of the request follows when its body is out.
    pub(crate) fn finish(
        mut self,
        registry: &Arc<Registry>,
        live: &Live,
        response: Response<Body>,
        in_flight: InFlight,
    ) -> Response<Body> {
        let status = response.status().as_u16();
        if let Some(details) = self.details.as_ref().filter(|_| live.audit) {
            for action in &details.actions {
                tracing::info!(
                    target: "audit",
                    action,
                    id = details.id,
                    client = details.client,
                    user = details.caller,
                    repository = details.repository,
                    reference = details.reference,
                    digest = details.digest,
                    tags = details.tags.join(","),
                    "audit"
                );
            }
        }
        if let Some(cause) = &self.cause {
            let path = self.details.as_ref().map_or("", |details| details.path.as_str());
            tracing::error!(status, path, cause, "request failed");
        }
        let metrics = Arc::clone(&registry.metrics);
        response.map(|body| {
            body.on_end(move |sent| {
                let seconds = self.started.elapsed().as_secs_f64();
                metrics.observe(self.label, &self.method, status, seconds, self.received, sent.bytes);
                drop(in_flight);
                if self.access {
                    self.write_line(status, seconds, sent);
                }
            })
        })
    }

    fn write_line(&mut self, status: u16, seconds: f64, sent: Sent) {
        let Some(details) = self.details.take() else { return };
        tracing::info!(
            target: "access",
            id = details.id,
            client = details.client,
            user = details.caller,
            method = self.method.as_str(),
            path = details.path,
            status,
            repository = details.repository,
            reference = details.reference,
            digest = details.digest,
            code = self.code.map_or("", ErrorCode::as_str),
            bytes_in = self.received,
            bytes_out = sent.bytes,
            complete = sent.complete || self.method == Method::HEAD,
            duration_ms = seconds * 1000.0,
            agent = details.agent,
            "request"
        );
    }
}

/// The caller's own id when it looks like one, so that lines of several programs can be joined.
fn request_id(request: &Request<'_>) -> String {
    let given = request.header(HeaderName::from_static("x-request-id")).filter(|id| {
        id.len() <= 64
            && !id.is_empty()
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    });
    given.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// Control characters would forge lines.
fn clip(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
