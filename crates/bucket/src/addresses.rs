//! Which addresses may be told a secret.

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

#[cfg(test)]
mod tests {
    use super::*;

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
