//! Where content is kept, by the settings.

use super::secret::{derived, made_up};
use crate::settings::{self, Driver, Settings};
use bucket::{BucketDriver, Budget, Outcome, Request};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
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
            Driver::S3(s3) => {
                let bucket = Arc::new(open_bucket(s3, read_only).await?);
                let driver = Arc::clone(&bucket) as Arc<dyn storage::Driver>;
                Ok(Self { driver, bucket: Some(bucket), made_up: derived(s3.secret_key.as_ref())? })
            }
        }
    }

    /// Adds what the service was asked for.
    pub(crate) fn figures(&self) -> impl Fn(&mut String) + Send + Sync + use<> {
        let requests = self.bucket.as_ref().map(|bucket| bucket.requests());
        move |out| {
            if let Some(requests) = &requests {
                show(out, requests);
            }
        }
    }
}

/// What storage looks like without a server: a bucket whose credentials are at hand is looked into.
pub(super) async fn check(settings: &Settings) -> anyhow::Result<()> {
    match &settings.storage.driver {
        Driver::S3(s3) if s3.secret_key.is_some() || s3.credentials_file.is_some() => {
            open_bucket(s3, true).await.map(drop)
        }
        Driver::S3(_) | Driver::Filesystem { .. } => Ok(()),
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
    let secret = |secret: &settings::Secret| bucket::s3::Secret(secret.expose().to_owned());
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
        environment: std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect(),
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
