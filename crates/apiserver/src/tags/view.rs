//! What a caller may see: asked at each request and each event, never remembered beyond it.

use std::sync::Arc;
use std::time::Duration;

use access::{Action, Caller, Decision, NamespaceState, Namespaces, Target, is_label};
use content::{Namespace, Store};
use oci::RepoName;

use crate::call::Server;
use crate::status::{Failure, Result};

/// When to come back while the namespaces of the cluster are not known yet.
const UNKNOWN_RETRY: Duration = Duration::from_secs(2);

/// A namespace of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Living {
    pub(crate) name: Arc<str>,
    pub(crate) uid: Arc<str>,
    pub(crate) terminating: bool,
}

/// The eyes of one caller.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) server: Arc<Server>,
    pub(crate) caller: Caller,
}

impl View {
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.server.parts.store
    }

    /// Whether the caller may do this to the repository.
    ///
    /// # Errors
    /// 503 when nobody can tell now.
    pub(crate) async fn may(&self, action: Action, repo: &str) -> Result<bool> {
        Ok(self.refusal(action, repo).await?.is_none())
    }

    /// Why the caller may not do this to the repository, if so.
    ///
    /// # Errors
    /// As [`View::may`].
    pub(crate) async fn refusal(&self, action: Action, repo: &str) -> Result<Option<String>> {
        match self.server.parts.authorizer.decide(&self.caller, action, Target::Repository(repo)).await {
            Decision::Allow => Ok(None),
            Decision::Deny { reason } => Ok(Some(reason)),
            Decision::Unavailable { retry_after } => {
                Err(Failure::unavailable("rights cannot be told at the moment, try again later", retry_after))
            }
        }
    }

    /// False when nothing of the namespace is the caller's to see: then it is not looked at.
    pub(crate) fn may_see_any(&self, namespace: &str) -> bool {
        self.server.parts.authorizer.may_have_any(&self.caller, Action::Pull, namespace)
    }

    /// False when the content is that of an earlier namespace.
    ///
    /// # Errors
    /// Those of storage.
    pub(crate) async fn is_readable(&self, repo: RepoName<'_>) -> Result<bool> {
        Ok(self.server.parts.tenancy.is_readable(self.store(), repo).await?)
    }

    /// The namespace, if the cluster has it as far as memory knows.
    ///
    /// # Errors
    /// 503 before the namespaces are known.
    pub(crate) fn remembered(&self, name: &str) -> Result<Option<Living>> {
        living(name, self.server.parts.namespaces.state(name))
    }

    /// The same, with the cluster's word when memory does not have it. For what is known to have content, so that strangers
    /// cannot make us ask.
    ///
    /// # Errors
    /// 503 when nobody can tell.
    pub(crate) async fn confirmed(&self, name: &str) -> Result<Option<Living>> {
        if !is_label(name) {
            return Ok(None);
        }
        living(name, self.server.parts.namespaces.confirm(name).await)
    }

    /// The namespace, asking the cluster only when it is not remembered and there is content of its name.
    ///
    /// # Errors
    /// 503 when nobody can tell.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<Living>> {
        if let Some(known) = self.remembered(name)? {
            return Ok(Some(known));
        }
        let Some(namespace) = Namespace::parse(name) else { return Ok(None) };
        if !is_label(name) || self.store().repositories(namespace, "", 1).await?.names.is_empty() {
            return Ok(None);
        }
        // Who is away has no word, and memory's stands.
        match self.server.parts.namespaces.confirm(name).await {
            NamespaceState::Unknown => Ok(None),
            state => living(name, state),
        }
    }
}

fn living(name: &str, state: NamespaceState) -> Result<Option<Living>> {
    let living = |uid: access::NamespaceUid, terminating| Some(Living { name: name.into(), uid: uid.0, terminating });
    match state {
        NamespaceState::Exists(uid) => Ok(living(uid, false)),
        NamespaceState::Terminating(uid) => Ok(living(uid, true)),
        NamespaceState::Absent => Ok(None),
        NamespaceState::Unknown => {
            Err(Failure::unavailable("the namespaces of the cluster are not known yet, try again later", UNKNOWN_RETRY))
        }
    }
}
