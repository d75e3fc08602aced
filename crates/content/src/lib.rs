//! What a registry stores: blobs, uploads, manifests, tags, referrers, lists.
//!
//! Knows storage keys and OCI content, no users and no HTTP. Storage is the only truth; every cache here may be dropped at
//! any time. The tree is the one of distribution (`layout`), our own records are beside it and can be rebuilt.

mod blob;
mod cache;
mod catalog;
mod changes;
mod error;
mod expiry;
mod immutable;
pub mod layout;
mod lists;
mod manifest;
mod namespace;
mod put;
mod referrers;
mod remains;
mod removal;
mod session;
mod store;
mod tagging;
mod tags;
mod upload;
mod whole;

pub use blob::{AddressLife, Blob, BlobInfo};
pub use catalog::CatalogPage;
pub use changes::{Before, CHANGES_MAX, Change, Changes, Noted};
pub use error::{Error, Result};
pub use expiry::Expired;
pub use immutable::ImmutableTags;
pub use manifest::StoredManifest;
pub use namespace::{Namespace, NamespacePage, Owner};
pub use put::{IndexChildren, PutManifest, PutOutcome};
pub use referrers::ReferrersPage;
pub use removal::Removal;
pub use session::{SessionId, Ticket};
pub use store::{CacheCounts, Settings, Store};
pub use tags::{TagState, TagsPage};
pub use upload::Upload;
