//! Who ends an upload that several processes may know.
//!
//! Each of them has bytes of its own, and all of them name the same session object: only one may make something of it.

use crate::apply;
use crate::driver::Shared;
use crate::handle;
use crate::read;
use bytes::Bytes;
use std::time::SystemTime;
use storage::{Error, ErrorKind, PutMode, Result};
use uuid::Uuid;

/// What is claimed instead of a key when nothing shall come of the upload.
pub(crate) const DISCARDED: &str = "discarded";

/// Longest claim.
const CLAIM_MAX: usize = 4096;
/// Attempts where the one in the way is gone each time.
const ATTEMPTS: usize = 3;

/// Claims the upload for `what`: the final key, or [`DISCARDED`]. An earlier claim for the same is as good; one for
/// something else is a [`ErrorKind::Conflict`].
pub(crate) async fn take(shared: &Shared, id: Uuid, what: &str) -> Result<()> {
    let key = handle::end_key(id);
    for _ in 0..ATTEMPTS {
        let data = Bytes::copy_from_slice(what.as_bytes());
        match apply::put(shared, &key, data, PutMode::Create, SystemTime::now()).await {
            Err(error) if error.kind == ErrorKind::Conflict => {}
            other => return other,
        }
        match read::read_latest(shared, &key, CLAIM_MAX).await {
            Ok(found) if found.data == what.as_bytes() => return Ok(()),
            Ok(_) => break,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Conflict, "end", &key, "another request has ended the upload in another way"))
}
