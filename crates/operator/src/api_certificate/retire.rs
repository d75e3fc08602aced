//! The end of the registry: an APIService that leads nowhere keeps every namespace of the cluster from being deleted.

use std::time::Duration;

use cluster::{ApiError, Call, Connection, get};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::de::IgnoredAny;
use serde_json::json;

use super::decide::Registration;
use super::{Settings, objects};
use crate::api;

/// The operator's pod has half a minute to end.
const TIME_MAX: Duration = Duration::from_secs(25);
/// Somebody may change the APIService meanwhile, and the API server may be busy.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// For a process that was told to stop: when that is since its namespace is being deleted, takes the APIService away that leads
/// to our Service. Anything else stays.
pub async fn retire(connection: &Connection, settings: &Settings) {
    let attempts = async {
        for attempt in 1..=ATTEMPTS {
            match take_away(connection, settings).await {
                Ok(()) => return,
                // The role is that of an older version.
                Err(error) if error.code() == Some(403) => return tracing::info!(%error, "the APIService stays"),
                // Without its account the process has nothing more to say.
                Err(error) if attempt == ATTEMPTS || error.code() == Some(401) => {
                    return tell(settings, &error.to_string());
                }
                Err(error) => tracing::debug!(%error, "the APIService is looked at again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(TIME_MAX, attempts).await.is_err() {
        tell(settings, "no answer");
    }
}

fn tell(settings: &Settings, error: &str) {
    tracing::warn!(
        error,
        "cannot tell whether namespace {} is being deleted; if so, delete the APIService {}: while it leads nowhere, no \
         namespace of the cluster ends",
        settings.namespace,
        settings.api_service,
    );
}

async fn take_away(connection: &Connection, settings: &Settings) -> Result<(), ApiError> {
    let Settings { namespace, api_service, .. } = settings;
    let home = get(&format!("/api/v1/namespaces/{namespace}"))?;
    match connection.call::<Namespace>(Call::Namespace, home).await {
        Ok(home) if home.metadata.deletion_timestamp.is_none() => return Ok(()),
        Ok(_) => {}
        Err(error) if api::says_absent(&error, "namespaces", namespace) => {}
        Err(error) => return Err(error),
    }
    let path = settings.service_path();
    let Some(service) = api::find::<APIService>(connection, Call::ApiService, &path).await? else { return Ok(()) };
    if objects::registration(&service, namespace) == Registration::NotOurs {
        return Ok(());
    }
    let ObjectMeta { uid, resource_version, .. } = service.metadata;
    let only = json!({ "uid": uid, "resourceVersion": resource_version });
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": only });
    match connection.call::<IgnoredAny>(Call::ApiService, api::delete(&path, &options)?).await {
        Ok(_) => {
            tracing::info!(apiservice = api_service, namespace, "the namespace ends, and the API of tags with it");
            Ok(())
        }
        Err(error) if error.code() == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}
