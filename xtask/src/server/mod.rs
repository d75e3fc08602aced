//! Servers under test: started on a free port of 127.0.0.1, ended by their process id.

pub mod guard;
mod port;
mod process;
pub mod usage;

pub use port::{free_address, free_local_address};
pub use process::{Launch, Server, free_port};
