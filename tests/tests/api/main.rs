//! The HTTP API of the built binary, as clients and administrators meet it.
//!
//! Every server is checked when a test is done with it: no panic, and no answer 500.

#![expect(clippy::unwrap_used, reason = "tests; clippy knows only functions marked as such")]

mod support;

mod access;
mod addresses;
mod aggregated;
mod bucket;
mod clients;
mod command;
mod hostile;
mod immutable;
mod lifecycle;
mod limits;
mod lists;
mod manifests;
mod observe;
mod outage;
mod reads;
mod redirects;
mod reload;
mod requests;
mod storage;
mod tls;
mod tokens;
mod trouble;
mod uploads;
