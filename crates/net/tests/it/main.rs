//! Everything here goes through real sockets: a server in this process, and clients that speak bytes or hyper.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml permits it in test functions only")]

mod support;

mod drain;
mod files;
mod limits;
mod tls;
