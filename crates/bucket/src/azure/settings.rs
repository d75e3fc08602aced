//! Settings of an Azure container, as distribution names them.

use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What says who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `shared_key`: the account's key.
    SharedKey,
    /// `client_secret`: an application of a directory, and its secret.
    ClientSecret,
    /// `default_credentials`: what the environment or the machine has.
    Default,
}

/// Everything that can be said of an Azure container. Fields have the names of distribution's `storage.azure`, written in
/// words.
#[derive(Clone)]
pub struct AzureSettings {
    /// `accountname`.
    pub account_name: String,
    /// `accountkey`, in base64.
    pub account_key: Option<Secret>,
    /// `container`.
    pub container: String,
    /// `realm`: the end of the service's host name.
    pub realm: String,
    /// `serviceurl`: address of the account, instead of one made of account and realm.
    pub service_url: Option<String>,
    /// Address of the account by which clients reach it, when it is another one than ours; redirects lead there. One that
    /// names the account neither in its host nor in a path has the path of ours.
    pub redirect_endpoint: Option<String>,
    /// A shared access signature, without the question mark.
    pub signature: Option<Secret>,
    /// `credentials.type`; `None`: what the other settings allow, best first.
    pub proof: Option<Proof>,
    /// `credentials.clientid`.
    pub client_id: Option<String>,
    /// `credentials.tenantid`.
    pub tenant_id: Option<String>,
    /// `credentials.secret`.
    pub client_secret: Option<Secret>,
    /// `rootdirectory`.
    pub root_directory: String,
    /// Names begin with a slash, as some old registries wrote them; `None`: as what is there.
    pub leading_slash: Option<bool>,
    /// `skipverify`: the service's certificate is not looked at.
    pub skip_verify: bool,
    /// A file with further certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Size of the parts of an upload, in bytes.
    pub chunk_size: u64,
    /// Size of the parts of a copy, in bytes.
    pub copy_chunk_size: u64,
    /// Variables of the environment by which workload and managed identities are told.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for AzureSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (account, container) = (&self.account_name, &self.container);
        f.debug_struct("AzureSettings")
            .field("account_name", account)
            .field("container", container)
            .finish_non_exhaustive()
    }
}

impl AzureSettings {
    /// A container with everything else as it usually is.
    #[must_use]
    pub fn new(account_name: impl Into<String>, container: impl Into<String>) -> Self {
        Self {
            account_name: account_name.into(),
            account_key: None,
            container: container.into(),
            realm: "core.windows.net".to_owned(),
            service_url: None,
            redirect_endpoint: None,
            signature: None,
            proof: None,
            client_id: None,
            tenant_id: None,
            client_secret: None,
            root_directory: String::new(),
            leading_slash: None,
            skip_verify: false,
            ca_file: None,
            chunk_size: 8 << 20,
            copy_chunk_size: 64 << 20,
            environment: BTreeMap::new(),
        }
    }

    /// A variable of the environment that says something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}
