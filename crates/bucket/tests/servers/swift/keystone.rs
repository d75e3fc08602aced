//! Keystone, where somebody runs one with a Swift behind it. `HOMEPORT_TEST_KEYSTONE` is a JSON object with `authurl`, and of a
//! user of the domain `Default` in the region `RegionOne`: `username`, `password`, `project` and `projectid`,
//! `credentialid`, `credentialname` and `credentialsecret`.

use bucket::swift::{EndpointType, SwiftSettings, open};
use bucket::{BucketDriver, Budget, OpenError, Secret};
use storage::{Batch, Driver};

struct Known(serde_json::Value);

impl Known {
    fn read() -> Option<Self> {
        let Ok(text) = std::env::var("HOMEPORT_TEST_KEYSTONE") else {
            eprintln!("skipped: HOMEPORT_TEST_KEYSTONE is not set");
            return None;
        };
        Some(Self(serde_json::from_str(&text).unwrap()))
    }

    fn text(&self, name: &str) -> String {
        self.0[name].as_str().unwrap().to_owned()
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        Some(Secret(self.text(name)))
    }

    fn user(&self) -> SwiftSettings {
        let mut settings = SwiftSettings::new(self.text("authurl"), format!("images-{}", std::process::id()));
        settings.username = Some(self.text("username"));
        settings.password = self.secret("password");
        settings.tenant = Some(self.text("project"));
        settings
    }
}

async fn opened(settings: SwiftSettings) -> Result<BucketDriver, OpenError> {
    open(settings, false, Budget::new(64 << 20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_to_sign_in_lead_to_one_container() {
    let Some(known) = Known::read() else { return };
    let by_name = known.user();
    let mut by_id = SwiftSettings { tenant: None, tenant_id: Some(known.text("projectid")), ..known.user() };
    by_id.domain_id = Some("default".to_owned());
    by_id.region = Some("RegionOne".to_owned());
    by_id.endpoint_type = EndpointType::Internal;
    let nobody = || SwiftSettings { username: None, password: None, tenant: None, ..known.user() };
    let credential = SwiftSettings {
        credential_id: Some(known.text("credentialid")),
        credential_secret: known.secret("credentialsecret"),
        ..nobody()
    };
    let named = SwiftSettings {
        username: Some(known.text("username")),
        credential_name: Some(known.text("credentialname")),
        credential_secret: known.secret("credentialsecret"),
        ..nobody()
    };
    for (number, settings) in [by_name, by_id, credential, named].into_iter().enumerate() {
        let driver = opened(settings).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        driver.apply(Batch::new().put(format!("a/{number}"), "1")).await.unwrap();
        assert_eq!(driver.list("a", "", 10).await.unwrap().range.len(), number + 1);
        assert!(driver.presign("a/0", std::time::Duration::from_secs(60)).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_names_its_setting() {
    let Some(known) = Known::read() else { return };
    let other = || Some("other".to_owned());
    for (settings, expected) in [
        (SwiftSettings { password: Some(Secret("mistaken".to_owned())), ..known.user() }, "username"),
        (SwiftSettings { domain: other(), ..known.user() }, "username"),
        (SwiftSettings { tenant: other(), ..known.user() }, "username"),
        (SwiftSettings { tenant: None, ..known.user() }, "tenant"),
        (SwiftSettings { region: other(), ..known.user() }, "region"),
        (SwiftSettings { endpoint_type: EndpointType::Admin, ..known.user() }, "endpointtype"),
        (SwiftSettings { auth_version: Some(2), ..known.user() }, "authurl"),
        (
            SwiftSettings {
                credential_id: Some(known.text("credentialid")),
                credential_secret: Some(Secret("mistaken".to_owned())),
                ..known.user()
            },
            "applicationcredentialsecret",
        ),
    ] {
        let said = opened(settings).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.starts_with(&format!("storage.swift.{expected}: ")), "{expected}: {said}");
    }
}
