//! One map from what a service says to what a caller decides by.
//!
//! "Not there" is believed only in the words of the service: a wrong address, a missing bucket or a proxy in between say
//! 404, too. What is not understood is `Unavailable`.

use object_store::Error as StoreError;
use std::io;
use storage::{Error, ErrorKind};

/// Longest text of a service that goes to the log, in bytes.
const TEXT_MAX: usize = 1000;

/// Wraps what the client library returned.
pub(crate) fn wrap(operation: &'static str, key: &str, error: &StoreError) -> Error {
    failed(operation, key, kind_of(error), &all_of(error))
}

/// An error of a known kind with the words of the service.
pub(crate) fn failed(operation: &'static str, key: &str, kind: ErrorKind, text: &str) -> Error {
    Error { kind, operation, key: key.to_owned(), source: io::Error::other(one_line(text)) }
}

/// A failure to read an answer's body.
pub(crate) fn io_error(error: &StoreError) -> io::Error {
    io::Error::other(one_line(&all_of(error)))
}

/// What an error says, and its causes as far as it does not say them itself.
pub(crate) fn all_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The text without line breaks and not too long.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if line.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
    }
    line
}

/// What a service said whose client is ours: the source of the library's error.
#[derive(Debug, thiserror::Error)]
#[error("Server returned non-2xx status code: {status}: {}{text}", in_a_document(.code))]
pub(crate) struct Said {
    /// Status of the answer.
    pub(crate) status: u16,
    /// In S3's words, such as `NoSuchKey`; empty: the text has it, or it does not matter.
    pub(crate) code: &'static str,
    /// In the service's own words, one line.
    pub(crate) text: String,
}

fn in_a_document(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!("<Code>{code}</Code> ") }
}

impl Said {
    pub(crate) fn into_error(self, store: &'static str) -> StoreError {
        StoreError::Generic { store, source: Box::new(self) }
    }
}

/// What a caller decides by.
pub(crate) fn kind_of(error: &StoreError) -> ErrorKind {
    let text = error.to_string();
    match (status(&text), code(&text)) {
        (Some(404), Some("NoSuchKey" | "NoSuchUpload" | "BlobNotFound")) => ErrorKind::NotFound,
        // The parts are not there, or not any more.
        (Some(400), Some("InvalidBlockList" | "InvalidPart" | "NoSuchUpload")) => ErrorKind::NotFound,
        (Some(412 | 304), _) | (Some(409), Some("BlobAlreadyExists" | "InvalidBlobType")) => ErrorKind::Conflict,
        (Some(507), _)
        | (_, Some("QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "StorageFull" | "OutOfCapacity")) => {
            ErrorKind::NoSpace
        }
        (_, Some("KeyTooLongError" | "KeyTooLong")) => ErrorKind::InvalidKey,
        _ if matches!(error, StoreError::InvalidPath { .. }) => ErrorKind::InvalidKey,
        _ => ErrorKind::Unavailable,
    }
}

/// The service says 404 without saying what of: an answer to a HEAD has no body.
pub(crate) fn claims_absence(error: &StoreError) -> bool {
    let text = error.to_string();
    status(&text) == Some(404) && code(&text).is_none()
}

/// Another conditional write of the same key was under way; neither outcome is known. The last code is versitygw's when both
/// give their file its name at once.
pub(crate) fn is_collision(error: &StoreError) -> bool {
    const CODES: [&str; 3] = ["ConditionalRequestConflict", "OperationAborted", "ExistingObjectIsDirectory"];
    let text = error.to_string();
    status(&text) == Some(409) && code(&text).is_some_and(|code| CODES.contains(&code))
}

/// One deletion of many found nothing, and the service takes that for a failure. The library keeps the code only in its text.
pub(crate) fn was_missing(error: &StoreError) -> bool {
    error.to_string().contains("(code: NoSuchKey)")
}

/// The service does not know this kind of request.
pub(crate) fn is_unsupported(error: &StoreError) -> bool {
    let text = error.to_string();
    matches!(error, StoreError::NotImplemented { .. } | StoreError::NotSupported { .. })
        || matches!(status(&text), Some(405 | 501))
        || code(&text) == Some("NotImplemented")
}

/// The library keeps status and body only in the text of its error.
pub(crate) fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The code of an error document.
pub(crate) fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: &str, body: &str) -> StoreError {
        let source = format!("Server returned non-2xx status code: {status}: {body}").into();
        match &status[..3] {
            "404" => StoreError::NotFound { path: "p".to_owned(), source },
            "409" => StoreError::AlreadyExists { path: "p".to_owned(), source },
            _ => StoreError::Generic { store: "S3", source },
        }
    }

    #[test]
    fn only_the_service_itself_can_say_that_nothing_is_there() {
        let document = |code: &str| format!("<Error><Code>{code}</Code></Error>");
        for (status, body, expected) in [
            ("404 Not Found", document("NoSuchKey"), ErrorKind::NotFound),
            ("404 Not Found", document("NoSuchUpload"), ErrorKind::NotFound),
            ("404 Not Found", document("NoSuchBucket"), ErrorKind::Unavailable),
            ("404 Not Found", document("BlobNotFound"), ErrorKind::NotFound),
            ("404 Not Found", document("ContainerNotFound"), ErrorKind::Unavailable),
            ("404 Not Found", document("ResourceNotFound"), ErrorKind::Unavailable),
            ("400 Bad Request", document("InvalidBlockList"), ErrorKind::NotFound),
            ("400 Bad Request", document("NoSuchUpload"), ErrorKind::NotFound),
            ("409 Conflict", document("BlobAlreadyExists"), ErrorKind::Conflict),
            ("409 Conflict", document("ContainerBeingDeleted"), ErrorKind::Unavailable),
            ("404 Not Found", String::new(), ErrorKind::Unavailable),
            ("404 Not Found", "<html>default backend</html>".to_owned(), ErrorKind::Unavailable),
            ("403 Forbidden", document("AccessDenied"), ErrorKind::Unavailable),
            ("403 Forbidden", document("QuotaExceeded"), ErrorKind::NoSpace),
            ("507 Insufficient Storage", String::new(), ErrorKind::NoSpace),
            ("412 Precondition Failed", document("PreconditionFailed"), ErrorKind::Conflict),
            ("409 Conflict", document("OperationAborted"), ErrorKind::Unavailable),
            ("400 Bad Request", document("KeyTooLongError"), ErrorKind::InvalidKey),
            ("503 Service Unavailable", document("SlowDown"), ErrorKind::Unavailable),
            ("500 Internal Server Error", document("NoSuchKey"), ErrorKind::Unavailable),
        ] {
            assert_eq!(kind_of(&said(status, &body)), expected, "{status} {body}");
        }
        assert!(claims_absence(&said("404 Not Found", "")));
        assert!(!claims_absence(&said("404 Not Found", &document("NoSuchBucket"))));
        assert!(is_collision(&said("409 Conflict", &document("ConditionalRequestConflict"))));
        assert!(is_unsupported(&said("501 Not Implemented", "")));
    }

    #[test]
    fn texts_are_one_short_line() {
        let line = one_line(&format!("a\n  b\r\n{}", "ü".repeat(2000)));
        assert!(line.starts_with("a b ü") && line.len() <= TEXT_MAX);
    }
}
