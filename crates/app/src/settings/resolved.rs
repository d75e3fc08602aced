//! What the rest of the program works with: validated, defaulted, typed.
//!
//! There is no `Default`: a value comes from a file, a variable, a flag, or the documented default of its key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) log: Log,
    pub(crate) storage: Storage,
    pub(crate) http: Http,
    pub(crate) auth: Auth,
    /// The cluster that the registry is part of.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// What a client without credentials may do.
    pub(crate) anonymous: Anonymous,
    /// Static users by name, those of `homeport.usersFile` included.
    pub(crate) users: BTreeMap<String, User>,
    /// The file that some of `users` come from, to be watched.
    pub(crate) users_file: Option<PathBuf>,
    pub(crate) token: Token,
    pub(crate) limits: Limits,
    pub(crate) health: Health,
    pub(crate) validation: Validation,
    pub(crate) pages: Pages,
    pub(crate) tags: Tags,
    pub(crate) redirects: Redirects,
    pub(crate) delivery: Delivery,
    pub(crate) metrics: Metrics,
    /// An event for each push and delete.
    pub(crate) audit: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: Level,
    pub(crate) format: LogFormat,
    /// Added to every event.
    pub(crate) fields: BTreeMap<String, String>,
    /// One event per request.
    pub(crate) access: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) driver: Driver,
    /// Manifests and blobs may be deleted by their digest.
    pub(crate) delete: bool,
    /// Clients may be sent to the storage itself, where it can serve them.
    pub(crate) redirect: bool,
    pub(crate) read_only: bool,
    pub(crate) uploads: Uploads,
    pub(crate) cache_entries: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Driver {
    Filesystem { root: PathBuf },
    S3(Box<S3>),
    Swift(Box<Swift>),
    Gcs(Box<Gcs>),
    Azure(Box<Azure>),
}

/// A container of Azure Blob storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Azure {
    pub(crate) account_name: String,
    pub(crate) account_key: Option<Secret>,
    pub(crate) container: String,
    pub(crate) realm: String,
    pub(crate) service_url: Option<String>,
    /// The same for clients.
    pub(crate) redirect_endpoint: Option<String>,
    /// Shared access signature, out of the connection string.
    pub(crate) signature: Option<Secret>,
    pub(crate) connection_string: Option<Secret>,
    pub(crate) proof: Option<AzureProof>,
    pub(crate) client_id: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) client_secret: Option<Secret>,
    /// Without slashes around it.
    pub(crate) root_directory: String,
    /// Names begin with a slash.
    pub(crate) leading_slash: Option<bool>,
    pub(crate) skip_verify: bool,
    pub(crate) ca_file: Option<PathBuf>,
}

/// What says who the registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AzureProof {
    SharedKey,
    ClientSecret,
    Default,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3 {
    pub(crate) bucket: String,
    pub(crate) region: Option<String>,
    /// Host or URL of a service that is not Amazon's.
    pub(crate) region_endpoint: Option<String>,
    /// The same for clients.
    pub(crate) redirect_endpoint: Option<String>,
    pub(crate) force_path_style: Option<bool>,
    pub(crate) virtual_hosted_style: Option<bool>,
    pub(crate) secure: bool,
    pub(crate) skip_verify: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) dual_stack: bool,
    /// Both or none.
    pub(crate) access_key: Option<Secret>,
    pub(crate) secret_key: Option<Secret>,
    pub(crate) session_token: Option<Secret>,
    pub(crate) credentials_file: Option<PathBuf>,
    pub(crate) encrypt: bool,
    pub(crate) key_id: Option<String>,
    /// In capitals.
    pub(crate) storage_class: String,
    /// Without slashes around it.
    pub(crate) root_directory: String,
    pub(crate) user_agent: Option<String>,
    pub(crate) chunk_bytes: u64,
    pub(crate) copy_threshold_bytes: u64,
    pub(crate) copy_chunk_bytes: u64,
    pub(crate) copies_max: usize,
}

