//! The cluster that the registry is part of: one connection, what follows it, and who decides by it.

use super::tenants::Tenants;
use crate::settings::{self, RightsFrom};
use access::{
    Authenticator, Authorizer, ClusterPolicy, ClusterRules, ClusterTokenLimits, ClusterTokens, Namespaces, Rbac, Reach,
    Rights, SystemClock,
};
use anyhow::Context;
use apiserver::ApiServer;
use cluster::{
    Call, ConnectSettings, Connection, Events, LeaderElection, LeaseSettings, NamespaceSource, Outcome, RbacSource,
    RightsReview, TokenReviews,
};
use content::Store;
use operator::namespaces;
use registry::Cluster;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tenancy::Tenancy;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Tokens that are remembered.
const TOKENS: usize = 10_000;
/// An API server that does not answer must not hold up the end.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// What reports by Events.
const COMPONENT: &str = "homeport";

/// Everything that comes from the cluster.
pub(crate) struct Kubernetes {
    pub(super) connection: Connection,
    pub(super) namespaces: Arc<NamespaceSource>,
    /// None: the API server is asked about rights.
    rbac: Option<Arc<RbacSource>>,
    events: Arc<Events>,
    rules: Arc<ClusterRules>,
    cluster: Arc<Cluster>,
    cleanup: Option<Duration>,
    cleanup_metrics: Arc<namespaces::Metrics>,
    lease_namespace: String,
    /// Once it is there, its figures are shown with ours.
    api: Arc<OnceLock<ApiServer>>,
}

impl Kubernetes {
    /// Prepares everything; the API server need not answer yet.
    pub(crate) async fn connect(settings: &settings::Kubernetes) -> anyhow::Result<Self> {
        let connection = connect(settings).await?;
        let namespaces = NamespaceSource::new(&connection);
        let events = Events::new(&connection, COMPONENT, &instance());
        let (rights, rbac): (Arc<dyn Rights>, _) = match settings.rights {
            RightsFrom::Rbac => {
                let rules = Arc::new(Rbac::new());
                (Arc::clone(&rules) as _, Some(RbacSource::new(&connection, rules, Some(Arc::clone(&events)))))
            }
            RightsFrom::Review => (RightsReview::new(&connection, settings.stale_for), None),
        };
        let reach = Arc::clone(connection.reach()) as Arc<dyn Reach>;
        let known = Arc::clone(&namespaces) as Arc<dyn Namespaces>;
        let policy = ClusterPolicy { stale_for: settings.stale_for };
        let rules = Arc::new(ClusterRules::new(rights, Arc::clone(&known), Arc::clone(&reach), policy));
        let limits = ClusterTokenLimits {
            ttl: settings.token_ttl,
            negative_ttl: settings.negative_ttl,
            stale_for: settings.stale_for,
        };
        let reviewer = TokenReviews::new(&connection, settings.audiences.clone());
        let tokens = ClusterTokens::new(reviewer, Arc::new(SystemClock::new()), limits, TOKENS)
            .ok()
            .context("the system has no random numbers")?;
        let cleanup_metrics = Arc::<namespaces::Metrics>::default();
        let api = Arc::<OnceLock<ApiServer>>::default();
        let cluster = Arc::new(Cluster {
            tokens: Arc::new(tokens),
            tenancy: Arc::new(Tenancy::new(known, reach)),
            catalog_filtered: settings.catalog_filtered,
            figures: {
                let (connection, metrics, api) = (connection.clone(), Arc::clone(&cleanup_metrics), Arc::clone(&api));
                Box::new(move |out| {
                    api_metrics(out, &connection);
                    show_cleanup(out, metrics.counts());
                    if let Some(api) = api.get() {
                        api.figures(out);
                    }
                })
            },
        });
        let lease_namespace = lease_namespace(settings, &connection);
        let cleanup = settings.cleanup;
        Ok(Self {
            connection,
            namespaces,
            rbac,
            events,
            rules,
            cluster,
            cleanup,
            cleanup_metrics,
            lease_namespace,
            api,
        })
    }

