//! Sockets and TLS; knows no registry.
//!
//! A server built on this crate binds a [`Listener`], optionally loads a [`ReloadingTls`], and hands both to
//! [`serve`] together with one [`Handler`]. Answers are a [`Body`], whose file variant leaves the process through
//! `sendfile` where the connection allows it. [`Gate`] bounds how many requests run at a time. A handler that knows its
//! own [`ClientAuthorities`] judges a client's certificate by them.
//!
//! Invariants: no runtime thread waits for a disk; every queue and buffer has a bound; nothing a client sends
//! makes this crate panic.

mod body;
mod connection;
mod file_body;
mod file_table;
mod limits;
mod listener;
mod network;
mod pace;
mod request_body;
mod serve;
mod socket;
mod stall;
mod tls;

pub use body::{Body, ByteStream, Part, Sent};
pub use connection::{ClientCertificate, Connection, Peer};
pub use file_body::FileRange;
pub use limits::{Gate, GateLimits, Permit, RefusalReason, Refused};
pub use listener::{BindError, Listener};
pub use network::Network;
pub use request_body::{RequestBody, RequestBodyError};
pub use serve::{Counters, Handler, HandlerFuture, ServeSettings, Served, serve};
pub use tls::{
    AuthoritiesError, ClientAuth, ClientAuthorities, ReloadingTls, TlsError, TlsSettings, TlsVersion, install_provider,
};
