//! One line per request.

use std::sync::Arc;
use std::time::Instant;

use access::Caller;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use net::{Body, Connection, Peer, Sent};

use crate::call::{Origin, Server};
use crate::route::Verb;
use crate::status::Failure;

/// Longest text of a client that goes into the log.
const TEXT_MAX: usize = 200;
/// Longest id of a request that is taken over.
const ID_MAX: usize = 64;

/// What the log will know of a request.
pub(crate) struct Record {
    pub(crate) started: Instant,
    pub(crate) origin: Origin,
    pub(crate) verb: Verb,
    method: Method,
    path: String,
    query: String,
    caller: String,
    reason: &'static str,
    silent: bool,
}

impl Record {
    pub(crate) fn new(method: &Method, uri: &http::Uri, headers: &HeaderMap, connection: &Connection) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let client = match &connection.peer {
            Peer::Tcp(address) => address.ip().to_string(),
            Peer::Unix(_) => "unix".to_owned(),
        };
        Self {
            started: Instant::now(),
            origin: Origin { id: request_id(headers), client, agent: clip(agent) },
            verb: Verb::Path,
            method: method.clone(),
            path: clip(uri.path()),
            query: clip(uri.query().unwrap_or_default()),
            caller: String::new(),
            reason: "",
            silent: false,
        }
    }

    /// The request gets no line.
    pub(crate) fn silence(&mut self) {
        self.silent = true;
    }

    pub(crate) fn caller(&mut self, caller: &Caller) {
        self.caller = clip(caller.name().unwrap_or("system:anonymous"));
    }

    /// The request ends in a failure; its cause is for the log only.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        self.reason = failure.reason();
        if let Some(cause) = failure.cause() {
            let status = failure.status().as_u16();
            tracing::error!(status, path = self.path, cause, "request failed");
        }
    }

    /// Counts the request, and writes its line, when its body is out.
    pub(crate) fn finish(self, server: &Arc<Server>, response: Response<Body>) -> Response<Body> {
        let status = response.status();
        let server = Arc::clone(server);
        response.map(|body| {
            body.on_end(move |sent| {
                server.metrics.observe(self.verb, status, self.started.elapsed());
                if !self.silent && (server.parts.switches)().access_log {
                    self.write_line(status, sent);
                }
            })
        })
    }

    fn write_line(&self, status: StatusCode, sent: Sent) {
        tracing::info!(
            target: "access",
            id = self.origin.id,
            client = self.origin.client,
            user = self.caller,
            method = self.method.as_str(),
            path = self.path,
            query = self.query,
            verb = self.verb.as_str(),
            status = status.as_u16(),
            reason = self.reason,
            bytes_out = sent.bytes,
            complete = sent.complete || self.method == Method::HEAD,
            duration_ms = self.started.elapsed().as_secs_f64() * 1000.0,
            agent = self.origin.agent,
            via = "kubernetes",
            "request"
        );
    }
}

/// The id under which the API server's audit log has the request, so that both can be joined.
fn request_id(headers: &HeaderMap) -> String {
    let fine = |id: &&str| {
        !id.is_empty()
            && id.len() <= ID_MAX
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let names = ["audit-id", "x-request-id"].map(HeaderName::from_static);
    let given = names.iter().find_map(|name| headers.get(name)?.to_str().ok().filter(fine));
    given.map_or_else(|| uuid::Uuid::new_v4().simple().to_string(), str::to_owned)
}

/// Control characters would forge lines.
fn clip(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
