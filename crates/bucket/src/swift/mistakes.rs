//! What a start that failed means, in terms of the settings.

use super::SwiftSettings;
use super::identity::{Unusable, Version};
use super::session::Refusal;
use crate::error::status;
use crate::open::OpenError;

pub(super) const AUTH_URL: &str = "storage.swift.authurl";
pub(super) const CONTAINER: &str = "storage.swift.container";
pub(super) const AUTHORITY: &str = "storage.swift.cafile";
const USER: &str = "storage.swift.username";

fn is_untrusted(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["certificate", "unknownissuer", "unknown issuer"].iter().any(|word| lower.contains(word))
}

fn untrusted(what: &str, text: &str) -> OpenError {
    let remedy =
        format!("the certificate of {what} is not trusted: name a file with its authority, and check the host name");
    OpenError::new(AUTHORITY, remedy, text)
}

/// No token was to be had.
pub(super) fn of_identity(settings: &SwiftSettings, version: Version, refusal: &Refusal) -> OpenError {
    let text = refusal.to_string();
    let says = |setting, remedy: String| OpenError::new(setting, remedy, &text);
    match refusal {
        Refusal::Unreachable(_) if is_untrusted(&text) => untrusted("the identity service", &text),
        Refusal::Unreachable(_) => {
            says(AUTH_URL, "the identity service does not answer: check address, network and that it runs".to_owned())
        }
        Refusal::Status { status: 401 | 403, .. } => refused(settings, version, &text),
        // Keystone answers in JSON, anybody else in HTML.
        Refusal::Status { status: 400, text: answer } if answer.contains('{') => says(
            "storage.swift.domain",
            "the identity service does not take the request: check domain, tenant and authversion".to_owned(),
        ),
        Refusal::Status { status: 500.., .. } => {
            says(AUTH_URL, "the identity service has an error: look into its log, or try again later".to_owned())
        }
        Refusal::Status { .. } | Refusal::Unusable(Unusable::Unclear(_)) => {
            let number = match version {
                Version::V1 => 1,
                Version::V2 => 2,
                Version::V3 => 3,
            };
            says(
                AUTH_URL,
                format!("no identity service of version {number} answers there: check authurl and authversion"),
            )
        }
        Refusal::Unusable(Unusable::NoCatalogue) => {
            says("storage.swift.tenant", "name the project that has the container".to_owned())
        }
        Refusal::Unusable(Unusable::NoService) => says(
            "storage.swift.tenant",
            "this project has no object store: name another one, or another cloud".to_owned(),
        ),
        Refusal::Unusable(Unusable::NoRegion(regions)) => {
            says("storage.swift.region", format!("the cloud has no object store there: set it to one of {regions}"))
        }
        Refusal::Unusable(Unusable::NoEndpoint(_)) => {
            says("storage.swift.endpointtype", "the catalogue has no such address: write another type".to_owned())
        }
    }
}

/// Services do not say which of these is wrong, so that nobody can guess names.
fn refused(settings: &SwiftSettings, version: Version, text: &str) -> OpenError {
    if settings.credential_id.is_some() || settings.credential_name.is_some() {
        let remedy =
            "the identity service does not know this application credential: check its id or name and its secret";
        return OpenError::new("storage.swift.applicationcredentialsecret", remedy, text);
    }
    if settings.token_id.is_some() {
        let remedy = "the identity service does not take this token: get another one, for this project";
        return OpenError::new("storage.swift.tokenid", remedy, text);
    }
    let remedy = match version {
        Version::V1 => "the service does not know this user with this password: check username and password",
        Version::V2 => "the identity service refuses this user: check username, password and tenant",
        Version::V3 => "the identity service refuses this user: check username, password, domain and tenant",
    };
    OpenError::new(USER, remedy, text)
}

/// There is a token, but the service does not do what is asked. `wrote`: it was a write, and a read had succeeded.
pub(super) fn of_service(settings: &SwiftSettings, version: Version, wrote: bool, text: &str) -> OpenError {
    let says = |setting, remedy: String| OpenError::new(setting, remedy, text);
    let container = &settings.container;
    match status(text) {
        _ if is_untrusted(text) => untrusted("the object store", text),
        Some(401 | 403) if wrote => {
            says(CONTAINER, format!("this user may read container {container} but not write to it: give it a role"))
        }
        Some(401 | 403) => says(
            CONTAINER,
            format!(
                "this user may not use container {container}: give it a role on the project, or name another project"
            ),
        ),
        Some(404) => says(CONTAINER, format!("there is no container {container}: make it, or correct the name")),
        Some(400 | 412) => says(CONTAINER, format!("the service does not take the name {container}: correct it")),
        Some(413 | 507) => says(CONTAINER, format!("container {container} or its project is full: raise the quota")),
        Some(_) => says(AUTH_URL, "the object store has an error: look into its log, or try again later".to_owned()),
        None if version == Version::V1 => {
            says(AUTH_URL, "it names an object store that does not answer: check network and that it runs".to_owned())
        }
        None => says(
            "storage.swift.endpointtype",
            "the object store of the catalogue does not answer: check endpointtype, region and network".to_owned(),
        ),
    }
}
