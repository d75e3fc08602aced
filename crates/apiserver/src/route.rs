//! What a path means, and what a request does to it.

use std::borrow::Cow;

use http::Method;
use oci::Query;
use percent_encoding::percent_decode_str;

use crate::tags::{GROUP, RESOURCE, VERSION};

/// A path that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/healthz`, `/livez`
    Alive,
    /// `/readyz`
    Ready,
    /// `/`
    Root,
    /// `/version`
    Version,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group,
    /// `/apis/<group>/<version>`
    Resources,
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiV3,
    /// `/openapi/v3/apis/<group>/<version>`
    OpenApiV3Group,
    /// Tags of one namespace or of all, or one tag.
    Tags {
        /// None stands for all.
        namespace: Option<Cow<'a, str>>,
        /// None stands for the collection.
        name: Option<Cow<'a, str>>,
    },
}

impl<'a> Route<'a> {
    /// Reads a path as it came; `None` for what is not served.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        // One slash at the end changes nothing, as in kube-apiserver.
        let trimmed = path.strip_prefix('/')?;
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segments: Vec<_> = trimmed.splitn(SEGMENTS_MAX, '/').map(decode).collect::<Option<_>>()?;
        let texts: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        Some(match texts.as_slice() {
            [""] => Self::Root,
            ["healthz" | "livez"] => Self::Alive,
            ["readyz"] => Self::Ready,
            ["version"] => Self::Version,
            ["api"] => Self::Core,
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiV3,
            ["openapi", "v3", "apis", GROUP, VERSION] => Self::OpenApiV3Group,
            ["apis"] => Self::Groups,
            ["apis", GROUP] => Self::Group,
            ["apis", GROUP, VERSION] => Self::Resources,
            ["apis", GROUP, VERSION, RESOURCE] => Self::Tags { namespace: None, name: None },
            ["apis", GROUP, VERSION, "namespaces", namespace, RESOURCE] if !namespace.is_empty() => {
                Self::Tags { namespace: segments.get(4).cloned(), name: None }
            }
            ["apis", GROUP, VERSION, "namespaces", namespace, RESOURCE, name]
                if !namespace.is_empty() && !name.is_empty() =>
            {
                Self::Tags { namespace: segments.get(4).cloned(), name: segments.get(6).cloned() }
            }
            _ => return None,
        })
    }
}

/// One more than the longest path has, so that longer ones are told apart.
const SEGMENTS_MAX: usize = 8;

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// What a request does, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Delete,
    DeleteCollection,
    Create,
    Update,
    Patch,
    /// To something other than tags.
    Path,
}

impl Verb {
    /// All of them, in the order of the counters.
    pub(crate) const ALL: [Self; 9] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Delete,
        Self::DeleteCollection,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Path,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Path => "path",
        }
    }

    /// `None` for a method that no resource has.
    pub(crate) fn of(method: &Method, route: &Route<'_>, query: &str) -> Option<Self> {
        let Route::Tags { name, .. } = route else { return Some(Self::Path) };
        Some(match (method, name) {
            (&Method::GET | &Method::HEAD, _) if is_watch(query) => Self::Watch,
            (&Method::GET | &Method::HEAD, Some(_)) => Self::Get,
            (&Method::GET | &Method::HEAD, None) => Self::List,
            (&Method::DELETE, Some(_)) => Self::Delete,
            (&Method::DELETE, None) => Self::DeleteCollection,
            (&Method::POST, _) => Self::Create,
            (&Method::PUT, _) => Self::Update,
            (&Method::PATCH, _) => Self::Patch,
            _ => return None,
        })
    }
}

/// Whether the parameter `watch` is set, as Kubernetes reads booleans in queries: present, and neither `false` nor `0`.
pub(crate) fn is_watch(query: &str) -> bool {
    let value = Query::new(Some(query)).get("watch");
    value.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests;
