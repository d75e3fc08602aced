//! Storage drivers for buckets: one driver over what services for objects have in common, and what opens each of them.
//!
//! Nothing outside of this crate knows the client library. An object is seen whole or not at all, since services publish
//! objects at their end; small changes are applied one after the other under locks of this process, and where processes
//! meet by conditional writes.

mod apply;
mod bucket;
mod budget;
mod children;
mod driver;
mod error;
mod filling;
mod handle;
mod http;
mod keys;
mod leftovers;
mod list;
mod open;
mod parts;
mod read;
mod requests;
pub mod s3;
#[cfg(test)]
mod testing;

mod writer;

pub use budget::Budget;
pub use driver::BucketDriver;
pub use leftovers::Leftovers;
pub use open::OpenError;
pub use requests::{Outcome, Request, Requests};
