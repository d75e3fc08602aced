//! Content belongs to a namespace of the cluster, not to its name.
//!
//! Rights come from the living namespace; whether the content is that namespace's own is told by the owner record
//! ([`content::Owner`]). Until what an earlier namespace of the same name has left is removed, the living one's repositories
//! look empty and take nothing.

use access::{NamespaceState, NamespaceUid, Namespaces, Reach, is_label};
use content::{Namespace, Store};
use oci::RepoName;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a look at an owner record is good for reading. For writing it is read each time.
const SEEN_LIFE: Duration = Duration::from_secs(5);
const SEEN: usize = 10_000;
/// Its UID stands for the cluster's.
const CLUSTER: &str = "kube-system";

/// Why a namespace takes nothing now.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is on its way out.
    #[error("namespace {0:?} is being deleted")]
    Terminating(Box<str>),
    /// The cluster does not have it.
    #[error("namespace {0:?} does not exist")]
    Absent(Box<str>),
    /// The cluster's API does not answer, so nobody can tell.
    #[error("the cluster's API does not answer")]
    Away,
    /// What an earlier namespace of the name has left is not removed yet.
    #[error("namespace {0:?} was deleted and made anew, and the old content is being removed; try again later")]
    BeingRemoved(Box<str>),
    /// All content is another cluster's.
    #[error("the content of this registry belongs to another cluster, new namespaces take no images")]
    OtherCluster,
    /// The owner record cannot be read or written.
    #[error(transparent)]
    Content(#[from] content::Error),
}

/// The namespaces of the cluster, held against the owner records of the content.
pub struct Tenancy {
    namespaces: Arc<dyn Namespaces>,
    reach: Arc<dyn Reach>,
    /// Namespaces whose content was theirs, or nobody's, a moment ago.
    seen: Cache<Box<str>, Seen>,
}

#[derive(Clone)]
struct Seen {
    uid: NamespaceUid,
    until: Instant,
}

impl Tenancy {
    /// `reach` tells whether `namespaces` may be relied on for writing.
    #[must_use]
    pub fn new(namespaces: Arc<dyn Namespaces>, reach: Arc<dyn Reach>) -> Self {
        Self { namespaces, reach, seen: Cache::new(SEEN) }
    }

    /// False when the content of the repository is that of an earlier namespace.
    ///
    /// # Errors
    /// When the owner record cannot be read.
    pub async fn is_readable(&self, store: &Store, repo: RepoName<'_>) -> content::Result<bool> {
        let namespace = Namespace::of(repo);
        let name = namespace.as_str();
        let living = uid(self.namespaces.state(name));
        if let Some(living) = &living
            && self.seen.get(name).is_some_and(|seen| seen.uid == *living && Instant::now() < seen.until)
        {
            return Ok(true);
        }
        let Some(owner) = store.namespace_owner(namespace).await? else {
            // Content that nobody has claimed was there before the cluster was.
            if let Some(living) = living {
                self.remember(store, namespace, living);
            }
            return Ok(true);
        };
        let living = match living {
            Some(living) if *living.0 == *owner.uid => Some(living),
            // Memory may not know yet that the name was taken again.
            late if !self.is_away() => uid(self.confirm_now(name).await).or(late),
            late => late,
        };
        // While there is no namespace nobody else can see it as theirs: whoever may read it still reads it.
        let readable = living.is_none_or(|living| *living.0 == *owner.uid);
        if readable {
            self.remember(store, namespace, NamespaceUid(owner.uid.into()));
        }
        Ok(readable)
    }

    /// The namespace that the repository may be written for now, as storage and the cluster have it.
    ///
    /// # Errors
    /// When there is none, or its content is not its own yet.
    pub async fn writer(&self, store: &Store, repo: RepoName<'_>) -> Result<NamespaceUid, Refused> {
        let namespace = Namespace::of(repo);
        let name = namespace.as_str();
        if self.is_away() {
            return Err(Refused::Away);
        }
        // Memory may still show the namespace of whose content the removal is under way.
        let uid = match self.confirm_now(name).await {
            NamespaceState::Exists(uid) => uid,
            NamespaceState::Terminating(_) => return Err(Refused::Terminating(name.into())),
            NamespaceState::Absent => return Err(Refused::Absent(name.into())),
            NamespaceState::Unknown => return Err(Refused::Away),
        };
        let owner = match store.namespace_owner(namespace).await? {
            Some(owner) => owner,
            None => {
                self.check_cluster(store).await?;
                store.claim_namespace(namespace, &uid.0).await?
            }
        };
        if *owner.uid != *uid.0 {
            return Err(Refused::BeingRemoved(name.into()));
        }
        self.remember(store, namespace, uid.clone());
        Ok(uid)
    }

    /// Owner records are of one cluster: the UIDs of another one would make all content look like that of the dead.
    async fn check_cluster(&self, store: &Store) -> Result<(), Refused> {
        let NamespaceState::Exists(uid) = self.confirm(CLUSTER).await else { return Err(Refused::Away) };
        if *store.claim_cluster(&uid.0).await?.uid == *uid.0 {
            return Ok(());
        }
        tracing::error!(uid = &*uid.0, "the content belongs to another cluster; see docs/kubernetes/namespaces.md");
        Err(Refused::OtherCluster)
    }

    /// A session that began for the namespace with the UID `owner` may go on.
    pub async fn goes_on(&self, repo: RepoName<'_>, owner: Option<&str>) -> bool {
        match self.confirm(Namespace::of(repo).as_str()).await {
            NamespaceState::Exists(uid) | NamespaceState::Terminating(uid) => owner == Some(&*uid.0),
            NamespaceState::Absent => false,
            // Its end will be looked at again.
            NamespaceState::Unknown => true,
        }
    }

    async fn confirm(&self, name: &str) -> NamespaceState {
        // The cluster is not asked about what it cannot have.
        if is_label(name) { self.namespaces.confirm(name).await } else { NamespaceState::Absent }
    }

    async fn confirm_now(&self, name: &str) -> NamespaceState {
        if is_label(name) { self.namespaces.confirm_now(name).await } else { NamespaceState::Absent }
    }

    /// The cluster's API does not answer: what memory says may be late.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.reach.away_for().is_some()
    }

    fn remember(&self, store: &Store, namespace: Namespace<'_>, uid: NamespaceUid) {
        let name = namespace.as_str();
        if self.seen.get(name).is_some_and(|seen| seen.uid != uid) {
            // What this process has seen of the repositories may have been an earlier namespace's.
            store.forget_namespace(namespace);
        }
        self.seen.insert(name.into(), Seen { uid, until: Instant::now() + SEEN_LIFE });
    }
}

fn uid(state: NamespaceState) -> Option<NamespaceUid> {
    match state {
        NamespaceState::Exists(uid) | NamespaceState::Terminating(uid) => Some(uid),
        NamespaceState::Absent | NamespaceState::Unknown => None,
    }
}
