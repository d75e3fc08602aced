//! The driver on real servers, each in a folder of its own.
#![expect(clippy::unwrap_used, reason = "assertions")]

mod alike;
mod azure;
mod between;
mod ceph;
mod content;
mod gcs;
mod proxy;
mod s3;
mod swift;
mod wire;
