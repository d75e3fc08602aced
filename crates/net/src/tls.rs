//! TLS of the server side: what can be set, how files become a configuration, and how it is replaced at run time.
//!
//! Nobody outside this crate names rustls.

mod authorities;
mod load;
mod reload;
mod verify;
pub(crate) mod x509;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use authorities::{AuthoritiesError, ClientAuthorities};
pub use reload::ReloadingTls;
pub(crate) use reload::TlsStream;

/// Chooses the cryptography of the process, once; call it first in `main`. Later calls change nothing.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Files and rules for TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// PEM file: the server's certificate and then its intermediates.
    pub certificate: PathBuf,
    /// PEM file: the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
    /// PEM files of the authorities for client certificates. With none of them, no certificate is asked for, except
    /// under [`ClientAuth::Request`] and [`ClientAuth::RequireAny`].
    pub client_cas: Vec<PathBuf>,
    pub client_auth: ClientAuth,
    pub minimum_version: TlsVersion,
    /// IANA names of the permitted cipher suites; empty means all that are known, which are all good ones.
    pub cipher_suites: Vec<String>,
    /// Offer HTTP/2 beside HTTP/1.1.
    pub http2: bool,
}

/// What is expected of clients. The names are those of distribution's `clientauth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `require-and-verify-client-cert`
    Require,
    /// `verify-client-cert-if-given`
    VerifyIfGiven,
    /// `require-any-client-cert`: a certificate of any origin.
    RequireAny,
    /// `request-client-cert`: a certificate of any origin, or none.
    Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// The TLS settings or their files cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no valid PEM file", path.display())]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{} contains no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} contains a certificate that cannot be an authority", path.display())]
    ClientCa { path: PathBuf, source: rustls::Error },
    #[error("the verifier of client certificates cannot be built")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    #[error("cipher suite `{name}` is unknown or not supported; supported are {supported}")]
    CipherSuite { name: String, supported: String },
    #[error("the cipher suites do not fit the TLS versions")]
    Versions(#[source] rustls::Error),
    #[error("the certificate {} and the key {} do not belong together or cannot be used", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
}
