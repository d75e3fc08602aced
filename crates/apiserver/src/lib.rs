//! The aggregated Kubernetes API of the registry: tags as objects, straight from the content store.
//!
//! A request's way: health, authentication, route, authorisation of paths, limits, operation. Every failure leaves as a
//! `Status` object (`status`); what a caller sees of the tags is decided per repository by the operations in `tags`.
//!
//! Invariants: discovery and OpenAPI come from memory, whatever storage does, because a cluster whose discovery fails
//! cannot delete namespaces; headers that name a user count only with the certificate of the cluster's front proxy.

mod authn;
mod call;
mod discovery;
mod documents;
mod health;
mod limits;
mod log;
mod metrics;
mod negotiate;
mod openapi;
mod paths;
mod respond;
mod route;
mod service;
mod status;
mod tags;
#[cfg(test)]
mod testing;

pub use call::{Parts, Switches};
pub use service::ApiServer;
