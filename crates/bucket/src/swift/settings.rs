//! Settings of a container, as distribution named them.

use crate::secret::Secret;
use std::path::PathBuf;

/// Which address of the catalogue is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointType {
    /// The one for everybody.
    #[default]
    Public,
    /// The one within the cloud.
    Internal,
    /// The one for its operators.
    Admin,
}

impl EndpointType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

/// Everything that can be said of a Swift container. Fields have the names of distribution's `storage.swift`, written in
/// words.
#[derive(Clone, Debug, Default)]
pub struct SwiftSettings {
    /// `authurl`: address of the identity service, or of Swift's own.
    pub auth_url: String,
    /// `authversion`: 1, 2 or 3; the address may tell.
    pub auth_version: Option<u64>,
    /// `container`; it is made when it is missing.
    pub container: String,
    /// `username`.
    pub username: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// `domain` of the user, by name.
    pub domain: Option<String>,
    /// `domainid`.
    pub domain_id: Option<String>,
    /// `tenant`: the project, by name.
    pub tenant: Option<String>,
    /// `tenantid`.
    pub tenant_id: Option<String>,
    /// `tenantdomain`: domain of the project, by name.
    pub tenant_domain: Option<String>,
    /// `tenantdomainid`.
    pub tenant_domain_id: Option<String>,
    /// `trustid`.
    pub trust_id: Option<String>,
    /// `applicationcredentialid`.
    pub credential_id: Option<String>,
    /// `applicationcredentialname`, which belongs to the user.
    pub credential_name: Option<String>,
    /// `applicationcredentialsecret`.
    pub credential_secret: Option<Secret>,
    /// `tokenid`: a token that somebody else got.
    pub token_id: Option<Secret>,
    /// `region`; without one the first of the catalogue.
    pub region: Option<String>,
    /// `endpointtype`.
    pub endpoint_type: EndpointType,
    /// Address by which clients reach the service, when it is another one than that of the catalogue; redirects lead there.
    /// The path of the account follows it, unless it ends with that.
    pub redirect_endpoint: Option<String>,
    /// `insecureskipverify`: certificates are not looked at.
    pub skip_verify: bool,
    /// A file with further certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// `chunksize` in bytes: size of the segments of an upload.
    pub chunk_size: u64,
    /// `prefix` of all names.
    pub prefix: String,
    /// `secretkey`: signs temporary addresses.
    pub secret_key: Option<Secret>,
    /// `accesskey`: some clouds want it in temporary addresses.
    pub access_key: Option<String>,
    /// `tempurlcontainerkey`: the key belongs to the container and not to the account; the service may know.
    pub temp_url_container_key: bool,
    /// `tempurlmethods`: for services that do not say what they allow.
    pub temp_url_methods: Vec<String>,
}

impl SwiftSettings {
    /// A container with everything else as it usually is.
    #[must_use]
    pub fn new(auth_url: impl Into<String>, container: impl Into<String>) -> Self {
        Self { auth_url: auth_url.into(), container: container.into(), chunk_size: 8 << 20, ..Self::default() }
    }

    /// Where everything is that is not a segment, as distribution has it.
    pub(super) fn files(&self) -> String {
        self.below_prefix("files")
    }

    pub(super) fn below_prefix(&self, name: &str) -> String {
        match self.prefix.trim_matches('/') {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }
}
