//! Settings that are wrong.

use super::ACCOUNT;
use crate::alike::Certificate;
use bucket::Secret;
use bucket::azure::AzureSettings;
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn each_names_its_setting() {
    let Some(server) = super::start() else { return };
    let setting =
        async |change: fn(&mut AzureSettings)| server.try_open(change).await.err().map(|error| error.to_string());
    let says = async |change: fn(&mut AzureSettings), expected: &str| {
        let said = setting(change).await.unwrap_or_default();
        assert!(said.starts_with(expected), "{said}");
        assert!(!said.contains("b3RoZXI="), "{said}");
    };
    assert_eq!(setting(|_| {}).await, None);
    says(|settings| settings.container = "nocontainer".to_owned(), "storage.azure.container: there is no container")
        .await;
    says(|settings| settings.container = String::new(), "storage.azure.container:").await;
    says(|settings| settings.account_name = String::new(), "storage.azure.accountname:").await;
    says(|settings| settings.account_name = "other".to_owned(), "storage.azure.accountkey:").await;
    says(|settings| settings.account_key = Some(Secret("b3RoZXI=".to_owned())), "storage.azure.accountkey:").await;
    says(|settings| settings.account_key = Some(Secret("not base64".to_owned())), "storage.azure.accountkey: is not")
        .await;
    says(
        |settings| settings.service_url = Some(format!("http://127.0.0.1:1/{ACCOUNT}")),
        "storage.azure.serviceurl: 127.0.0.1:1 does not answer",
    )
    .await;
    let nowhere = |settings: &mut AzureSettings| {
        settings.service_url = None;
        settings.realm = "core.invalid".to_owned();
    };
    says(nowhere, "storage.azure.accountname: there is no host homeport.blob.core.invalid").await;
    says(|settings| settings.root_directory = "a//b".to_owned(), "storage.azure.rootdirectory:").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_looked_at() {
    let Some(mut server) = super::start() else { return };
    let certificate = Certificate::new();
    server.start_again(&certificate.options());
    let open = async |authority: Option<&Path>, careless: bool| {
        let settings = |settings: &mut AzureSettings| {
            settings.service_url = Some(server.service("https"));
            settings.ca_file = authority.map(Path::to_owned);
            settings.skip_verify = careless;
        };
        server.try_open(settings).await
    };
    certificate.is_looked_at("storage.azure.cafile", open).await;
}
