//! Tags as objects of a real Kubernetes cluster: real kubectl, a real informer, real controllers.
//!
//! `cargo xtask test` brings a cluster up; without one, or with one that cannot reach this machine, the tests say on
//! standard error that they do not test anything, and pass. A cluster has one such API, and a dead one stops the deletion
//! of every namespace: all tests share one registry (see [`world`]), and those that end it are alone meanwhile.
//!
//! After a change of what kubectl shows: `HOMEPORT_BLESS=1 cargo test -p e2e --test tags` writes the files in `golden` anew.

mod certificates;
mod direct;
mod golden;
mod images;
mod world;

mod deletion;
mod expired;
mod informer;
mod kubectl;
mod namespaces;
mod neighbours;
mod paging;
mod proxies;
mod refusals;
mod replicas;
mod rights;
mod switches;
mod trust;
mod watch;
