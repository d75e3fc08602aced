//! One tag.

use std::sync::Arc;

use access::Action;
use http::{Response, StatusCode};
use net::Body;

use super::details::Keep;
use super::look;
use super::name::{self, Decoded};
use super::options::Since;
use super::render::{Renderer, Style};
use super::view::View;
use crate::call::Call;
use crate::respond;
use crate::status::{Failure, Result};

/// # Errors
/// 400, 504; 404 also for what the caller may not see.
pub(crate) async fn get(call: Call, namespace: &str, name: &str) -> Result<Response<Body>> {
    let style = Style::of(call.form, &call.query)?;
    Since::parse(&call.query)?.check(call.server.tags.here(&call.server.parts.store))?;
    let missing = || Failure::not_found(name);
    let Decoded { repo, tag } = name::decode(namespace, name).ok_or_else(missing)?;
    let view = View { server: Arc::clone(&call.server), caller: call.caller };
    if !view.may(Action::Pull, &repo).await? {
        return Err(missing());
    }
    let entry = look::place(&view, namespace, &repo, &tag).await?.ok_or_else(missing)?;
    let found = look::one(&view, entry, style.depth(), Keep::Everything, true).await?.ok_or_else(missing)?;
    let renderer = Renderer { style, host: (view.server.parts.host)() };
    Ok(respond::json(StatusCode::OK, &renderer.single(&found, true), call.encoding))
}
