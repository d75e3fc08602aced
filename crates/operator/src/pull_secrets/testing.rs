//! What the tests of this module share.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde_json::json;

use super::names;
use super::settings::Settings;
use super::view::{Annotations, Data, Key, SecretView};

pub(super) const OPERATOR: &str = "homeport";
pub(super) const ACCOUNT: &str = "my-pull-sa";
pub(super) const ACCOUNT_UID: &str = "f847810d-bcdd-42b8-9f95-2c2d8d10bc8c";

pub(super) fn key() -> Key {
    Key { namespace: "project-1".into(), name: "my-pull-secret".into() }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(super) fn settings() -> Settings {
    let hosts = vec!["registry.example".into(), "registry.homeport.svc:5000".into()];
    Settings::new(OPERATOR, hosts, Some("registry.example".into()), Duration::from_secs(24 * 3600))
}

/// A token as the API server makes them, but for its signature.
pub(super) fn token(secret: &Key, account_uid: &str, issued: i64, expires: i64) -> String {
    let claims = json!({
        "aud": ["registry.example"], "iat": issued, "exp": expires,
        "kubernetes.io": {
            "namespace": secret.namespace,
            "serviceaccount": { "name": ACCOUNT, "uid": account_uid },
            "secret": { "name": secret.name, "uid": "secret-uid" },
        },
        "sub": format!("system:serviceaccount:{}:{ACCOUNT}", secret.namespace),
    });
    let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(&claims))
}

/// A Secret as a user makes it.
pub(super) fn fresh() -> SecretView {
    SecretView {
        key: key(),
        uid: "secret-uid".into(),
        resource_version: "7".into(),
        secret_type: names::SECRET_TYPE.into(),
        immutable: false,
        deleting: false,
        annotations: Annotations { service_account: Some(ACCOUNT.into()), ..Annotations::default() },
        owners: Vec::new(),
        data: Data(br#"{"auths":{}}"#.to_vec()),
    }
}
