//! Servers under test: started on a free port of 127.0.0.1, ended by their process id.

pub mod guard;
mod process;
pub mod usage;

pub use process::{Launch, Server, free_port};
