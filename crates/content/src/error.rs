//! What can come out of an operation other than its result.

use oci::{Digest, ManifestError};

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Outcomes that a client is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such blob in the repository.
    #[error("blob is not in this repository")]
    BlobUnknown,
    /// No such manifest in the repository.
    #[error("manifest is not in this repository")]
    ManifestUnknown,
    /// No such repository.
    #[error("repository is not known")]
    NameUnknown,
    /// No such session; it may have ended.
    #[error("upload is not known, it may have ended or expired; start a new one")]
    UploadUnknown,
    /// Somebody else writes the session, or the chunk does not fit.
    #[error("chunk does not continue the upload at byte {offset}")]
    OutOfOrder {
        /// Bytes that the session has.
        offset: u64,
    },
    /// The content is not what its digest says.
    #[error("content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Box<Digest>,
        /// What was received.
        actual: Box<Digest>,
    },
    /// The manifest cannot be accepted.
    #[error(transparent)]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest has an address that the configuration does not allow.
    #[error("address {0} of a layer is not allowed by the configuration (validation.manifests.urls)")]
    UrlNotAllowed(String),
    /// The manifest refers to what is not in the repository.
    #[error("manifest refers to content that is not in this repository")]
    ReferencesUnknown(Vec<Digest>),
    /// The tag stays what it is, by the configuration.
    #[error("tag {tag} of {repository} is immutable (homeport.tags.immutable) and {}", stays(.is.as_deref()))]
    TagImmutable {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
        /// What it is, and stays; `None`: that cannot be told.
        is: Option<Box<Digest>>,
    },
    /// Whose content it is cannot be told.
    #[error("owner record {0} is damaged")]
    OwnerDamaged(String),
    /// It is not any more what the caller believes.
    #[error("it has changed meanwhile")]
    Changed,
    /// Storage failed.
    #[error("storage failed")]
    Storage(#[from] storage::Error),
}

impl Error {
    /// "Not found" of storage becomes `missing`, everything else stays.
    pub(crate) fn or(error: storage::Error, missing: Self) -> Self {
        if error.is_not_found() { missing } else { Self::Storage(error) }
    }
}

fn stays(digest: Option<&Digest>) -> String {
    match digest {
        Some(digest) => format!("stays {digest}"),
        None => "its link is damaged: delete it, then push again".to_owned(),
    }
}
