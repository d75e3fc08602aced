//! Deleting one tag.

use std::sync::Arc;

use access::{Action, Caller};
use content::TagState;
use http::{Response, StatusCode};
use net::Body;
use oci::{Digest, RepoName, Tag};

use super::look;
use super::name::{self, Decoded};
use super::options::DeleteOptions;
use super::position::Version;
use super::view::{Living, View};
use super::walk::Entry;
use crate::call::{Call, Origin};
use crate::respond;
use crate::status::{self, Failure, Result};

/// Why some tags are not deleted.
const IMMUTABLE: &str = "the tag is immutable by the registry's configuration (homeport.tags.immutable)";

/// # Errors
/// What the client is told; 404 for what the caller may neither see nor delete.
pub(crate) async fn delete(call: Call, namespace: &str, name: &str, body: &[u8]) -> Result<Response<Body>> {
    let options = DeleteOptions::parse(&call.query, body)?;
    let missing = || Failure::not_found(name);
    let Decoded { repo, tag } = name::decode(namespace, name).ok_or_else(missing)?;
    let view = View { server: Arc::clone(&call.server), caller: call.caller };
    let refusal = view.refusal(Action::Delete, &repo).await?;
    if refusal.is_some() && !view.may(Action::Pull, &repo).await? {
        return Err(missing());
    }
    let entry = look::place(&view, namespace, &repo, &tag).await?.ok_or_else(missing)?;
    let state = look::state(&view, &entry).await?;
    if let Some(reason) = refusal {
        return Err(if state.is_some() { Failure::forbidden_tag(name, &reason) } else { missing() });
    }
    // What is not there needs no leave to be deleted.
    check_switches(&view, &entry.space).map_err(|refused| if state.is_some() { refused } else { missing() })?;
    let meant = check(&options, &entry, state.as_ref())?;
    if state.is_some() && is_immutable(&view, &entry) {
        return Err(Failure::forbidden_tag(name, IMMUTABLE));
    }
    let uid = state.map(|state| entry.identity().uid(&entry.space.uid, state.created).to_string());
    if options.dry_run {
        state.ok_or_else(missing)?;
    } else if !Remover::new(&view, call.origin).remove(entry, meant).await? {
        return Err(missing());
    }
    Ok(respond::json(StatusCode::OK, &status::success(Some(name), uid.as_deref()), call.encoding))
}

/// Whether the configuration lets tags be deleted now. The end of a namespace does not wait for that.
///
/// # Errors
/// 405, 503.
pub(crate) fn check_switches(view: &View, space: &Living) -> Result<()> {
    let switches = (view.server.parts.switches)();
    if switches.read_only {
        return Err(Failure::closed("the registry is read-only at the moment: tags cannot be deleted"));
    }
    if !switches.delete && !space.terminating {
        return Err(Failure::method_not_allowed(
            "deleting is switched off in the registry's configuration (storage.delete.enabled)",
        ));
    }
    Ok(())
}

/// Whether the configuration keeps the tag. It does not outlive its namespace.
pub(crate) fn is_immutable(view: &View, entry: &Entry) -> bool {
    !entry.space.terminating && view.store().immutable_tags().covers(&entry.repo, &entry.tag)
}

/// What of a tag is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// Whatever it is.
    Any,
    /// The tag as long as it is this.
    Only(Digest),
    /// There is none as it is meant.
    Nothing,
}

/// Whether the tag is the one that is meant.
///
/// # Errors
/// 409.
pub(crate) fn check(options: &DeleteOptions, entry: &Entry, state: Option<&TagState>) -> Result<Meant> {
    if options.uid.is_none() && options.version.is_none() {
        return Ok(Meant::Any);
    }
    let Some(state) = state else { return Ok(Meant::Nothing) };
    let uid = entry.identity().uid(&entry.space.uid, state.created).to_string();
    let version = Version::of_object(state.pushed, &state.digest).to_string();
    for (wanted, there, what, happened) in [
        (&options.uid, uid, "UID", "deleted and then recreated"),
        (&options.version, version, "ResourceVersion", "modified"),
    ] {
        if let Some(wanted) = wanted.as_ref().filter(|wanted| **wanted != there) {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({there}). The object might \
                 have been {happened}"
            );
            return Err(Failure::conflict(&entry.identity().name(), &why));
        }
    }
    Ok(Meant::Only(state.digest))
}

/// Removes tags, and writes down that it did.
#[derive(Clone)]
pub(crate) struct Remover {
    view: View,
    origin: Arc<Origin>,
}

impl Remover {
    pub(crate) fn new(view: &View, origin: Origin) -> Self {
        Self { view: view.clone(), origin: Arc::new(origin) }
    }

    /// Removes a tag, also when nobody waits for it any more; false when there was none.
    ///
    /// # Errors
    /// 409 when it has become something else, and those of storage.
    pub(crate) async fn remove(&self, entry: Entry, meant: Meant) -> Result<bool> {
        let this = self.clone();
        let work = tokio::spawn(async move { this.remove_here(&entry, meant).await });
        work.await.map_err(|error| Failure::internal(error.to_string()))?
    }

    async fn remove_here(&self, entry: &Entry, meant: Meant) -> Result<bool> {
        let (Ok(repo), Ok(tag)) = (RepoName::parse(&entry.repo), Tag::parse(&entry.tag)) else { return Ok(false) };
        let only = match &meant {
            Meant::Any => None,
            Meant::Only(digest) => Some(digest),
            Meant::Nothing => return Ok(false),
        };
        let store = self.view.store();
        let removed = match entry.space.terminating {
            true => store.tag_delete_at_the_end(repo, tag, only).await,
            false => store.tag_delete(repo, tag, only).await,
        };
        match removed {
            Ok(was) => {
                self.audit(entry, was.as_ref());
                Ok(true)
            }
            Err(content::Error::ManifestUnknown) => Ok(false),
            Err(content::Error::TagImmutable { .. }) => {
                Err(Failure::forbidden_tag(&entry.identity().name(), IMMUTABLE))
            }
            Err(content::Error::Changed) => {
                Err(Failure::conflict(&entry.identity().name(), "the tag was pushed again meanwhile"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn audit(&self, entry: &Entry, was: Option<&Digest>) {
        if !(self.view.server.parts.switches)().audit {
            return;
        }
        tracing::info!(
            target: "audit",
            action = "tag.delete",
            via = "kubernetes",
            id = self.origin.id,
            client = self.origin.client,
            user = user(&self.view.caller),
            repository = &*entry.repo,
            reference = &*entry.tag,
            digest = was.map(Digest::to_string).unwrap_or_default(),
            "audit"
        );
    }
}

fn user(caller: &Caller) -> &str {
    caller.name().unwrap_or("anonymous")
}
