//! Shared access signatures: an address by which a blob can be read for a while.

use super::place::{Place, QUERY};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::utf8_percent_encode;
use ring::hmac;
use std::time::{Duration, SystemTime};

/// Version of the signature, not of the requests.
const VERSION: &str = "2020-12-06";

/// A key that signs for a user, as the service gives it for some hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Delegation {
    pub(super) object: String,
    pub(super) tenant: String,
    pub(super) start: String,
    pub(super) expiry: String,
    pub(super) service: String,
    pub(super) version: String,
}

/// Signs addresses.
pub(super) struct Signer {
    key: hmac::Key,
    /// `None`: the key is the account's.
    delegation: Option<Delegation>,
}

impl Signer {
    /// `None`: the key is not in base64.
    pub(super) fn new(key: &str, delegation: Option<Delegation>) -> Option<Self> {
        let key = BASE64_STANDARD.decode(key.trim()).ok()?;
        Some(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), delegation })
    }

    /// An address below the `account`'s, good for reading the blob for `ttl`. What is signed has no host in it, so that any
    /// address of the account will do.
    pub(super) fn sign(&self, place: &Place, account: &str, key: &str, ttl: Duration) -> String {
        let expiry = time(SystemTime::now() + ttl);
        // Where something else ends TLS, the service would see none and refuse.
        let protocol = if place.is_encrypted() && account.starts_with("https://") { "https" } else { "" };
        let mut pairs = vec![("sv", VERSION), ("sr", "b"), ("sp", "r"), ("se", &expiry)];
        if !protocol.is_empty() {
            pairs.push(("spr", protocol));
        }
        // What it says: rights, start, end, resource; who, or which policy; from where, how, which version, what kind;
        // snapshot and scope of encryption; five headers of the answer.
        let mut said = vec!["r", "", &expiry];
        let resource = place.resource(key);
        said.push(&resource);
        match &self.delegation {
            None => said.push(""),
            Some(Delegation { object, tenant, start, expiry, service, version }) => {
                let key = [object, tenant, start, expiry, service, version];
                said.extend(key.map(String::as_str));
                said.extend(["", "", ""]);
                pairs.extend(["skoid", "sktid", "skt", "ske", "sks", "skv"].into_iter().zip(key.map(String::as_str)));
            }
        }
        said.extend(["", protocol, VERSION, "b", "", "", "", "", "", "", ""]);
        let signature = BASE64_STANDARD.encode(hmac::sign(&self.key, said.join("\n").as_bytes()));
        pairs.push(("sig", &signature));
        let query: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY))).collect();
        format!("{}?{}", place.real_blob(account, key), query.join("&"))
    }
}

/// A moment in whole seconds, as Azure writes it.
pub(super) fn time(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds until a moment; none when it is over or cannot be read.
pub(super) fn until(text: &str) -> Duration {
    let at: Option<jiff::Timestamp> = text.parse().ok();
    at.and_then(|at| SystemTime::from(at).duration_since(SystemTime::now()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::AzureSettings;

    #[test]
    fn addresses_say_what_is_signed() {
        let place = Place::new(&AzureSettings::new("acc", "images")).unwrap();
        let sign =
            |account: &str| Signer::new("a2V5", None).unwrap().sign(&place, account, "a/b", Duration::from_secs(60));
        let address = sign(&place.service);
        assert!(address.starts_with("https://acc.blob.core.windows.net/images/a/b?sv=2020-12-06&sr=b&sp=r&se="));
        assert!(address.contains("&spr=https&sig="), "{address}");
        let plain = sign("http://store.example.com/acc");
        assert!(plain.starts_with("http://store.example.com/acc/images/a/b?sv=") && !plain.contains("spr="), "{plain}");
        assert!(Signer::new("not base64!", None).is_none());
        assert_eq!(time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_281_758)), "2026-11-21T17:22:38Z");
        assert!(until(&time(SystemTime::now() + Duration::from_secs(100))) > Duration::from_secs(90));
        assert_eq!(until("then"), Duration::ZERO);
    }
}
