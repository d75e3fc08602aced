//! Azure Blob storage: Microsoft's clouds, and what speaks like them.

mod calls;
mod credentials;
mod dialect;
mod mistakes;
mod objects;
mod place;
mod sas;
mod settings;
mod signing;

pub use settings::{AzureSettings, Proof};

use crate::addresses::is_private;
use crate::bucket::{Bucket, Unfinished};
use crate::budget::Budget;
use crate::children::exists_below;
use crate::connect::{self, authorities, retries};
use crate::driver::{BucketDriver, Shared};
use crate::error::all_of;
use crate::http::Line;
use crate::keys::Keys;
use crate::open::OpenError;
use calls::Calls;
use credentials::{Credentials, credentials};
use futures_util::future::BoxFuture;
use mistakes::{ACCOUNT, ADDRESS, AUTHORITY, CONTAINER, KEY, Mistakes};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, Result};
use objects::Objects;
use place::Place;
use signing::Signing;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What tells which names a container has: registries keep everything below it.
const CONTENT: &str = "docker/registry/v2";

/// Opens a container and checks that it can be used.
///
/// # Errors
/// One that names the setting to change.
pub async fn open(settings: AzureSettings, read_only: bool, budget: Arc<Budget>) -> Result<BucketDriver, OpenError> {
    let place = Arc::new(Place::new(&settings)?);
    let keys = Keys::checked("storage.azure.rootdirectory", &settings.root_directory)?;
    let options = client_options(&settings, &place)?;
    let known = credentials(&settings, &options)?;
    let mistakes = Mistakes::new(&settings, &place, known.setting);
    let (azure, line) = Azure::new(&settings, &place, known, &options)?;
    let mut shared = Shared::new(Box::new(azure), keys, Arc::clone(line.seen()), budget);
    shared.part_bytes = settings.chunk_size;
    shared.read_only = read_only;
    let why = |wrote, said: &str| mistakes.diagnose(wrote, said);
    if settings.leading_slash.is_none() {
        let slash = finds_slash(&shared, &place).await.map_err(|error| why(false, &error.source.to_string()))?;
        place.set_slash(slash.ok_or_else(|| {
            let remedy =
                "the container has content with and without a slash at the start of its names: say which to use";
            OpenError::new("storage.azure.legacyrootprefix", remedy, "")
        })?);
    }
    shared.open(why).await
}

/// Whether the names of what is there begin with a slash; `None`: some do.
async fn finds_slash(shared: &Shared, place: &Place) -> storage::Result<Option<bool>> {
    let below = shared.keys.below(CONTENT)?;
    let without = exists_below(shared, &below).await?;
    place.set_slash(true);
    let with = exists_below(shared, &below).await;
    place.set_slash(false);
    Ok(match (without, with?) {
        (true, true) => None,
        (false, with) => Some(with),
        (true, false) => Some(false),
    })
}

#[derive(Debug)]
struct Azure {
    objects: Objects,
}

impl Azure {
    fn new(
        settings: &AzureSettings,
        place: &Arc<Place>,
        known: Credentials,
        options: &ClientOptions,
    ) -> Result<(Self, Line), OpenError> {
        for (setting, value) in [(ACCOUNT, &settings.account_name), (CONTAINER, &settings.container)] {
            if value.is_empty() {
                return Err(OpenError::new(setting, "is missing: set it", ""));
            }
        }
        // The account's key signs and stays here; everything else is sent as it is.
        if known.setting != KEY && !is_private(&place.service) {
            let remedy = "only the account's key may be used without TLS: write https://, or set accountkey";
            return Err(OpenError::new(ADDRESS, remedy, ""));
        }
        let mistakes = Mistakes::new(settings, place, known.setting);
        let broken = |error: object_store::Error| mistakes.diagnose(false, &all_of(&error));
        let client = ReqwestConnector::default().connect(options).map_err(broken)?;
        let credentials = known.provider;
        let signing = Signing {
            client,
            place: Arc::clone(place),
            credentials: Arc::clone(&credentials),
            is_old: AtomicBool::new(false),
        };
        let line = Line::new(HttpClient::new(signing), dialect::AZURE);
        let store = MicrosoftAzureBuilder::new()
            .with_account(&settings.account_name)
            .with_container_name(&settings.container)
            .with_endpoint(place.service.clone())
            .with_client_options(options.clone())
            .with_retry(retries())
            .with_skip_signature(true)
            .with_credentials(Arc::clone(&credentials))
            .with_http_connector(line.clone())
            .build()
            .map_err(broken)?;
        let calls = Calls {
            client: line.client().clone(),
            credentials,
            key: settings.account_key.clone(),
            place: Arc::clone(place),
            part: settings.copy_chunk_size,
            delegation: tokio::sync::Mutex::default(),
        };
        Ok((Self { objects: Objects { store, calls: Arc::new(calls) } }, line))
    }
}

fn client_options(settings: &AzureSettings, place: &Place) -> Result<ClientOptions, OpenError> {
    let options = connect::options()
        .with_allow_invalid_certificates(settings.skip_verify)
        // A container without authorities need not have any when nothing is encrypted.
        .with_no_system_certificates(!place.is_encrypted() && settings.account_key.is_some());
    authorities(AUTHORITY, settings.ca_file.as_deref(), options)
}

impl Bucket for Azure {
    fn objects(&self) -> &dyn ObjectStore {
        &self.objects
    }

    fn parts(&self) -> &dyn MultipartStore {
        &self.objects
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        &self.objects.store
    }

    fn delete<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.objects.calls.delete(path.as_ref()))
    }

    fn delete_same<'a>(&'a self, path: &'a Path, mark: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.objects.calls.delete_same(path.as_ref(), mark))
    }

    fn copy<'a>(&'a self, from: &'a Path, to: &'a Path, size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.objects.copy(from.as_ref(), to.as_ref(), size))
    }

    /// The service forgets parts of its own accord, a week after the last one came.
    fn unfinished<'a>(&'a self, _prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn signed<'a>(&'a self, path: &'a Path, ttl: Duration) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(self.objects.calls.signed(path.as_ref(), ttl))
    }

    fn storage_class(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[tokio::test]
    async fn only_a_key_is_used_where_somebody_can_listen() {
        let says = |change: fn(&mut AzureSettings)| {
            let mut settings = AzureSettings::new("acc", "images");
            settings.service_url = Some("http://store.invalid/acc".to_owned());
            change(&mut settings);
            let place = Arc::new(Place::new(&settings).unwrap());
            let options = client_options(&settings, &place).unwrap();
            let known = credentials(&settings, &options).unwrap();
            Azure::new(&settings, &place, known, &options).err().map(|error| error.setting)
        };
        assert_eq!(says(|settings| settings.signature = Some(Secret("sv=1&sig=a%3D".to_owned()))), Some(ADDRESS));
        assert_eq!(says(|settings| settings.proof = Some(Proof::Default)), Some(ADDRESS));
        assert_eq!(says(|settings| settings.account_key = Some(Secret("a2V5".to_owned()))), None);
        let mut settings = AzureSettings::new("acc", "images");
        settings.signature = Some(Secret("sig=hidden".to_owned()));
        settings.environment.insert("AZURE_CLIENT_SECRET".to_owned(), "hidden".to_owned());
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
