//! One error for all drivers: a kind to decide by, and what was being done for the log.

use std::io;

/// Result of a driver call.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The key does not exist.
    NotFound,
    /// A conditional write found the key present or changed.
    Conflict,
    /// The content is larger than the caller allowed.
    TooLarge,
    /// No space or quota left.
    NoSpace,
    /// The place is not writable.
    ReadOnly,
    /// The place is gone, broken or not answering.
    Unavailable,
    /// The key is not one that a driver can hold.
    InvalidKey,
}

/// A failed driver call.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {key}")]
pub struct Error {
    /// The kind.
    pub kind: ErrorKind,
    /// Verb of the failed step.
    pub operation: &'static str,
    /// The key (never a secret).
    pub key: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// An error of a given kind.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, key: &str, text: &'static str) -> Self {
        Self { kind, operation, key: key.to_owned(), source: io::Error::other(text) }
    }

    /// Wraps what the system said.
    #[must_use]
    pub fn io(operation: &'static str, key: &str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self { kind: classify(&source), operation, key: key.to_owned(), source }
    }

    /// True when there is nothing under the key.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// The same failure for a second waiter.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let source = match self.source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.source.kind(), self.source.to_string()),
        };
        Self { kind: self.kind, operation: self.operation, key: self.key.clone(), source }
    }
}

fn classify(source: &io::Error) -> ErrorKind {
    use io::ErrorKind as K;
    match source.kind() {
        // A file where a directory is expected is how a nested name shows that it does not exist.
        K::NotFound | K::NotADirectory | K::IsADirectory => ErrorKind::NotFound,
        K::AlreadyExists | K::DirectoryNotEmpty => ErrorKind::Conflict,
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => ErrorKind::NoSpace,
        K::ReadOnlyFilesystem | K::PermissionDenied => ErrorKind::ReadOnly,
        K::InvalidFilename => ErrorKind::InvalidKey,
        _ => ErrorKind::Unavailable,
    }
}
