//! Starts the built binary for tests: free ports, temporary folders, nothing left behind.

pub mod azure;
mod content;
pub mod front;
pub mod gcs;
mod http;
pub mod kube;
pub mod line;
pub mod manifests;
pub mod mourner;
pub mod place;
pub mod s3;
mod server;
mod service;
pub mod site;
pub mod swift;

pub use content::{Image, digest, random};
pub use http::{Answer, Client};
pub use server::{Server, ServerBuilder, binary};
pub use xtask::server::{free_address, free_local_address};

/// Where an external program of the tests is, or `None` with a line on standard error that says what is not tested.
pub fn tool(name: &str) -> Option<std::path::PathBuf> {
    let found = xtask::tools::find(name);
    if found.is_none() {
        use std::io::Write;
        let mut out = std::io::stderr();
        drop(writeln!(out, "not tested: {name} is not here; `cargo xtask tools {name}` says why"));
    }
    found
}
