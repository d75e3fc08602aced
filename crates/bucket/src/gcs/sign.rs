//! Addresses by which somebody without credentials can read an object for a while: signatures of version 4.

use super::api::{PATH, segment};
use data_encoding::HEXLOWER;
use percent_encoding::utf8_percent_encode;
use ring::digest::{SHA256, digest};
use std::time::{Duration, SystemTime};

const ALGORITHM: &str = "GOOG4-RSA-SHA256";

/// What is to be signed, and the address but for the signature.
#[derive(Debug)]
pub(super) struct ToSign {
    pub(super) text: String,
    address: String,
}

impl ToSign {
    /// A GET of one object. `service` is scheme and host.
    pub(super) fn get(service: &str, bucket: &str, name: &str, email: &str, now: SystemTime, ttl: Duration) -> Self {
        let now = jiff::Timestamp::try_from(now).unwrap_or_default();
        let (time, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
        let scope = format!("{day}/auto/storage/goog4_request");
        let path = format!("/{}/{}", segment(bucket), utf8_percent_encode(name, PATH));
        let query = format!(
            "X-Goog-Algorithm={ALGORITHM}&X-Goog-Credential={}&X-Goog-Date={time}&X-Goog-Expires={}&X-Goog-SignedHeaders=host",
            segment(&format!("{email}/{scope}")),
            ttl.as_secs()
        );
        let host = service.split_once("://").map_or(service, |(_, host)| host);
        // What is signed has no port.
        let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let host = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(host, _)| host);
        let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let text =
            format!("{ALGORITHM}\n{time}\n{scope}\n{}", HEXLOWER.encode(digest(&SHA256, request.as_bytes()).as_ref()));
        Self { text, address: format!("{service}{path}?{query}") }
    }

    /// The whole address.
    pub(super) fn with(self, signature: &[u8]) -> String {
        format!("{}&X-Goog-Signature={}", self.address, HEXLOWER.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Credentials;
    use super::*;
    use object_store::ClientOptions;
    use object_store::client::{HttpConnector, ReqwestConnector};

    const FILE: &str = include_str!("../../tests/data/gcs-key.json");

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        description: String,
        bucket: String,
        object: String,
        expiration: u64,
        timestamp: String,
        service: String,
        expected_string_to_sign: String,
        expected_url: String,
    }

    /// Google's own samples, with Google's own key for them.
    #[tokio::test]
    async fn addresses_are_those_of_google() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let options = ClientOptions::new().with_no_system_certificates(true);
        let key = Credentials::from_json(FILE, ReqwestConnector::default().connect(&options).unwrap()).unwrap();
        let email = key.signer().await.unwrap().unwrap();
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../tests/data/gcs-signatures.json")).unwrap();
        assert!(vectors.len() >= 5);
        for vector in vectors {
            let ttl = Duration::from_secs(vector.expiration);
            let at = SystemTime::from(vector.timestamp.parse::<jiff::Timestamp>().unwrap());
            let to_sign = ToSign::get(&vector.service, &vector.bucket, &vector.object, &email, at, ttl);
            assert_eq!(to_sign.text, vector.expected_string_to_sign, "{}", vector.description);
            let signed = key.sign(&email, to_sign.text.as_bytes()).await.unwrap();
            assert_eq!(to_sign.with(&signed), vector.expected_url, "{}", vector.description);
        }
    }
}
