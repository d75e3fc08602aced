//! Swift: OpenStack's object store.

mod calls;
mod dialect;
mod identity;
mod info;
mod large;
mod lists;
mod mistakes;
mod remove;
mod segments;
mod session;
mod settings;
mod store;
mod tempurl;

pub use settings::{EndpointType, SwiftSettings};

use crate::addresses::of_clients;
use crate::answers::whole;
use crate::bucket::{Bucket, Unfinished};
use crate::budget::Budget;
use crate::connect::{self, authorities};
use crate::driver::{BucketDriver, Shared};
use crate::error::all_of;
use crate::http::Line;
use crate::keys::Keys;
use crate::open::OpenError;
use calls::{Call, Calls, Target};
use futures_util::future::BoxFuture;
use http::Method;
use identity::Version;
use info::Info;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{Error, ObjectStore, Result};
use session::Session;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Longest name of a container, in bytes.
const CONTAINER_MAX: usize = 256;
/// What a service says of itself, in bytes.
const INFO_MAX: usize = 1 << 20;

/// Opens a container, makes it if need be, and checks that it can be used.
///
/// # Errors
/// One that names the setting to change.
pub async fn open(settings: SwiftSettings, read_only: bool, budget: Arc<Budget>) -> Result<BucketDriver, OpenError> {
    let keys = check(&settings)?;
    let clients = of_clients("storage.swift.redirectendpoint", settings.redirect_endpoint.as_deref())?;
    let version = Version::of(&settings)?;
    let client = client(&settings)?;
    let line = Line::new(client.clone(), dialect::SWIFT);
    let calls = Arc::new(Calls {
        client: line.client().clone(),
        seen: Arc::clone(line.seen()),
        session: Session::new(client, settings.clone(), version),
        container: settings.container.clone(),
        segments: settings.below_prefix("segments"),
        info: OnceLock::new(),
    });
    let broken = |wrote, error: &Error| mistakes::of_service(&settings, version, wrote, &all_of(error));
    let refused = |refusal| mistakes::of_identity(&settings, version, &refusal);
    calls.session.access().await.map_err(refused)?;
    provide(&calls, read_only).await.map_err(|error| broken(false, &error))?;
    if let Some(info) = ask(&calls).await {
        drop(calls.info.set(info));
    }
    if !calls.info().has_manifests() {
        return Err(OpenError::new(mistakes::AUTH_URL, "the service has no static large objects: use another one", ""));
    }
    let mut signer = tempurl::prepare(&calls, &settings, read_only).await.unwrap_or_else(|error| {
        tracing::warn!(error = %all_of(&error), "no key for temporary addresses: content passes through the registry");
        None
    });
    if let Some(signer) = &mut signer {
        signer.clients = clients;
    }
    let parts_max = calls.info().parts();
    let bucket = Swift { calls, signer };
    let mut shared = Shared::new(Box::new(bucket), keys, Arc::clone(line.seen()), budget);
    shared.part_bytes = settings.chunk_size;
    shared.parts_max = parts_max;
    shared.read_only = read_only;
    shared.open(|wrote, said| mistakes::of_service(&settings, version, wrote, said)).await
}

/// What can be told without asking anybody.
fn check(settings: &SwiftSettings) -> Result<Keys, OpenError> {
    let container = &settings.container;
    if container.is_empty() {
        return Err(OpenError::new(mistakes::CONTAINER, "name the container", ""));
    }
    if container.contains('/') || container.len() > CONTAINER_MAX {
        return Err(OpenError::new(mistakes::CONTAINER, "not a name that a container can have: correct it", ""));
    }
    let prefix = settings.prefix.trim_start_matches('/');
    if prefix.ends_with('/') || prefix.contains("//") {
        let remedy = "has a slash at its end or two in a row, which is not supported: write it without";
        return Err(OpenError::new("storage.swift.prefix", remedy, ""));
    }
    Keys::checked("storage.swift.prefix", &settings.files())
}

