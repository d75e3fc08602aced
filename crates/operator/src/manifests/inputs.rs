//! What can be chosen.

use std::fmt;

use access::is_label;

use crate::api_certificate::Pair;

/// Pods of one registry; more share one volume without gaining anything.
const REPLICAS_MAX: u32 = 100;
/// As in the settings of the registry; some are ours.
const HOSTS_MAX: usize = 60;
const HOST_BYTES_MAX: usize = 261;
const AUDIENCES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 253;
const IMAGE_BYTES_MAX: usize = 512;
const SECRET_BYTES_MIN: usize = 16;
const SECRET_BYTES_MAX: usize = 4096;

/// What the objects are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Where everything runs.
    pub namespace: String,
    /// The image of `homeport`.
    pub image: String,
    /// Names by which clients reach the registry, with port where it is not 443. Those of the Service are added.
    pub hosts: Vec<String>,
    /// Where the images are kept.
    pub storage: Storage,
    /// Pods of the registry.
    pub replicas: u32,
    /// Audiences that a token must be for; empty: the API server's own.
    pub audiences: Vec<String>,
    /// Secret of type `kubernetes.io/tls` with the certificate; without it the registry speaks plain HTTP.
    pub tls_secret: Option<String>,
    /// How the Service is reached.
    pub service_type: ServiceType,
    /// Who knows the rights of users.
    pub authorization: Authorization,
    /// What signs upload state; `None`: the Secret is in the cluster already.
    pub secret: Option<Secret>,
    /// The ClusterRoles for users, too.
    pub roles: bool,
    /// Tags as objects of the cluster; `None`: without.
    pub api: Option<Api>,
}

/// Tags as objects of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The first certificate that pods serve with; `None`: the Secret is in the cluster already, or the operator makes it.
    pub certificate: Option<Pair>,
}

/// Where the images are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A claim for a volume.
    Claim {
        /// A quantity of bytes, such as `100Gi`.
        size: String,
        /// The cluster's default class when `None`.
        class: Option<String>,
    },
    /// A folder that goes with the pod.
    EmptyDir {
        /// A quantity of bytes that it may not exceed.
        limit: Option<String>,
    },
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceType {
    /// From inside.
    ClusterIp,
    /// At a port of every node.
    NodePort,
    /// Through a balancer that the cluster's provider makes.
    LoadBalancer,
}

impl ServiceType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Who knows the rights of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// The registry follows Roles and bindings.
    Rbac,
    /// The API server is asked.
    Review,
}

impl Authorization {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rbac => "rbac",
            Self::Review => "review",
        }
    }
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why no objects can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not a name of a namespace.
    #[error(
        "namespace {0:?} is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"
    )]
    Namespace(String),
    /// Not a reference of an image.
    #[error("image {0:?} is not a reference such as registry.example/shop/homeport:1.0")]
    Image(String),
    /// Not a host name.
    #[error("host {0:?} is not a host name with or without port, such as registry.example.com:5000")]
    Host(String),
    /// Too many of something.
    #[error("{0} {1} are too many, {2} are allowed")]
    TooMany(usize, &'static str, usize),
    /// Not an audience.
    #[error("audience {0:?} is empty, too long or has spaces or control characters")]
    Audience(String),
    /// Not a name of an object.
    #[error("{0} {1:?} is not a name of a Kubernetes object")]
    Name(&'static str, String),
    /// Not a quantity.
    #[error("size {0:?} is not a number of bytes such as 100Gi")]
    Size(String),
    /// Pods that would each have images of their own.
    #[error(
        "{0} replicas cannot share an emptyDir; use pvc:SIZE with a storage class that can be mounted by many nodes"
    )]
    Shared(u32),
    /// A registry without a secret would make up one per pod.
    #[error("the secret has {0} bytes, it needs {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Secret(usize),
}

impl Inputs {
    /// Names of the Service, as pods may use them.
    pub(super) fn service_hosts(&self) -> [String; 2] {
        let (name, namespace, port) = (super::metadata::REGISTRY, &self.namespace, super::PORT);
        ["svc", "svc.cluster.local"].map(|domain| format!("{name}.{namespace}.{domain}:{port}"))
    }

    /// Whether objects can be made from these.
    ///
    /// # Errors
    /// When they do not fit together, or one of them is no proper name.
    pub fn check(&self) -> Result<(), InputError> {
        if !is_label(&self.namespace) {
            return Err(InputError::Namespace(self.namespace.clone()));
        }
        if !is_image(&self.image) {
            return Err(InputError::Image(self.image.clone()));
        }
        at_most("hosts", self.hosts.len(), HOSTS_MAX)?;
        at_most("audiences", self.audiences.len(), AUDIENCES_MAX)?;
        at_most("replicas", self.replicas as usize, REPLICAS_MAX as usize)?;
        if let Some(host) = self.hosts.iter().find(|host| !is_host(host)) {
            return Err(InputError::Host(host.clone()));
        }
        if let Some(audience) = self.audiences.iter().find(|audience| !is_audience(audience)) {
            return Err(InputError::Audience(audience.clone()));
        }
        if let Some(name) = self.tls_secret.as_ref().filter(|name| !is_name(name)) {
            return Err(InputError::Name("TLS secret", name.clone()));
        }
        if let Some(bytes) = self.secret.as_ref().map(|secret| secret.0.len())
            && !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes)
        {
            return Err(InputError::Secret(bytes));
        }
        self.storage.check(self.replicas)
    }
}

impl Storage {
    fn check(&self, replicas: u32) -> Result<(), InputError> {
        let (size, class) = match self {
            Self::Claim { size, class } => (Some(size), class.as_ref()),
            Self::EmptyDir { .. } if replicas > 1 => return Err(InputError::Shared(replicas)),
            Self::EmptyDir { limit } => (limit.as_ref(), None),
        };
        if let Some(size) = size.filter(|size| !is_size(size)) {
            return Err(InputError::Size(size.clone()));
        }
        match class.filter(|class| !is_name(class)) {
            Some(class) => Err(InputError::Name("storage class", class.clone())),
            None => Ok(()),
        }
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), InputError> {
    if count > max { Err(InputError::TooMany(count, what, max)) } else { Ok(()) }
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && text.split('.').all(is_label)
}

fn is_image(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-[]".contains(c);
    (1..=IMAGE_BYTES_MAX).contains(&text.len()) && text.chars().all(plain)
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    (1..=HOST_BYTES_MAX).contains(&text.len()) && text.chars().all(plain)
}

fn is_audience(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// A positive whole number with one of Kubernetes' units.
fn is_size(text: &str) -> bool {
    const UNITS: [&str; 11] = ["", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    // The longest that still fits 64 bits in bytes with the largest unit is checked by the API server.
    (1..=15).contains(&digits) && text.chars().any(|c| ('1'..='9').contains(&c)) && UNITS.contains(&&text[digits..])
}
