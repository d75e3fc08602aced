//! How a token is asked for, and what is read from the answer: Keystone's versions 2 and 3, and Swift's own.

use super::SwiftSettings;
use crate::addresses::host_and_path;
use crate::open::OpenError;
use crate::secret::Secret;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};

/// Domain of users and projects whose domain is not told.
const DEFAULT_DOMAIN: &str = "Default";
/// What the catalogue calls this kind of service.
const SERVICE: &str = "object-store";
/// How long a token is good of which nobody says it.
const UNKNOWN_LIFE: Duration = Duration::from_secs(3600);

/// A way to get a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
    V3,
}

/// What is asked.
pub(super) struct Question {
    pub(super) url: String,
    /// Of Swift's own way: user and key are headers.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Of Keystone's: a document.
    pub(super) body: Option<Value>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) token: String,
    /// Address of the account.
    pub(super) url: String,
    pub(super) life: Duration,
    /// The project, as its identity service calls it.
    pub(super) project: Option<String>,
}

/// An answer of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the answer of the identity service is not understood: {0}")]
    Unclear(String),
    #[error("the token is for no project, so that it comes without a catalogue")]
    NoCatalogue,
    #[error("the catalogue has no object store")]
    NoService,
    #[error("the catalogue has no object store in this region; it has these: {0}")]
    NoRegion(String),
    #[error("the catalogue has no {0} address of the object store")]
    NoEndpoint(&'static str),
}

impl Version {
    pub(super) fn of(settings: &SwiftSettings) -> Result<Self, OpenError> {
        let (_, path) = host_and_path(&settings.auth_url);
        match settings.auth_version.filter(|version| *version != 0) {
            Some(1) => Ok(Self::V1),
            Some(2) => Ok(Self::V2),
            Some(3) => Ok(Self::V3),
            Some(_) => Err(OpenError::new("storage.swift.authversion", "write 1, 2 or 3", "")),
            None if path.contains("v3") => Ok(Self::V3),
            None if path.contains("v2") => Ok(Self::V2),
            None if path.contains("v1") => Ok(Self::V1),
            None => {
                let remedy = "authurl does not tell the version of the identity service: write 1, 2 or 3";
                Err(OpenError::new("storage.swift.authversion", remedy, ""))
            }
        }
    }
}

fn named(name: Option<&str>, id: Option<&str>) -> Value {
    match (name, id) {
        (Some(name), _) => json!({ "name": name }),
        (None, Some(id)) => json!({ "id": id }),
        (None, None) => json!({ "name": DEFAULT_DOMAIN }),
    }
}

fn secret(secret: Option<&Secret>) -> &str {
    secret.map_or("", |secret| secret.0.as_str())
}

/// What to send.
pub(super) fn question(version: Version, settings: &SwiftSettings) -> Question {
    let base = settings.auth_url.trim_end_matches('/');
    match version {
        Version::V1 => Question {
            url: settings.auth_url.clone(),
            headers: vec![
                ("x-auth-user", settings.username.clone().unwrap_or_default()),
                ("x-auth-key", secret(settings.password.as_ref()).to_owned()),
            ],
            body: None,
        },
        Version::V2 => Question { url: format!("{base}/tokens"), headers: Vec::new(), body: Some(v2(settings)) },
        Version::V3 => {
            let root = if host_and_path(base).1.is_empty() { "/v3" } else { "" };
            Question { url: format!("{base}{root}/auth/tokens"), headers: Vec::new(), body: Some(v3(settings)) }
        }
    }
}

fn v2(settings: &SwiftSettings) -> Value {
    let mut auth = Map::new();
    match &settings.token_id {
        Some(token) => auth.insert("token".to_owned(), json!({ "id": token.0 })),
        None => {
            let password = secret(settings.password.as_ref());
            let credentials = json!({ "username": settings.username, "password": password });
            auth.insert("passwordCredentials".to_owned(), credentials)
        }
    };
    for (name, value) in [("tenantName", &settings.tenant), ("tenantId", &settings.tenant_id)] {
        if let Some(value) = value {
            auth.insert(name.to_owned(), json!(value));
        }
    }
    json!({ "auth": auth })
}

fn v3(settings: &SwiftSettings) -> Value {
    let user_domain = || named(settings.domain.as_deref(), settings.domain_id.as_deref());
    let user = || json!({ "name": settings.username, "domain": user_domain() });
    let by_credential = |name: Value| json!({ "auth": { "identity": { "methods": ["application_credential"], "application_credential": name } } });
    let credential_secret = secret(settings.credential_secret.as_ref());
    if let Some(id) = &settings.credential_id {
        return by_credential(json!({ "id": id, "secret": credential_secret }));
    }
    if let Some(name) = &settings.credential_name {
        return by_credential(json!({ "name": name, "secret": credential_secret, "user": user() }));
    }
    let identity = match &settings.token_id {
        Some(token) => json!({ "methods": ["token"], "token": { "id": token.0 } }),
        None => {
            let mut user = user();
            user["password"] = json!(secret(settings.password.as_ref()));
            json!({ "methods": ["password"], "password": { "user": user } })
        }
    };
    let mut auth = json!({ "identity": identity });
    let project_domain = || match (&settings.tenant_domain, &settings.tenant_domain_id) {
        (None, None) => user_domain(),
        (name, id) => named(name.as_deref(), id.as_deref()),
    };
    match (&settings.trust_id, &settings.tenant_id, &settings.tenant) {
        (Some(trust), ..) => auth["scope"] = json!({ "OS-TRUST:trust": { "id": trust } }),
        (None, Some(id), _) => auth["scope"] = json!({ "project": { "id": id } }),
        (None, None, Some(name)) => {
            auth["scope"] = json!({ "project": { "name": name, "domain": project_domain() } });
        }
        (None, None, None) => {}
    }
    json!({ "auth": auth })
}

