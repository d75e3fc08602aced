//! Which requests wait for a place.

use crate::context::Gates;
use crate::error::{Error, Result};
use http::{Method, header};
use net::Permit;
use oci::{ErrorCode, Route};

/// Waits for a place. HEAD of content and the base endpoint never wait: they cost nothing and everything begins with them.
pub(crate) async fn enter(gates: &Gates, method: &Method, route: &Route<'_>, client: &str) -> Result<Option<Permit>> {
    let gate = match (method, route) {
        (_, Route::Base) => return Ok(None),
        (&Method::HEAD, Route::Blob(..) | Route::Manifest(..)) => return Ok(None),
        (&Method::GET | &Method::HEAD, _) => &gates.read,
        _ => &gates.write,
    };
    gate.enter(client).await.map(Some).map_err(|refused| {
        Error::new(ErrorCode::TooManyRequests, "too many requests at once, try again later")
            .header(header::RETRY_AFTER, &refused.retry_after.as_secs().max(1).to_string())
    })
}
