//! Settings that are wrong.

use super::start;
use bucket::gcs::GcsSettings;

#[tokio::test(flavor = "multi_thread")]
async fn each_names_its_setting() {
    let Some(server) = start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let says = async |change: &dyn Fn(&mut GcsSettings), expected: &str| {
        let error = server.try_open(change).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
    };
    says(&|settings| settings.bucket = "nobucket".to_owned(), "storage.gcs.bucket: there is no bucket nobucket").await;
    says(&|settings| settings.bucket = String::new(), "storage.gcs.bucket: name the bucket").await;
    says(&|settings| settings.endpoint = Some("http://127.0.0.1:1".to_owned()), "storage.gcs.endpoint: ").await;
    says(&|settings| settings.root_directory = "a//b".to_owned(), "storage.gcs.rootdirectory: ").await;
    says(&|settings| settings.key_file = Some("/nowhere".into()), "storage.gcs.keyfile: /nowhere cannot be read").await;
    for text in ["", "{}", "{\"type\": \"service_account\"}", "{\"type\": \"other\"}"] {
        let path = file("key.json", text);
        says(&|settings| settings.key_file = Some(path.clone()), "storage.gcs.keyfile: has ").await;
    }
    says(&|settings| settings.credentials = Some("{}".to_owned()), "storage.gcs.credentials: has ").await;
    let variable = |settings: &mut GcsSettings| {
        settings.environment.insert("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), "/nowhere".to_owned());
    };
    says(&variable, "GOOGLE_APPLICATION_CREDENTIALS: /nowhere cannot be read").await;
    let no_authority = file("ca.pem", "none");
    says(&|settings| settings.ca_file = Some(no_authority.clone()), "storage.gcs.cafile: ").await;
    // Nobody gives a token at these addresses.
    let key = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/gcs-key.json")).unwrap();
    let key = key.replace("https://oauth2.googleapis.com/token", &format!("http://{}/token", server.address));
    let without_token = |settings: &mut GcsSettings| {
        settings.credentials = Some(key.clone());
        settings.endpoint = Some("https://127.0.0.1:1".to_owned());
    };
    says(&without_token, "storage.gcs.keyfile: ").await;
    let of_machine = |settings: &mut GcsSettings| {
        settings.environment.insert("GCE_METADATA_HOST".to_owned(), server.address.to_string());
        settings.endpoint = Some("https://127.0.0.1:1".to_owned());
    };
    says(&of_machine, "storage.gcs.keyfile: no credentials were found").await;
    let from_environment = |settings: &mut GcsSettings| {
        settings.environment.insert("STORAGE_EMULATOR_HOST".to_owned(), server.address.to_string());
        settings.endpoint = None;
    };
    server.try_open(from_environment).await.unwrap();
}
