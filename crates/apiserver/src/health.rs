//! `/livez`, `/readyz`, `/healthz`: open to all, and without storage.

use http::{Response, StatusCode};
use net::Body;

use crate::call::Server;
use crate::respond::{self, Encoding};

/// What must be known before requests can be decided.
fn missing(server: &Server) -> Option<&'static str> {
    let parts = &server.parts;
    if server.is_leaving() {
        return Some("stopping");
    }
    if !parts.trust.is_ready() {
        return Some("the front proxy of the cluster is not known yet");
    }
    if !parts.namespaces.is_ready() {
        return Some("the namespaces of the cluster are not known yet");
    }
    if !(parts.rules_ready)() {
        return Some("the access rules of the cluster are not known yet");
    }
    None
}

/// Alive as long as it answers.
pub(crate) fn alive() -> Response<Body> {
    text(StatusCode::OK, "ok".to_owned())
}

pub(crate) fn ready(server: &Server) -> Response<Body> {
    match missing(server) {
        None => alive(),
        Some(what) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {what}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    respond::document(status, "text/plain; charset=utf-8", text, Encoding::default())
}
