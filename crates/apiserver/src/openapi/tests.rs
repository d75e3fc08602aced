use std::collections::BTreeSet;

use super::*;
use crate::testing::World;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(fields) => {
            for (key, field) in fields {
                match (key.as_str(), field.as_str()) {
                    ("$ref", Some(target)) => {
                        found.insert(target.to_owned());
                    }
                    _ => references(field, found),
                }
            }
        }
        _ => {}
    }
}

fn resolve(document: &Value, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    for target in &found {
        assert!(target.starts_with(prefix), "{target}");
        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target} leads nowhere");
    }
    found
}

/// The definitions that are used: the aggregator drops the others.
fn reachable(document: &Value, prefix: &str) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), BTreeSet::new());
    references(&document["paths"], &mut next);
    while let Some(target) = next.pop_first() {
        references(document.pointer(target.trim_start_matches('#')).unwrap(), &mut next);
        seen.insert(target.trim_start_matches(prefix).to_owned());
        next.retain(|target| !seen.contains(target.trim_start_matches(prefix)));
    }
    seen
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_reached() {
    let (v2, v3) = (v2("1.2.3"), v3("1.2.3"));
    assert!(resolve(&v2, "#/definitions/").len() > 10);
    assert!(resolve(&v3, "#/components/schemas/").len() > 10);
    let reached = reachable(&v2, "#/definitions/");
    assert_eq!(reached, reachable(&v3, "#/components/schemas/"));
    for name in ["ObjectMeta", "ListMeta", "DeleteOptions", "Status", "StatusCause", "ManagedFieldsEntry", "Time"] {
        assert!(reached.contains(&meta(name)), "{name}");
    }
    assert!(reached.contains(&own("PayloadRepositoryTag")) && reached.contains(&own("PayloadRepositoryTagList")));
}

/// The parameter with a good value, and what it needs beside it.
fn example(name: &str, token: &str) -> String {
    let value = match name {
        "allowWatchBookmarks" | "pretty" => "true",
        "continue" => token,
        "dryRun" => "All",
        "fieldSelector" => "tag%3Dv1",
        "gracePeriodSeconds" | "resourceVersion" => "0",
        "labelSelector" => "a%3Db",
        "limit" => "1",
        "orphanDependents" => "false",
        "propagationPolicy" => "Background",
        "resourceVersionMatch" => "NotOlderThan&resourceVersion=0",
        "sendInitialEvents" => "true&watch=true&resourceVersionMatch=NotOlderThan",
        "timeoutSeconds" => "5",
        "watch" => "true",
        other => panic!("{other} needs an example"),
    };
    format!("{name}={value}")
}

#[tokio::test]
async fn every_parameter_is_taken() {
    let world = World::start(&["project-1"]).await;
    world.rights.grant("alice", "project-1/*", &[access::Action::Pull, access::Action::Delete]);
    world.push("project-1/app", &["v1", "v2"], "one").await;
    let document = v2("1.2.3");
    let names = |parameters: &Value| -> Vec<String> {
        let of_query = parameters.as_array().unwrap().iter().filter(|parameter| parameter["in"] == "query");
        of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    for (address, item) in document["paths"].as_object().unwrap() {
        let path = address.replace("{namespace}", "project-1").replace("{name}", "mfyhaotwge");
        let page = world.get("alice", &format!("{path}?limit=1")).await.json();
        let token = page["metadata"]["continue"].as_str().unwrap_or_default();
        for method in ["get", "delete"] {
            let Some(operation) = item.get(method) else { continue };
            for name in [names(&item["parameters"]), names(&operation["parameters"])].concat() {
                let path = format!("{path}?dryRun=All&{}", example(&name, token));
                let answer = world.open("alice", method.to_uppercase().parse().unwrap(), &path, &[], "").await;
                assert_eq!(answer.status(), 200, "{method} {path}");
            }
        }
    }
}

/// `kubectl explain` finds a kind by this mark, in the exact form.
#[test]
fn kinds_are_marked() {
    let document = v3("1.2.3");
    let marked: BTreeSet<_> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, schema)| {
            schema["x-kubernetes-group-version-kind"]
                == json!([{ "group": GROUP, "version": VERSION, "kind": "PayloadRepositoryTag" }])
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(marked, BTreeSet::from(["io.deckhouse.payload-registry.v1alpha1.PayloadRepositoryTag"]));
}

/// Everything that a person can ask about has a type or a reference, and a text.
fn described(schema: &Value, at: &str) {
    let fields = schema.as_object().unwrap_or_else(|| panic!("{at} is no schema"));
    assert!(fields.contains_key("type") || fields.contains_key("$ref"), "{at} has no type");
    let text = fields.get("description").and_then(Value::as_str).unwrap_or_default();
    assert!(text.len() > 5, "{at} has no description");
    if let Some(properties) = fields.get("properties") {
        for (name, property) in properties.as_object().unwrap() {
            described(property, &format!("{at}.{name}"));
        }
    }
    let element = fields.get("items").or(fields.get("additionalProperties"));
    if let Some(properties) = element.and_then(|element| element.get("properties")) {
        for (name, property) in properties.as_object().unwrap() {
            described(property, &format!("{at}[].{name}"));
        }
    }
}

#[test]
fn every_field_is_described() {
    described(&tag(), "tag");
    described(&list(), "list");
}

#[test]
fn references_have_no_neighbours_in_version_3() {
    fn check(value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(check),
            Value::Object(fields) => {
                assert!(!fields.get("$ref").is_some_and(Value::is_string) || fields.len() == 1, "{value}");
                fields.values().for_each(check);
            }
            _ => {}
        }
    }
    let document = v3("1.2.3");
    check(&document);
    let metadata = document.pointer(&format!("/components/schemas/{}/properties/metadata", own(KIND))).unwrap();
    assert_eq!(metadata["allOf"][0]["$ref"], format!("#/components/schemas/{}", meta("ObjectMeta")));
    assert_eq!(metadata["description"], METADATA_TEXT);
}

