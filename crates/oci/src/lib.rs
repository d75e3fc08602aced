//! Vocabulary of the OCI distribution and image specifications: names, digests, routes, manifests.
//!
//! No I/O, no async, no clock. Whatever a stranger sends is parsed here once, into types that cannot
//! hold an invalid value; after that there are no strings.

mod digest;
mod error_code;
mod hasher;
mod manifest;
pub mod media_type;
mod name;
mod query;
mod range;
mod route;

pub use digest::{Algorithm, Digest, DigestError, HexDigest};
pub use error_code::ErrorCode;
pub use hasher::{HashStateError, Hasher};
pub use manifest::{Descriptor, Kind, Manifest, ManifestError};
pub use name::{NameError, REPO_NAME_MAX, RepoName, TAG_MAX, Tag, TagError};
pub use query::{Page, PageError, Query};
pub use range::{ByteRange, ChunkRange, RANGES_MAX, RangeOutcome, RangeSyntaxError, parse_range};
pub use route::{Reference, Route, RouteError};
