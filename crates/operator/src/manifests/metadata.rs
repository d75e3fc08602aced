//! Names and labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{Inputs, Object};
use crate::{namespaces, pull_secrets};

/// Name of most objects of the registry.
pub(super) const REGISTRY: &str = "homeport";
/// Name of most objects of the operator.
pub(super) const OPERATOR: &str = "homeport-operator";

const NAME_LABEL: &str = "app.kubernetes.io/name";
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// The two programs that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Registry,
    Operator,
}

impl Component {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Registry => REGISTRY,
            Self::Operator => OPERATOR,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Operator => "operator",
        }
    }

    /// The Lease that tells which of several pods leads.
    pub(super) const fn lease(self) -> &'static str {
        match self {
            Self::Registry => namespaces::LEASE,
            Self::Operator => pull_secrets::LEASE,
        }
    }

    /// Labels of the pods, and what selects them.
    pub(super) fn labels(self) -> BTreeMap<String, String> {
        map(&[(NAME_LABEL, REGISTRY), (COMPONENT_LABEL, self.word())])
    }

    pub(super) fn selector(self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.labels()), ..LabelSelector::default() }
    }
}

/// Metadata of an object in our namespace.
pub(super) fn namespaced(inputs: &Inputs, component: Component, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(inputs.namespace.clone()),
        labels: Some(component.labels()),
        ..ObjectMeta::default()
    }
}

/// Metadata of a cluster-wide object.
pub(super) fn cluster_wide(name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let mut all = map(&[(NAME_LABEL, REGISTRY)]);
    all.extend(map(labels));
    ObjectMeta { name: Some(name.to_owned()), labels: Some(all), ..ObjectMeta::default() }
}

pub(super) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn namespace(inputs: &Inputs) -> Object {
    let labels = [
        ("pod-security.kubernetes.io/enforce", "restricted"),
        ("pod-security.kubernetes.io/audit", "restricted"),
        ("pod-security.kubernetes.io/warn", "restricted"),
    ];
    Namespace { metadata: cluster_wide(&inputs.namespace, &labels), ..Namespace::default() }.into()
}
