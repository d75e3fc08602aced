//! Authorities that are known to the handler, not to the handshake: for certificates that were accepted unseen.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;

use super::x509;
use crate::connection::ClientCertificate;

/// Why a bundle cannot be used.
#[derive(Debug, Error)]
pub enum AuthoritiesError {
    #[error("not valid PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("no certificate in it can be an authority")]
    NoAuthority,
}

/// Authorities for client certificates.
#[derive(Clone)]
pub struct ClientAuthorities(Arc<[Authority]>);

struct Authority {
    not_after: SystemTime,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthorities {
    /// Reads a bundle. A certificate that cannot be an authority does not spoil the others.
    ///
    /// # Errors
    /// See [`AuthoritiesError`].
    pub fn from_pem(pem: &[u8]) -> Result<ClientAuthorities, AuthoritiesError> {
        let found: Vec<_> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(AuthoritiesError::Pem)?;
        let authorities: Arc<[_]> = found.into_iter().filter_map(Authority::new).collect();
        if authorities.is_empty() { Err(AuthoritiesError::NoAuthority) } else { Ok(ClientAuthorities(authorities)) }
    }

    /// Whether the certificate leads to one of these authorities and is, at this time, one for clients. That the client
    /// holds the key was proved in the handshake.
    #[must_use]
    pub fn vouches_for(&self, certificate: &ClientCertificate, now: SystemTime) -> bool {
        let Ok(since_epoch) = now.duration_since(UNIX_EPOCH) else { return false };
        let leaf = CertificateDer::from(certificate.der.as_slice());
        let intermediates: Vec<_> =
            certificate.intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let now_unix = UnixTime::since_unix_epoch(since_epoch);
        // The verifier does not ask how long the authority itself is valid.
        let mut living = self.0.iter().filter(|authority| now <= authority.not_after);
        living.any(|authority| authority.verifier.verify_client_cert(&leaf, &intermediates, now_unix).is_ok())
    }
}

impl Authority {
    fn new(der: CertificateDer<'_>) -> Option<Authority> {
        let not_after = x509::read(&der)?.not_after;
        let mut roots = RootCertStore::empty();
        roots.add(der).ok()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        Some(Authority { not_after, verifier })
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAuthorities({})", self.0.len())
    }
}

#[cfg(test)]
mod tests;
