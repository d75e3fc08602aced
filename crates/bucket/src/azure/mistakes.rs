//! Why a container cannot be used, in one line that says what to do.

use super::AzureSettings;
use super::place::Place;
use crate::error::{code, status};
use crate::open::OpenError;

pub(super) const ACCOUNT: &str = "storage.azure.accountname";
pub(super) const KEY: &str = "storage.azure.accountkey";
pub(super) const SIGNATURE: &str = "storage.azure.connectionstring";
pub(super) const SECRET: &str = "storage.azure.credentials.secret";
pub(super) const CONTAINER: &str = "storage.azure.container";
pub(super) const AUTHORITY: &str = "storage.azure.cafile";
const CREDENTIALS: &str = "storage.azure.credentials";
pub(super) const ADDRESS: &str = "storage.azure.serviceurl";
const REALM: &str = "storage.azure.realm";

/// What is known when a request fails.
pub(super) struct Mistakes {
    account: String,
    container: String,
    host: String,
    /// What says who we are.
    key: &'static str,
    /// What says where the service is.
    address: &'static str,
}

impl Mistakes {
    pub(super) fn new(settings: &AzureSettings, place: &Place, key: &'static str) -> Self {
        let address = if settings.service_url.is_some() { ADDRESS } else { REALM };
        let (account, container) = (settings.account_name.clone(), settings.container.clone());
        Self { account, container, host: place.host().to_owned(), key, address }
    }

    /// What a failed first request means. `wrote`: it was a write, and a read had succeeded.
    pub(super) fn diagnose(&self, wrote: bool, text: &str) -> OpenError {
        let known = self.by_token(text).or_else(|| self.by_code(code(text)?, wrote, text));
        let (setting, remedy) = known.unwrap_or_else(|| self.by_line(text));
        OpenError::new(setting, remedy, text)
    }

    fn by_code(&self, code: &str, wrote: bool, text: &str) -> Option<(&'static str, String)> {
        let container = &self.container;
        Some(match code {
            "ContainerNotFound" | "ContainerDisabled" | "InvalidResourceName" | "OutOfRangeInput" => {
                (CONTAINER, format!("there is no container {container}: make it, or correct the name"))
            }
            "ContainerBeingDeleted" => {
                (CONTAINER, format!("container {container} is being deleted: wait, or name another"))
            }
            "AccountIsDisabled" => {
                (ACCOUNT, format!("account {} is disabled: enable it, or name another", self.account))
            }
            "AuthenticationFailed" if text.contains("header too old") || text.contains("time frame") => {
                if self.key == SIGNATURE {
                    (
                        SIGNATURE,
                        "the shared access signature is not good now: renew it, or set this machine's clock".to_owned(),
                    )
                } else {
                    (
                        "clock",
                        "the clocks of this machine and of the service differ: set this machine's clock".to_owned(),
                    )
                }
            }
            "AuthorizationFailure" if text.contains("failed to authenticate") => {
                (self.key, format!("the service does not accept it for account {}: correct it", self.account))
            }
            "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation" => {
                (self.key, format!("the service does not accept it for account {}: correct or renew it", self.account))
            }
            "KeyBasedAuthenticationNotPermitted" => {
                (KEY, format!("account {} allows no keys: remove it and set credentials", self.account))
            }
            "AuthorizationFailure" | "IpAuthorizationFailure" => (
                self.address,
                "the account's network rules keep this machine out: allow its network or address".to_owned(),
            ),
            "InvalidHeaderValue" if text.contains("x-ms-version") => {
                (self.address, "the service is too old for this program".to_owned())
            }
            "InvalidUri" | "InvalidQueryParameterValue" | "ResourceNotFound" => (
                self.address,
                "nothing answers there as an account does: check address, account and container".to_owned(),
            ),
            code if code.starts_with("Authorization") || code == "InsufficientAccountPermissions" => {
                let may = if wrote { "read but not write in" } else { "not use" };
                let role = "give them the role Storage Blob Data Contributor, or a signature with rights racwdl";
                (self.key, format!("these credentials may {may} container {container}: {role}"))
            }
            _ => return None,
        })
    }

