//! Where a watch begins.

use super::too_old;
use crate::status::Result;
use crate::tags::options::{ListOptions, Since};
use crate::tags::view::View;

pub(super) struct From {
    /// Changes behind this position are told.
    pub(super) position: u64,
    /// What there is is told first.
    pub(super) initial: bool,
    /// What the caller may do now.
    pub(super) grants: u64,
}

/// # Errors
/// 410 when not all changes since then are known, or the caller's rights are others now.
pub(super) fn from(view: &View, namespace: Option<&str>, options: &ListOptions) -> Result<From> {
    let (changes, shared) = (view.store().changes(), &view.server.tags);
    let here = changes.here();
    let grants = shared.grants.look(view, namespace);
    let whole = |initial| From { position: here, initial, grants: grants.stamp };
    let Since::At(version) = options.since else { return Ok(whole(options.send_initial_events != Some(false))) };
    if options.send_initial_events == Some(true) {
        return Ok(whole(true));
    }
    let position = version.resumed(shared.origin);
    // What a right that is new shows was there before, and what one that is gone has shown still is: no change tells that.
    if version.is_to_come(here) || position < changes.oldest() || version.micros() < grants.since {
        return Err(too_old());
    }
    Ok(From { position, initial: false, grants: grants.stamp })
}
