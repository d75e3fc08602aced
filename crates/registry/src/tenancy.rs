//! Content belongs to a namespace of the cluster, not to its name.
//!
//! Rights come from the living namespace; whether the content is that namespace's own is told by the owner record
//! ([`content::Owner`]). Until what an earlier namespace of the same name has left is removed, the living one's repositories
//! look empty and take nothing.

use crate::auth;
use crate::context::Identity;
use crate::error::{Error, Result};
use crate::service::Call;
use crate::ticket::Checked;
use access::{Action, NamespaceState, NamespaceUid, Namespaces, Reach, is_label};
use content::{Namespace, SessionId, Store};
use oci::{ErrorCode, RepoName, Route};
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a look at an owner record is good for reading. For writing it is read each time.
const SEEN_LIFE: Duration = Duration::from_secs(5);
const SEEN: usize = 10_000;
/// When to come back while the content of an earlier namespace is being removed.
const REMOVAL_RETRY: Duration = Duration::from_secs(5);
/// When to come back while the cluster's API does not answer.
const AWAY_RETRY: Duration = Duration::from_secs(5);
/// Its UID stands for the cluster's.
const CLUSTER: &str = "kube-system";

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
    pub(crate) async fn is_readable(&self, store: &Store, repo: RepoName<'_>) -> content::Result<bool> {
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
    pub(crate) async fn writer(&self, store: &Store, repo: RepoName<'_>) -> Result<NamespaceUid> {
        let namespace = Namespace::of(repo);
        let name = namespace.as_str();
        if self.is_away() {
            return Err(away());
        }
        // Memory may still show the namespace of whose content the removal is under way.
        let uid = match self.confirm_now(name).await {
            NamespaceState::Exists(uid) => uid,
            NamespaceState::Terminating(_) => {
                return Err(Error::new(ErrorCode::Denied, format!("namespace {name:?} is being deleted")));
            }
            NamespaceState::Absent => {
                return Err(Error::new(ErrorCode::Denied, format!("namespace {name:?} does not exist")));
            }
            NamespaceState::Unknown => return Err(away()),
        };
        let owner = match store.namespace_owner(namespace).await? {
            Some(owner) => owner,
            None => {
                self.check_cluster(store).await?;
                store.claim_namespace(namespace, &uid.0).await?
            }
        };
        if *owner.uid != *uid.0 {
            let text = format!(
                "namespace {name:?} was deleted and made anew, and the old content is being removed; try again later"
            );
            return Err(Error::unavailable(&text, REMOVAL_RETRY));
        }
        self.remember(store, namespace, uid.clone());
        Ok(uid)
    }

    /// Owner records are of one cluster: the UIDs of another one would make all content look like that of the dead.
    async fn check_cluster(&self, store: &Store) -> Result<()> {
        let NamespaceState::Exists(uid) = self.confirm(CLUSTER).await else { return Err(away()) };
        if *store.claim_cluster(&uid.0).await?.uid == *uid.0 {
            return Ok(());
        }
        tracing::error!(uid = &*uid.0, "the content belongs to another cluster; see docs/kubernetes/namespaces.md");
        let text = "the content of this registry belongs to another cluster, new namespaces take no images";
        Err(Error::unavailable(text, REMOVAL_RETRY))
    }

    /// A session that began for the namespace with the UID `owner` may go on.
    async fn goes_on(&self, repo: RepoName<'_>, owner: Option<&str>) -> bool {
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

    fn is_away(&self) -> bool {
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

fn away() -> Error {
    auth::away(Action::Push, AWAY_RETRY)
}

fn uid(state: NamespaceState) -> Option<NamespaceUid> {
    match state {
        NamespaceState::Exists(uid) | NamespaceState::Terminating(uid) => Some(uid),
        NamespaceState::Absent | NamespaceState::Unknown => None,
    }
}

/// Lets a request with the right for it pass, or tells that the content is not its namespace's. Returns the namespace that
/// is written for; `None` for reading, and without a cluster.
pub(crate) async fn admit(
    call: &Call<'_>,
    action: Option<Action>,
    route: &Route<'_>,
    ticket: Option<&Checked>,
) -> Result<Option<NamespaceUid>> {
    let (Some(cluster), Some(action), Some(name)) = (&call.identity.cluster, action, route.repository()) else {
        return Ok(None);
    };
    let (tenancy, store) = (&cluster.tenancy, &call.registry.store);
    match (route, action) {
        (Route::Upload(_, session), _) => {
            let owner = match ticket {
                Some(checked) => checked.ticket.owner.clone(),
                None => {
                    let id = SessionId::parse(session).ok_or(content::Error::UploadUnknown)?;
                    store.upload_status(name, id, None).await?.owner
                }
            };
            if !tenancy.goes_on(name, owner.as_deref()).await {
                return Err(content::Error::UploadUnknown.into());
            }
            Ok(owner.map(|uid| NamespaceUid(uid.into())))
        }
        (_, Action::Push) => {
            call.writable()?;
            tenancy.writer(store, name).await.map(Some)
        }
        (_, Action::Delete) if tenancy.is_away() => {
            call.deletable()?;
            Err(auth::away(Action::Delete, AWAY_RETRY))
        }
        _ if tenancy.is_readable(store, name).await? => Ok(None),
        _ => Err(content::Error::NameUnknown.into()),
    }
}

/// Right before a change: true when the namespace is still the one that the request was admitted for. The rest of the change
/// has to follow at once: a namespace that goes from now on waits for it, but not for long.
pub(crate) async fn is_still(call: &Call<'_>, name: RepoName<'_>) -> Result<bool> {
    // Not as it was when the request came, which may be long ago.
    let identity = call.registry.identity.load_full();
    let Some(cluster) = &identity.cluster else { return Ok(true) };
    let uid = cluster.tenancy.writer(&call.registry.store, name).await?;
    Ok(call.owner.as_ref() == Some(&uid))
}

/// The content of the repository is not hidden from everybody.
pub(crate) async fn is_readable(identity: &Identity, store: &Store, name: RepoName<'_>) -> content::Result<bool> {
    match &identity.cluster {
        Some(cluster) => cluster.tenancy.is_readable(store, name).await,
        None => Ok(true),
    }
}
