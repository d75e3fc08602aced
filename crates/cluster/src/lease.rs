//! Who of several replicas does what only one may do: who holds a Lease.

mod record;

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::call::{ApiError, get, post, put};
use crate::connect::Connection;
use crate::counters::Call;
use record::{Observer, Plan, Record};

/// Which lease, and how it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// The namespace of the lease.
    pub namespace: String,
    /// The name of the lease.
    pub name: String,
    /// Who we are; a random part is added.
    pub identity: String,
    /// After this time without a renewal others take over, in whole seconds.
    pub duration: Duration,
    /// Between two renewals.
    pub renew: Duration,
}

impl LeaseSettings {
    /// The usual times.
    #[must_use]
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        let (duration, renew) = (Duration::from_secs(15), Duration::from_secs(5));
        Self { namespace: namespace.into(), name: name.into(), identity: identity.into(), duration, renew }
    }

    /// For how long a renewal lets its holder act: others wait for all of `duration`, the rest is for what is still
    /// under way.
    fn act_for(&self) -> Duration {
        self.duration * 2 / 3
    }

    fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
}

/// Takes part in the election of one leader.
pub struct LeaderElection {
    connection: Connection,
    settings: LeaseSettings,
    identity: String,
    leading: watch::Sender<bool>,
    observer: Observer,
    start: Instant,
}

/// How an attempt ended.
enum Attempt {
    Held,
    /// Somebody else holds it.
    Others,
    /// Somebody was faster; look again.
    Conflict,
}

impl LeaderElection {
    /// Whether we lead is told by the receiver; nobody leads before [`LeaderElection::run`].
    #[must_use]
    pub fn new(connection: &Connection, settings: LeaseSettings) -> (Self, watch::Receiver<bool>) {
        let (leading, receiver) = watch::channel(false);
        let identity = format!("{}_{}", settings.identity, Uuid::new_v4());
        let observer = Observer::default();
        let connection = connection.clone();
        (Self { connection, settings, identity, leading, observer, start: Instant::now() }, receiver)
    }

    /// Takes part until `stop`, and then lets go, so that another one need not wait.
    ///
    /// Who leads may act until the receiver says otherwise; it says so before others may take over.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let elect = self.elect();
        tokio::select! {
            () = elect => {}
            () = stop => {}
        }
        let led = self.leading.send_replace(false);
        if led && let Err(error) = self.release().await {
            tracing::debug!(%error, lease = self.settings.name, "lease is not released and will expire");
        }
    }

    async fn elect(&mut self) {
        let mut until = Instant::now();
        loop {
            let began = Instant::now();
            let leading = *self.leading.borrow();
            // A leader does not wait for an answer longer than it may lead.
            let deadline = if leading { until } else { began + Call::Lease.time_max() * 2 };
            let settled = match timeout_at(deadline, self.attempt()).await {
                Ok(Ok(Attempt::Held)) => {
                    until = began + self.settings.act_for();
                    self.tell(true);
                    true
                }
                Ok(Ok(Attempt::Others)) => {
                    self.tell(false);
                    true
                }
                Ok(Ok(Attempt::Conflict)) | Err(_) => false,
                Ok(Err(error)) => {
                    tracing::debug!(%error, lease = self.settings.name, "lease cannot be held");
                    false
                }
            };
            // What is not settled is tried again soon.
            let next = if settled { began + self.settings.renew } else { Instant::now() + self.settings.renew / 5 };
            let leading = *self.leading.borrow();
            sleep_until(if leading { next.min(until) } else { next }).await;
            if leading && Instant::now() >= until {
                self.tell(false);
            }
        }
    }

    fn tell(&self, leading: bool) {
        let changed = self.leading.send_replace(leading) != leading;
        match (changed, leading) {
            (true, true) => tracing::info!(lease = self.settings.name, "leading"),
            (true, false) => tracing::warn!(lease = self.settings.name, "not leading any more"),
            _ => {}
        }
    }

    async fn attempt(&mut self) -> Result<Attempt, ApiError> {
        let found = self.read().await?;
        let record = found.as_ref().map(Record::of);
        let plan = self.observer.plan(record.as_ref(), &self.identity, self.start.elapsed());
        let written = match (plan, found) {
            (Plan::Wait, _) => return Ok(Attempt::Others),
            (Plan::Take, Some(lease)) => self.write(lease, &self.identity, self.settings.duration).await,
            (_, None) | (Plan::Make, _) => self.make().await,
        };
        match written {
            Ok(()) => Ok(Attempt::Held),
            Err(error) if error.code() == Some(409) => Ok(Attempt::Conflict),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) -> Result<(), ApiError> {
        let Some(lease) = self.read().await? else { return Ok(()) };
        if Record::of(&lease).holder != self.identity {
            return Ok(());
        }
        self.write(lease, "", Duration::from_secs(1)).await
    }

    async fn read(&self) -> Result<Option<Value>, ApiError> {
        let path = format!("{}/{}", self.settings.path(), self.settings.name);
        match self.connection.call::<Value>(Call::Lease, get(&path)?).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn make(&self) -> Result<(), ApiError> {
        let LeaseSettings { namespace, name, duration, .. } = &self.settings;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": record::spec(&Value::Null, &self.identity, *duration, &self.timestamp()),
        });
        self.connection.call::<Value>(Call::Lease, post(&self.settings.path(), &lease)?).await.map(|_| ())
    }

    /// Writes our hold into a lease as it was read: if somebody has changed it since, the API server refuses.
    async fn write(&self, mut lease: Value, holder: &str, duration: Duration) -> Result<(), ApiError> {
        let spec = record::spec(lease.get("spec").unwrap_or(&Value::Null), holder, duration, &self.timestamp());
        if let Some(lease) = lease.as_object_mut() {
            lease.insert("spec".into(), spec);
        }
        let path = format!("{}/{}", self.settings.path(), self.settings.name);
        self.connection.call::<Value>(Call::Lease, put(&path, &lease)?).await.map(|_| ())
    }

    /// Now, with the six digits that the API insists on. For people; nothing is decided by it.
    fn timestamp(&self) -> String {
        let now = jiff::Timestamp::from_second(self.connection.clock().unix_seconds()).unwrap_or_default();
        format!("{now:.6}")
    }
}
