//! What an operation on tags gets to work with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use access::{Authenticator, Authorizer, Caller};
use cluster::{NamespaceSource, PathReviews, RequestHeaders};
use content::Store;
use tenancy::Tenancy;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::documents::Documents;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::negotiate::Form;
use crate::respond::Encoding;
use crate::tags;

/// The parts that the API is made of.
pub struct Parts {
    /// Where the tags are.
    pub store: Arc<Store>,
    /// Whose content a namespace holds.
    pub tenancy: Arc<Tenancy>,
    /// The namespaces of the cluster.
    pub namespaces: Arc<NamespaceSource>,
    /// Decides per repository what a caller sees and deletes.
    pub authorizer: Arc<dyn Authorizer>,
    /// Knows callers that come directly, with a token of the cluster.
    pub tokens: Arc<dyn Authenticator>,
    /// Knows callers that kube-apiserver brings.
    pub trust: Arc<RequestHeaders>,
    /// Decides over paths that are no resources.
    pub paths: Arc<PathReviews>,
    /// Whether the rules that `authorizer` decides by are known; part of being ready.
    pub rules_ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// What the configuration says now.
    pub switches: Box<dyn Fn() -> Switches + Send + Sync>,
    /// The registry's `HOST[:PORT]` as users write it.
    pub host: Box<dyn Fn() -> String + Send + Sync>,
    /// The version of the program, as `/version` shows it.
    pub version: &'static str,
}

/// What can be switched in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    /// Nothing may be changed at the moment.
    pub read_only: bool,
    /// Tags may be deleted.
    pub delete: bool,
    /// Changes are noted in the audit log.
    pub audit: bool,
    /// Requests are noted in the access log.
    pub access_log: bool,
}

/// Everything that lives as long as the server.
pub(crate) struct Server {
    pub(crate) parts: Parts,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) documents: Documents,
    /// What the operations on tags share.
    pub(crate) tags: tags::Shared,
    /// No more requests should be sent here.
    leaving: AtomicBool,
    /// Watches end.
    stopping: watch::Sender<bool>,
}

impl Server {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            documents: Documents::new(parts.version),
            parts,
            limits: Limits::new(),
            metrics: Metrics::default(),
            tags: tags::Shared::new(),
            leaving: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        }
    }

    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    pub(crate) fn stop(&self) {
        self.leave();
        self.stopping.send_replace(true);
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        Shutdown(self.stopping.subscribe())
    }
}

/// Where a request comes from, for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The id of the request.
    pub(crate) id: String,
    /// The address of the client, or of the proxy that brought it.
    pub(crate) client: String,
    /// Its program, with control characters replaced.
    pub(crate) agent: String,
}

/// One request for tags, after authentication, negotiation and limits.
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    pub(crate) caller: Caller,
    pub(crate) form: Form,
    pub(crate) encoding: Encoding,
    /// As it came: percent-encoded, without the question mark; at most [`crate::limits::QUERY_BYTES_MAX`].
    pub(crate) query: String,
    pub(crate) origin: Origin,
    /// Long work ends here, although it is not done: the client is told how far it came while it still listens.
    pub(crate) deadline: Instant,
    pub(crate) shutdown: Shutdown,
}

/// Completes when the process begins to stop: watches end then, so that their clients go to another replica.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Waits for it. Cancel-safe.
    pub(crate) async fn begun(&mut self) {
        // A server that is gone has stopped, too.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}
