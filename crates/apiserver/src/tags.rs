//! Tags as objects of Kubernetes, straight from the content store.
//!
//! Nothing is kept here that storage does not have: a list walks the repositories that the caller may read ([`walk`]), a
//! watch follows [`content::Changes`] and looks at the truth for each event. Rights and tenancy are asked every time.

mod collection;
mod continuation;
mod delete;
mod details;
mod get;
mod grants;
mod identity;
mod list;
mod look;
mod name;
mod object;
mod options;
mod pieces;
mod position;
mod render;
mod schema;
mod selectors;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod walk;
mod watch;

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use content::Store;
use http::{Method, Response};
use net::Body;

use crate::call::Call;
use crate::status::{Failure, Result};

pub(crate) use schema::schema;

use details::Memory;
use grants::Grants;
use options::ListOptions;
use position::{Origin, Version};
use watch::Truths;

/// Where the resource is in the API.
pub(crate) const GROUP: &str = "payload-registry.deckhouse.io";
pub(crate) const VERSION: &str = "v1alpha1";
pub(crate) const RESOURCE: &str = "payloadrepositorytags";
pub(crate) const SINGULAR: &str = "payloadrepositorytag";
pub(crate) const KIND: &str = "PayloadRepositoryTag";
pub(crate) const SHORT_NAMES: [&str; 2] = ["prt", "prtags"];

const API_VERSION: &str = "payload-registry.deckhouse.io/v1alpha1";
const LIST_KIND: &str = "PayloadRepositoryTagList";
const REPOSITORY_LABEL: &str = "payload-registry.deckhouse.io/repository";
const TAG_LABEL: &str = "payload-registry.deckhouse.io/tag";

/// What requests share. All of it may be lost at any time.
pub(crate) struct Shared {
    origin: Origin,
    memory: Memory,
    truths: Truths,
    grants: Grants,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let [.., high, low] = random().to_be_bytes();
        let origin = Origin::new(u16::from_be_bytes([high, low]));
        Self { origin, memory: Memory::new(), truths: Truths::new(), grants: Grants::new() }
    }

    /// The version of everything as it is now: changes that come after it are larger.
    fn here(&self, store: &Store) -> Version {
        Version::of_change(store.changes().here(), self.origin)
    }
}

/// Good enough to spread things, not to keep secrets.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Answers a request for tags: `GET` of a tag, of a collection or as a watch, `DELETE` of a tag or of a collection.
///
/// # Errors
/// What the client is told.
pub(crate) async fn handle(
    call: Call,
    method: &Method,
    namespace: Option<&str>,
    name: Option<&str>,
    body: Bytes,
) -> Result<Response<Body>> {
    if name.is_some_and(|name| !name::is_object_name(name)) {
        return Err(Failure::bad_request(format!("{:?} cannot be the name of an object", name.unwrap_or_default())));
    }
    match (method, namespace, name) {
        (&Method::GET | &Method::HEAD, _, None) => {
            let options = ListOptions::parse(&call.query, namespace)?;
            if options.watch {
                watch::watch(call, namespace, options)
            } else {
                list::list(call, namespace, options).await
            }
        }
        (&Method::GET | &Method::HEAD, Some(namespace), Some(name)) => get::get(call, namespace, name).await,
        (&Method::DELETE, Some(namespace), Some(name)) => delete::delete(call, namespace, name, &body).await,
        (&Method::DELETE, Some(namespace), None) => collection::delete(call, namespace, &body).await,
        _ => Err(Failure::method_not_allowed("tags of one namespace can be deleted, not those of all")),
    }
}
