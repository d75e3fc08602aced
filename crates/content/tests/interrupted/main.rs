//! Operations that are cut off, and operations that meet: what storage then holds is never half of anything.

#![expect(clippy::unwrap_used, clippy::panic, reason = "assertions")]

mod changes;
mod cut;
mod drivers;
mod ended;
mod immutable;
mod lists;
mod model;
mod races;
mod removal;
mod shared;
mod tags;
mod whole;
mod world;
