//! Settings of an S3 bucket, as distribution names them.

use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Everything that can be said of an S3 bucket. Fields have the names of distribution's `storage.s3`, written in words.
#[derive(Clone)]
pub struct S3Settings {
    /// `bucket`.
    pub bucket: String,
    /// `region`; the environment may know it, and services with an own address often need none.
    pub region: Option<String>,
    /// `regionendpoint`: address of a service that is not Amazon's, with or without scheme.
    pub region_endpoint: Option<String>,
    /// Address by which clients reach the service, when it is another one than ours; redirects lead there.
    pub redirect_endpoint: Option<String>,
    /// `forcepathstyle`: the bucket is in the path and not in the host name.
    pub force_path_style: Option<bool>,
    /// `virtualhostedstyle`: the opposite, as OpenShift says it.
    pub virtual_hosted_style: Option<bool>,
    /// `secure`: HTTPS where the address has no scheme.
    pub secure: bool,
    /// `skipverify`: the service's certificate is not looked at.
    pub skip_verify: bool,
    /// A file with further certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// `usedualstack`: Amazon's addresses for IPv4 and IPv6.
    pub use_dual_stack: bool,
    /// `accesskey`.
    pub access_key: Option<String>,
    /// `secretkey`.
    pub secret_key: Option<Secret>,
    /// `sessiontoken`.
    pub session_token: Option<Secret>,
    /// `credentialsconfigpath`: a credentials file as Amazon's tools have it, with keys or with a role.
    pub credentials_file: Option<PathBuf>,
    /// `encrypt`: objects are stored encrypted by the service.
    pub encrypt: bool,
    /// `keyid`: with this key of the key service; without `encrypt` it says nothing.
    pub key_id: Option<String>,
    /// `storageclass`; `NONE` and `STANDARD` are the service's own choice.
    pub storage_class: Option<String>,
    /// `rootdirectory`.
    pub root_directory: String,
    /// `useragent`.
    pub user_agent: Option<String>,
    /// `chunksize` in bytes: size of the parts of an upload.
    pub chunk_size: u64,
    /// `multipartcopythresholdsize` in bytes: larger objects are copied in parts.
    pub multipart_copy_threshold_size: u64,
    /// `multipartcopychunksize` in bytes: size of these parts.
    pub multipart_copy_chunk_size: u64,
    /// `multipartcopymaxconcurrency`: parts of a copy under way at once.
    pub multipart_copy_max_concurrency: usize,
    /// The environment variables that begin with `AWS_`: web identity, container and instance roles, region.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl S3Settings {
    /// A bucket with everything else as it usually is.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            region_endpoint: None,
            redirect_endpoint: None,
            force_path_style: None,
            virtual_hosted_style: None,
            secure: true,
            skip_verify: false,
            ca_file: None,
            use_dual_stack: false,
            access_key: None,
            secret_key: None,
            session_token: None,
            credentials_file: None,
            encrypt: false,
            key_id: None,
            storage_class: None,
            root_directory: String::new(),
            user_agent: None,
            chunk_size: 8 << 20,
            multipart_copy_threshold_size: 32 << 20,
            multipart_copy_chunk_size: 32 << 20,
            multipart_copy_max_concurrency: 16,
            environment: BTreeMap::new(),
        }
    }

    /// A variable of the environment that says something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The region, as far as it is known.
    pub(super) fn known_region(&self) -> Option<&str> {
        let given = self.region.as_deref().map(str::trim).filter(|region| !region.is_empty());
        given.or_else(|| self.variable("AWS_REGION")).or_else(|| self.variable("AWS_DEFAULT_REGION"))
    }

    /// Class that objects are to be stored in.
    pub(super) fn chosen_class(&self) -> Option<String> {
        let class = self.storage_class.as_deref().map(str::to_ascii_uppercase);
        class.filter(|class| !matches!(class.as_str(), "" | "NONE" | "STANDARD"))
    }
}
