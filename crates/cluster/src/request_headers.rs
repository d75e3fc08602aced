//! Whom the cluster's front proxy speaks for: the rules by which headers name a caller, followed when they change.

#[cfg(test)]
mod tests;
mod trust;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::connect::Connection;
use crate::object::Meta;
use crate::reach::Feed;
use crate::watch::{Change, Kind, follow};
use trust::Data;
pub use trust::{Forged, Trust};

/// What the API server publishes for aggregated API servers.
#[derive(Clone, serde::Deserialize)]
struct ConfigMap {
    metadata: Meta,
    #[serde(default)]
    data: Option<Data>,
}

impl Kind for ConfigMap {
    const PATH: &'static str = "/api/v1/namespaces/kube-system/configmaps";
    const QUERY: &'static str = "fieldSelector=metadata.name%3Dextension-apiserver-authentication";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// Follows the ConfigMap `extension-apiserver-authentication` of `kube-system`.
pub struct RequestHeaders {
    connection: Connection,
    feed: Feed,
    known: Known,
}

impl RequestHeaders {
    /// Nobody is trusted before [`RequestHeaders::run`] has read the ConfigMap.
    #[must_use]
    pub fn new(connection: &Connection) -> Arc<Self> {
        Arc::new(Self {
            connection: connection.clone(),
            // Who may pull and push does not rest on it.
            feed: connection.reach().feed_aside("extension-apiserver-authentication"),
            known: Known::default(),
        })
    }

    /// Follows the cluster for ever.
    pub async fn run(self: Arc<Self>) {
        let mut found = false;
        follow::<ConfigMap>(&self.connection, &self.feed, |change| self.known.apply(&mut found, change)).await;
    }

    /// Whether the front proxy is known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.known.current.load().is_some()
    }

    /// Who is trusted now; `None` while nobody is: headers name nobody then.
    #[must_use]
    pub fn current(&self) -> Arc<Option<Trust>> {
        self.known.current.load_full()
    }
}

#[derive(Default)]
struct Known {
    current: ArcSwap<Option<Trust>>,
}

impl Known {
    /// `found` is whether the list under way has contained the ConfigMap.
    fn apply(&self, found: &mut bool, change: Change<ConfigMap>) {
        match change {
            Change::Start => *found = false,
            Change::Listed(object) => {
                *found = true;
                self.take(object);
            }
            Change::Applied(object) => self.take(object),
            Change::Complete if *found => {}
            // The API server writes it again; meanwhile its proxy speaks for the same callers as before.
            Change::Complete | Change::Deleted(_) => {
                tracing::warn!("ConfigMap kube-system/extension-apiserver-authentication is missing");
            }
        }
    }

    fn take(&self, object: ConfigMap) {
        let data = object.data.unwrap_or_default();
        match Trust::read(&data) {
            Ok(trust) if *self.current.load().as_ref() == trust => {}
            Ok(trust) => {
                match &trust {
                    Some(trust) => tracing::info!(?trust, "front proxy of the cluster is known"),
                    None => tracing::warn!("the cluster names no front proxy: no headers are believed"),
                }
                self.current.store(Arc::new(trust));
            }
            Err(error) => tracing::error!(
                %error,
                "ConfigMap kube-system/extension-apiserver-authentication cannot be used, what it said before stays"
            ),
        }
    }
}
