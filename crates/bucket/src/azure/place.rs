//! Where the container is, and how its keys look there.

use super::AzureSettings;
use crate::addresses::{host_and_path, of_clients};
use crate::open::OpenError;
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A container. Above this, keys have no leading slash; [`Place::rewrite`] is what adds it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) account: String,
    /// Address of the account, without a slash at its end.
    pub(super) service: String,
    /// The same for clients.
    pub(super) clients: String,
    pub(super) container: String,
    /// What all our keys begin with: empty, or with a slash at the end.
    pub(super) root: String,
    /// In the container, all keys begin with a slash.
    slash: AtomicBool,
}

impl Place {
    /// # Errors
    /// `redirectendpoint` is no address.
    pub(super) fn new(settings: &AzureSettings) -> Result<Self, OpenError> {
        let root = settings.root_directory.trim_matches('/');
        let service = service(settings);
        Ok(Self {
            account: settings.account_name.clone(),
            clients: clients(settings, &service)?,
            service,
            container: settings.container.clone(),
            root: if root.is_empty() { String::new() } else { format!("{root}/") },
            slash: AtomicBool::new(settings.leading_slash == Some(true)),
        })
    }

    /// From now on keys have a leading slash, or not.
    pub(super) fn set_slash(&self, slash: bool) {
        self.slash.store(slash, Ordering::Relaxed);
    }

    fn slash(&self) -> &'static str {
        if self.slash.load(Ordering::Relaxed) { "/" } else { "" }
    }

    /// Nobody can listen.
    pub(super) fn is_encrypted(&self) -> bool {
        self.service.starts_with("https://")
    }

    /// Address of a blob for requests that go through [`Place::rewrite`].
    pub(super) fn blob(&self, key: &str) -> String {
        format!("{}/{}/{}", self.service, self.container, utf8_percent_encode(key, PATH))
    }

    /// Address of a blob as it is, below one of the account's.
    pub(super) fn real_blob(&self, account: &str, key: &str) -> String {
        format!("{account}/{}/{}{}", self.container, self.slash(), utf8_percent_encode(key, PATH))
    }

    /// What signatures call a blob.
    pub(super) fn resource(&self, key: &str) -> String {
        format!("/blob/{}/{}/{}{key}", self.account, self.container, self.slash())
    }

    /// Host of the account.
    pub(super) fn host(&self) -> &str {
        let rest = self.service.split_once("://").map_or(self.service.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// Gives the keys in a request their leading slash.
    pub(super) fn rewrite(&self, uri: &mut Uri) {
        if self.slash().is_empty() {
            return;
        }
        let base = self.service.split_once("://").map_or("", |(_, rest)| rest);
        let base = base.find('/').map_or("", |at| &base[at..]);
        let Some(rest) = uri.path().strip_prefix(&format!("{base}/{}", self.container)) else { return };
        let target = match (rest, uri.query()) {
            ("", Some(query)) if has(query, "comp", "list") => {
                format!("{base}/{}?{}", self.container, with_slash(query))
            }
            (key, query) if key.starts_with('/') => {
                let query = query.map(|query| format!("?{query}")).unwrap_or_default();
                format!("{base}/{}/{key}{query}", self.container)
            }
            _ => return,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = target.parse().ok();
        if let Ok(rewritten) = Uri::from_parts(parts) {
            *uri = rewritten;
        }
    }
}

/// True when the query has the pair.
pub(super) fn has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| pair.split_once('=') == Some((name, value)))
}

fn with_slash(query: &str) -> String {
    let mut pairs: Vec<String> = Vec::new();
    let mut prefix = false;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        prefix |= name == "prefix";
        let slash = if matches!(name, "prefix" | "startFrom") { "%2F" } else { "" };
        pairs.push(format!("{name}={slash}{value}"));
    }
    if !prefix {
        pairs.push("prefix=%2F".to_owned());
    }
    pairs.join("&")
}

fn service(settings: &AzureSettings) -> String {
    let given = settings.service_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
    let url = match given {
        Some(url) if url.contains("://") => url.to_owned(),
        Some(url) => format!("https://{url}"),
        None => format!("https://{}.blob.{}", settings.account_name, settings.realm.trim_matches('.')),
    };
    url.trim_end_matches('/').to_owned()
}

