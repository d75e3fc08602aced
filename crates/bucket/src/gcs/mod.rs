//! Google Cloud Storage, by its JSON API.

mod answer;
mod api;
mod credentials;
mod diagnose;
mod dialect;
mod list;
mod parts;
mod settings;
mod sign;
mod store;

pub use settings::GcsSettings;

use crate::bucket::{Bucket, Unfinished};
use crate::budget::Budget;
use crate::connect::{self, CREDENTIAL_TIME, authorities, named};
use crate::driver::{BucketDriver, Shared};
use crate::error::all_of;
use crate::http::Line;
use crate::keys::Keys;
use crate::open::OpenError;
use api::Api;
use credentials::{Credentials, Unusable};
use diagnose::NAMES;
use futures_util::future::BoxFuture;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, Result};
use sign::ToSign;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// How long nothing is signed after somebody else refused to sign for us.
const UNSIGNED_TIME: Duration = Duration::from_secs(300);
/// More writes to one object in a row are refused with 429 (Cloud Storage's quotas).
const WRITES_APART: Duration = Duration::from_secs(1);

/// Opens a bucket and checks that it can be used.
///
/// # Errors
/// One that names the setting to change.
pub async fn open(settings: GcsSettings, read_only: bool, budget: Arc<Budget>) -> Result<BucketDriver, OpenError> {
    let keys = Keys::checked("storage.gcs.rootdirectory", &settings.root_directory)?;
    let (bucket, line) = Gcs::new(&settings, keys.uploads())?;
    let mut shared = Shared::new(Box::new(bucket), keys, Arc::clone(line.seen()), budget);
    shared.part_bytes = settings.chunk_size;
    shared.read_only = read_only;
    shared.open(|wrote, said| diagnose::why(&settings.bucket, wrote, said)).await
}

#[derive(Debug)]
struct Gcs {
    api: Api,
    /// Those that sign addresses for clients.
    signer: Option<Arc<Credentials>>,
    /// Nothing is signed before that.
    unsigned: Mutex<Option<Instant>>,
    /// Scheme and host by which clients reach the service.
    clients: String,
    /// What names in the place of unfinished uploads begin with.
    uploads: String,
}

impl Gcs {
    fn new(settings: &GcsSettings, uploads: String) -> Result<(Self, Line), OpenError> {
        if settings.bucket.is_empty() {
            return Err(OpenError::new(NAMES.bucket, "name the bucket", ""));
        }
        let service = settings.service();
        let encrypted = service.starts_with("https://");
        let options = client_options(settings, encrypted)?;
        let connect = |options: &ClientOptions| {
            let client = ReqwestConnector::default().connect(options);
            client.map_err(|error| diagnose::why("", false, &all_of(&error)))
        };
        let line = Line::new(connect(&options)?, dialect::GCS);
        let credentials = credentials(settings, encrypted, connect(&options.with_timeout(CREDENTIAL_TIME))?)?;
        let api = Api {
            client: line.client().clone(),
            // Whoever listens on a line without TLS could use a token elsewhere.
            credentials: credentials.clone().filter(|_| encrypted),
            service,
            bucket: settings.bucket.clone(),
            slots: Semaphore::new(settings.max_concurrency.clamp(1, Semaphore::MAX_PERMITS)),
        };
        let clients = settings.service_of_clients();
        Ok((Self { api, signer: credentials, unsigned: Mutex::new(None), clients, uploads }, line))
    }

    async fn sign(&self, path: &Path, ttl: Duration) -> Result<Option<String>> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let now = Instant::now();
        if self.unsigned.lock().is_ok_and(|until| until.is_some_and(|until| now < until)) {
            return Ok(None);
        }
        let signed = async {
            let Some(email) = signer.signer().await? else { return Ok(None) };
            let (service, bucket) = (&self.clients, &self.api.bucket);
            let to_sign = ToSign::get(service, bucket, path.as_ref(), &email, SystemTime::now(), ttl);
            let signature = signer.sign(&email, to_sign.text.as_bytes()).await?;
            Ok::<_, object_store::Error>(Some(to_sign.with(&signature)))
        };
        signed.await.or_else(|error| {
            tracing::warn!(%error, "nothing can be signed: blobs pass through for a while instead of redirects");
            if let Ok(mut until) = self.unsigned.lock() {
                *until = Some(now + UNSIGNED_TIME);
            }
            Ok(None)
        })
    }
}

fn client_options(settings: &GcsSettings, encrypted: bool) -> Result<ClientOptions, OpenError> {
    // A container without authorities need not have any when nothing is encrypted.
    let options = connect::options().with_no_system_certificates(!encrypted);
    let options = named("storage.gcs.useragent", settings.user_agent.as_deref(), options)?;
    authorities(NAMES.authority, settings.ca_file.as_deref(), options)
}

/// Credentials that somebody has named, and the setting that does.
fn given(settings: &GcsSettings) -> Result<Option<(&'static str, String)>, OpenError> {
    const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
    let (setting, file) = match (&settings.key_file, &settings.credentials, settings.variable(VARIABLE)) {
        (Some(file), ..) => (NAMES.key, file.clone()),
        (None, Some(text), _) => return Ok(Some(("storage.gcs.credentials", text.clone()))),
        (None, None, Some(file)) => (VARIABLE, PathBuf::from(file)),
        (None, None, None) => return Ok(None),
    };
    let unreadable = |error: std::io::Error| {
        OpenError::new(setting, format!("{} cannot be read: correct it", file.display()), &error.to_string())
    };
    credentials::read_file(&file).map(|text| Some((setting, text))).map_err(unreadable)
}

