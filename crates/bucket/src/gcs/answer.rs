//! What the service says when it does not do what it was asked for.
//!
//! The codes are S3's, which [`crate::error`] knows. A 404 gets one only in the service's own words.

use crate::error::{Said, one_line};
use serde::Deserialize;

/// Longest error that is read, in bytes.
pub(super) const ERROR_MAX: usize = 64 * 1024;

#[derive(Default, Deserialize)]
struct Document {
    error: Problem,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    reason: String,
}

/// An answer that is no success.
pub(super) fn said(status: u16, body: &str) -> Said {
    let document: Option<Document> = serde_json::from_str(body).ok();
    let text = document.as_ref().map_or(body, |document| &document.error.message);
    let reasons = document.iter().flat_map(|document| document.error.errors.iter().map(|item| item.reason.as_str()));
    let reasons: Vec<&str> = reasons.collect();
    let code = match status {
        404 if text.contains("No such object") => "NoSuchKey",
        404 if text.contains("bucket does not exist") => "NoSuchBucket",
        403 if reasons.contains(&"quotaExceeded") => "QuotaExceeded",
        400 if text.contains("object name") && text.contains("1024") => "KeyTooLong",
        _ => "",
    };
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    Said { status, code, text: one_line(&format!("{text}{reasons}")) }
}

/// Another attempt may end better.
pub(super) fn may_help(said: &Said) -> bool {
    let slow = said.status == 403 && said.text.to_ascii_lowercase().contains("ratelimitexceeded");
    said.status >= 500 || matches!(said.status, 401 | 408 | 429) || slow
}

/// The service itself speaks of a bucket that is not there.
pub(super) fn names_no_bucket(said: &Said) -> bool {
    said.status == 404 && (said.code == "NoSuchBucket" || said.text.contains("(notFound"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;
    use storage::ErrorKind;

    fn document(code: u16, message: &str, reason: &str) -> String {
        serde_json::json!({"error": {"code": code, "message": message, "errors": [{"message": message, "domain": "global", "reason": reason}]}})
            .to_string()
    }

    #[test]
    fn only_the_service_itself_can_say_that_nothing_is_there() {
        for (status, body, expected) in [
            (404, document(404, "No such object: images/a/b", "notFound"), ErrorKind::NotFound),
            (404, "No such object: images/a/b".to_owned(), ErrorKind::NotFound),
            (404, "<Error><Code>NoSuchKey</Code></Error>".to_owned(), ErrorKind::NotFound),
            (404, "<Error><Code>NoSuchBucket</Code></Error>".to_owned(), ErrorKind::Unavailable),
            (404, document(404, "The specified bucket does not exist.", "notFound"), ErrorKind::Unavailable),
            (404, document(404, "Not Found", "notFound"), ErrorKind::Unavailable),
            (404, "<html>default backend".to_owned(), ErrorKind::Unavailable),
            (404, String::new(), ErrorKind::Unavailable),
            (403, document(403, "Quota exceeded", "quotaExceeded"), ErrorKind::NoSpace),
            (403, document(403, "x does not have storage.objects.get access", "forbidden"), ErrorKind::Unavailable),
            (412, document(412, "Precondition Failed", "conditionNotMet"), ErrorKind::Conflict),
            (429, document(429, "slow down", "rateLimitExceeded"), ErrorKind::Unavailable),
        ] {
            assert_eq!(kind_of(&said(status, &body).into_error("GCS")), expected, "{body}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        assert!(may_help(&said(503, "")) && may_help(&said(429, "")));
        assert!(may_help(&said(403, &document(403, "Rate", "userRateLimitExceeded"))));
        assert!(!may_help(&said(403, &document(403, "No", "forbidden"))) && !may_help(&said(404, "")));
        assert!(names_no_bucket(&said(404, &document(404, "Not Found", "notFound"))));
        assert!(!names_no_bucket(&said(404, "<html>")));
    }
}
