//! Where bytes are kept: the driver seam and its back ends.
//!
//! A driver knows keys and bytes, nothing of registries. Keys are relative paths with `/` between parts. What a
//! driver acknowledges is durable. No method holds a whole blob in memory.

mod batch;
mod buffer;
mod driver;
mod error;
mod eventually;
pub mod fs;
mod locks;
pub mod memory;
mod names;
pub mod testing;

pub use batch::{Batch, Op, PutMode};
pub use buffer::{BUFFER_BYTES, Buffer, BufferPool};
pub use driver::{
    Addresses, ByteStream, Driver, INLINE_MAX, ListPage, Object, ObjectBody, RemoteObject, Stat, Task, Writer,
    check_key,
};
pub use error::{Error, ErrorKind, Result};
pub use eventually::Eventually;
pub use locks::{Held, KeyLocks};
pub use names::{Name, Names, NamesBuilder};