/// In this order: those of the settings, those of the environment, those of whoever runs us, those of the machine. An
/// address without TLS is an emulator's and needs none.
fn credentials(
    settings: &GcsSettings,
    encrypted: bool,
    client: HttpClient,
) -> Result<Option<Arc<Credentials>>, OpenError> {
    let unusable =
        |setting: &'static str| move |error: Unusable| OpenError::new(setting, format!("{error}: correct it"), "");
    if let Some((setting, text)) = given(settings)? {
        return Credentials::from_json(&text, client).map(Arc::new).map(Some).map_err(unusable(setting));
    }
    if !encrypted {
        return Ok(None);
    }
    let own = settings.variable("HOME").map(Credentials::well_known).filter(|file| file.is_file());
    let credentials = match own {
        Some(file) => credentials::read_file(&file)
            .map_err(Unusable::from)
            .and_then(|text| Credentials::from_json(&text, client))
            .map_err(unusable(NAMES.key))?,
        None => Credentials::of_machine(settings.variable("GCE_METADATA_HOST"), client),
    };
    Ok(Some(Arc::new(credentials)))
}

impl Bucket for Gcs {
    fn objects(&self) -> &dyn ObjectStore {
        self
    }

    fn parts(&self) -> &dyn MultipartStore {
        self
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        self
    }

    fn delete<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.delete_name(path.as_ref(), None))
    }

    fn delete_same<'a>(&'a self, path: &'a Path, mark: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.delete_name(path.as_ref(), Some(mark)))
    }

    fn copy<'a>(&'a self, from: &'a Path, to: &'a Path, _size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.rewrite(from, to))
    }

    fn unfinished<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>> {
        Box::pin(self.uploads_of(prefix))
    }

    fn signed<'a>(&'a self, path: &'a Path, ttl: Duration) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(self.sign(path, ttl))
    }

    fn writes_apart(&self) -> Duration {
        WRITES_APART
    }

    /// The bucket's own, which is the best for parts too.
    fn storage_class(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::{Outcome, Request};
    use crate::testing::{self, Says};
    use object_store::client::HttpRequest;
    use storage::{Batch, Driver, ErrorKind};

    /// What a replica writes after each change of a tag.
    const RECORD: &str = "homeport/v1/changes/1";

    fn driver(says: impl Fn(&HttpRequest) -> Says + Send + Sync + 'static) -> BucketDriver {
        let line = Line::new(testing::service(says), dialect::GCS);
        let api = Api {
            client: line.client().clone(),
            credentials: None,
            service: "http://service".to_owned(),
            bucket: "images".to_owned(),
            slots: Semaphore::new(8),
        };
        let (clients, keys) = (api.service.clone(), Keys::new(""));
        let uploads = keys.uploads();
        let gcs = Gcs { api, signer: None, unsigned: Mutex::new(None), clients, uploads };
        let shared = Shared::new(Box::new(gcs), keys, Arc::clone(line.seen()), Budget::new(0));
        shared.conditions.get_or_init(|| true);
        BucketDriver { shared: Arc::new(shared) }
    }

    /// In the service's words.
    fn too_often() -> Says {
        let message = "The object images/x exceeded the rate limit for object mutation operations (create, update, and \
                       delete). Please reduce your request rate.";
        let reason = serde_json::json!({"message": message, "domain": "usageLimits", "reason": "rateLimitExceeded"});
        (429, serde_json::json!({"error": {"code": 429, "message": message, "errors": [reason]}}).to_string())
    }

    /// An object may be written once a second.
    #[tokio::test(start_paused = true)]
    async fn a_record_that_changes_too_often_waits_for_its_turn() {
        let last = Mutex::new(None);
        let driver = driver(move |_| {
            let now = tokio::time::Instant::now();
            let mut last = last.lock().unwrap();
            if last.is_some_and(|last| now - last < Duration::from_secs(1)) {
                return too_often();
            }
            *last = Some(now);
            (200, "{\"generation\": \"1\"}".to_owned())
        });
        for content in ["1", "2", "3"] {
            driver.apply(Batch::new().put(RECORD, content)).await.unwrap();
        }
        let puts = |outcome| driver.requests().of(Request::Put, outcome);
        assert_eq!((puts(Outcome::Ok), puts(Outcome::Slow)), (3, 2), "the second attempt is late enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_cannot_be_written_is_trouble_of_storage() {
        let driver = driver(|_| too_often());
        let error = driver.apply(Batch::new().put(RECORD, "1")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.source.to_string().contains("rateLimitExceeded"), "{}", error.source);
        assert_eq!(driver.requests().of(Request::Put, Outcome::Slow), 4);
        assert!(!driver.circuit().is_open(), "it answers");
    }

    #[tokio::test]
    async fn a_list_that_leads_nowhere_ends() {
        let driver = driver(|_| (200, r#"{"nextPageToken": "again"}"#.to_owned()));
        assert_eq!(driver.list("a", "", 10).await.unwrap_err().kind, ErrorKind::Unavailable);
        let removed = driver.apply(Batch::new().delete_tree("a")).await;
        assert_eq!(removed.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(driver.requests().all(Request::List), 4);
    }
}
