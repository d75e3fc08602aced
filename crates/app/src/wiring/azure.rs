//! A container of Azure Blob storage, by the settings.

use crate::settings::{self, AzureProof};
use bucket::Secret;
use bucket::azure::{AzureSettings, Proof};
use bucket::{BucketDriver, Budget};

/// Variables that say who this process is, besides those that begin with `AZURE_`.
const IDENTITY: &[&str] = &["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT"];

pub(super) async fn open(azure: &settings::Azure, read_only: bool) -> anyhow::Result<BucketDriver> {
    let secret = |secret: &settings::Secret| Secret(secret.expose().to_owned());
    let is_ours = |name: &str| name.starts_with("AZURE_") || IDENTITY.contains(&name);
    let settings = AzureSettings {
        account_key: azure.account_key.as_ref().map(secret),
        realm: azure.realm.clone(),
        service_url: azure.service_url.clone(),
        redirect_endpoint: azure.redirect_endpoint.clone(),
        signature: azure.signature.as_ref().map(secret),
        proof: azure.proof.map(|proof| match proof {
            AzureProof::SharedKey => Proof::SharedKey,
            AzureProof::ClientSecret => Proof::ClientSecret,
            AzureProof::Default => Proof::Default,
        }),
        client_id: azure.client_id.clone(),
        tenant_id: azure.tenant_id.clone(),
        client_secret: azure.client_secret.as_ref().map(secret),
        root_directory: azure.root_directory.clone(),
        leading_slash: azure.leading_slash,
        skip_verify: azure.skip_verify,
        ca_file: azure.ca_file.clone(),
        environment: crate::environment::variables().filter(|(name, _)| is_ours(name)).collect(),
        ..AzureSettings::new(&azure.account_name, &azure.container)
    };
    Ok(bucket::azure::open(settings, read_only, Budget::new(Budget::DEFAULT_BYTES)).await?)
}

/// The credentials are at hand, and not only where the registry is to run.
pub(super) fn has_credentials(azure: &settings::Azure) -> bool {
    azure.account_key.is_some() || azure.signature.is_some() || azure.client_secret.is_some()
}
