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

impl Route<'_> {
    /// The path as the cluster's rules name it, however it came; `None` for tags, which are no plain path.
    pub(crate) fn path(&self) -> Option<String> {
        Some(match self {
            Self::Alive => "/livez".to_owned(),
            Self::Ready => "/readyz".to_owned(),
            Self::Root => "/".to_owned(),
            Self::Version => "/version".to_owned(),
            Self::Core => "/api".to_owned(),
            Self::Groups => "/apis".to_owned(),
            Self::Group => format!("/apis/{GROUP}"),
            Self::Resources => format!("/apis/{GROUP}/{VERSION}"),
            Self::OpenApiV2 => "/openapi/v2".to_owned(),
            Self::OpenApiV3 => "/openapi/v3".to_owned(),
            Self::OpenApiV3Group => format!("/openapi/v3/apis/{GROUP}/{VERSION}"),
            Self::Tags { .. } => return None,
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
    /// To something other than tags, or what no resource knows.
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

    /// What a method does to tags, or to one that is named. `None` for a method that no resource has.
    pub(crate) fn of(method: &Method, is_named: bool, query: &str) -> Option<Self> {
        Some(match (method, is_named) {
            // Whatever the query says, as in Kubernetes: a right to get is none to watch.
            (&Method::GET | &Method::HEAD, true) => Self::Get,
            (&Method::GET | &Method::HEAD, false) if is_watch(query) => Self::Watch,
            (&Method::GET | &Method::HEAD, false) => Self::List,
            (&Method::DELETE, true) => Self::Delete,
            (&Method::DELETE, false) => Self::DeleteCollection,
            (&Method::POST, _) => Self::Create,
            (&Method::PUT, _) => Self::Update,
            (&Method::PATCH, _) => Self::Patch,
            _ => return None,
        })
    }
}

/// Whether the parameter `watch` is set, as Kubernetes reads booleans in queries: present, and neither `false` nor `0`.
fn is_watch(query: &str) -> bool {
    let value = Query::new(Some(query)).get("watch");
    value.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests;
