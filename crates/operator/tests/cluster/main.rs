//! The controllers against a real API server, named by `HOMEPORT_TEST_KUBECONFIG`; without it, every test says that it is
//! skipped.

#![expect(clippy::unwrap_used, reason = "assertions")]

mod api_certificate;
mod namespaces;
mod pull_secrets;
mod store;
mod world;
