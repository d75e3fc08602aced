//! Addresses of a network that delivers what is in the bucket, in place of the bucket's own.

use data_encoding::BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use std::fmt;
use std::time::{Duration, SystemTime};
use storage::{Addresses, Error, ErrorKind, Result};

const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Addresses below a base, open to whoever knows them.
#[derive(Clone, Debug)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Addresses begin with `base`, after which comes the key.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self(base.trim_end_matches('/').to_owned())
    }

    fn of(&self, key: &str) -> String {
        format!("{}/{}", self.0, utf8_percent_encode(key, PATH))
    }
}

impl Addresses for BaseUrl {
    fn address(&self, key: &str, _life: Duration) -> Result<String> {
        Ok(self.of(key))
    }
}

/// Addresses of a CloudFront distribution, signed with a canned policy.
pub struct CloudFront {
    base: BaseUrl,
    /// What the bucket has in front of every key.
    root: String,
    key: KeyPair,
    key_id: String,
}

impl fmt::Debug for CloudFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudFront").field("base", &self.base).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl CloudFront {
    /// Signs with a private key in PEM.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn new(base: &str, root: &str, pem: &[u8], key_id: &str) -> std::result::Result<Self, String> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("no private key in PEM: {error}"))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err("not a key of RSA, which CloudFront wants".to_owned()),
        };
        let key = key.map_err(|error| format!("not a key of RSA with 2048 bits or more: {error}"))?;
        let root = root.trim_matches('/');
        let root = if root.is_empty() { String::new() } else { format!("{root}/") };
        Ok(Self { base: BaseUrl::new(base), root, key, key_id: key_id.to_owned() })
    }

    fn sign(&self, key: &str, end: u64) -> std::result::Result<String, ring::error::Unspecified> {
        let address = self.base.of(&format!("{}{key}", self.root));
        let policy = policy(&address, end);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), policy.as_bytes(), &mut signature)?;
        let signature = BASE64.encode(&signature).replace('+', "-").replace('=', "_").replace('/', "~");
        let key_id = &self.key_id;
        Ok(format!("{address}?Expires={end}&Signature={signature}&Key-Pair-Id={key_id}&Hash-Algorithm=SHA256"))
    }
}

/// What CloudFront makes of the address, too.
fn policy(address: &str, end: u64) -> String {
    format!(r#"{{"Statement":[{{"Resource":"{address}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{end}}}}}}}]}}"#)
}

impl Addresses for CloudFront {
    fn address(&self, key: &str, life: Duration) -> Result<String> {
        let end = SystemTime::now() + life;
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let failed = |_| Error::new(ErrorKind::Unavailable, "sign", key, "the key of CloudFront cannot sign");
        self.sign(key, end).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    fn openssl(folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    #[test]
    fn openssl_accepts_what_is_signed() {
        if Command::new("openssl").arg("version").output().is_err() {
            println!("skipped: openssl is not here");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path(), |name: &str| dir.path().join(name));
        openssl(folder, &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "pkcs8.pem"]);
        openssl(folder, &["rsa", "-in", "pkcs8.pem", "-traditional", "-out", "pkcs1.pem"]);
        openssl(folder, &["rsa", "-in", "pkcs8.pem", "-pubout", "-out", "public.pem"]);
        for name in ["pkcs1.pem", "pkcs8.pem"] {
            let pem = std::fs::read(file(name)).unwrap();
            let signer = CloudFront::new("https://d1.cloudfront.net/", "/some root/", &pem, "K2JCJMDEHXQW5F").unwrap();
            let address = signer.sign("docker/registry/v2/a", 1_767_290_400).unwrap();
            let (resource, query) = address.split_once('?').unwrap();
            assert_eq!(resource, "https://d1.cloudfront.net/some%20root/docker/registry/v2/a");
            let parts: Vec<(&str, &str)> = query.split('&').map(|part| part.split_once('=').unwrap()).collect();
            let [("Expires", "1767290400"), ("Signature", signature), key_id, hash] = parts[..] else {
                panic!("{query}")
            };
            assert_eq!((key_id, hash), (("Key-Pair-Id", "K2JCJMDEHXQW5F"), ("Hash-Algorithm", "SHA256")));
            let signature = signature.replace('-', "+").replace('_', "=").replace('~', "/");
            std::fs::write(file("signature"), BASE64.decode(signature.as_bytes()).unwrap()).unwrap();
            // As CloudFront's documentation has it, without white space.
            let policy = "{\"Statement\":[{\"Resource\":\"https://d1.cloudfront.net/some%20root/docker/registry/v2/a\",\
                \"Condition\":{\"DateLessThan\":{\"AWS:EpochTime\":1767290400}}}]}";
            std::fs::write(file("policy"), policy).unwrap();
            let verify = ["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "policy"];
            assert!(openssl(folder, &verify).contains("Verified OK"));
        }
        openssl(folder, &["genpkey", "-algorithm", "ED25519", "-out", "ed25519.pem"]);
        for (pem, expected) in [("", "PEM"), ("ed25519.pem", "RSA")] {
            let pem = if pem.is_empty() { Vec::new() } else { std::fs::read(file(pem)).unwrap() };
            let error = CloudFront::new("https://d1.cloudfront.net", "", &pem, "K").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn plain_addresses_are_below_the_base() {
        for (base, expected) in [
            ("https://mirror.example.com/", "https://mirror.example.com/docker/a"),
            ("http://mirror.example.com/files", "http://mirror.example.com/files/docker/a"),
        ] {
            assert_eq!(BaseUrl::new(base).address("docker/a", Duration::ZERO).unwrap(), expected);
        }
    }
}
