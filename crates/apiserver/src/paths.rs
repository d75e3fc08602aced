//! Who may ask for paths that are no resources.

use access::Caller;
use http::Method;

use crate::call::Server;
use crate::route::Route;
use crate::status::{Failure, Result};

/// Lets the caller pass, or not, as the cluster says of the path that the route stands for: there are a dozen of them, so
/// callers without a name cause hardly any questions.
///
/// # Errors
/// 403; 503 while nobody can tell.
pub(crate) async fn authorize(server: &Server, caller: &Caller, method: &Method, route: &Route<'_>) -> Result<()> {
    let path = route.path().ok_or_else(Failure::no_such_path)?;
    let verb = method.as_str().to_ascii_lowercase();
    match server.parts.paths.allowed(caller, &path, &verb).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(forbidden(caller, method, &path)),
        Err(unavailable) => Err(Failure::unavailable(unavailable.to_string(), unavailable.retry_after)),
    }
}

/// 403, worded as Kubernetes does.
pub(crate) fn forbidden(caller: &Caller, method: &Method, path: &str) -> Failure {
    let name = caller.name().unwrap_or("system:anonymous");
    let verb = method.as_str().to_ascii_lowercase();
    Failure::forbidden_path(&format!("User {name:?} cannot {verb} path {path:?}"))
}