fn client(settings: &SwiftSettings) -> Result<HttpClient, OpenError> {
    let options = connect::options().with_allow_invalid_certificates(settings.skip_verify);
    let options = authorities(mistakes::AUTHORITY, settings.ca_file.as_deref(), options)?;
    let made = ReqwestConnector::default().connect(&options);
    made.map_err(|error| {
        OpenError::new(mistakes::AUTHORITY, "no connections can be made: see the cause", &all_of(&error))
    })
}

/// The container, which is made when it is missing.
async fn provide(calls: &Calls, read_only: bool) -> Result<()> {
    if read_only {
        return calls.look().await.map(drop);
    }
    if !calls.has_container().await? {
        calls.send_and_read(Call::new(Method::PUT, Target::Container), INFO_MAX).await?;
    }
    Ok(())
}

/// `/info` is beside the version's name in the account's address, and needs no token. Services need not have it.
async fn ask(calls: &Calls) -> Option<Info> {
    let access = calls.session.access().await.ok()?;
    let root = &access.url[..version_at(&access.url)?];
    let request =
        http::Request::builder().uri(format!("{root}/info")).body(object_store::client::HttpRequestBody::empty());
    let answer = calls.client.execute(request.ok()?).await.ok()?;
    let (parts, body) = answer.into_parts();
    let body = whole(calls::STORE, body, INFO_MAX).await.ok().filter(|_| parts.status.is_success())?;
    serde_json::from_slice(&body).ok()
}

/// Where the version is in an account's address, which Ceph ends there.
fn version_at(url: &str) -> Option<usize> {
    url.rfind("/v1/").or_else(|| url.ends_with("/v1").then(|| url.len() - "/v1".len()))
}

/// The service.
#[derive(Debug)]
struct Swift {
    calls: Arc<Calls>,
    signer: Option<tempurl::Signer>,
}

impl Bucket for Swift {
    fn objects(&self) -> &dyn ObjectStore {
        self
    }

    fn parts(&self) -> &dyn MultipartStore {
        self
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        self
    }

    // A container's list is told of new objects after they are there, sometimes much later.
    fn lists_may_lag(&self) -> bool {
        true
    }

    fn delete<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.calls.delete(path.as_ref()))
    }

    /// The service knows no condition for that, so it has to be done soon: what was read as a small object is asked for
    /// no segments.
    fn delete_same<'a>(&'a self, path: &'a Path, _mark: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.calls.delete_plain(path.as_ref()))
    }

    fn copy<'a>(&'a self, from: &'a Path, to: &'a Path, _size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if segments::is_session(from.as_ref()) && self.calls.move_session(from.as_ref(), to.as_ref()).await? {
                return Ok(());
            }
            self.calls.copy(from.as_ref(), to.as_ref()).await
        })
    }

    fn unfinished<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>> {
        Box::pin(self.calls.unfinished(prefix))
    }

    fn signed<'a>(&'a self, path: &'a Path, ttl: Duration) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move {
            // Without one the service has no temporary addresses, or their key is not known.
            let Some(signer) = self.signer.as_ref() else { return Ok(None) };
            let access = self.calls.session.access().await.map_err(session::Refusal::into_error)?;
            let (project, until) = (access.project.as_deref(), tempurl::end(ttl));
            Ok(Some(signer.sign(&access.url, project, &self.calls.container, path.as_ref(), until)))
        })
    }

    fn storage_class(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_no_empty_parts() {
        let refuses = |prefix: &str| {
            let mut settings = SwiftSettings::new("http://s/v1", "c");
            settings.prefix = prefix.to_owned();
            check(&settings).is_err()
        };
        for good in ["", "/", "registry", "/registry", "a/b"] {
            assert!(!refuses(good), "{good}");
        }
        for bad in ["registry/", "a//b", "/a/"] {
            assert!(refuses(bad), "{bad}");
        }
    }
}
