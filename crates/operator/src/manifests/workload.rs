//! The two Deployments.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile,
    SecretKeySelector, SecretVolumeSource, SecurityContext, SleepAction, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config::{
    API_FOLDER, CONFIG_FOLDER, CONFIG_KEY, CONFIG_MAP, DATA_FOLDER, SECRET, SECRET_KEY, TLS_FOLDER, checksum,
};
use super::metadata::{Component, map, namespaced, texts};
use super::network::{HEALTH_PORT, HEALTH_PORT_NAME, PORT_NAME};
use super::{API_PORT, Inputs, Object, PORT, api, storage};
use crate::api_certificate;

const USER: i64 = 1001;
const CONFIG_VOLUME: &str = "config";
const TLS_VOLUME: &str = "tls";
const API_VOLUME: &str = "api-tls";
/// A pod that leaves is out of the Service's addresses after this time, while it still answers.
const LEAVE_SECONDS: i64 = 5;
/// Leaving takes 5 s, running requests get 30 s to end (`http.draintimeout`), those of the API of tags another 5 s; the rest is
/// for the last writes.
const GRACE_SECONDS: i64 = 60;

pub(super) fn registry(inputs: &Inputs, config: &str) -> Object {
    let mut mounts = vec![mount(CONFIG_VOLUME, CONFIG_FOLDER, true), mount(storage::VOLUME, DATA_FOLDER, false)];
    let mut volumes = vec![config_volume(), storage::volume(inputs)];
    if let Some(secret) = &inputs.tls_secret {
        mounts.push(mount(TLS_VOLUME, TLS_FOLDER, true));
        volumes.push(tls_volume(TLS_VOLUME, secret, false));
    }
    let mut ports = vec![port(PORT_NAME, PORT)];
    if inputs.api.is_some() {
        ports.push(port(api::PORT_NAME, API_PORT));
        mounts.push(mount(API_VOLUME, API_FOLDER, true));
        // Images are served without it, and the operator makes it when it is not there.
        volumes.push(tls_volume(API_VOLUME, api_certificate::SECRET, true));
    }
    let several = inputs.replicas > 1;
    let scheme = if inputs.tls_secret.is_some() { "HTTPS" } else { "HTTP" };
    let probe = |path, period_seconds| probe(PORT_NAME, scheme, path, period_seconds);
    let container = Container {
        ports: Some(ports),
        env: Some(vec![secret_variable()]),
        startup_probe: Some(Probe { failure_threshold: Some(60), ..probe("/livez", 2) }),
        liveness_probe: Some(probe("/livez", 10)),
        readiness_probe: Some(probe("/readyz", 5)),
        // A single pod has no other to send clients to.
        lifecycle: several.then(leave_first),
        resources: Some(resources("100m", "128Mi", "1Gi")),
        volume_mounts: Some(mounts),
        ..container(inputs, Component::Registry, "serve", &[])
    };
    let pod = PodSpec {
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        topology_spread_constraints: several.then(|| vec![spread(Component::Registry)]),
        ..pod(Component::Registry, container)
    };
    // A volume of one node cannot go to the next pod before the last one has let it go.
    let strategy = if several { rolling() } else { recreate() };
    deployment(inputs, Component::Registry, inputs.replicas, strategy, config, pod)
}

pub(super) fn operator(inputs: &Inputs, config: &str) -> Object {
    let container = Container {
        ports: Some(vec![port(HEALTH_PORT_NAME, HEALTH_PORT)]),
        liveness_probe: Some(probe(HEALTH_PORT_NAME, "HTTP", "/livez", 10)),
        readiness_probe: Some(probe(HEALTH_PORT_NAME, "HTTP", "/readyz", 5)),
        resources: Some(resources("10m", "32Mi", "256Mi")),
        volume_mounts: Some(vec![mount(CONFIG_VOLUME, CONFIG_FOLDER, true)]),
        ..container(inputs, Component::Operator, "operator", &[&format!("--listen=:{HEALTH_PORT}")])
    };
    let pod = PodSpec { volumes: Some(vec![config_volume()]), ..pod(Component::Operator, container) };
    deployment(inputs, Component::Operator, 1, rolling(), config, pod)
}

fn deployment(
    inputs: &Inputs,
    component: Component,
    replicas: u32,
    strategy: DeploymentStrategy,
    config: &str,
    pod: PodSpec,
) -> Object {
    let template = ObjectMeta {
        labels: Some(component.labels()),
        annotations: Some(map(&[("homeport/config", checksum(config).as_str())])),
        ..ObjectMeta::default()
    };
    Deployment {
        metadata: namespaced(inputs, component, component.name()),
        spec: Some(DeploymentSpec {
            replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
            revision_history_limit: Some(3),
            selector: component.selector(),
            strategy: Some(strategy),
            template: PodTemplateSpec { metadata: Some(template), spec: Some(pod) },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
    .into()
}

fn pod(component: Component, container: Container) -> PodSpec {
    PodSpec {
        service_account_name: Some(component.name().to_owned()),
        // Variables of Services could be taken for settings.
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container],
        ..PodSpec::default()
    }
}

fn container(inputs: &Inputs, component: Component, command: &str, flags: &[&str]) -> Container {
    let mut args = vec![command.to_owned(), format!("{CONFIG_FOLDER}/{CONFIG_KEY}")];
    args.extend(texts(flags));
    Container {
        name: component.word().to_owned(),
        image: Some(inputs.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn secret_variable() -> EnvVar {
    let key = SecretKeySelector { name: SECRET.to_owned(), key: SECRET_KEY.to_owned(), optional: None };
    EnvVar {
        name: "REGISTRY_HTTP_SECRET".to_owned(),
        value: None,
        value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
    }
}

fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(port: &str, scheme: &str, path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            scheme: Some(scheme.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn leave_first() -> Lifecycle {
    let sleep = SleepAction { seconds: LEAVE_SECONDS };
    Lifecycle {
        pre_stop: Some(LifecycleHandler { sleep: Some(sleep), ..LifecycleHandler::default() }),
        ..Lifecycle::default()
    }
}

/// No limit of processor time: a registry that is slowed down slows down every pod that starts.
fn resources(cpu: &str, memory: &str, memory_limit: &str) -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", cpu), ("memory", memory)])),
        limits: Some(quantities(&[("memory", memory_limit)])),
        claims: None,
    }
}

fn spread(component: Component) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        label_selector: Some(component.selector()),
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    }
}

fn rolling() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        }),
    }
}

fn recreate() -> DeploymentStrategy {
    DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }
}

fn mount(volume: &str, folder: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: folder.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn config_volume() -> Volume {
    Volume {
        name: CONFIG_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: CONFIG_MAP.to_owned(), ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    }
}

fn tls_volume(name: &str, secret: &str, optional: bool) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            // The key is for the group that the pod runs as, and for nobody else.
            default_mode: Some(0o440),
            optional: optional.then_some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
