//! A registry that is part of a cluster, over HTTP. The cluster is a script; everything else is what runs.

#![expect(clippy::unwrap_used, reason = "assertions")]

mod catalog;
mod http;
mod remote;
mod script;
mod tenancy;
mod tokens;
mod world;
