//! From settings and files to a rustls configuration. Reads every file once, so that the hash and the configuration
//! speak of the same content.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::verify::AnyCertificate;
use super::{ClientAuth, TlsError, TlsSettings, TlsVersion, x509};

/// SHA-256 over the content of all files.
pub(super) type ContentHash = [u8; 32];

/// The content of all files of the settings.
pub(super) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_cas: Vec<Vec<u8>>,
}

/// A usable configuration and what is known of it.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) hash: ContentHash,
    pub(super) not_after: Option<SystemTime>,
}

impl Files {
    pub(super) fn read(settings: &TlsSettings) -> Result<Files, TlsError> {
        Ok(Files {
            certificate: read(&settings.certificate)?,
            key: read(&settings.key)?,
            client_cas: settings.client_cas.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn hash(&self) -> ContentHash {
        let mut context = Context::new(&SHA256);
        for content in [&self.certificate, &self.key].into_iter().chain(&self.client_cas) {
            // With the lengths, no byte can move from one file to the next unnoticed.
            context.update(&(content.len() as u64).to_be_bytes());
            context.update(content);
        }
        let mut hash = ContentHash::default();
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

/// Builds the configuration; fails when the key does not match the certificate.
pub(super) fn build(settings: &TlsSettings, files: &Files) -> Result<Loaded, TlsError> {
    let provider = Arc::new(provider(&settings.cipher_suites)?);
    let chain = certificates(&settings.certificate, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|source| TlsError::Pem { path: settings.key.clone(), source })?;
    let not_after = chain.first().and_then(|leaf| x509::read(leaf)).map(|read| read.not_after);

    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(settings.minimum_version))
        .map_err(TlsError::Versions)?;
    let builder = match client_verifier(settings, files, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|source| TlsError::Pair {
        certificate: settings.certificate.clone(),
        key: settings.key.clone(),
        source,
    })?;
    if settings.http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Loaded { config: Arc::new(config), hash: files.hash(), not_after })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(found)
}

static FROM_1_2: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static FROM_1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match minimum {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_3,
    }
}

/// The provider, reduced to the named suites, in our order of preference.
fn provider(names: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    let known: Vec<String> = provider.cipher_suites.iter().map(|suite| iana_name(suite.suite())).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(TlsError::CipherSuite { name: name.clone(), supported: known.join(", ") });
    }
    provider.cipher_suites.retain(|suite| names.contains(&iana_name(suite.suite())));
    Ok(provider)
}

/// rustls calls the suites of TLS 1.3 `TLS13_…`; the registered names and those of Go begin with `TLS_`.
fn iana_name(suite: rustls::CipherSuite) -> String {
    let name = format!("{suite:?}");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

fn client_verifier(
    settings: &TlsSettings,
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let mandatory = match settings.client_auth {
        ClientAuth::Request => return Ok(Some(AnyCertificate::verifier(provider, false))),
        ClientAuth::RequireAny => return Ok(Some(AnyCertificate::verifier(provider, true))),
        ClientAuth::VerifyIfGiven => false,
        ClientAuth::Require => true,
    };
    if settings.client_cas.is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for (path, pem) in settings.client_cas.iter().zip(&files.client_cas) {
        for authority in certificates(path, pem)? {
            roots.add(authority).map_err(|source| TlsError::ClientCa { path: path.clone(), source })?;
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
    builder.build().map(Some).map_err(TlsError::Verifier)
}