/// Address of the account for clients. The account is named in the host or, at an emulator, in the path.
fn clients(settings: &AzureSettings, service: &str) -> Result<String, OpenError> {
    let given = of_clients("storage.azure.redirectendpoint", settings.redirect_endpoint.as_deref())?;
    let Some(given) = given else { return Ok(service.to_owned()) };
    let (host, path) = host_and_path(&given);
    let account = &settings.account_name;
    let names_account = host.contains(&format!("://{account}.")) || path.rsplit('/').next() == Some(account);
    let path = if names_account { "" } else { host_and_path(service).1 };
    Ok(format!("{given}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(change: impl FnOnce(&mut AzureSettings)) -> Place {
        let mut settings = AzureSettings::new("acc", "images");
        change(&mut settings);
        Place::new(&settings).unwrap()
    }

    #[test]
    fn clients_may_know_another_address() {
        let clients = |service: Option<&str>, given: &str| {
            let set = |settings: &mut AzureSettings| {
                settings.service_url = service.map(str::to_owned);
                settings.redirect_endpoint = Some(given.to_owned());
            };
            place(set).clients
        };
        let emulator = Some("http://127.0.0.1:10000/acc");
        for (service, given, expected) in [
            (None, "", "https://acc.blob.core.windows.net"),
            (None, "images.example.com/", "https://images.example.com"),
            (None, "https://proxy.example.com/azure", "https://proxy.example.com/azure"),
            (emulator, "", "http://127.0.0.1:10000/acc"),
            (emulator, "https://store.example.com", "https://store.example.com/acc"),
            (emulator, "https://proxy.example.com/azure", "https://proxy.example.com/azure/acc"),
            (emulator, "https://store.example.com:8443/acc/", "https://store.example.com:8443/acc"),
            (emulator, "https://acc.blob.example.com", "https://acc.blob.example.com"),
        ] {
            assert_eq!(clients(service, given), expected, "{service:?} {given}");
        }
        let mut settings = AzureSettings::new("acc", "images");
        settings.redirect_endpoint = Some("ftp://store".to_owned());
        assert_eq!(Place::new(&settings).unwrap_err().setting, "storage.azure.redirectendpoint");
    }

    #[test]
    fn addresses_follow_realm_and_service_url() {
        assert_eq!(place(|_| {}).blob("a/b c"), "https://acc.blob.core.windows.net/images/a/b%20c");
        let china = place(|settings| settings.realm = "core.chinacloudapi.cn".to_owned());
        assert_eq!(china.host(), "acc.blob.core.chinacloudapi.cn");
        let own = place(|settings| settings.service_url = Some("http://127.0.0.1:10000/acc/".to_owned()));
        assert_eq!((own.blob("a").as_str(), own.host()), ("http://127.0.0.1:10000/acc/images/a", "127.0.0.1:10000"));
        assert!(!own.is_encrypted());
        assert_eq!(place(|settings| settings.service_url = Some("x.y".to_owned())).service, "https://x.y");
    }

    #[test]
    fn keys_get_their_slash_whatever_the_address_looks_like() {
        let place = place(|settings| {
            settings.service_url = Some("https://ACC.local:443/acc/".to_owned());
            settings.leading_slash = Some(true);
        });
        let mut uri: Uri = "https://acc.local/acc/images/a".parse().unwrap();
        place.rewrite(&mut uri);
        assert_eq!(uri, "https://acc.local/acc/images//a");
    }

    #[test]
    fn keys_get_their_slash_in_paths_and_lists() {
        let place = place(|settings| settings.leading_slash = Some(true));
        assert_eq!(place.real_blob("https://clients", "a"), "https://clients/images//a");
        assert_eq!(place.resource("a"), "/blob/acc/images//a");
        for (from, to) in [
            ("/images/a/b?comp=block&blockid=x", "/images//a/b?comp=block&blockid=x"),
            (
                "/images?restype=container&comp=list&prefix=a%2F&startFrom=a%2Fb",
                "/images?restype=container&comp=list&prefix=%2Fa%2F&startFrom=%2Fa%2Fb",
            ),
            ("/images?restype=container&comp=list", "/images?restype=container&comp=list&prefix=%2F"),
            ("/images?restype=container", "/images?restype=container"),
            ("/?restype=service&comp=userdelegationkey", "/?restype=service&comp=userdelegationkey"),
        ] {
            let mut uri: Uri = format!("https://acc.blob.core.windows.net{from}").parse().unwrap();
            place.rewrite(&mut uri);
            assert_eq!(uri.to_string(), format!("https://acc.blob.core.windows.net{to}"));
            place.set_slash(false);
            let mut plain: Uri = format!("https://acc.blob.core.windows.net{from}").parse().unwrap();
            place.rewrite(&mut plain);
            assert_eq!(plain.to_string(), format!("https://acc.blob.core.windows.net{from}"));
            place.set_slash(true);
        }
    }
}
