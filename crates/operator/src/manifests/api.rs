//! Tags as objects of the cluster: the API server hands requests about them on to the registry.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec, ServiceReference};

use super::metadata::{Component, cluster_wide, map, namespaced, texts};
use super::rights::{RBAC, reference, rule, subject};
use super::{Api, Inputs, Object};
use crate::api_certificate::{API_SERVICE, MARK, Pair, SECRET, SERVICE};

/// The port's name in pods.
pub(super) const PORT_NAME: &str = "api";
/// The port of the Service, which kube-apiserver expects.
const SERVICE_PORT: i32 = 443;
const GROUP: &str = "payload-registry.deckhouse.io";
const VERSION: &str = "v1alpha1";
/// Everybody may ask; what is shown is decided by the rights on repositories.
const TAGS_ROLE: &str = "payload-registry-tags";
const TAGS_VERBS: &[&str] = &["get", "list", "watch", "delete", "deletecollection"];
/// Behind all groups that people type by their short names.
const GROUP_PRIORITY: i32 = 1000;
const VERSION_PRIORITY: i32 = 15;

/// What the registry needs to be a part of the API server, and what users need to ask it.
pub(super) fn rights(inputs: &Inputs) -> Vec<Object> {
    if inputs.api.is_none() {
        return Vec::new();
    }
    let registry = || Some(vec![subject(inputs, Component::Registry)]);
    let delegator = ClusterRoleBinding {
        metadata: cluster_wide(&format!("{}:auth-delegator", inputs.namespace), &[]),
        role_ref: reference("ClusterRole", "system:auth-delegator"),
        subjects: registry(),
    };
    // Of which authority and under which names the API server comes is said in its own namespace.
    let reader = RoleBinding {
        metadata: ObjectMeta {
            namespace: Some("kube-system".to_owned()),
            ..cluster_wide(&format!("{}:authentication-reader", inputs.namespace), &[])
        },
        role_ref: reference("Role", "extension-apiserver-authentication-reader"),
        subjects: registry(),
    };
    let tags = ClusterRole {
        metadata: cluster_wide(TAGS_ROLE, &[]),
        rules: Some(vec![rule(&[GROUP], &["payloadrepositorytags"], TAGS_VERBS)]),
        aggregation_rule: None,
    };
    let everybody = Subject {
        api_group: Some(RBAC.to_owned()),
        kind: "Group".to_owned(),
        name: "system:authenticated".to_owned(),
        namespace: None,
    };
    let asked = ClusterRoleBinding {
        metadata: cluster_wide(TAGS_ROLE, &[]),
        role_ref: reference("ClusterRole", TAGS_ROLE),
        subjects: Some(vec![everybody]),
    };
    vec![delegator.into(), reader.into(), tags.into(), asked.into()]
}

/// What the operator needs to keep the certificate and what is trusted in step, and to take the APIService away with the
/// namespace.
pub(super) fn keeper(inputs: &Inputs) -> [PolicyRule; 2] {
    let only = |name: &str, rule| PolicyRule { resource_names: Some(texts(&[name])), ..rule };
    [
        only(API_SERVICE, rule(&["apiregistration.k8s.io"], &["apiservices"], &["get", "patch", "delete"])),
        only(&inputs.namespace, rule(&[""], &["namespaces"], &["get"])),
    ]
}

/// The certificate that pods serve with.
pub(super) fn secret(inputs: &Inputs) -> Option<Object> {
    let Pair { certificate, key } = inputs.api.as_ref()?.certificate.as_ref()?;
    let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_owned()));
    let secret = Secret {
        metadata: ObjectMeta { annotations: Some(map(&[MARK])), ..namespaced(inputs, Component::Registry, SECRET) },
        data: Some([entry("tls.crt", certificate), entry("tls.key", key), entry("ca.crt", certificate)].into()),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    };
    Some(secret.into())
}

/// Where the API server finds the API.
pub(super) fn registration(inputs: &Inputs) -> Vec<Object> {
    let Some(api) = &inputs.api else { return Vec::new() };
    vec![service(inputs), api_service(inputs, api)]
}

fn service(inputs: &Inputs) -> Object {
    let port = ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: SERVICE_PORT,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata: namespaced(inputs, Component::Registry, SERVICE),
        spec: Some(ServiceSpec {
            ports: Some(vec![port]),
            // A registry whose storage is away still says what kinds of objects there are: an API that says nothing keeps
            // every namespace from being deleted.
            publish_not_ready_addresses: Some(true),
            selector: Some(Component::Registry.labels()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
    .into()
}

fn api_service(inputs: &Inputs, api: &Api) -> Object {
    APIService {
        metadata: cluster_wide(API_SERVICE, &[]),
        spec: Some(APIServiceSpec {
            ca_bundle: api.certificate.as_ref().map(|pair| ByteString(pair.certificate.as_bytes().to_owned())),
            group: Some(GROUP.to_owned()),
            group_priority_minimum: GROUP_PRIORITY,
            service: Some(ServiceReference {
                name: Some(SERVICE.to_owned()),
                namespace: Some(inputs.namespace.clone()),
                port: Some(SERVICE_PORT),
            }),
            version: Some(VERSION.to_owned()),
            version_priority: VERSION_PRIORITY,
            insecure_skip_tls_verify: None,
        }),
        status: None,
    }
    .into()
}
