//! Against a real API server, named by the environment variable `HOMEPORT_TEST_KUBECONFIG`: an administrator's kubeconfig.
//! Without it, only what needs no API server is tested.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests; clippy.toml permits it in test functions only")]

mod away;
mod events;
mod lease;
mod namespaces;
mod rbac;
mod request_headers;
mod rights_review;
mod support;
mod tokens;
mod watch;
