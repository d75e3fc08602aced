//! The addresses, and what can be done at each.

use serde_json::{Value, json};

use super::flavor::Flavor;
use super::{list_kind, meta, own};
use crate::tags::{GROUP, KIND, RESOURCE, VERSION};

/// Parameters of a list or watch: name, type and meaning.
const LIST: [(&str, &str, &str); 10] = [
    ("allowWatchBookmarks", "boolean", "Requests watch events with type \"BOOKMARK\"."),
    ("continue", "string", "Where a list with a limit goes on; taken from its metadata, valid for five minutes."),
    ("fieldSelector", "string", "Restricts the list by metadata.name, metadata.namespace, repository and tag."),
    ("labelSelector", "string", "Restricts the list by labels."),
    ("limit", "integer", "The most tags that one answer may have."),
    ("resourceVersion", "string", "The version that a watch begins after, or that a list must not be older than."),
    ("resourceVersionMatch", "string", "How resourceVersion is applied to a list."),
    ("sendInitialEvents", "boolean", "A watch begins with all tags that there are."),
    ("timeoutSeconds", "integer", "How long a list or watch may take."),
    ("watch", "boolean", "Watch for changes, instead of a list."),
];
/// Parameters of a deletion.
const DELETE: [(&str, &str, &str); 4] = [
    ("dryRun", "string", "When \"All\", nothing is deleted."),
    ("gracePeriodSeconds", "integer", "Without meaning here: a tag is gone at once."),
    ("orphanDependents", "boolean", "Must not be true: what depends on a tag is not changed here."),
    (
        "propagationPolicy",
        "string",
        "Background or Foreground, without a difference: a tag is gone at once. Orphan is refused.",
    ),
];
/// What a collection is narrowed down by before it is deleted.
const SELECTION: [&str; 3] = ["fieldSelector", "labelSelector", "limit"];
const PRETTY: (&str, &str, &str) = ("pretty", "string", "Without meaning here: the output is compact.");

/// One thing that can be done.
struct Operation {
    id: &'static str,
    action: &'static str,
    text: &'static str,
    answer: String,
    parameters: Vec<(&'static str, &'static str, &'static str)>,
    has_body: bool,
}

pub(super) fn paths(flavor: Flavor) -> Value {
    let version = format!("/apis/{GROUP}/{VERSION}");
    let namespaced = format!("{version}/namespaces/{{namespace}}/{RESOURCE}");
    let namespace = ("namespace", "The namespace, which is the first part of a repository's name.");
    let name = ("name", "The name of the tag: repository:tag in lower-case base32.");
    json!({
        format!("{version}/{RESOURCE}"): item(flavor, &[], vec![("get", list("ForAllNamespaces"))]),
        format!("{namespaced}"): item(
            flavor,
            &[namespace],
            vec![("get", list("Namespaced")), ("delete", delete_collection())],
        ),
        format!("{namespaced}/{{name}}"): item(flavor, &[namespace, name], vec![("get", read()), ("delete", delete())]),
    })
}

fn list(scope: &'static str) -> Operation {
    let id = if scope == "Namespaced" {
        "listPayloadRegistryV1alpha1NamespacedPayloadRepositoryTag"
    } else {
        "listPayloadRegistryV1alpha1PayloadRepositoryTagForAllNamespaces"
    };
    Operation {
        id,
        action: "list",
        text: "list or watch tags",
        answer: own(&list_kind()),
        parameters: LIST.to_vec(),
        has_body: false,
    }
}

fn read() -> Operation {
    Operation {
        id: "readPayloadRegistryV1alpha1NamespacedPayloadRepositoryTag",
        action: "get",
        text: "read the specified tag",
        answer: own(KIND),
        parameters: Vec::new(),
        has_body: false,
    }
}

fn delete() -> Operation {
    Operation {
        id: "deletePayloadRegistryV1alpha1NamespacedPayloadRepositoryTag",
        action: "delete",
        text: "delete a tag",
        answer: meta("Status"),
        parameters: DELETE.to_vec(),
        has_body: true,
    }
}

fn delete_collection() -> Operation {
    let selection = LIST.into_iter().filter(|(name, ..)| SELECTION.contains(name));
    Operation {
        id: "deletePayloadRegistryV1alpha1CollectionNamespacedPayloadRepositoryTag",
        action: "deletecollection",
        text: "delete a collection of tags",
        answer: meta("Status"),
        parameters: DELETE.into_iter().chain(selection).collect(),
        has_body: true,
    }
}

fn item(flavor: Flavor, parts: &[(&str, &str)], operations: Vec<(&str, Operation)>) -> Value {
    let mut parameters: Vec<Value> =
        parts.iter().map(|(name, text)| flavor.parameter("path", name, "string", text)).collect();
    let (name, kind, text) = PRETTY;
    parameters.push(flavor.parameter("query", name, kind, text));
    let mut item = json!({ "parameters": parameters });
    for (method, operation) in operations {
        item[method] = operation.render(flavor);
    }
    item
}

impl Operation {
    fn render(&self, flavor: Flavor) -> Value {
        let parameters: Vec<Value> =
            self.parameters.iter().map(|(name, kind, text)| flavor.parameter("query", name, kind, text)).collect();
        let answer = flavor.reference(&self.answer);
        let mut operation = json!({
            "description": self.text,
            "operationId": self.id,
            "tags": ["payloadRegistry_v1alpha1"],
            "parameters": parameters,
            "responses": {
                "200": flavor.response("OK", &answer),
                "401": { "description": "Unauthorized" },
            },
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": { "group": GROUP, "version": VERSION, "kind": KIND },
        });
        if flavor == Flavor::V2 {
            operation["consumes"] = json!(["application/json"]);
            operation["produces"] = json!(["application/json"]);
            operation["schemes"] = json!(["https"]);
        }
        if self.has_body {
            flavor.set_body(&mut operation, &flavor.reference(&meta("DeleteOptions")));
        }
        operation
    }
}
