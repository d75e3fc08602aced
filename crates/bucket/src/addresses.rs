//! Addresses: which may be told a secret, and which clients are sent to.

use crate::open::OpenError;
use http::Uri;
use std::net::IpAddr;

/// Nobody between us and the address can listen: what is sent is encrypted, or stays on this machine.
pub(crate) fn is_private(url: &str) -> bool {
    url.parse().is_ok_and(|uri: Uri| uri.scheme_str() == Some("https") || is_loopback(&uri))
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The address that `setting` has for clients, with a scheme (HTTPS where it has none) and without a slash at its end.
pub(crate) fn of_clients(setting: &'static str, given: Option<&str>) -> Result<Option<String>, OpenError> {
    let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) else { return Ok(None) };
    let url = if given.contains("://") { given.to_owned() } else { format!("https://{given}") };
    if !is_base(&url) {
        return Err(OpenError::new(setting, "must be a host or a URL, such as https://store.example.com", ""));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

/// Paths can be put after it.
fn is_base(url: &str) -> bool {
    url.parse().is_ok_and(|uri: Uri| {
        let is_host = |authority: &http::uri::Authority| {
            let host = authority.host();
            !host.is_empty() && (authority.as_str() == host || authority.port().is_some())
        };
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        is_web && uri.authority().is_some_and(is_host) && !url.contains(['?', '#', '@'])
    })
}

/// Splits an address before its path.
pub(crate) fn host_and_path(url: &str) -> (&str, &str) {
    let after = url.find("://").map_or(0, |at| at + 3);
    let slash = url[after..].find('/').map_or(url.len(), |at| after + at);
    url.split_at(slash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_only_sent_to_what_can_be_an_address() {
        let address = |given: &str| of_clients("setting", Some(given)).map_err(|error| error.setting);
        for (given, expected) in [
            ("store.example.com", "https://store.example.com"),
            (" http://store.example.com:8080/ ", "http://store.example.com:8080"),
            ("https://[::1]:8080/a/b/", "https://[::1]:8080/a/b"),
        ] {
            assert_eq!(address(given), Ok(Some(expected.to_owned())), "{given}");
        }
        assert_eq!((address(""), of_clients("setting", None).unwrap()), (Ok(None), None));
        for given in ["a b", "ftp://a", "https://", "https:///a", "a:port", "a:99999", "https://me@a", "a?b", "a#b"] {
            assert_eq!(address(given), Err("setting"), "{given}");
        }
    }

    #[test]
    fn only_this_machine_is_told_secrets_in_the_clear() {
        for url in ["https://a.b", "http://127.0.0.1:10000/acc", "http://[::1]:10000/acc", "http://localhost/acc"] {
            assert!(is_private(url), "{url}");
        }
        for url in
            ["http://a.b", "http://localhost.example.com", "http://127.0.0.1@example.com/acc", "a.b", "", "ftp://a"]
        {
            assert!(!is_private(url), "{url}");
        }
    }
}