    pub(crate) fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.cluster.tokens) as Arc<dyn Authenticator>
    }

    pub(crate) fn rules(&self) -> Arc<dyn Authorizer> {
        Arc::clone(&self.rules) as Arc<dyn Authorizer>
    }

    pub(crate) fn namespaces(&self) -> Arc<dyn Namespaces> {
        Arc::clone(&self.namespaces) as Arc<dyn Namespaces>
    }

    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.cluster)
    }

    /// What is not known yet, for readiness: without it everybody would be refused.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        if !self.namespaces.is_ready() {
            return Some("cluster: its namespaces have not been read yet");
        }
        (!self.are_rules_ready()).then_some("cluster: its roles and bindings have not been read yet")
    }

    pub(super) fn are_rules_ready(&self) -> bool {
        self.rbac.as_ref().is_none_or(|rbac| rbac.is_ready())
    }

    /// Adds the figures of the API to the others.
    pub(super) fn show_api(&self, api: ApiServer) {
        // There is one per process.
        let _ = self.api.set(api);
    }

    /// Follows the cluster. The clean-up needs a store that can be written; who does it may be told to let go.
    pub(crate) fn start(&self, tasks: &mut JoinSet<()>, store: &Arc<Store>, writable: bool) -> Option<Leadership> {
        tasks.spawn(Arc::clone(self.connection.reach()).run(self.connection.clone()));
        tasks.spawn(Arc::clone(&self.namespaces).run());
        tasks.spawn(Arc::clone(&self.events).run());
        if let Some(rbac) = &self.rbac {
            tasks.spawn(Arc::clone(rbac).run());
        }
        let interval = self.cleanup.filter(|_| writable)?;
        let lease = LeaseSettings::new(&self.lease_namespace, namespaces::LEASE, &instance());
        let (election, leader) = LeaderElection::new(&self.connection, lease);
        tasks.spawn(namespaces::run(
            Arc::clone(&self.namespaces),
            Arc::new(Tenants::new(Arc::clone(store))),
            namespaces::Settings { interval, ..namespaces::Settings::default() },
            leader,
            Arc::clone(&self.cleanup_metrics),
        ));
        let (stop, mut stopping) = watch::channel(false);
        let election = tokio::spawn(election.run(async move { drop(stopping.wait_for(|stop| *stop).await) }));
        Some(Leadership { stop, election })
    }
}

/// Our part in the election of the replica that cleans up.
pub(crate) struct Leadership {
    stop: watch::Sender<bool>,
    election: JoinHandle<()>,
}

impl Leadership {
    /// Lets go, so that the next one need not wait for the lease to end.
    pub(crate) async fn leave(self) {
        // Nobody listens when the election has ended already.
        let _ = self.stop.send(true);
        drop(tokio::time::timeout(LEAVE_MAX, self.election).await);
    }
}

/// The connection that the settings describe.
pub(crate) async fn connect(settings: &settings::Kubernetes) -> anyhow::Result<Connection> {
    let place = ConnectSettings { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
    Connection::connect(&place).await.context("homeport.kubernetes")
}

pub(crate) fn lease_namespace(settings: &settings::Kubernetes, connection: &Connection) -> String {
    settings.namespace.clone().unwrap_or_else(|| connection.namespace().to_owned())
}

/// Who we are among the replicas: the pod's name, which is its host name.
pub(crate) fn instance() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "homeport".to_owned() } else { name }
}

/// How often the API was asked for what, as metrics.
pub(crate) fn api_metrics(out: &mut String, connection: &Connection) {
    let name = "homeport_kubernetes_api_calls_total";
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} Calls to the Kubernetes API.\n# TYPE {name} counter");
    for call in Call::ALL {
        for outcome in Outcome::ALL {
            let count = connection.counters().get(call, outcome);
            if count > 0 {
                let _ = writeln!(out, "{name}{{call=\"{}\",outcome=\"{}\"}} {count}", call.as_str(), outcome.as_str());
            }
        }
    }
    let away = connection.reach().away_for().map_or(0, |away| away.as_secs());
    let name = "homeport_kubernetes_api_away_seconds";
    let help = "For how long the Kubernetes API has not answered; 0 while it does.";
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {away}");
}

/// The figures of the clean-up after namespaces.
fn show_cleanup(out: &mut String, counts: namespaces::Counts) {
    let namespaces::Counts { owned, missed, held, removed, adopted, errors } = counts;
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    put("homeport_namespaces", "gauge", "Namespaces with an owner record; 0 while another replica leads.", owned);
    put("homeport_namespaces_missed", "gauge", "Those of them that seem to be gone.", missed);
    put("homeport_namespaces_held", "gauge", "Those of them whose content is kept nevertheless.", held);
    put("homeport_namespaces_removed_total", "counter", "Namespaces whose content was removed.", removed);
    put("homeport_namespaces_adopted_total", "counter", "Namespaces that got the content that was there.", adopted);
    put("homeport_namespaces_errors_total", "counter", "Attempts to clean up that failed.", errors);
}
