//! `/healthz`, `/livez`, `/readyz`.

use crate::respond;
use http::{Response, StatusCode};
use net::Body;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the readiness probe tells; written by the application.
#[derive(Default)]
pub struct Health {
    stopping: AtomicBool,
    problem: Mutex<Option<String>>,
}

impl Health {
    /// The process is on its way down: no new requests should be sent here.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// What is wrong with storage or another checked thing; `None` when all is well.
    pub fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    fn not_ready(&self) -> Option<String> {
        if self.stopping.load(Ordering::SeqCst) {
            return Some("stopping".to_owned());
        }
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a probe; `None` when the path is none.
    pub(crate) fn answer(&self, path: &str) -> Option<Response<Body>> {
        match path {
            // Alive as long as it answers; a full disk is not cured by a restart.
            "/healthz" | "/livez" => Some(respond::full("text/plain; charset=utf-8", "ok\n")),
            "/readyz" => Some(match self.not_ready() {
                None => respond::full("text/plain; charset=utf-8", "ok\n"),
                Some(problem) => {
                    let mut response = respond::full("text/plain; charset=utf-8", format!("not ready: {problem}\n"));
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    response
                }
            }),
            _ => None,
        }
    }
}
