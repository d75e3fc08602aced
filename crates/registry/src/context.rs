//! What all handlers share.

use crate::{Health, Metrics, Signer};
use access::{Authenticator, Authorizer, ClusterTokens, TokenAuthority};
use arc_swap::ArcSwap;
use content::{IndexChildren, Store};
use http::{HeaderName, HeaderValue};
use net::Gate;
use std::sync::Arc;
use std::time::Duration;
use tenancy::Tenancy;

/// The registry: one value, built by the application.
pub struct Registry {
    /// The content.
    pub store: Arc<Store>,
    /// Who is asking, and may they.
    pub identity: ArcSwap<Identity>,
    /// Settings that a reload may change.
    pub live: ArcSwap<Live>,
    /// Limits on requests.
    pub gates: Gates,
    /// Signs upload addresses.
    pub signer: ArcSwap<Signer>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Adds figures of what is outside of the registry, such as its storage, in the format of Prometheus.
    pub figures: Box<dyn Fn(&mut String) + Send + Sync>,
    /// Ready or not.
    pub health: Arc<Health>,
}

/// Authentication and authorisation, exchanged together.
pub struct Identity {
    /// Who is asking.
    pub authenticator: Arc<dyn Authenticator>,
    /// May they.
    pub authorizer: Arc<dyn Authorizer>,
    /// Issues tokens; `None` when everything is open to everybody.
    pub tokens: Option<Arc<TokenAuthority>>,
    /// Somebody without credentials may do something, so that the token endpoint has an anonymous token for them.
    pub anonymous: bool,
    /// Somebody without credentials may do everything: nobody is ever asked for credentials.
    pub open: bool,
    /// What comes from the cluster; `None` outside of one.
    pub cluster: Option<Arc<Cluster>>,
}

/// A registry that is part of a cluster.
pub struct Cluster {
    /// The cluster's tokens; also a member of the authenticator.
    pub tokens: Arc<ClusterTokens>,
    /// Whose content it is.
    pub tenancy: Arc<Tenancy>,
    /// The catalog shows what its reader may pull, and not all.
    pub catalog_filtered: bool,
    /// Adds the figures that only the cluster's side knows, in the format of Prometheus.
    pub figures: Box<dyn Fn(&mut String) + Send + Sync>,
}

/// Limits on parallel requests; `None`: no limits of that class.
pub struct Gates {
    /// GET.
    pub read: Gate,
    /// Everything that changes something.
    pub write: Gate,
}

/// Where clients are sent for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Realm {
    /// To this address, as it is.
    Url(String),
    /// To the token endpoint on this host (scheme and host).
    Base(String),
    /// To the host by which the client came.
    FromRequest,
}

/// Who may read the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Nobody: the endpoint does not exist.
    Off,
    /// Everybody.
    Open,
    /// Callers whom the authoriser allows it.
    Authorized,
}

/// Settings that a reload may change.
pub struct Live {
    /// Writes are refused with 405.
    pub read_only: bool,
    /// Manifests, tags and blobs may be deleted.
    pub delete: bool,
    /// Headers on every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Path in front of all endpoints, without a slash at the end; empty for none.
    pub prefix: String,
    /// Scheme and host for absolute addresses; `None`: addresses are relative.
    pub base_url: Option<String>,
    /// Where clients are sent for tokens.
    pub realm: Realm,
    /// Name of this service in challenges; `None`: the host by which the client came.
    pub service: Option<String>,
    /// Largest page of the catalog, and its default.
    pub catalog_max: usize,
    /// Largest page of tags that a client can ask for.
    pub tags_max: usize,
    /// Which children of an index must be there.
    pub index_children: IndexChildren,
    /// The config and the layers of a manifest must be in the repository.
    pub blobs_required: bool,
    /// Says whether a layer may name this address.
    pub url_allowed: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Largest blob in bytes.
    pub upload_bytes_max: Option<u64>,
    /// Clients fetch blobs from storage itself, where it gives out addresses.
    pub redirect: bool,
    /// How long a client may be silent while it sends a body.
    pub body_idle: Duration,
    /// Who may read the metrics.
    pub metrics: MetricsAccess,
    /// A fixed bearer token that may read the metrics too.
    pub metrics_secret: Option<Vec<u8>>,
    /// A line in the log for each push and delete.
    pub audit: bool,
    /// A line in the log for each request.
    pub access_log: bool,
}
