//! Where content is kept, by the settings.

use super::secret::{derived, made_up};
use super::swift;
use super::{azure, gcs};
use crate::settings::{self, Delivery, Driver, Settings};
use anyhow::Context;
use bucket::{BaseUrl, BucketDriver, Budget, CloudFront, Outcome, Request};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::Addresses;
use storage::fs::{FsDriver, FsOptions};

/// Below, large objects are sent in parts that could be left behind.
const BLOBS: &[&str] = &["docker/registry/v2/blobs"];
/// However soon uploads expire: a large one is on its way for long.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(24 * 3600);

/// Storage that was opened.
pub(crate) struct Storage {
    pub(crate) driver: Arc<dyn storage::Driver>,
    /// The driver once more, if it is a bucket.
    pub(crate) bucket: Option<Arc<BucketDriver>>,
    /// In place of secrets that the settings do not have.
    pub(crate) made_up: Vec<u8>,
}

impl Storage {
    pub(crate) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let read_only = settings.storage.read_only;
        match &settings.storage.driver {
            Driver::Filesystem { root } => Ok(Self {
                driver: Arc::new(open_folder(root, read_only)?),
                bucket: None,
                made_up: made_up(Some(root), !read_only)?,
            }),
            Driver::S3(s3) => Ok(Self::of_bucket(open_bucket(s3, read_only).await?, derived(s3.secret_key.as_ref())?)),
            Driver::Swift(swift) => {
                Ok(Self::of_bucket(swift::open(swift, read_only).await?, derived(swift.own_secret())?))
            }
            Driver::Gcs(gcs) => {
                Ok(Self::of_bucket(gcs::open(gcs, read_only).await?, derived(gcs.private_key.as_ref())?))
            }
            Driver::Azure(azure) => {
                Ok(Self::of_bucket(azure::open(azure, read_only).await?, derived(azure.account_key.as_ref())?))
            }
        }
    }

    fn of_bucket(bucket: BucketDriver, made_up: Vec<u8>) -> Self {
        let bucket = Arc::new(bucket);
        let driver = Arc::clone(&bucket) as Arc<dyn storage::Driver>;
        Self { driver, bucket: Some(bucket), made_up }
    }

    /// Opens what another process may be serving, to read and nothing else: of a folder it becomes no member, since whoever is
    /// alone on one is faster.
    pub(crate) async fn open_to_read(settings: &Settings) -> anyhow::Result<Arc<dyn storage::Driver>> {
        if let Driver::Filesystem { root } = &settings.storage.driver {
            let options = FsOptions { read_only: true, ..FsOptions::new(root) };
            let opened = FsDriver::open(options);
            return Ok(Arc::new(opened.map_err(|error| anyhow::anyhow!("{error}: {}", error.source))?));
        }
        let mut settings = settings.clone();
        settings.storage.read_only = true;
        Ok(Self::open(&settings).await?.driver)
    }

    /// Opens a place to write to, without the secret that a registry keeps there.
    pub(crate) async fn open_to_fill(settings: &Settings) -> anyhow::Result<Arc<dyn storage::Driver>> {
        if let Driver::Filesystem { root } = &settings.storage.driver {
            return Ok(Arc::new(open_folder(root, false)?));
        }
        let mut settings = settings.clone();
        settings.storage.read_only = false;
        Ok(Self::open(&settings).await?.driver)
    }

    /// Opens a place that may not be there yet, to look what it lacks.
    pub(crate) async fn open_to_look(settings: &Settings) -> anyhow::Result<Arc<dyn storage::Driver>> {
        match &settings.storage.driver {
            Driver::Filesystem { root } if !root.exists() => Ok(Arc::new(storage::memory::MemoryDriver::default())),
            _ => Self::open_to_read(settings).await,
        }
    }

    /// Adds what the service was asked for.
    pub(crate) fn figures(&self) -> impl Fn(&mut String) + Send + Sync + use<> {
        let service = self.bucket.as_ref().map(|bucket| (bucket.requests(), bucket.circuit()));
        move |out| {
            if let Some((requests, circuit)) = &service {
                show(out, requests);
                show_circuit(out, circuit);
            }
        }
    }
}