#[test]
fn operations_have_names_of_their_own() {
    let document = v2("1.2.3");
    let mut names = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for method in ["get", "put", "post", "patch", "delete"] {
            names.extend(item.get(method).map(|operation| operation["operationId"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!((names.len(), names.iter().collect::<BTreeSet<_>>().len()), (5, 5), "{names:?}");
}

#[test]
fn the_root_names_the_document_with_its_hash() {
    assert_eq!(
        v3_root("ABC"),
        json!({ "paths": { "apis/payload-registry.deckhouse.io/v1alpha1": {
            "serverRelativeURL": "/openapi/v3/apis/payload-registry.deckhouse.io/v1alpha1?hash=ABC"
        } } })
    );
}

/// Every key path below a value, with `[]` for the elements of a list; keys of maps of the user's own are left out.
fn paths_of(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| paths_of(item, &format!("{at}[]"), found)),
        Value::Object(fields) => {
            for (key, field) in fields {
                let path = format!("{at}.{key}");
                if !["configLabels", "annotations"].contains(&key.as_str()) {
                    paths_of(field, &path, found);
                }
                found.insert(path);
            }
        }
        _ => {}
    }
}

fn paths_of_schema(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties") {
        for (name, property) in properties.as_object().unwrap() {
            let path = format!("{at}.{name}");
            paths_of_schema(property, &path, found);
            found.insert(path);
        }
    }
    if let Some(items) = schema.get("items") {
        paths_of_schema(items, &format!("{at}[]"), found);
    }
}

#[tokio::test]
async fn the_schema_has_the_fields_that_objects_have_and_no_others() {
    let world = World::start(&["project-1"]).await;
    world.rights.grant("alice", "project-1/*", &[access::Action::Pull]);
    let name = oci::RepoName::parse("project-1/app").unwrap();
    let image = world.push("project-1/app", &["image"], "one").await;
    let labels: Map<String, Value> = (0..100).map(|number| (format!("label-{number}"), "x".into())).collect();
    let config = json!({
        "architecture": "arm", "variant": "v7", "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": { "Labels": labels },
    });
    let (config, size) = world.push_blob(name, config.to_string().as_bytes()).await;
    let descriptor =
        |kind: &str, digest: &str, size: usize| json!({ "mediaType": kind, "digest": digest, "size": size });
    let image_type = "application/vnd.oci.image.manifest.v1+json";
    let subject = descriptor(image_type, &image.to_string(), 1);
    let labelled = json!({
        "schemaVersion": 2, "mediaType": image_type, "artifactType": "application/vnd.example", "subject": subject,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config.to_string(), size),
        "layers": [], "annotations": { "note": "x" },
    });
    world.push_manifest("project-1/app", &["labelled"], &labelled).await;
    let mut child = subject.clone();
    child["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [child],
    });
    world.push_manifest("project-1/app", &["index"], &index).await;
    let mut damaged = labelled;
    damaged["config"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    world.push_manifest("project-1/app", &["damaged"], &damaged).await;

    let list = world.get("alice", "/apis/payload-registry.deckhouse.io/v1alpha1/payloadrepositorytags").await.json();
    let (mut served, mut described) = (BTreeSet::new(), BTreeSet::new());
    for item in list["items"].as_array().unwrap() {
        paths_of(&item["status"], "status", &mut served);
    }
    paths_of_schema(&tag()["properties"]["status"], "status", &mut described);
    let (unserved, undescribed): (Vec<_>, Vec<_>) =
        (described.difference(&served).collect(), served.difference(&described).collect());
    assert!(unserved.is_empty() && undescribed.is_empty(), "{unserved:?} {undescribed:?} {list:#}");
}
