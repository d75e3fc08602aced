//! The registry as part of a real Kubernetes cluster: `cargo xtask test` brings one up.
//!
//! A test that the machine cannot run says so on standard error, by name, and passes. All tests share the cluster, each has
//! namespaces and a registry of its own; those that break an API server have a cluster of their own.

// What the tests of the clients need and these do not.
#[expect(dead_code, reason = "shared with the tests of the clients")]
#[path = "../clients/desk.rs"]
mod desk;
#[expect(dead_code, reason = "shared with the tests of the clients")]
#[path = "../clients/material.rs"]
mod material;

mod pods;
mod tokens;

mod attack;
mod authority;
mod hosted;
mod login;
mod namespaces;
mod outage;
mod pull_secrets;
mod rights;
mod secretless;
mod shipped_roles;