/// A bucket of Google's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gcs {
    pub(crate) bucket: String,
    pub(crate) key_file: Option<PathBuf>,
    /// What such a file has, by name.
    pub(crate) credentials: BTreeMap<&'static str, Secret>,
    /// The key in either.
    pub(crate) private_key: Option<Secret>,
    /// Without slashes around it.
    pub(crate) root_directory: String,
    pub(crate) chunk_bytes: u64,
    pub(crate) requests_max: usize,
    pub(crate) user_agent: Option<String>,
    /// Host or URL of the service, and the same for clients.
    pub(crate) endpoint: Option<String>,
    pub(crate) redirect_endpoint: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swift {
    pub(crate) auth_url: String,
    pub(crate) auth_version: Option<u64>,
    pub(crate) container: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) domain: Option<String>,
    pub(crate) domain_id: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) tenant_domain: Option<String>,
    pub(crate) tenant_domain_id: Option<String>,
    pub(crate) trust_id: Option<String>,
    /// An application's, as are the next two.
    pub(crate) credential_id: Option<String>,
    pub(crate) credential_name: Option<String>,
    pub(crate) credential_secret: Option<Secret>,
    pub(crate) token_id: Option<Secret>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint_type: String,
    /// Host or URL of the service for clients.
    pub(crate) redirect_endpoint: Option<String>,
    pub(crate) skip_verify: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) chunk_bytes: u64,
    /// Without slashes around it.
    pub(crate) prefix: String,
    /// Of temporary addresses.
    pub(crate) secret_key: Option<Secret>,
    pub(crate) access_key: Option<Secret>,
    pub(crate) container_key: bool,
    pub(crate) address_methods: Vec<String>,
}

impl Swift {
    /// What all replicas have, and nobody else.
    pub(crate) fn own_secret(&self) -> Option<&Secret> {
        self.credential_secret.as_ref().or(self.password.as_ref())
    }
}

/// The end of uploads that nobody finishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uploads {
    pub(crate) purge: bool,
    /// How long an upload may rest.
    pub(crate) expiry: Duration,
    pub(crate) interval: Duration,
    /// Only logs what it would remove.
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) listen: Listen,
    /// In front of `/v2/`; begins and ends with a slash.
    pub(crate) prefix: String,
    /// The public URL, without a slash at the end. Without it, URLs follow the request.
    pub(crate) host: Option<String>,
    /// Signs upload state. Without it the server makes one up, which other replicas do not know.
    pub(crate) secret: Option<Secret>,
    pub(crate) relative_urls: bool,
    pub(crate) drain_timeout: Duration,
    pub(crate) tls: Option<Tls>,
    /// Added to every answer; names in lower case, values safe to send.
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    pub(crate) debug: Option<Debugging>,
    /// HTTP/2 over TLS.
    pub(crate) http2: bool,
    /// HTTP/2 without TLS.
    pub(crate) h2c: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// An empty host is every address of the machine; a name is looked up when the socket is opened.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// None: client certificates are not asked for.
    pub(crate) clients: Option<ClientCertificates>,
    pub(crate) minimum: TlsVersion,
    /// IANA names, all known to this build; `None` is the build's own choice.
    pub(crate) cipher_suites: Option<Vec<&'static str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificates {
    /// PEM files; never empty.
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) mode: ClientAuth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// Ask; take any certificate, or none.
    Request,
    /// Any certificate, whoever signed it.
    RequireAny,
    /// None, or one that the authorities signed.
    VerifyIfGiven,
    /// One that the authorities signed.
    RequireAndVerify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    V12,
    V13,
}

/// A second listener, for whoever runs the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debugging {
    pub(crate) listen: Listen,
    /// Path of the metrics on that listener.
    pub(crate) metrics_path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Static users only, if there are any.
    None,
    Htpasswd {
        realm: String,
        path: PathBuf,
    },
    /// Identities and rights of the cluster.
    OpenShift {
        realm: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kubernetes {
    /// None: the ServiceAccount of the pod.
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    /// Empty: the API server's own.
    pub(crate) audiences: Vec<String>,
    pub(crate) rights: RightsFrom,
    /// The catalog shows only what the caller may pull.
    pub(crate) catalog_filtered: bool,
    pub(crate) token_ttl: Duration,
    pub(crate) negative_ttl: Duration,
    /// Without an answer of the API server, known identities pull for this long.
    pub(crate) stale_for: Duration,
    /// Names by which clients reach this registry.
    pub(crate) hosts: Vec<String>,
    pub(crate) pull_secret_lifetime: Duration,
    /// How often content is compared with namespaces; `None`: never.
    pub(crate) cleanup: Option<Duration>,
    /// Where leases are kept; `None`: the pod's.
    pub(crate) namespace: Option<String>,
    /// Tags as objects of the cluster; `None`: they are not served.
    pub(crate) api: Option<Api>,
}

/// Where tags are served as objects of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) listen: Listen,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Name of the registry in addresses of images; empty when nothing says it.
    pub(crate) host: String,
}