    /// What gives tokens has refused.
    fn by_token(&self, text: &str) -> Option<(&'static str, String)> {
        let lower = text.to_ascii_lowercase();
        if !lower.contains("no credentials: ") {
            return None;
        }
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        Some(if has(&["federated token file"]) {
            (CREDENTIALS, "the file that AZURE_FEDERATED_TOKEN_FILE names cannot be read: mount it".to_owned())
        } else if has(&["169.254.169.254", "expires_on"]) {
            (
                CREDENTIALS,
                "no credentials were found: set accountkey, credentials or an identity of the machine".to_owned(),
            )
        } else if has(&["aadsts90002", "aadsts900023"]) {
            ("storage.azure.credentials.tenantid", "there is no such tenant: correct it".to_owned())
        } else if has(&["aadsts700016"]) {
            ("storage.azure.credentials.clientid", "the tenant has no such application: correct it".to_owned())
        } else if has(&["aadsts7000215", "aadsts7000222"]) {
            (SECRET, "it is wrong or has expired: renew it".to_owned())
        } else if has(&["certificate", "unknownissuer"]) {
            (
                AUTHORITY,
                "the certificate of what gives tokens is not trusted: name a file with its authority".to_owned(),
            )
        } else {
            (self.key, "no token was given: correct credentials, tenant and AZURE_AUTHORITY_HOST".to_owned())
        })
    }

    fn by_line(&self, text: &str) -> (&'static str, String) {
        let lower = text.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if has(&["unknownissuer", "unknown issuer", "invalid peer certificate", "certificate"]) {
            let remedy =
                "the service's certificate is not trusted: name a file with its authority, and check the host name";
            return (AUTHORITY, remedy.to_owned());
        }
        if has(&["dns error", "failed to lookup address", "name or service not known"]) {
            let setting = if self.address == ADDRESS { ADDRESS } else { ACCOUNT };
            return (setting, format!("there is no host {}: correct account and realm", self.host));
        }
        match status(text) {
            Some(401 | 403) => (self.key, format!("these credentials may not use container {}", self.container)),
            Some(400 | 404) => (
                self.address,
                "nothing answers there as an account does: check address, account and container".to_owned(),
            ),
            _ => (self.address, format!("{} does not answer: check address, network and that it runs", self.host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_names_its_setting() {
        let settings = AzureSettings::new("acc", "images");
        let place = Place::new(&settings).unwrap();
        let mistakes = Mistakes::new(&settings, &place, KEY);
        let said = |status: u16, code: &str| {
            format!("Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code></Error>")
        };
        let token = |text: &str| format!("Error performing list request: HTTP error: no credentials: {text}");
        for (text, setting) in [
            (said(404, "ContainerNotFound"), CONTAINER),
            (said(409, "ContainerBeingDeleted"), CONTAINER),
            (said(400, "InvalidResourceName"), CONTAINER),
            (said(403, "AuthenticationFailed"), KEY),
            (said(403, "AuthenticationFailed") + "Request date header too old: 'x'", "clock"),
            (said(403, "AccountIsDisabled"), ACCOUNT),
            (said(403, "AuthorizationPermissionMismatch"), KEY),
            (said(403, "InsufficientAccountPermissions"), KEY),
            (said(403, "AuthorizationFailure"), REALM),
            (said(403, "KeyBasedAuthenticationNotPermitted"), KEY),
            (said(404, "ResourceNotFound"), REALM),
            ("HTTP error: dns error: failed to lookup address information".to_owned(), ACCOUNT),
            ("HTTP error: connection refused".to_owned(), REALM),
            ("invalid peer certificate: UnknownIssuer".to_owned(), AUTHORITY),
            ("status code: 404 Not Found: <html>".to_owned(), REALM),
            (token("AADSTS7000215: Invalid client secret provided"), SECRET),
            (token("AADSTS90002: Tenant 'x' not found"), "storage.azure.credentials.tenantid"),
            (token("AADSTS700016: Application not found"), "storage.azure.credentials.clientid"),
            (token("Error reading federated token file"), CREDENTIALS),
            (token("Error performing token request: http://169.254.169.254/metadata"), CREDENTIALS),
        ] {
            let error = mistakes.diagnose(false, &text);
            assert_eq!(error.setting, setting, "{text}");
            assert!(!error.to_string().contains('\n'));
        }
        let read_only = mistakes.diagnose(true, &said(403, "AuthorizationPermissionMismatch"));
        assert!(read_only.remedy.contains("read but not write"));
    }
}
