//! One look at all namespaces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use access::{Clock, NamespaceState};
use futures_util::{StreamExt, stream};

use super::content::{Cluster, ContentError, NamespaceContent, Owned, Standing};
use super::decide::{self, Identity, Removal, Settings, Sight};
use super::metrics::Metrics;

/// The namespace whose UID stands for the cluster. It is made with the cluster and cannot be deleted.
const IDENTITY: &str = "kube-system";
/// Namespaces that are removed, or adopted, at the same time.
const PARALLEL: usize = 2;

pub(super) struct Cleaner<C, S> {
    cluster: Arc<C>,
    content: Arc<S>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Owners that are missed, and since when.
    missed: HashMap<Owned, Duration>,
    told: Option<Problem>,
}

/// What stops the clean-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    OtherCluster,
    Many,
}

impl<C: Cluster, S: NamespaceContent> Cleaner<C, S> {
    pub(super) fn new(
        cluster: Arc<C>,
        content: Arc<S>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { cluster, content, settings, clock, metrics, missed: HashMap::new(), told: None }
    }

    /// Looks at everything and does what is to be done; returns when to look again if nothing changes before.
    pub(super) async fn pass(&mut self) -> Duration {
        match self.try_pass().await {
            Ok(again) => again.min(self.settings.interval),
            Err(error) => {
                self.metrics.count_error();
                tracing::error!(%error, "namespaces cannot be cleaned up");
                self.settings.drain.min(self.settings.interval)
            }
        }
    }

    async fn try_pass(&mut self) -> Result<Duration, ContentError> {
        let Some(stored) = self.stored_identity().await? else { return Ok(self.settings.drain) };
        let owned = self.content.owned().await?;
        match self.identity(&stored).await {
            Identity::Same => {}
            Identity::Other(found) => {
                self.metrics.set(owned.len(), 0, owned.len());
                self.missed.clear();
                self.tell(Problem::OtherCluster, &other_cluster(&stored, found.as_deref()));
                return Ok(self.settings.interval);
            }
            Identity::Unknown(reason) => {
                tracing::debug!(reason, "cluster is not known now, nothing is cleaned up");
                return Ok(self.settings.drain);
            }
        }
        let have: HashSet<String> = owned.iter().map(|owned| owned.namespace.clone()).collect();
        let owners = owned.len();
        let seem_gone = self.miss(&stored, owned).await;
        let (due, again) = self.due(owners, seem_gone, self.clock.elapsed());
        let all_removed = self.remove(&stored, due).await;
        self.adopt(&have).await?;
        Ok(if all_removed { again } else { again.min(self.settings.drain) })
    }

    /// Whose content has stayed long enough, and when the next one will have. `missed` counts those without a proof, too:
    /// many of them are a sign that something is wrong with the proofs of the others.
    fn due(&mut self, owned: usize, missed: usize, now: Duration) -> (Vec<Owned>, Duration) {
        let alarming = decide::is_alarming(owned, missed);
        let (mut due, mut again) = (Vec::new(), Duration::MAX);
        for (owned, since) in &self.missed {
            let stays = decide::stays(now.saturating_sub(*since), alarming, &self.settings);
            if stays.is_zero() {
                due.push(owned.clone());
            } else {
                again = again.min(stays);
            }
        }
        let held = if alarming { missed - due.len() } else { 0 };
        self.metrics.set(owned, missed, held);
        if held > 0 {
            self.tell(Problem::Many, &many(owned, missed, self.settings.hold));
        } else {
            self.told = None;
        }
        (due, again)
    }

    /// The UID that stands for the cluster of the records; the one that answers now if there is none yet.
    async fn stored_identity(&self) -> Result<Option<String>, ContentError> {
        if let Some(stored) = self.content.cluster().await? {
            return Ok(Some(stored));
        }
        let NamespaceState::Exists(uid) = self.cluster.state(IDENTITY) else { return Ok(None) };
        if self.cluster.standing(IDENTITY, &uid.0).await != Standing::Present {
            return Ok(None);
        }
        Ok(Some(self.content.claim_cluster(&uid.0).await?))
    }

    async fn identity(&self, stored: &str) -> Identity {
        let standing = self.cluster.standing(IDENTITY, stored).await;
        decide::identify(stored, standing, &self.cluster.state(IDENTITY))
    }

