//! Storage drivers for buckets: one driver over what services for objects have in common, and what opens each of them.
//!
//! Nothing outside of this crate knows the client library. An object is seen whole or not at all, since services publish
//! objects at their end; small changes are applied one after the other under locks of this process, and where processes
//! meet by conditional writes.

mod addresses;
mod answers;
mod apply;
mod attempts;
pub mod azure;
mod bucket;
mod budget;
mod children;
mod circuit;
mod claim;
mod connect;
mod delivery;
mod driver;
mod error;
mod filling;
pub mod gcs;
mod handle;
mod http;
mod kept;
mod keys;
mod leftovers;
mod list;
mod open;
mod parts;
mod read;
mod renewal;
mod requests;
pub mod s3;
mod secret;
pub mod swift;
#[cfg(test)]
mod testing;
mod writer;
mod xml;

pub use budget::Budget;
pub use circuit::Circuit;
pub use delivery::{BaseUrl, CloudFront};
pub use driver::BucketDriver;
pub use leftovers::Leftovers;
pub use open::OpenError;
pub use requests::{Outcome, Request, Requests};
pub use secret::Secret;
