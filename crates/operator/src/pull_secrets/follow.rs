//! Follows the metadata of a collection.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use tokio::time::Instant;

use super::Scope;
use crate::api;

/// Objects per page of a list. Annotations of one may have 256 KiB.
const PAGE: u32 = 250;
/// A page of a list takes no longer.
const PAGE_TIME_MAX: Duration = Duration::from_secs(60);
/// A watch that says nothing for so long is begun anew with a list: kube's watcher waits without end for a server that
/// takes a connection and is silent.
const SILENCE_MAX: Duration = Duration::from_secs(900);

/// Follows the metadata of all objects of a kind, in all namespaces or in one.
pub(super) struct Follow<K> {
    api: Api<PartialObjectMeta<K>>,
    stream: BoxStream<'static, watcher::Result<Event<PartialObjectMeta<K>>>>,
    deadline: Instant,
    listing: bool,
    what: &'static str,
}

/// What happened to the collection.
pub(super) enum Change {
    /// A list begins, perhaps again.
    Start,
    /// One of the list.
    Listed(ObjectMeta),
    /// The list is complete.
    Complete,
    /// New or changed.
    Applied(ObjectMeta),
    /// Gone.
    Deleted(ObjectMeta),
}

impl<K> Follow<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + serde::de::DeserializeOwned
        + 'static,
{
    pub(super) fn new(client: kube::Client, scope: &Scope, what: &'static str) -> Self {
        let api = match scope {
            Scope::Cluster => Api::all(client),
            Scope::Namespace(namespace) => Api::namespaced(client, namespace),
        };
        Self { stream: Self::begin(&api), api, deadline: Instant::now() + PAGE_TIME_MAX, listing: true, what }
    }

    fn begin(api: &Api<PartialObjectMeta<K>>) -> BoxStream<'static, watcher::Result<Event<PartialObjectMeta<K>>>> {
        watcher::watcher(api.clone(), watcher::Config::default().page_size(PAGE)).default_backoff().boxed()
    }

    /// The next change. May be dropped and called again without loss.
    pub(super) async fn next(&mut self) -> Change {
        loop {
            match tokio::time::timeout_at(self.deadline, self.stream.next()).await {
                Ok(Some(Ok(event))) => return self.take(event),
                Ok(Some(Err(error))) => {
                    self.wait();
                    tracing::warn!(what = self.what, error = describe(&error), "watch is interrupted");
                }
                Ok(None) | Err(_) => {
                    tracing::debug!(what = self.what, "watch is silent and begins anew");
                    self.stream = Self::begin(&self.api);
                    self.listing = true;
                    self.wait();
                }
            }
        }
    }

    fn take(&mut self, event: Event<PartialObjectMeta<K>>) -> Change {
        self.listing = match event {
            Event::Init | Event::InitApply(_) => true,
            Event::InitDone | Event::Apply(_) | Event::Delete(_) => false,
        };
        self.wait();
        match event {
            Event::Init => Change::Start,
            Event::InitApply(object) => Change::Listed(object.metadata),
            Event::InitDone => Change::Complete,
            Event::Apply(object) => Change::Applied(object.metadata),
            Event::Delete(object) => Change::Deleted(object.metadata),
        }
    }

    fn wait(&mut self) {
        self.deadline = Instant::now() + if self.listing { PAGE_TIME_MAX } else { SILENCE_MAX };
    }
}

fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => api::describe(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}
