//! A bucket of Google Cloud Storage, by the settings.

use crate::settings;
use bucket::gcs::GcsSettings;
use bucket::{BucketDriver, Budget};

pub(super) async fn open(gcs: &settings::Gcs, read_only: bool) -> anyhow::Result<BucketDriver> {
    let settings = GcsSettings {
        bucket: gcs.bucket.clone(),
        key_file: gcs.key_file.clone(),
        credentials: Some(credentials(gcs)).filter(|_| !gcs.credentials.is_empty()),
        root_directory: gcs.root_directory.clone(),
        chunk_size: gcs.chunk_bytes,
        max_concurrency: gcs.requests_max,
        user_agent: gcs.user_agent.clone(),
        endpoint: gcs.endpoint.clone(),
        redirect_endpoint: gcs.redirect_endpoint.clone(),
        ca_file: gcs.ca_file.clone(),
        environment: crate::environment::variables()
            .filter(|(name, _)| GcsSettings::VARIABLES.contains(&&**name))
            .collect(),
    };
    Ok(bucket::gcs::open(settings, read_only, Budget::new(Budget::DEFAULT_BYTES)).await?)
}

/// The members of `credentials` as Google's files have them.
fn credentials(gcs: &settings::Gcs) -> String {
    let mut document = serde_json::json!({"type": "service_account"});
    for (name, value) in &gcs.credentials {
        document[name] = value.expose().into();
    }
    document.to_string()
}
