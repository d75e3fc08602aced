//! Who reaches the pods, and how many of them may go at once.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::{Component, namespaced};
use super::{API_PORT, Inputs, Object, PORT};

/// The port's name in pods and at the Service.
pub(super) const PORT_NAME: &str = "registry";
/// The operator's, with health and figures only.
pub(super) const HEALTH_PORT: i32 = 8080;
pub(super) const HEALTH_PORT_NAME: &str = "health";

pub(super) fn objects(inputs: &Inputs) -> [Object; 4] {
    let ports = [Some(PORT), inputs.api.is_some().then_some(API_PORT)];
    [
        service(inputs),
        policy(inputs, Component::Registry, ports.into_iter().flatten()),
        policy(inputs, Component::Operator, [HEALTH_PORT]),
        budget(inputs),
    ]
}

fn service(inputs: &Inputs) -> Object {
    let port = ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: PORT,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata: namespaced(inputs, Component::Registry, Component::Registry.name()),
        spec: Some(ServiceSpec {
            ports: Some(vec![port]),
            selector: Some(Component::Registry.labels()),
            type_: Some(inputs.service_type.as_str().to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
    .into()
}

/// Where pods may connect to is left open: the addresses of the API server and of the name server are each cluster's own.
fn policy(inputs: &Inputs, component: Component, ports: impl IntoIterator<Item = i32>) -> Object {
    let port = |port| NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    let ports = ports.into_iter().map(port).collect();
    NetworkPolicy {
        metadata: namespaced(inputs, component, component.name()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(component.selector()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule { from: None, ports: Some(ports) }]),
            egress: None,
        }),
    }
    .into()
}

fn budget(inputs: &Inputs) -> Object {
    // With a single pod, anything else would keep its node from ever being drained.
    let available = i32::from(inputs.replicas > 1);
    PodDisruptionBudget {
        metadata: namespaced(inputs, Component::Registry, Component::Registry.name()),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(available)),
            selector: Some(Component::Registry.selector()),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            max_unavailable: None,
        }),
        status: None,
    }
    .into()
}
