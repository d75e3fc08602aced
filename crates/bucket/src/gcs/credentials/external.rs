//! Workload identity: somebody else's token, such as a cluster's for its pods, is exchanged for Google's.

use super::{Granted, Held, SCOPE, Unusable, ask, ask_by_form, checked, no_token, read_file};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Request;
use object_store::Result;
use object_store::client::{HttpClient, HttpRequestBody};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The metadata server, which every machine of Google's reaches by itself alone.
const METADATA: [&str; 2] = ["http://169.254.169.254/", "http://metadata.google.internal/"];
/// How long an account that is not ours lends its rights.
const LENT: &str = "3600s";

/// What a file of type `external_account` says.
#[derive(Debug, Deserialize)]
pub(super) struct External {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: Place,
}

/// Where the other token is.
#[derive(Debug, Deserialize)]
struct Place {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Default, Deserialize)]
struct Format {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    subject_token_field_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lent {
    access_token: String,
    expire_time: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    signed_blob: String,
}

impl External {
    pub(super) fn from_json(text: &str) -> Result<Self, Unusable> {
        let external: Self = serde_json::from_str(text)?;
        if external.credential_source.file.is_none() && external.credential_source.url.is_none() {
            return Err(Unusable::Content("names neither file nor url as credential_source".to_owned()));
        }
        checked("token_url", Some(&external.token_url))?;
        checked("service_account_impersonation_url", external.service_account_impersonation_url.as_deref())?;
        let source = external.credential_source.url.as_deref();
        checked("credential_source.url", source.filter(|url| !METADATA.iter().any(|own| url.starts_with(own))))?;
        Ok(external)
    }

    /// The account whose rights are lent.
    pub(super) fn email(&self) -> Option<&str> {
        let url = self.service_account_impersonation_url.as_deref()?;
        url.rsplit_once("/serviceAccounts/")?.1.split_once(':').map(|(email, _)| email)
    }

    /// Where something is signed in the name of that account.
    pub(super) fn signer(&self) -> Option<String> {
        let account = self.service_account_impersonation_url.as_deref()?.strip_suffix(":generateAccessToken")?;
        Some(format!("{account}:signBlob"))
    }

    async fn subject(&self, client: &HttpClient) -> Result<String> {
        let place = &self.credential_source;
        let text = match (&place.file, &place.url) {
            (Some(file), _) => {
                let named = |error: std::io::Error| no_token(format!("{}: {error}", file.display()));
                let path = file.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.map_err(no_token)?.map_err(named)?
            }
            (None, Some(url)) => {
                let what = || {
                    place.headers.iter().fold(Request::get(url), |request, (name, value)| request.header(name, value))
                };
                String::from_utf8_lossy(&ask(client, what, HttpRequestBody::empty()).await?).into_owned()
            }
            (None, None) => return Err(no_token("there is no credential_source")),
        };
        if !place.format.kind.eq_ignore_ascii_case("json") {
            return Ok(text.trim().to_owned());
        }
        let document: serde_json::Value = serde_json::from_str(&text).map_err(no_token)?;
        let token = document[&place.format.subject_token_field_name].as_str();
        token.map(str::to_owned).ok_or_else(|| no_token("the credential_source has no such field"))
    }

    pub(super) async fn fetch(&self, client: &HttpClient) -> Result<Held> {
        let subject = self.subject(client).await?;
        let form = [
            ("grant_type", GRANT),
            ("audience", &*self.audience),
            ("scope", SCOPE),
            ("requested_token_type", ACCESS),
            ("subject_token_type", &self.subject_token_type),
            ("subject_token", &subject),
        ];
        let granted: Granted = ask_by_form(client, &self.token_url, &form).await?;
        let Some(place) = &self.service_account_impersonation_url else { return Ok(granted.held()) };
        let document = serde_json::json!({"scope": [SCOPE], "lifetime": LENT});
        let lent = post(client, place, &granted.access_token, &document).await?;
        let lent: Lent = serde_json::from_slice(&lent).map_err(no_token)?;
        let end: jiff::Timestamp = lent.expire_time.parse().map_err(no_token)?;
        let left = SystemTime::from(end).duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        Ok(Held::new(&lent.access_token, left))
    }
}

async fn post(client: &HttpClient, place: &str, token: &str, document: &serde_json::Value) -> Result<bytes::Bytes> {
    let what = || {
        let request = Request::post(place).header("content-type", "application/json");
        request.header("authorization", format!("Bearer {token}"))
    };
    ask(client, what, document.to_string().into()).await
}

/// A signature by Google's own service, for whoever has no private key.
pub(super) async fn sign_by_service(client: &HttpClient, place: &str, token: &str, text: &[u8]) -> Result<Vec<u8>> {
    let document = serde_json::json!({"payload": BASE64_STANDARD.encode(text)});
    let blob: Blob = serde_json::from_slice(&post(client, place, token, &document).await?).map_err(no_token)?;
    BASE64_STANDARD.decode(blob.signed_blob).map_err(no_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(source: &str) -> String {
        format!(
            r#"{{"type": "external_account", "audience": "//iam.googleapis.com/p", "token_url": "https://sts.googleapis.com/v1/token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": {source},
            "service_account_impersonation_url":
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/registry@p.iam.gserviceaccount.com:generateAccessToken"}}"#
        )
    }

    #[test]
    fn the_file_of_a_cluster_is_read() {
        let source = r#"{"file": "/var/run/secrets/openshift/serviceaccount/token", "format": {"type": "text"}}"#;
        let external = External::from_json(&account(source)).unwrap();
        assert_eq!(external.email(), Some("registry@p.iam.gserviceaccount.com"));
        let said = External::from_json(&account(r#"{"environment_id": "aws1"}"#)).err().unwrap().to_string();
        assert!(said.contains("neither file nor url"), "{said}");
    }

    #[test]
    fn secrets_go_to_encrypted_places_only() {
        let says = |text: &str| External::from_json(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(says(&account(r#"{"url": "http://169.254.169.254/token"}"#)), "");
        assert_eq!(says(&account(r#"{"url": "http://127.0.0.1:80/token"}"#)), "");
        assert!(says(&account(r#"{"url": "http://10.0.0.1/token"}"#)).contains("credential_source.url"));
        assert!(says(&account(r#"{"url": "http://169.254.169.254.example.com/"}"#)).contains("credential_source.url"));
        let good = account(r#"{"file": "/a"}"#);
        assert!(says(&good.replace("https://sts", "http://sts")).contains("a token_url that"));
        assert!(says(&good.replace("https://iamc", "http://iamc")).contains("impersonation_url that"));
    }
}
