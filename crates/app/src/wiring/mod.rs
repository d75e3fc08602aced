//! From settings to the parts of the program. Nothing else in the program knows both.

mod api;
mod azure;
mod cluster;
mod gcs;
mod identity;
mod live;
mod network;
mod secret;
mod storage;
mod swift;
mod tasks;
mod tenants;

pub(crate) use api::{Api, ApiHost};
pub(crate) use cluster::{Kubernetes, Leadership, api_metrics, connect, instance, lease_namespace};
pub(crate) use identity::Identities;
pub(crate) use live::{gate_limits, immutable_tags, live};
pub(crate) use network::{bind, serve_settings, tls};
pub(crate) use secret::secrets;
pub(crate) use storage::{Storage, addresses};
pub(crate) use tasks::{Reload, Tasks};

use crate::settings::Settings;

/// Everything that can be found out about a configuration without serving it.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    net::install_provider();
    live(settings)?;
    tls(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(storage::check(settings))?;
    if let Some(kubernetes) = settings.kubernetes.as_ref().filter(|kubernetes| kubernetes.kubeconfig.is_some()) {
        // The ServiceAccount of a pod is only found in the pod.
        runtime.block_on(connect(kubernetes))?;
    }
    Identities::new(None)?.build(settings, &secrets(settings, &secret::made_up(None, false)?))?;
    Ok(())
}
