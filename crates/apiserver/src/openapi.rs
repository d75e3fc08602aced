//! The API in OpenAPI, versions 2 and 3: what `kubectl explain` shows and clients check objects by.

mod flavor;
mod operations;

use serde_json::{Map, Value, json};

use crate::tags::{self, GROUP, KIND, VERSION};
use flavor::Flavor;

/// Definitions that all APIs share, as Kubernetes 1.34 publishes them: word for word, so that the aggregator finds them
/// equal to its own.
const META: &str = include_str!("openapi/meta.json");
const META_PREFIX: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const OWN_PREFIX: &str = "io.deckhouse.payload-registry.v1alpha1.";
/// What is sent with requests and events of every group.
const COMMON: [&str; 2] = ["DeleteOptions", "WatchEvent"];

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object.";
const KIND_TEXT: &str = "Kind is a string value representing the REST resource this object represents.";
const TAG_TEXT: &str = "PayloadRepositoryTag is a tag of an image repository in the registry, read from the registry itself. \
                        It is made by pushing an image and can be deleted; it cannot be created or changed here.";
const LIST_TEXT: &str = "PayloadRepositoryTagList is a list of tags.";
const ITEMS_TEXT: &str = "Items are the tags, ordered by namespace, repository and tag.";
const METADATA_TEXT: &str = "Standard object's metadata. The name is the lower-case base32 form of repository:tag.";
const LIST_METADATA_TEXT: &str = "Standard list metadata.";

/// The document of version 2 with everything that is here.
pub(crate) fn v2(version: &str) -> Value {
    json!({
        "swagger": "2.0",
        "info": info(version),
        "paths": operations::paths(Flavor::V2),
        "definitions": definitions(),
    })
}

/// The document of version 3 for the group and version.
pub(crate) fn v3(version: &str) -> Value {
    let mut schemas = definitions();
    flavor::upgrade(&mut schemas);
    json!({
        "openapi": "3.0.0",
        "info": info(version),
        "paths": operations::paths(Flavor::V3),
        "components": { "schemas": schemas },
    })
}

/// Which documents of version 3 there are.
pub(crate) fn v3_root(hash: &str) -> Value {
    let path = format!("apis/{GROUP}/{VERSION}");
    json!({ "paths": { path: { "serverRelativeURL": v3_address(hash) } } })
}

pub(crate) fn v3_address(hash: &str) -> String {
    format!("/openapi/v3/apis/{GROUP}/{VERSION}?hash={hash}")
}

fn info(version: &str) -> Value {
    json!({ "title": "Homeport", "version": format!("v{version}") })
}

fn own(kind: &str) -> String {
    format!("{OWN_PREFIX}{kind}")
}

fn meta(kind: &str) -> String {
    format!("{META_PREFIX}{kind}")
}

fn reference(name: &str, text: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}"), "description": text })
}

fn kinds(kind: &str) -> Value {
    json!([{ "group": GROUP, "version": VERSION, "kind": kind }])
}

fn string(text: &str) -> Value {
    json!({ "type": "string", "description": text })
}

/// All definitions, in the form of version 2.
fn definitions() -> Value {
    // The text is a part of this program; a test reads it.
    let mut all: Map<String, Value> = serde_json::from_str(META).unwrap_or_default();
    for kind in COMMON {
        if let Some(definition) = all.get_mut(&meta(kind)) {
            definition["x-kubernetes-group-version-kind"] = kinds(kind);
        }
    }
    all.insert(own(KIND), tag());
    all.insert(own(&list_kind()), list());
    Value::Object(all)
}

pub(crate) fn list_kind() -> String {
    format!("{KIND}List")
}

fn tag() -> Value {
    let mut properties = tags::schema();
    properties["apiVersion"] = string(API_VERSION);
    properties["kind"] = string(KIND_TEXT);
    properties["metadata"] = reference(&meta("ObjectMeta"), METADATA_TEXT);
    json!({
        "type": "object",
        "description": TAG_TEXT,
        "properties": properties,
        "x-kubernetes-group-version-kind": kinds(KIND),
    })
}

fn list() -> Value {
    json!({
        "type": "object",
        "description": LIST_TEXT,
        "required": ["items"],
        "properties": {
            "apiVersion": string(API_VERSION),
            "kind": string(KIND_TEXT),
            "metadata": reference(&meta("ListMeta"), LIST_METADATA_TEXT),
            "items": {
                "type": "array",
                "description": ITEMS_TEXT,
                "items": { "$ref": format!("#/definitions/{}", own(KIND)) },
            },
        },
        "x-kubernetes-group-version-kind": kinds(&list_kind()),
    })
}

#[cfg(test)]
mod tests;
