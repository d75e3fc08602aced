//! The configuration file and what goes with it.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::metadata::{Component, map, namespaced};
use super::{API_PORT, Inputs, Object, PORT};

pub(super) const CONFIG_MAP: &str = "homeport-config";
pub(super) const CONFIG_KEY: &str = "config.yml";
pub(super) const CONFIG_FOLDER: &str = "/etc/homeport/config";
pub(super) const TLS_FOLDER: &str = "/etc/homeport/tls";
pub(super) const API_FOLDER: &str = "/etc/homeport/api";
pub(super) const DATA_FOLDER: &str = "/var/lib/registry";
pub(super) const SECRET: &str = "homeport-secret";
pub(super) const SECRET_KEY: &str = "http-secret";

/// What `homeport serve` and `homeport operator` read.
pub(super) fn text(inputs: &Inputs) -> String {
    let tls = match &inputs.tls_secret {
        Some(_) => format!("  tls:\n    certificate: {TLS_FOLDER}/tls.crt\n    key: {TLS_FOLDER}/tls.key\n"),
        None => String::new(),
    };
    let hosts: Vec<String> = inputs.hosts.iter().cloned().chain(inputs.service_hosts()).collect();
    format!(
        "version: 0.1
log:
  level: info
  formatter: json
storage:
  filesystem:
    rootdirectory: {DATA_FOLDER}
  delete:
    enabled: true
http:
  addr: \":{PORT}\"
{tls}homeport:
  kubernetes:
    enabled: true
    authorization: {}
{}{}{}",
        inputs.authorization.as_str(),
        list("audiences", &inputs.audiences),
        list("hosts", &hosts),
        api(inputs),
    )
}

fn api(inputs: &Inputs) -> String {
    if inputs.api.is_none() {
        return String::new();
    }
    let host = match inputs.hosts.first() {
        Some(host) => format!("      host: {}\n", serde_json::Value::from(host.as_str())),
        None => String::new(),
    };
    let files = format!("      certificate: {API_FOLDER}/tls.crt\n      key: {API_FOLDER}/tls.key\n");
    format!("    api:\n      addr: \":{API_PORT}\"\n{files}{host}")
}

fn list(key: &str, entries: &[String]) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut text = format!("    {key}:\n");
    for entry in entries {
        // A text in JSON is the same text in YAML.
        text.push_str(&format!("      - {}\n", serde_json::Value::from(entry.as_str())));
    }
    text
}

pub(super) fn config_map(inputs: &Inputs, config: &str) -> Object {
    ConfigMap {
        metadata: namespaced(inputs, Component::Registry, CONFIG_MAP),
        data: Some(map(&[(CONFIG_KEY, config)])),
        ..ConfigMap::default()
    }
    .into()
}

pub(super) fn secret(inputs: &Inputs) -> Option<Object> {
    let secret = inputs.secret.as_ref()?;
    let object = Secret {
        metadata: namespaced(inputs, Component::Registry, SECRET),
        string_data: Some(map(&[(SECRET_KEY, secret.0.as_str())])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    Some(object.into())
}

/// A number that changes with the configuration, so that a new one starts new pods. FNV-1a: a checksum, not a proof.
pub(super) fn checksum(config: &str) -> String {
    let hash = config
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
