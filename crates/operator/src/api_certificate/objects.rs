//! The objects of the API and the requests that change them, as values.

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::decide::{Key, Registration, Stored};
use super::pair::Pair;
use super::{MARK, SECRET, SERVICE};

/// Who changes objects here, as `managedFields` name it.
pub(super) const MANAGER: &str = "homeport-operator";

/// What an APIService says to us.
pub(super) fn registration(service: &APIService, namespace: &str) -> Registration {
    let Some(spec) = &service.spec else { return Registration::NotOurs };
    let leads = spec.service.as_ref().is_some_and(|service| {
        service.name.as_deref() == Some(SERVICE) && service.namespace.as_deref() == Some(namespace)
    });
    if !leads {
        return Registration::NotOurs;
    }
    let trusted = spec.ca_bundle.as_ref().map(|pem| Bundle::parse(&pem.0)).unwrap_or_default();
    Registration::Ours { trusted, held: holds_bundle(&service.metadata) }
}

/// Whether an earlier application of ours counts for the `caBundle`.
fn holds_bundle(metadata: &ObjectMeta) -> bool {
    metadata.managed_fields.iter().flatten().any(|entry| {
        let ours = entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply");
        ours && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:caBundle").is_some())
    })
}

/// What a Secret says to us.
pub(super) fn stored(secret: &Secret) -> Stored {
    let entry = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let annotations = secret.metadata.annotations.as_ref();
    Stored {
        marked: annotations.and_then(|all| all.get(MARK.0)).is_some_and(|value| value == MARK.1),
        chain: Bundle::parse(entry("tls.crt").unwrap_or_default()),
        key: Key(entry("tls.key").unwrap_or_default().to_owned()),
        ca: Bundle::parse(entry("ca.crt").unwrap_or_default()),
    }
}

/// The change that makes an APIService trust a bundle, applied as its holder.
pub(super) fn trust(service: &ObjectMeta, bundle: &Bundle) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": service.name, "uid": service.uid, "resourceVersion": service.resource_version},
        "spec": {"caBundle": BASE64.encode(bundle.to_pem().as_bytes())},
    })
}

/// The change of a Secret that says what is trusted.
pub(super) fn says(secret: &ObjectMeta, bundle: &Bundle) -> Value {
    json!({
        "metadata": {"uid": secret.uid, "resourceVersion": secret.resource_version},
        "data": {"ca.crt": BASE64.encode(bundle.to_pem().as_bytes())},
    })
}

/// The change that puts a new certificate into a Secret.
pub(super) fn replaced(secret: &ObjectMeta, pair: &Pair, bundle: &Bundle) -> Value {
    json!({
        "metadata": {"uid": secret.uid, "resourceVersion": secret.resource_version},
        "data": data(pair, bundle),
    })
}

/// A Secret with a new certificate.
pub(super) fn fresh(namespace: &str, pair: &Pair, bundle: &Bundle) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET,
            "namespace": namespace,
            "annotations": {(MARK.0): MARK.1},
            "labels": {"app.kubernetes.io/name": "homeport", "app.kubernetes.io/component": "registry"},
        },
        "type": "kubernetes.io/tls",
        "data": data(pair, bundle),
    })
}

fn data(pair: &Pair, bundle: &Bundle) -> Value {
    json!({
        "tls.crt": BASE64.encode(pair.certificate.as_bytes()),
        "tls.key": BASE64.encode(pair.key.as_bytes()),
        "ca.crt": BASE64.encode(bundle.to_pem().as_bytes()),
    })
}
