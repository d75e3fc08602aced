//! Whose content a request may touch: what [`tenancy`] says, as answers.

use crate::auth;
use crate::context::Identity;
use crate::error::{Error, Result};
use crate::service::Call;
use crate::ticket::Checked;
use ::tenancy::Refused;
use access::{Action, NamespaceUid};
use content::{SessionId, Store};
use oci::{ErrorCode, RepoName, Route};
use std::time::Duration;

/// When to come back while the content of an earlier namespace is being removed.
const REMOVAL_RETRY: Duration = Duration::from_secs(5);
/// When to come back while the cluster's API does not answer.
const AWAY_RETRY: Duration = Duration::from_secs(5);

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Terminating(_) | Refused::Absent(_) => Self::new(ErrorCode::Denied, message),
            Refused::Away => auth::away(Action::Push, AWAY_RETRY),
            Refused::BeingRemoved(_) | Refused::OtherCluster => Self::unavailable(&message, REMOVAL_RETRY),
            Refused::Content(error) => error.into(),
        }
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
            Ok(Some(tenancy.writer(store, name).await?))
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
