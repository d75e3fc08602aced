//! The project's own commands: `cargo xtask tools | test | tidy | conformance | bench | cluster | image`.
//!
//! A library as well as a program: [`tools::find`] is how tests locate the external programs.

pub mod bench;
pub mod cluster;
pub mod command;
pub mod conformance;
pub mod image;
pub mod load;
pub mod places;
pub mod server;
pub mod suite;
pub mod test;
pub mod tidy;
pub mod tools;
