//! Who may ask for paths that are no resources.

use access::Caller;
use http::Method;

use crate::call::Server;
use crate::status::{Failure, Result};

/// Lets the caller pass, or not, as the cluster says.
///
/// # Errors
/// 403; 503 while nobody can tell.
pub(crate) async fn authorize(server: &Server, caller: &Caller, method: &Method, path: &str) -> Result<()> {
    let verb = method.as_str().to_ascii_lowercase();
    match server.parts.paths.allowed(caller, path, &verb).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let name = caller.name().unwrap_or("system:anonymous");
            Err(Failure::forbidden_path(&format!("User {name:?} cannot {verb} path {path:?}")))
        }
        Err(unavailable) => Err(Failure::unavailable(unavailable.to_string(), unavailable.retry_after)),
    }
}
