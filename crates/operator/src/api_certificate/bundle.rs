//! Certificates that are trusted, and what they vouch for. Whether a certificate is good is asked of the verifier that TLS
//! clients use; nothing here reads its fields.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

/// Characters per line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;
/// However long a certificate is good, later ends are not told.
const END_MAX: i64 = 10 * 366 * 86_400;

/// Certificates, the oldest first, each once. As many as the object has that they come from: Kubernetes bounds it, and what
/// was cut could be the one that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// The certificates of a PEM file; what is none is left out.
    pub(super) fn parse(pem: &[u8]) -> Self {
        let mut bundle = Self::default();
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            bundle.add(certificate);
        }
        bundle
    }

    fn add(&mut self, certificate: CertificateDer<'static>) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }

    /// This bundle, and what else is in another.
    pub(super) fn with(mut self, other: &Self) -> Self {
        other.0.iter().for_each(|certificate| self.add(certificate.clone()));
        self
    }

    /// The first certificate alone, which is what a server shows of its own.
    pub(super) fn first(&self) -> Self {
        Self(self.0.first().cloned().into_iter().collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that vouch for themselves at this time.
    pub(super) fn good_at(&self, name: &str, time: Timestamp) -> Self {
        let good = |certificate: &&CertificateDer<'static>| {
            let alone = Self(vec![(*certificate).clone()]);
            Verifier::new(&alone, name).is_some_and(|verifier| verifier.check(&alone, time).is_ok())
        };
        Self(self.0.iter().filter(good).cloned().collect())
    }

    pub(super) fn to_pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.0 {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let mut rest = BASE64.encode(certificate);
            while !rest.is_empty() {
                let next = rest.split_off(rest.len().min(PEM_LINE));
                text.push_str(&rest);
                text.push('\n');
                rest = next;
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
        text
    }
}

/// What kube-apiserver does with the certificate of a server.
struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl Verifier {
    fn new(trusted: &Bundle, name: &str) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.0.iter().cloned());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        Some(Self { verifier: verifier.build().ok()?, name: ServerName::try_from(name.to_owned()).ok()? })
    }

    fn check(&self, chain: &Bundle, time: Timestamp) -> Result<(), rustls::Error> {
        let (first, others) = chain.0.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let seconds = u64::try_from(time.as_second()).map_err(|_| rustls::Error::FailedToGetCurrentTime)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.verifier.verify_server_cert(first, others, &self.name, &[], time).map(|_| ())
    }
}

/// Whether the certificate that a server shows was signed with another one's key, and has not ended.
pub(super) fn is_signed_by_another(chain: &Bundle, name: &str, now: Timestamp) -> bool {
    let first = chain.first();
    let checked = Verifier::new(&first, name).map(|verifier| verifier.check(&first, now));
    matches!(checked, Some(Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))))
}

/// When a server with this chain and key is no longer believed by who trusts `trusted`; `None` if it is not now.
pub(super) fn end(chain: &Bundle, key: &[u8], trusted: &Bundle, name: &str, now: Timestamp) -> Option<Timestamp> {
    let verifier = Verifier::new(trusted, name)?;
    let key = PrivateKeyDer::from_pem_slice(key).ok()?;
    CertifiedKey::from_der(chain.0.clone(), key, &default_provider()).ok()?;
    let at = |seconds: i64| Timestamp::from_second(now.as_second().saturating_add(seconds)).ok();
    let takes = |seconds: i64| at(seconds).is_some_and(|time| verifier.check(chain, time).is_ok());
    if !takes(0) {
        return None;
    }
    // Good at the one and not at the other, and once in between it ends.
    let (mut good, mut over) = (0, END_MAX);
    while over - good > 1 {
        let middle = good + (over - good) / 2;
        *(if takes(middle) { &mut good } else { &mut over }) = middle;
    }
    at(good)
}
