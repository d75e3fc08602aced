//! ClusterRoles to give to users, by the names and with the rules that people know from OpenShift, and Deckhouse's access rules
//! as roles. They grant nothing until somebody is bound to them, or to `view`, `edit` or `admin`, which take them in.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};

use super::Object;
use super::metadata::cluster_wide;
use super::rights::rule;

/// Roles of OpenShift's first years name the empty group.
const IMAGE: &[&str] = &["", "image.openshift.io"];
const BUILD: &[&str] = &["", "build.openshift.io"];
const PROJECT: &[&str] = &["", "project.openshift.io"];
const PAYLOAD: &[&str] = &["payload-registry.deckhouse.io"];

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// What `rbac.authorization.k8s.io/aggregate-to-…` names.
#[derive(Clone, Copy)]
enum Aggregate {
    View,
    Edit,
    Admin,
}

impl Aggregate {
    const fn label(self) -> &'static str {
        match self {
            Self::View => "rbac.authorization.k8s.io/aggregate-to-view",
            Self::Edit => "rbac.authorization.k8s.io/aggregate-to-edit",
            Self::Admin => "rbac.authorization.k8s.io/aggregate-to-admin",
        }
    }
}

pub(super) fn objects() -> Vec<Object> {
    vec![
        role("registry-viewer", Some(Aggregate::View), viewer()),
        role("registry-editor", Some(Aggregate::Edit), editor()),
        role("registry-admin", Some(Aggregate::Admin), admin()),
        role("payload-registry-viewer", Some(Aggregate::View), payload(&["get"])),
        role("payload-registry-editor", Some(Aggregate::Edit), payload(&["get", "create"])),
        role("payload-registry-admin", Some(Aggregate::Admin), payload(&["get", "create", "delete"])),
        role("registry-monitoring", None, vec![rule(IMAGE, &["registry/metrics"], &["get"])]),
        role("system:image-puller", None, vec![layers(&["get"])]),
        role("system:image-pusher", None, vec![layers(&["get", "update"])]),
        role("system:image-builder", None, builder()),
        role("system:image-pruner", None, pruner()),
        role("system:registry", None, registry()),
    ]
}

fn role(name: &str, into: Option<Aggregate>, rules: Vec<PolicyRule>) -> Object {
    let labels: Vec<(&str, &str)> = into.iter().map(|into| (into.label(), "true")).collect();
    ClusterRole { metadata: cluster_wide(name, &labels), rules: Some(rules), aggregation_rule: None }.into()
}

fn layers(verbs: &[&str]) -> PolicyRule {
    rule(IMAGE, &["imagestreams/layers"], verbs)
}

fn payload(verbs: &[&str]) -> Vec<PolicyRule> {
    vec![rule(PAYLOAD, &["payloadrepositoryaccesses"], verbs)]
}

fn viewer() -> Vec<PolicyRule> {
    const RESOURCES: &[&str] =
        &["imagestreamimages", "imagestreammappings", "imagestreams", "imagestreamtags", "imagetags"];
    vec![
        rule(IMAGE, RESOURCES, READ),
        layers(&["get"]),
        rule(&[""], &["namespaces"], &["get"]),
        rule(PROJECT, &["projects"], &["get"]),
    ]
}

/// What editors and administrators share.
fn writer() -> Vec<PolicyRule> {
    const RESOURCES: &[&str] = &[
        "imagestreamimages",
        "imagestreammappings",
        "imagestreams",
        "imagestreams/secrets",
        "imagestreamtags",
        "imagetags",
    ];
    vec![
        rule(&[""], &["secrets", "serviceaccounts"], WRITE),
        rule(IMAGE, RESOURCES, WRITE),
        rule(IMAGE, &["imagestreamimports"], &["create"]),
        layers(&["get", "update"]),
        rule(&[""], &["namespaces"], &["get"]),
    ]
}

fn editor() -> Vec<PolicyRule> {
    let mut rules = writer();
    rules.push(rule(PROJECT, &["projects"], &["get"]));
    rules
}

fn admin() -> Vec<PolicyRule> {
    const REVIEWS: &[&str] = &[
        "localresourceaccessreviews",
        "localsubjectaccessreviews",
        "resourceaccessreviews",
        "subjectaccessreviews",
        "subjectrulesreviews",
    ];
    const RBAC: &[&str] = &["", "authorization.openshift.io", "rbac.authorization.k8s.io"];
    let mut rules = writer();
    rules.extend([
        rule(PROJECT, &["projects"], &["get", "delete"]),
        rule(RBAC, &["rolebindings", "roles"], WRITE),
        rule(&["", "authorization.openshift.io"], REVIEWS, &["create"]),
        rule(&["authorization.k8s.io"], &["localsubjectaccessreviews"], &["create"]),
    ]);
    rules
}

fn builder() -> Vec<PolicyRule> {
    vec![
        layers(&["get", "update"]),
        rule(IMAGE, &["imagestreams"], &["create"]),
        rule(BUILD, &["builds/details"], &["update"]),
        rule(BUILD, &["builds"], &["get"]),
    ]
}

/// What a tool must see to know which images are in use, and the right to delete the others.
fn pruner() -> Vec<PolicyRule> {
    const LIST: &[&str] = &["get", "list"];
    vec![
        rule(&[""], &["pods", "replicationcontrollers"], LIST),
        rule(&[""], &["limitranges"], &["list"]),
        rule(BUILD, &["buildconfigs", "builds"], LIST),
        rule(&["", "apps.openshift.io"], &["deploymentconfigs"], LIST),
        rule(&["batch"], &["cronjobs", "jobs"], LIST),
        rule(&["apps"], &["daemonsets", "deployments", "replicasets", "statefulsets"], LIST),
        rule(IMAGE, &["images"], &["delete"]),
        rule(IMAGE, &["images", "imagestreams"], READ),
        rule(IMAGE, &["imagestreams/status"], &["update"]),
    ]
}

fn registry() -> Vec<PolicyRule> {
    const GROUP: &[&str] = &["image.openshift.io"];
    vec![
        rule(&[""], &["limitranges", "resourcequotas"], &["list"]),
        rule(GROUP, &["imagestreamimages", "imagestreams/layers", "imagestreams/secrets"], &["get"]),
        rule(GROUP, &["imagestreams"], &["get", "update"]),
        rule(GROUP, &["imagestreamtags"], &["delete"]),
        rule(GROUP, &["images"], &["get", "update", "create"]),
        rule(GROUP, &["imagestreammappings"], &["create"]),
        rule(&["operator.openshift.io"], &["imagecontentsourcepolicies"], &["list"]),
        rule(&["config.openshift.io"], &["imagedigestmirrorsets", "imagetagmirrorsets"], &["list"]),
        rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
    ]
}
