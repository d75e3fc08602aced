//! Settings that are wrong.

use crate::server::{self, Kind, REGION};
use bucket::s3::{S3Settings, Secret};
use storage::{Batch, Driver};

fn keys(settings: &mut S3Settings, access: &str, secret: &str) {
    settings.access_key = Some(access.to_owned());
    settings.secret_key = Some(Secret(secret.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_names_its_setting() {
    let Some(server) = server::start(Kind::Versity) else { return };
    let setting =
        async |change: fn(&mut S3Settings)| server.try_open(change).await.err().map(|error| error.to_string());
    let says = async |change: fn(&mut S3Settings), expected: &str| {
        let said = setting(change).await.unwrap_or_default();
        assert!(said.starts_with(expected), "{said}");
    };
    assert_eq!(setting(|_| {}).await, None);
    says(|settings| settings.bucket = "nobucket".to_owned(), "storage.s3.bucket:").await;
    says(|settings| settings.bucket = String::new(), "storage.s3.bucket:").await;
    says(|settings| keys(settings, "nobody", server::SECRET), "storage.s3.accesskey:").await;
    says(|settings| keys(settings, server::ACCESS, "wrong"), "storage.s3.secretkey:").await;
    says(|settings| settings.secret_key = None, "storage.s3.secretkey:").await;
    says(|settings| settings.region = Some("us-west-9".to_owned()), "storage.s3.region:").await;
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
    let text = format!("[default]\naws_access_key_id={}\naws_secret_access_key={}\n", server::ACCESS, server::SECRET);
    std::fs::write(&file, text).unwrap();
    server.try_open(with_file).await.unwrap();
    let from_environment = |settings: &mut S3Settings| {
        from_file(settings);
        settings.region = None;
        let variables =
            [("AWS_ACCESS_KEY_ID", server::ACCESS), ("AWS_SECRET_ACCESS_KEY", server::SECRET), ("AWS_REGION", REGION)];
        settings.environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    };
    server.try_open(from_environment).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let arguments = ["--cert".to_owned(), path(&cert), "--key".to_owned(), path(&key)];
    let Some(server) = server::start_with(Kind::Versity, &arguments) else { return };
    let address = server.address;
    let secure = |settings: &mut S3Settings| settings.region_endpoint = Some(address.to_string());
    let refused = server.try_open(secure).await.err().unwrap();
    assert_eq!(refused.setting, "storage.s3.cafile", "{refused}");
    let trusting = |settings: &mut S3Settings| {
        secure(settings);
        settings.ca_file = Some(cert.clone());
    };
    let driver = server.try_open(trusting).await.unwrap();
    driver.apply(Batch::new().put("a/b", "1")).await.unwrap();
    let careless = |settings: &mut S3Settings| {
        secure(settings);
        settings.skip_verify = true;
    };
    let driver = server.try_open(careless).await.unwrap();
    assert_eq!(&driver.get("a/b", 10).await.unwrap()[..], b"1");
    let no_authority = |settings: &mut S3Settings| {
        secure(settings);
        settings.ca_file = Some(key.clone());
    };
    assert_eq!(server.try_open(no_authority).await.err().unwrap().setting, "storage.s3.cafile");
}
