//! The private key of a service account.

use super::{Held, SCOPE, Unusable, ask_by_form, checked};
use crate::gcs::api::failed;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use object_store::Result;
use object_store::client::HttpClient;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use std::fmt;
use std::time::SystemTime;

const PLACE: &str = "https://oauth2.googleapis.com/token";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good; the service takes no more.
const LIFETIME: u64 = 3600;

#[derive(Deserialize)]
struct Account {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: Option<String>,
}

/// A service account that we can sign for.
pub(super) struct Key {
    email: String,
    id: String,
    place: String,
    pair: RsaKeyPair,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("email", &self.email).finish_non_exhaustive()
    }
}

impl Key {
    pub(super) fn from_json(text: &str) -> Result<Self, Unusable> {
        let account: Account = serde_json::from_str(text)?;
        let broken = |what: &dyn fmt::Display| Unusable::Content(format!("has a damaged private_key: {what}"));
        let der = PrivateKeyDer::from_pem_slice(account.private_key.as_bytes()).map_err(|error| broken(&error))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(broken(&"not of RSA")),
        };
        let pair = pair.map_err(|error| broken(&error))?;
        let place = account.token_uri.filter(|place| !place.is_empty()).unwrap_or_else(|| PLACE.to_owned());
        checked("token_uri", Some(&place))?;
        Ok(Self { email: account.client_email, id: account.private_key_id, place, pair })
    }

    pub(super) fn email(&self) -> &str {
        &self.email
    }

    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature);
        signed.map_err(|_| failed("the private key does not sign".to_owned()))?;
        Ok(signature)
    }

    /// What says who we are, in the form of a JWT.
    fn assertion(&self, now: SystemTime) -> Result<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let head = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.id});
        let claims = serde_json::json!({
            "iss": self.email, "scope": SCOPE, "aud": self.place, "iat": now, "exp": now + LIFETIME,
        });
        let part = |document: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(document.to_string());
        let text = format!("{}.{}", part(&head), part(&claims));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.sign(text.as_bytes())?);
        Ok(format!("{text}.{signature}"))
    }

    pub(super) async fn fetch(&self, client: &HttpClient) -> Result<Held> {
        let assertion = self.assertion(SystemTime::now())?;
        let form = [("grant_type", GRANT), ("assertion", &*assertion)];
        ask_by_form(client, &self.place, &form).await.map(super::Granted::held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use std::time::Duration;

    const FILE: &str = include_str!("../../../tests/data/gcs-key.json");

    #[test]
    fn an_assertion_is_signed_by_the_key() {
        let key = Key::from_json(FILE).unwrap();
        let assertion = key.assertion(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        let (text, signature) = assertion.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public().as_ref());
        public.verify(text.as_bytes(), &signature).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(text.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), LIFETIME);
        assert_eq!(claims["iss"], key.email());
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_damaged_key_is_told() {
        let says = |text: &str| Key::from_json(text).err().unwrap().to_string();
        assert!(says("{}").contains("missing field"));
        assert!(says(&FILE.replace("https://oauth2", "http://oauth2")).contains("token_uri that does not begin with"));
        assert!(says(&FILE.replace("BEGIN PRIVATE", "BEGIN SECRET")).contains("damaged private_key"));
        assert!(says(&FILE.replace("MIIE", "MIIF")).contains("damaged private_key"));
    }
}