    /// Notes which owners are missed, and forgets those that are not. Memory gives a reason to ask; the time runs from the
    /// API server's answer on, lest a memory that is wrong take time from an owner that ends later. Returns how many there
    /// are by memory alone.
    async fn miss(&mut self, stored: &str, mut owned: Vec<Owned>) -> usize {
        let this = &*self;
        owned.retain(|owned| decide::sight(&owned.uid, &this.cluster.state(&owned.namespace)) == Sight::Missed);
        let seem_gone = owned.len();
        let missed = stream::iter(owned)
            .map(|owned| async move { Some((this.missed_since(stored, &owned).await?, owned)) })
            .buffer_unordered(PARALLEL)
            .filter_map(std::future::ready)
            .map(|(since, owned)| (owned, since))
            .collect()
            .await;
        self.missed = missed;
        seem_gone
    }

    async fn missed_since(&self, stored: &str, owned: &Owned) -> Option<Duration> {
        match self.missed.get(owned) {
            Some(since) => Some(*since),
            None => self.prove(stored, owned).await.map(|_| self.clock.elapsed()),
        }
    }

    /// Asks whether the owner is gone, whatever was known before. The cluster was the right one before this answer
    /// (`try_pass`) and has to be after it, so that the answer is its own.
    async fn prove(&self, stored: &str, owned: &Owned) -> Option<Removal> {
        let standing = self.cluster.standing(&owned.namespace, &owned.uid).await;
        let identity = self.identity(stored).await;
        let removal = decide::judge(owned, &identity, &standing);
        if removal.is_none() {
            let Owned { namespace, uid } = owned;
            tracing::debug!(namespace, uid, ?standing, ?identity, "namespace is missed, but not proven to be gone");
        }
        removal
    }

    /// Removes what may be removed; tells whether that was all.
    async fn remove(&mut self, stored: &str, due: Vec<Owned>) -> bool {
        let this = &*self;
        let tried: Vec<(Owned, bool)> = stream::iter(due)
            .map(|owned| async move {
                let removed = this.remove_one(stored, &owned).await;
                (owned, removed)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (owned, _) in tried.iter().filter(|(_, removed)| *removed) {
            self.missed.remove(owned);
        }
        tried.iter().all(|(_, removed)| *removed)
    }

    async fn remove_one(&self, stored: &str, owned: &Owned) -> bool {
        let Some(removal) = self.prove(stored, owned).await else { return false };
        let Owned { namespace, uid } = owned;
        match self.content.remove(&removal).await {
            Ok(true) => {
                self.metrics.count_removed();
                tracing::info!(
                    namespace,
                    uid,
                    successor = removal.successor(),
                    "content of a deleted namespace removed"
                );
                true
            }
            Ok(false) => {
                tracing::debug!(namespace, uid, "namespace has another owner already");
                true
            }
            Err(error) => {
                self.metrics.count_error();
                tracing::error!(namespace, uid, %error, "content of a deleted namespace cannot be removed");
                false
            }
        }
    }

    /// Gives content that nobody owns to the namespace of its name.
    async fn adopt(&self, owned: &HashSet<String>) -> Result<(), ContentError> {
        let names = self.content.with_content().await?;
        let orphans = names.into_iter().filter(|name| !owned.contains(name));
        stream::iter(orphans).for_each_concurrent(PARALLEL, |name| async move { self.adopt_one(&name).await }).await;
        Ok(())
    }

    async fn adopt_one(&self, namespace: &str) {
        // One that is on its way out, too: else the next of the name would be given its content.
        let (NamespaceState::Exists(uid) | NamespaceState::Terminating(uid)) = self.cluster.state(namespace) else {
            return;
        };
        if self.cluster.standing(namespace, &uid.0).await != Standing::Present {
            return;
        }
        match self.content.claim(namespace, &uid.0).await {
            Ok(owner) if *owner == *uid.0 => {
                self.metrics.count_adopted();
                tracing::info!(namespace, uid = owner, "content without an owner belongs to the namespace of its name");
            }
            // Somebody was faster; the next pass sees it.
            Ok(_) => {}
            Err(error) => {
                self.metrics.count_error();
                tracing::error!(namespace, %error, "content cannot be given an owner");
            }
        }
    }

    /// Says what stops the clean-up, once.
    fn tell(&mut self, problem: Problem, text: &str) {
        if self.told != Some(problem) {
            tracing::error!("{text}");
            self.told = Some(problem);
        }
    }
}

fn other_cluster(stored: &str, found: Option<&str>) -> String {
    let found = found.unwrap_or("none");
    format!(
        "the store belongs to the cluster whose {IDENTITY} has the UID {stored}, the API server's has {found}: nothing is \
         removed. If this is meant, remove homeport/v1/cluster and homeport/v1/namespaces from the store"
    )
}

fn many(owned: usize, missed: usize, hold: Duration) -> String {
    format!(
        "{missed} of {owned} namespaces with content seem to be gone at once: their content is kept for {} s. To keep it \
         longer, set homeport.kubernetes.cleanup.enabled to false",
        hold.as_secs()
    )
}
