//! The driver on real servers, each in a folder of its own.
#![expect(clippy::unwrap_used, reason = "assertions")]

mod alike;
mod azure;
mod between;
mod ceph;
mod content;
mod gcs;
#[path = "../../../../xtask/src/server/port.rs"]
#[expect(unreachable_pub, reason = "elsewhere it is part of a library")]
mod port;
mod proxy;
mod s3;
mod swift;
mod wire;

use port::free_local_address;
