//! How a Secret stands, for people: the text of its status annotation.

use serde_json::json;

/// Longest message; messages quote what strangers wrote.
const MESSAGE_BYTES_MAX: usize = 512;

/// How a Secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// It holds a good token.
    pub ready: bool,
    /// One word in CamelCase, also the reason of the Event.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Status {
    pub(super) fn filled(service_account: &str) -> Self {
        let message = format!("holds a token of ServiceAccount {service_account:?}");
        Self { ready: true, reason: "Filled", message }
    }

    pub(super) fn problem(reason: &'static str, message: &str) -> Self {
        Self { ready: false, reason, message: super::view::shortened(message, MESSAGE_BYTES_MAX).to_owned() }
    }

    /// The value of the annotation: a condition. It has no time in it, so that the same state is the same text.
    #[must_use]
    pub fn to_annotation(&self) -> String {
        let status = if self.ready { "True" } else { "False" };
        json!({ "type": "Ready", "status": status, "reason": self.reason, "message": self.message }).to_string()
    }
}
