//! Settings that are wrong.

use super::cloud::{Options, PASSWORD, STRANGER};
use super::{settings, start, start_with, try_open};
use crate::alike::Certificate;
use bucket::swift::{SwiftSettings, open};
use bucket::{Budget, Secret};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn each_names_its_setting() {
    let Some(cloud) = start() else { return };
    let says = async |change: &dyn Fn(&mut SwiftSettings), expected: &str| {
        let said = try_open(&cloud, change).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.starts_with(expected) && !said.contains('\n'), "{expected} {said}");
        assert!(!said.contains(PASSWORD), "{said}");
    };
    let address = cloud.address;
    let missing = open(settings(&cloud), true, Budget::new(64 << 20)).await.err().unwrap();
    assert_eq!(missing.setting, "storage.swift.container", "whoever only reads makes none");
    says(&|settings| settings.container = String::new(), "storage.swift.container:").await;
    says(&|settings| settings.container = "a/b".to_owned(), "storage.swift.container:").await;
    says(&|settings| settings.prefix = "a//b".to_owned(), "storage.swift.prefix:").await;
    says(&|settings| settings.username = Some("test:nobody".to_owned()), "storage.swift.username:").await;
    says(&|settings| settings.password = Some(Secret("mistaken".to_owned())), "storage.swift.username:").await;
    says(&|settings| settings.username = Some(STRANGER.to_owned()), "storage.swift.container: this user may not").await;
    says(&|settings| settings.auth_url = "http://127.0.0.1:1/auth/v1.0".to_owned(), "storage.swift.authurl:").await;
    says(&|settings| settings.auth_url = format!("http://{address}/auth"), "storage.swift.authversion:").await;
    says(&|settings| settings.auth_url = format!("http://{address}/v3"), "storage.swift.authurl: no identity").await;
    says(&|settings| settings.auth_version = Some(2), "storage.swift.authurl: no identity").await;
    says(&|settings| settings.auth_url = format!("http://{address}/info?v1"), "storage.swift.authurl: no identity")
        .await;
    try_open(&cloud, |_| {}).await.unwrap();
    assert_eq!(cloud.request("HEAD", &cloud.path(""), &[], b"").unwrap().0, 204, "it was made");
    open(settings(&cloud), true, Budget::new(64 << 20)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_manifests_is_refused() {
    let Some(cloud) = start_with(&Options { without: vec!["slo"], ..Options::default() }) else { return };
    let refused = try_open(&cloud, |_| {}).await.err().unwrap();
    assert!(refused.remedy.contains("no static large objects"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_looked_at() {
    let certificate = Certificate::new();
    let tls = Some((certificate.file.clone(), certificate.key.clone()));
    let Some(cloud) = start_with(&Options { tls, ..Options::default() }) else { return };
    let open = async |authority: Option<&Path>, careless: bool| {
        let settings = |settings: &mut SwiftSettings| {
            settings.auth_url = cloud.auth_url().replace("http:", "https:");
            settings.ca_file = authority.map(Path::to_owned);
            settings.skip_verify = careless;
        };
        try_open(&cloud, settings).await
    };
    certificate.is_looked_at("storage.swift.cafile", open).await;
}
