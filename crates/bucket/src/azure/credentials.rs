//! Who we are to the service.

use super::AzureSettings;
use super::mistakes::{KEY, SECRET, SIGNATURE};
use super::settings::Proof;
use crate::connect::retries;
use crate::error::all_of;
use crate::open::OpenError;
use crate::renewal::Renewed;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::ClientOptions;
use object_store::azure::{AzureConfigKey, AzureCredentialProvider, MicrosoftAzureBuilder, authority_hosts, split_sas};
use std::sync::Arc;
use std::time::Duration;

/// Time for an answer of what gives credentials.
const CREDENTIAL_TIME: Duration = Duration::from_secs(20);

/// The setting that says who we are, and what comes of it.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) provider: AzureCredentialProvider,
    pub(super) setting: &'static str,
}

/// In this order, where `credentials.type` does not choose: the account's key, a signature, an application and its secret,
/// the environment's application, workload identity, the machine's identity.
pub(super) fn credentials(settings: &AzureSettings, options: &ClientOptions) -> Result<Credentials, OpenError> {
    let proof = settings.proof.unwrap_or(match settings {
        AzureSettings { account_key: Some(_), .. } | AzureSettings { signature: Some(_), .. } => Proof::SharedKey,
        AzureSettings { client_secret: Some(_), .. } => Proof::ClientSecret,
        _ => Proof::Default,
    });
    let builder = MicrosoftAzureBuilder::new()
        .with_account(&settings.account_name)
        .with_container_name(&settings.container)
        .with_authority_host(authority(settings))
        .with_client_options(options.clone().with_timeout(CREDENTIAL_TIME))
        .with_retry(retries());
    let (builder, setting) = match proof {
        Proof::SharedKey => shared(builder, settings)?,
        Proof::ClientSecret => client_secret(builder, settings)?,
        Proof::Default => from_environment(builder, settings),
    };
    let built =
        builder.build().map_err(|error| OpenError::new(setting, "cannot be used: correct it", &all_of(&error)))?;
    Ok(Credentials { provider: Renewed::new(Arc::clone(built.credentials())), setting })
}

type Chosen = (MicrosoftAzureBuilder, &'static str);

fn shared(builder: MicrosoftAzureBuilder, settings: &AzureSettings) -> Result<Chosen, OpenError> {
    if let Some(key) = &settings.account_key {
        if BASE64_STANDARD.decode(key.0.trim()).map_or(true, |key| key.is_empty()) {
            return Err(OpenError::new(KEY, "is not a key in base64: copy it again", ""));
        }
        return Ok((builder.with_access_key(key.0.trim()), KEY));
    }
    let Some(signature) = &settings.signature else {
        return Err(OpenError::new(KEY, "set the account's key, since credentials.type is shared_key", ""));
    };
    let unusable = || OpenError::new(SIGNATURE, "has no shared access signature that can be read: copy it again", "");
    let pairs = split_sas(&signature.0).map_err(|_| unusable())?;
    if !pairs.iter().any(|(name, _)| name == "sig") {
        return Err(unusable());
    }
    Ok((builder.with_sas_authorization(pairs), SIGNATURE))
}

fn client_secret(builder: MicrosoftAzureBuilder, settings: &AzureSettings) -> Result<Chosen, OpenError> {
    let given = |value: Option<&str>, setting| {
        let value = value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        value.ok_or_else(|| OpenError::new(setting, "set it, since credentials.type is client_secret", ""))
    };
    let id = given(settings.client_id.as_deref(), "storage.azure.credentials.clientid")?;
    let tenant = given(settings.tenant_id.as_deref(), "storage.azure.credentials.tenantid")?;
    let secret = given(settings.client_secret.as_ref().map(|secret| secret.0.as_str()), SECRET)?;
    Ok((builder.with_client_secret_authorization(id, secret, tenant), SECRET))
}

fn from_environment(builder: MicrosoftAzureBuilder, settings: &AzureSettings) -> Chosen {
    use AzureConfigKey as Key;
    let client = settings.client_id.as_deref().or_else(|| settings.variable("AZURE_CLIENT_ID"));
    let tenant = settings.tenant_id.as_deref().or_else(|| settings.variable("AZURE_TENANT_ID"));
    let endpoint = settings.variable("IDENTITY_ENDPOINT").or_else(|| settings.variable("MSI_ENDPOINT"));
    let values = [
        (Key::ClientId, client),
        (Key::AuthorityId, tenant),
        (Key::ClientSecret, settings.variable("AZURE_CLIENT_SECRET")),
        (Key::FederatedTokenFile, settings.variable("AZURE_FEDERATED_TOKEN_FILE")),
        (Key::MsiEndpoint, endpoint),
    ];
    let set = |builder: MicrosoftAzureBuilder, (key, value): (Key, Option<&str>)| match value {
        Some(value) => builder.with_config(key, value),
        None => builder,
    };
    (values.into_iter().fold(builder, set), "storage.azure.credentials")
}

/// Where tokens come from, without a slash at the end.
fn authority(settings: &AzureSettings) -> String {
    let known = match settings.realm.trim_matches('.') {
        "core.usgovcloudapi.net" => authority_hosts::AZURE_GOVERNMENT,
        "core.chinacloudapi.cn" => authority_hosts::AZURE_CHINA,
        "core.cloudapi.de" => authority_hosts::AZURE_GERMANY,
        _ => authority_hosts::AZURE_PUBLIC_CLOUD,
    };
    settings.variable("AZURE_AUTHORITY_HOST").unwrap_or(known).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn says(change: impl FnOnce(&mut AzureSettings)) -> &'static str {
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut settings = AzureSettings::new("acc", "images");
        change(&mut settings);
        let options = ClientOptions::new().with_no_system_certificates(true);
        credentials(&settings, &options).map_or_else(|error| error.setting, |credentials| credentials.setting)
    }

    #[test]
    fn the_best_that_is_there_is_taken() {
        let secret = |text: &str| Some(Secret(text.to_owned()));
        assert_eq!(says(|settings| settings.account_key = secret("a2V5")), KEY);
        assert_eq!(says(|settings| settings.account_key = secret("no base64!")), KEY);
        assert_eq!(says(|settings| settings.signature = secret("sv=1&sig=a%3D")), SIGNATURE);
        assert_eq!(says(|settings| settings.signature = secret("nothing")), SIGNATURE);
        assert_eq!(says(|_| {}), "storage.azure.credentials");
        assert_eq!(says(|settings| settings.client_secret = secret("x")), "storage.azure.credentials.clientid");
        let application = |settings: &mut AzureSettings| {
            settings.client_id = Some("c".to_owned());
            settings.tenant_id = Some("t".to_owned());
            settings.client_secret = Some(Secret("x".to_owned()));
        };
        assert_eq!(says(application), SECRET);
        assert_eq!(says(|settings| settings.proof = Some(Proof::SharedKey)), KEY);
    }

    #[test]
    fn each_cloud_has_its_authority() {
        let of = |change: fn(&mut AzureSettings)| {
            let mut settings = AzureSettings::new("acc", "images");
            change(&mut settings);
            authority(&settings)
        };
        assert_eq!(of(|_| {}), "https://login.microsoftonline.com");
        assert_eq!(
            of(|settings| settings.realm = "core.usgovcloudapi.net".to_owned()),
            "https://login.microsoftonline.us"
        );
        let own = |settings: &mut AzureSettings| {
            settings.environment.insert("AZURE_AUTHORITY_HOST".to_owned(), "https://login.stack.local/".to_owned());
        };
        assert_eq!(of(own), "https://login.stack.local");
    }
}
