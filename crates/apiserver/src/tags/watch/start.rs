//! Where a watch begins.

use std::time::{Duration, SystemTime};

use super::super::options::{ListOptions, Since};
use super::super::position::{Version, micros};
use super::too_old;
use crate::call::Server;
use crate::status::Result;

/// By so much the clocks of processes may differ, and what one has done reach another late.
const MARGIN: Duration = Duration::from_secs(10);

pub(super) struct From {
    /// Changes behind this position are told.
    pub(super) position: u64,
    /// What there is is told first.
    pub(super) initial: bool,
}

/// # Errors
/// 410 when not all changes since then are known.
pub(super) fn from(server: &Server, options: &ListOptions) -> Result<From> {
    let changes = server.parts.store.changes();
    let here = changes.here();
    let Since::At(version) = options.since else {
        return Ok(From { position: here, initial: options.send_initial_events != Some(false) });
    };
    if options.send_initial_events == Some(true) {
        return Ok(From { position: here, initial: true });
    }
    let margin = u64::try_from(MARGIN.as_micros()).unwrap_or(u64::MAX);
    if version.micros() > here.max(micros(SystemTime::now())).saturating_add(margin) {
        return Err(too_old());
    }
    let position = resumed(version, server.tags.origin, margin);
    if position < changes.oldest() { Err(too_old()) } else { Ok(From { position, initial: false }) }
}

/// A position of our own is exact; anything else is a time by somebody's clock.
fn resumed(version: Version, origin: super::super::position::Origin, margin: u64) -> u64 {
    version.of(origin).unwrap_or_else(|| version.micros().saturating_sub(margin))
}
