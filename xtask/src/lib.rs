//! The project's own commands: `cargo xtask tools | test | tidy | conformance | bench`.
//!
//! A library as well as a program: [`tools::find`] is how tests locate the external programs.

pub mod bench;
pub mod command;
pub mod conformance;
pub mod load;
pub mod places;
pub mod server;
pub mod suite;
pub mod test;
pub mod tidy;
pub mod tools;