/// Where clients fetch blobs, if not at the storage itself.
pub(crate) fn addresses(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Addresses>>> {
    Ok(match &settings.delivery {
        Delivery::Storage => None,
        Delivery::BaseUrl(base_url) => Some(Arc::new(BaseUrl::new(base_url))),
        Delivery::CloudFront { base_url, private_key, key_pair_id } => {
            let root = match &settings.storage.driver {
                Driver::S3(s3) => s3.root_directory.as_str(),
                _ => "",
            };
            let key = || format!("middleware.storage: privatekey: {}", private_key.display());
            let pem = std::fs::read(private_key).with_context(key)?;
            let signer = CloudFront::new(base_url, root, &pem, key_pair_id);
            Some(Arc::new(signer.map_err(|error| anyhow::anyhow!("{}: {error}", key()))?))
        }
    })
}

/// What storage looks like without a server: a bucket whose credentials are at hand is looked into.
pub(super) async fn check(settings: &Settings) -> anyhow::Result<()> {
    addresses(settings)?;
    match &settings.storage.driver {
        Driver::S3(s3) if s3.secret_key.is_some() || s3.credentials_file.is_some() => {
            open_bucket(s3, true).await.map(drop)
        }
        Driver::Gcs(gcs) if gcs.private_key.is_some() => gcs::open(gcs, true).await.map(drop),
        Driver::Azure(container) if azure::has_credentials(container) => azure::open(container, true).await.map(drop),
        Driver::Swift(swift) => swift::open(swift, true).await.map(drop),
        Driver::S3(_) | Driver::Gcs(_) | Driver::Azure(_) | Driver::Filesystem { .. } => Ok(()),
    }
}

fn open_folder(root: &Path, read_only: bool) -> anyhow::Result<FsDriver> {
    // A folder that cannot be written is good enough for a registry that does not write.
    let options = |read_only| FsOptions { read_only, ..FsOptions::new(root) };
    match FsDriver::open(options(false)) {
        Err(error) if read_only && error.kind == storage::ErrorKind::ReadOnly => Ok(FsDriver::open(options(true))?),
        other => other.map_err(|error| {
            let hint = match error.kind {
                storage::ErrorKind::ReadOnly => {
                    "; let the user that homeport runs as write there, or choose another folder"
                }
                _ => "",
            };
            anyhow::anyhow!("{error}: {}{hint}", error.source)
        }),
    }
}

async fn open_bucket(s3: &settings::S3, read_only: bool) -> anyhow::Result<BucketDriver> {
    let secret = |secret: &settings::Secret| bucket::Secret(secret.expose().to_owned());
    let settings = bucket::s3::S3Settings {
        bucket: s3.bucket.clone(),
        region: s3.region.clone(),
        region_endpoint: s3.region_endpoint.clone(),
        redirect_endpoint: s3.redirect_endpoint.clone(),
        force_path_style: s3.force_path_style,
        virtual_hosted_style: s3.virtual_hosted_style,
        secure: s3.secure,
        skip_verify: s3.skip_verify,
        ca_file: s3.ca_file.clone(),
        use_dual_stack: s3.dual_stack,
        access_key: s3.access_key.as_ref().map(|key| key.expose().to_owned()),
        secret_key: s3.secret_key.as_ref().map(secret),
        session_token: s3.session_token.as_ref().map(secret),
        credentials_file: s3.credentials_file.clone(),
        encrypt: s3.encrypt,
        key_id: s3.key_id.clone(),
        storage_class: Some(s3.storage_class.clone()),
        root_directory: s3.root_directory.clone(),
        user_agent: s3.user_agent.clone(),
        chunk_size: s3.chunk_bytes,
        multipart_copy_threshold_size: s3.copy_threshold_bytes,
        multipart_copy_chunk_size: s3.copy_chunk_bytes,
        multipart_copy_max_concurrency: s3.copies_max,
        environment: crate::environment::variables().filter(|(name, _)| name.starts_with("AWS_")).collect(),
    };
    Ok(bucket::s3::open(settings, read_only, Budget::new(Budget::DEFAULT_BYTES)).await?)
}

/// Removes what broken uploads left in a bucket.
pub(super) async fn remove_leftovers(bucket: Arc<BucketDriver>, uploads: settings::Uploads) {
    let age = uploads.expiry.max(LEFTOVER_AGE_MIN);
    loop {
        match bucket.remove_leftovers(BLOBS, age).await {
            Ok(removed) if removed.uploads + removed.objects > 0 => {
                tracing::info!(uploads = removed.uploads, objects = removed.objects, "leftovers of uploads removed");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "leftovers of uploads cannot be removed"),
        }
        tokio::time::sleep(uploads.interval).await;
    }
}

fn show_circuit(out: &mut String, circuit: &bucket::Circuit) {
    let figures = [
        (
            "circuit_open",
            "gauge",
            "1 while requests fail at once, since the service does not answer.",
            u64::from(circuit.is_open()),
        ),
        (
            "requests_refused_total",
            "counter",
            "Requests that were not sent, since the service does not answer.",
            circuit.refused(),
        ),
        (
            "retries_refused_total",
            "counter",
            "Failed requests not tried again, since too much fails.",
            circuit.retries_refused(),
        ),
    ];
    for (name, kind, help, value) in figures {
        let name = format!("homeport_storage_{name}");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

fn show(out: &mut String, requests: &bucket::Requests) {
    let name = "homeport_storage_requests_total";
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} Requests to the storage service.\n# TYPE {name} counter");
    for request in Request::ALL {
        for outcome in Outcome::ALL {
            let count = requests.of(request, outcome);
            if count > 0 {
                let labels = format!("operation=\"{}\",outcome=\"{}\"", request.as_str(), outcome.as_str());
                let _ = writeln!(out, "{name}{{{labels}}} {count}");
            }
        }
    }
}
