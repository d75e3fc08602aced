//! Settings that are wrong.

use super::{ACCESS, Kind, REGION, SECRET};
use crate::alike::Certificate;
use bucket::Secret;
use bucket::s3::S3Settings;
use std::path::Path;

fn keys(settings: &mut S3Settings, access: &str, secret: &str) {
    settings.access_key = Some(access.to_owned());
    settings.secret_key = Some(Secret(secret.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_names_its_setting() {
    for server in super::those(&[Kind::Versity, Kind::Ceph]) {
        let setting =
            async |change: fn(&mut S3Settings)| server.try_open(change).await.err().map(|error| error.to_string());
        let says = async |change: fn(&mut S3Settings), expected: &str| {
            let said = setting(change).await.unwrap_or_default();
            assert!(said.starts_with(expected), "{said}");
        };
        assert_eq!(setting(|_| {}).await, None);
        says(|settings| settings.bucket = "nobucket".to_owned(), "storage.s3.bucket:").await;
        says(|settings| settings.bucket = String::new(), "storage.s3.bucket:").await;
        says(|settings| keys(settings, "nobody", SECRET), "storage.s3.accesskey:").await;
        says(|settings| keys(settings, ACCESS, "wrong"), "storage.s3.secretkey:").await;
        says(|settings| settings.secret_key = None, "storage.s3.secretkey:").await;
        // Ceph takes every region.
        if server.kind == Kind::Versity {
            says(|settings| settings.region = Some("us-west-9".to_owned()), "storage.s3.region:").await;
        }
        says(|settings| settings.region_endpoint = Some("http://127.0.0.1:1".to_owned()), "storage.s3.regionendpoint:")
            .await;
        says(|settings| settings.credentials_file = Some("/nowhere".into()), "").await;
        let from_file = |settings: &mut S3Settings| {
            settings.access_key = None;
            settings.secret_key = None;
        };
        let file = server.folder().join("credentials");
        std::fs::write(&file, "[default]\n").unwrap();
        let with_file = |settings: &mut S3Settings| {
            from_file(settings);
            settings.credentials_file = Some(file.clone());
        };
        let said = server.try_open(with_file).await.err().unwrap();
        assert_eq!(said.setting, "storage.s3.credentialsconfigpath");
        let text = format!("[default]\naws_access_key_id={}\naws_secret_access_key={}\n", ACCESS, SECRET);
        std::fs::write(&file, text).unwrap();
        server.try_open(with_file).await.unwrap();
        let from_environment = |settings: &mut S3Settings| {
            from_file(settings);
            settings.region = None;
            let variables = [("AWS_ACCESS_KEY_ID", ACCESS), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", REGION)];
            settings.environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        };
        server.try_open(from_environment).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_looked_at() {
    let certificate = Certificate::new();
    let Some(server) = super::start_with(Kind::Versity, &certificate.options()) else { return };
    let open = async |authority: Option<&Path>, careless: bool| {
        let settings = |settings: &mut S3Settings| {
            settings.region_endpoint = Some(server.address.to_string());
            settings.ca_file = authority.map(Path::to_owned);
            settings.skip_verify = careless;
        };
        server.try_open(settings).await
    };
    certificate.is_looked_at("storage.s3.cafile", open).await;
}
