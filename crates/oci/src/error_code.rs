//! Error codes of the `errors[]` body (distribution-spec, "Error Codes") and of distribution.

/// A code and the HTTP status that goes with it unless the operation says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Blob is not in the repository.
    BlobUnknown,
    /// Upload cannot be finished.
    BlobUploadInvalid,
    /// No such upload session.
    BlobUploadUnknown,
    /// Digest malformed, unsupported, or not that of the content.
    DigestInvalid,
    /// A manifest refers to a blob or manifest that is not in the repository.
    ManifestBlobUnknown,
    /// Manifest cannot be accepted.
    ManifestInvalid,
    /// Manifest is not in the repository.
    ManifestUnknown,
    /// Repository name is against the grammar.
    NameInvalid,
    /// No such repository.
    NameUnknown,
    /// Declared and real length differ, or too long.
    SizeInvalid,
    /// Tag is against the grammar.
    TagInvalid,
    /// `n` is not a number.
    PaginationNumberInvalid,
    /// Chunk does not continue where the upload stands.
    RangeInvalid,
    /// No or wrong credentials.
    Unauthorized,
    /// Known caller without the right.
    Denied,
    /// Operation switched off or not offered.
    Unsupported,
    /// Limit reached, come back later.
    TooManyRequests,
    /// Storage or another dependency does not answer.
    Unavailable,
    /// No space left.
    InsufficientStorage,
    /// A defect of ours.
    Unknown,
}

impl ErrorCode {
    /// The code as it stands in the body.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unavailable | Self::InsufficientStorage => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// HTTP status (a number: this crate knows no HTTP library).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BlobUnknown | Self::BlobUploadUnknown | Self::ManifestUnknown | Self::NameUnknown => 404,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid
            | Self::TagInvalid
            | Self::PaginationNumberInvalid => 400,
            Self::RangeInvalid => 416,
            Self::Unauthorized => 401,
            Self::Denied => 403,
            Self::Unsupported => 405,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::InsufficientStorage => 507,
            Self::Unknown => 500,
        }
    }
}
