//! The driver on real servers.
#![expect(clippy::unwrap_used, reason = "assertions")]

mod faults;
mod large;
mod mistakes;
mod proxy;
mod server;
mod small;
