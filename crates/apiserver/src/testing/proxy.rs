//! The front proxy of the cluster, as far as its certificates go.

use net::ClientCertificate;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

/// The common name that the cluster allows.
pub(crate) const NAME: &str = "front-proxy-client";

/// An authority, and the certificate of the proxy.
pub(crate) struct FrontProxy {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl FrontProxy {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { authority: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// The authority's certificate.
    pub(crate) fn pem(&self) -> String {
        self.authority.pem()
    }

    /// The certificate that the proxy shows.
    pub(crate) fn certificate(&self) -> ClientCertificate {
        self.issue(NAME)
    }

    /// A certificate of the same authority for somebody of this name.
    pub(crate) fn issue(&self, name: &str) -> ClientCertificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &self.authority).unwrap();
        ClientCertificate::new(certificate.der().to_vec(), Vec::new(), false)
    }
}