/// Who knows the rights of the cluster's users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RightsFrom {
    /// We do: Roles and bindings are watched.
    Rbac,
    /// The API server, asked each time.
    Review,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anonymous {
    None,
    Pull,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// bcrypt.
    pub(crate) password_hash: Secret,
    pub(crate) projects: Vec<Project>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Project {
    /// First path segment of the repositories.
    pub(crate) name: String,
    /// Pattern for the rest of the path; `*` spans folders.
    pub(crate) sub_path: String,
    pub(crate) access: ProjectAccess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProjectAccess {
    Read,
    Full,
}

/// The tokens that the registry issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// The current one first. Empty: derive one from `http.secret`, or make one up.
    pub(crate) secrets: Vec<Secret>,
    /// Where `secrets` were read, to be watched.
    pub(crate) secret_files: Vec<PathBuf>,
    pub(crate) expiry: Duration,
    pub(crate) refresh_expiry: Duration,
    pub(crate) realm: Option<TokenRealm>,
    pub(crate) service: String,
}

/// Where a challenge sends the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenRealm {
    /// This URL, as it is.
    Url(String),
    /// Scheme and host, without a slash at the end; OpenShift's path `/openshift/token` follows.
    Host(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) read: Option<RequestLimit>,
    pub(crate) write: Option<RequestLimit>,
    pub(crate) connections_max: usize,
    pub(crate) manifest_bytes_max: usize,
    pub(crate) upload_bytes_max: Option<u64>,
    /// How long a client may be silent in the middle of a body; never zero.
    pub(crate) body_idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLimit {
    /// Never zero.
    pub(crate) running_max: usize,
    pub(crate) queue_max: usize,
    /// `None` is for ever.
    pub(crate) wait_max: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) storage: Option<Probe>,
    /// Unhealthy while one of these files exists.
    pub(crate) files: Vec<(PathBuf, Probe)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) interval: Duration,
    /// Failures in a row that count; never zero.
    pub(crate) threshold: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validation {
    pub(crate) urls: UrlRules,
    pub(crate) indexes: IndexRules,
    /// The config and the layers of a manifest must be in the repository.
    pub(crate) blobs_required: bool,
}

/// Which URLs the layers of a manifest may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UrlRules {
    Any,
    /// Regular expressions, not compiled yet. Both empty: no URL is accepted. `allow` empty: all that `deny` does not name.
    Rules {
        allow: Vec<String>,
        deny: Vec<String>,
    },
}

/// Which images of an index must exist when it is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexRules {
    All,
    None,
    Platforms(Vec<Platform>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

/// The largest pages of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    pub(crate) catalog_max: usize,
    pub(crate) tags_max: usize,
}

/// Which clients are sent to storage; [`Storage::redirect`] says whether any are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirects {
    /// Empty: all of them.
    pub(crate) networks: Vec<Network>,
    pub(crate) except: Vec<Network>,
    pub(crate) life: Duration,
    /// Not shorter than `life`.
    pub(crate) life_max: Duration,
}

/// A part of the address space, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) text: String,
    pub(crate) network: net::Network,
}

/// Where clients fetch blobs that they are sent for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At the storage itself.
    Storage,
    /// Below this URL.
    BaseUrl(String),
    CloudFront {
        base_url: String,
        /// PEM file.
        private_key: PathBuf,
        key_pair_id: String,
    },
}

/// What may happen to tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags {
    /// Patterns that [`content::ImmutableTags`] takes.
    pub(crate) immutable: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// Who may read `/extensions/v2/metrics`.
    pub(crate) access: MetricsAccess,
    /// A bearer token that may as well.
    pub(crate) secret: Option<Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsAccess {
    Off,
    Open,
    Authenticated,
}