/// What to read from a successful answer.
pub(super) fn answer(
    version: Version,
    settings: &SwiftSettings,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Answer, Unusable> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let missing = |name: &str| Unusable::Unclear(format!("it has no {name}"));
    let unclear = |error: serde_json::Error| Unusable::Unclear(error.to_string());
    match version {
        Version::V1 => {
            let life = header("x-auth-token-expires").and_then(|text| text.parse().ok()).map(Duration::from_secs);
            Ok(Answer {
                token: header("x-auth-token").ok_or_else(|| missing("X-Auth-Token"))?,
                url: header("x-storage-url").ok_or_else(|| missing("X-Storage-Url"))?.trim_end_matches('/').to_owned(),
                life: life.unwrap_or(UNKNOWN_LIFE),
                project: None,
            })
        }
        Version::V2 => {
            let V2Answer { access } = serde_json::from_slice(body).map_err(unclear)?;
            let endpoints = access.catalogue.into_iter().filter(|service| service.kind == SERVICE);
            let endpoints: Vec<V2Endpoint> = endpoints.flat_map(|service| service.endpoints).collect();
            let kind = settings.endpoint_type;
            let found = endpoints.into_iter().map(|endpoint| {
                let url = match kind {
                    super::EndpointType::Public => endpoint.public,
                    super::EndpointType::Internal => endpoint.internal,
                    super::EndpointType::Admin => endpoint.admin,
                };
                (vec![endpoint.region], url)
            });
            let url = choose(settings, found.collect())?;
            let project = access.token.tenant.map(|tenant| tenant.id);
            Ok(Answer { token: access.token.id, url, life: life(access.token.expires.as_deref()), project })
        }
        Version::V3 => {
            let V3Answer { token } = serde_json::from_slice(body).map_err(unclear)?;
            let catalogue = token.catalog.ok_or(Unusable::NoCatalogue)?;
            let kind = settings.endpoint_type.as_str();
            let endpoints = catalogue.into_iter().filter(|service| service.kind == SERVICE);
            let found = endpoints.flat_map(|service| service.endpoints).map(|endpoint| {
                let regions = [endpoint.region, endpoint.region_id].into_iter().flatten().collect();
                (regions, Some(endpoint.url).filter(|_| endpoint.interface == kind))
            });
            let url = choose(settings, found.collect())?;
            let project = token.project.map(|project| project.id);
            let subject = header("x-subject-token").ok_or_else(|| missing("X-Subject-Token"))?;
            Ok(Answer { token: subject, url, life: life(token.expires_at.as_deref()), project })
        }
    }
}

/// The first address of the region; each has the names of its region and perhaps an address of the wanted type.
fn choose(settings: &SwiftSettings, endpoints: Vec<(Vec<String>, Option<String>)>) -> Result<String, Unusable> {
    if endpoints.is_empty() {
        return Err(Unusable::NoService);
    }
    let wanted = |regions: &[String]| settings.region.as_ref().is_none_or(|region| regions.contains(region));
    if !endpoints.iter().any(|(regions, _)| wanted(regions)) {
        let mut all: Vec<String> =
            endpoints.into_iter().filter_map(|(regions, _)| regions.into_iter().next()).collect();
        all.sort();
        all.dedup();
        return Err(Unusable::NoRegion(all.join(", ")));
    }
    let mut addresses = endpoints.into_iter().filter(|(regions, _)| wanted(regions)).filter_map(|(_, url)| url);
    let url = addresses.next().ok_or(Unusable::NoEndpoint(settings.endpoint_type.as_str()))?;
    Ok(url.trim_end_matches('/').to_owned())
}

fn life(until: Option<&str>) -> Duration {
    let until = until.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(SystemTime::from);
    let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
    left.unwrap_or(UNKNOWN_LIFE)
}

#[derive(Deserialize)]
struct V2Answer {
    access: V2Access,
}

#[derive(Deserialize)]
struct V2Access {
    token: V2Token,
    #[serde(default, rename = "serviceCatalog")]
    catalogue: Vec<V2Service>,
}

#[derive(Deserialize)]
struct V2Token {
    id: String,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    tenant: Option<Named>,
}

#[derive(Deserialize)]
struct V2Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<V2Endpoint>,
}

#[derive(Deserialize)]
struct V2Endpoint {
    #[serde(default)]
    region: String,
    #[serde(default, rename = "publicURL")]
    public: Option<String>,
    #[serde(default, rename = "internalURL")]
    internal: Option<String>,
    #[serde(default, rename = "adminURL")]
    admin: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct V3Answer {
    token: V3Token,
}

#[derive(Deserialize)]
struct V3Token {
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    catalog: Option<Vec<V3Service>>,
    #[serde(default)]
    project: Option<Named>,
}

#[derive(Deserialize)]
struct V3Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<V3Endpoint>,
}

#[derive(Deserialize)]
struct V3Endpoint {
    interface: String,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    region_id: Option<String>,
    url: String,
}

#[cfg(test)]
mod tests;
