//! What all handlers share.

use crate::{Health, Metrics, Signer};
use access::{Authenticator, Authorizer, ClusterTokens, TokenAuthority};
use arc_swap::ArcSwap;
use content::{AddressLife, IndexChildren, Store};
use http::{HeaderName, HeaderValue};
use net::{Gate, Network};
use std::net::IpAddr;
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

/// Which clients are sent to storage itself, and for how long an address is good.
#[derive(Clone, Debug)]
pub struct Redirects {
    /// Some are.
    pub enabled: bool,
    /// Those in these networks; empty: all of them.
    pub networks: Vec<Network>,
    /// But not those in these.
    pub except: Vec<Network>,
    /// How long an address is good.
    pub life: AddressLife,
}

impl Redirects {
    /// Whether a client is sent there; `None`: it came by a Unix socket.
    pub(crate) fn allow(&self, client: Option<IpAddr>) -> bool {
        let is_in =
            |networks: &[Network]| client.is_some_and(|client| networks.iter().any(|network| network.has(client)));
        self.enabled && (self.networks.is_empty() || is_in(&self.networks)) && !is_in(&self.except)
    }
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
    /// Which clients fetch blobs from storage itself, where it gives out addresses.
    pub redirects: Redirects,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_by_their_network() {
        let list = |texts: &[&str]| texts.iter().map(|text| Network::parse(text).unwrap()).collect();
        let life = AddressLife { least: Duration::ZERO, most: Duration::ZERO };
        let redirects = |networks: &[&str], except: &[&str]| Redirects {
            enabled: true,
            networks: list(networks),
            except: list(except),
            life,
        };
        let client = |text: &str| Some(text.parse().unwrap());
        for (networks, except, address, expected) in [
            (&[][..], &[][..], client("192.0.2.1"), true),
            (&[], &[], None, true),
            (&["10.0.0.0/8"], &[], client("10.2.0.1"), true),
            (&["10.0.0.0/8"], &[], client("192.0.2.1"), false),
            (&["10.0.0.0/8"], &[], None, false),
            (&[], &["10.0.0.0/8", "2001:db8::/32"], client("2001:db8::1"), false),
            (&[], &["10.0.0.0/8"], None, true),
            (&["10.0.0.0/8"], &["10.2.0.0/16"], client("10.2.0.1"), false),
            (&["10.0.0.0/8"], &["10.2.0.0/16"], client("10.3.0.1"), true),
        ] {
            assert_eq!(redirects(networks, except).allow(address), expected, "{networks:?} {except:?} {address:?}");
        }
        let off = Redirects { enabled: false, ..redirects(&[], &[]) };
        assert!(!off.allow(client("192.0.2.1")));
    }
}
