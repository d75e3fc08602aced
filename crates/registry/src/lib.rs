//! The distribution HTTP API: parses a request, calls one operation of the content store, renders the answer.
//!
//! A request's way: limits, authentication, route, authorisation, operation. This crate keeps no state but caches of its
//! neighbours and counters; everything that a reload may change is in [`Live`].

mod auth;
mod blob;
mod catalog;
mod context;
mod error;
mod health;
mod limits;
mod lists;
mod log;
mod manifest;
mod metrics;
mod range;
mod respond;
mod service;
mod tenancy;
mod ticket;
mod token;
mod upload;

pub use context::{Cluster, Gates, Identity, Live, MetricsAccess, Realm, Redirects, Registry};
pub use health::Health;
pub use metrics::{BuildInfo, Metrics};
pub use service::{DebugService, Service};
pub use ticket::Signer;
