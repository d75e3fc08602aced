//! What the API consists of, told in the two ways that clients ask for it.

use http::{HeaderMap, Response, header};
use net::Body;
use serde_json::{Value, json};

use crate::documents::{Document, Documents};
use crate::negotiate::{Clause, clauses, json_only};
use crate::respond::Encoding;
use crate::status::Result;
use crate::tags::{GROUP, KIND, RESOURCE, SHORT_NAMES, SINGULAR, VERSION};

/// What can be done to tags.
const VERBS: [&str; 5] = ["delete", "deletecollection", "get", "list", "watch"];
/// The group of aggregated discovery, and its document.
const DISCOVERY_GROUP: &str = "apidiscovery.k8s.io";
const DISCOVERY_KIND: &str = "APIGroupDiscoveryList";
const MEDIA_V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const MEDIA_V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const JSON: &str = "application/json";

/// `/apis`, in the best form that the client takes.
///
/// # Errors
/// 406.
pub(crate) fn answer_groups(documents: &Documents, headers: &HeaderMap, encoding: Encoding) -> Result<Response<Body>> {
    let accept = accept(headers);
    let choose = |clause: &Clause<'_>| {
        if !clause.takes_json() {
            return None;
        }
        match clause.conversion() {
            None => Some((&documents.groups, JSON)),
            Some((DISCOVERY_KIND, DISCOVERY_GROUP, "v2")) => Some((&documents.aggregated_v2, MEDIA_V2)),
            Some((DISCOVERY_KIND, DISCOVERY_GROUP, "v2beta1")) => Some((&documents.aggregated_v2beta1, MEDIA_V2BETA1)),
            Some(_) => None,
        }
    };
    let (document, media_type) = clauses(accept).iter().find_map(choose).ok_or_else(json_only)?;
    Ok(document.answer(media_type, headers, encoding))
}

/// A document that exists as plain JSON only.
///
/// # Errors
/// 406.
pub(crate) fn answer(document: &Document, headers: &HeaderMap, encoding: Encoding) -> Result<Response<Body>> {
    let plain = |clause: &Clause<'_>| clause.takes_json() && clause.conversion().is_none();
    if !clauses(accept(headers)).iter().any(plain) {
        return Err(json_only());
    }
    Ok(document.answer(JSON, headers, encoding))
}

pub(crate) fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok())
}

pub(crate) fn paths() -> Value {
    let group = format!("/apis/{GROUP}");
    let version = format!("{group}/{VERSION}");
    let openapi = format!("/openapi/v3{version}");
    let paths = [
        "/apis",
        &group,
        &version,
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        &openapi,
        "/readyz",
        "/version",
    ];
    json!({ "paths": paths })
}

/// As Kubernetes' `version.Info`, for clients that read it to know what they speak with.
pub(crate) fn version(version: &str) -> Value {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{version}"),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The group without a name, of which nothing is here.
pub(crate) fn core() -> Value {
    json!({ "kind": "APIVersions", "versions": [], "serverAddressByClientCIDRs": [] })
}

fn group_version() -> Value {
    json!({ "groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION })
}

pub(crate) fn groups() -> Value {
    let group = json!({ "name": GROUP, "versions": [group_version()], "preferredVersion": group_version() });
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group] })
}

pub(crate) fn group() -> Value {
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [group_version()],
        "preferredVersion": group_version(),
    })
}

pub(crate) fn resources() -> Value {
    let resource = json!({
        "name": RESOURCE,
        "singularName": SINGULAR,
        "namespaced": true,
        "kind": KIND,
        "verbs": VERBS,
        "shortNames": SHORT_NAMES,
    });
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"),
        "resources": [resource],
    })
}

pub(crate) fn aggregated(version: &str) -> Value {
    let resource = json!({
        "resource": RESOURCE,
        "responseKind": { "group": GROUP, "version": VERSION, "kind": KIND },
        "scope": "Namespaced",
        "singularResource": SINGULAR,
        "verbs": VERBS,
        "shortNames": SHORT_NAMES,
    });
    let group = json!({
        "metadata": { "name": GROUP },
        "versions": [{ "version": VERSION, "resources": [resource], "freshness": "Current" }],
    });
    json!({
        "kind": DISCOVERY_KIND,
        "apiVersion": format!("{DISCOVERY_GROUP}/{version}"),
        "metadata": {},
        "items": [group],
    })
}

#[cfg(test)]
mod tests;
