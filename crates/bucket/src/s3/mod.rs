//! S3: Amazon's and everybody else's.

mod calls;
mod dialect;
mod endpoint;
mod profile;
mod settings;

pub use settings::S3Settings;

use crate::bucket::{Bucket, Unfinished};
use crate::budget::Budget;
use crate::connect::{self, CREDENTIAL_TIME, authorities, named, retries};
use crate::driver::{BucketDriver, Shared};
use crate::error::all_of;
use crate::http::Line;
use crate::keys::Keys;
use crate::open::{Names, OpenError, diagnose};
use crate::renewal::Renewed;
use calls::{Calls, Copying};
use endpoint::Endpoint;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::list::PaginatedListStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Attribute, Attributes, ClientOptions, ObjectStore, ObjectStoreExt, PutMultipartOptions, Result};
use profile::{FileKeys, Profile};
use std::sync::Arc;
use std::time::Duration;

const NAMES: Names = Names {
    bucket: "storage.s3.bucket",
    region: "storage.s3.region",
    address: "storage.s3.regionendpoint",
    key: "storage.s3.accesskey",
    secret: "storage.s3.secretkey",
    authority: "storage.s3.cafile",
};

/// Opens a bucket and checks that it can be used.
///
/// # Errors
/// One that names the setting to change.
pub async fn open(settings: S3Settings, read_only: bool, budget: Arc<Budget>) -> Result<BucketDriver, OpenError> {
    let keys = Keys::checked("storage.s3.rootdirectory", &settings.root_directory)?;
    let (bucket, line) = S3::new(&settings)?;
    let mut shared = Shared::new(Box::new(bucket), keys, Arc::clone(line.seen()), budget);
    shared.part_bytes = settings.chunk_size;
    shared.read_only = read_only;
    shared.open(|wrote, said| diagnose(&NAMES, &settings.bucket, wrote, said)).await
}

#[derive(Debug)]
struct S3 {
    store: AmazonS3,
    /// The same with one request for each deletion.
    single: AmazonS3,
    /// Signs addresses for clients.
    signer: AmazonS3,
    calls: Calls,
    class: Option<String>,
}

fn broken(error: &object_store::Error) -> OpenError {
    diagnose(&NAMES, "", false, &all_of(error))
}

impl S3 {
    fn new(settings: &S3Settings) -> Result<(Self, Line), OpenError> {
        if settings.bucket.is_empty() {
            return Err(OpenError::new(NAMES.bucket, "name the bucket", ""));
        }
        let unknown = || OpenError::new(NAMES.region, "set the region of the bucket, or regionendpoint", "");
        let endpoint = Endpoint::of(settings, settings.region_endpoint.as_deref()).ok_or_else(unknown)?;
        let options = client_options(settings, &endpoint)?;
        let client = ReqwestConnector::default().connect(&options).map_err(|error| broken(&error))?;
        let line = Line::new(client, dialect::S3);
        let credentials = credentials(settings, &endpoint, &options)?;
        let encryption = |builder: AmazonS3Builder| match (settings.encrypt, &settings.key_id) {
            (true, Some(key)) => Ok(builder.with_sse_kms_encryption(key)),
            (true, None) => Ok(builder.with_config("aws_server_side_encryption".parse()?, "AES256")),
            (false, _) => Ok::<_, object_store::Error>(builder),
        };
        let base = |endpoint: &Endpoint| {
            let hosted = endpoint.virtual_hosted;
            let address = if hosted { endpoint.bucket(&settings.bucket) } else { endpoint.service.clone() };
            AmazonS3Builder::new()
                .with_bucket_name(&settings.bucket)
                .with_region(&endpoint.region)
                .with_endpoint(address)
                .with_virtual_hosted_style_request(hosted)
                .with_unsigned_payload(endpoint.is_encrypted())
                .with_client_options(options.clone())
                .with_retry(retries())
                .with_credentials(Arc::clone(&credentials))
                .with_http_connector(line.clone())
        };
        let build = |builder: AmazonS3Builder| {
            encryption(builder).and_then(AmazonS3Builder::build).map_err(|error| broken(&error))
        };
        let redirect = settings.redirect_endpoint.as_deref().and_then(|address| Endpoint::of(settings, Some(address)));
        let bucket = Self {
            store: build(base(&endpoint))?,
            single: build(base(&endpoint).with_disable_bulk_delete(true))?,
            signer: build(base(redirect.as_ref().unwrap_or(&endpoint)))?,
            calls: Calls {
                client: line.client().clone(),
                credentials,
                region: endpoint.region.clone(),
                endpoint: endpoint.bucket(&settings.bucket),
                bucket: settings.bucket.clone(),
                sign_content: !endpoint.is_encrypted(),
                new_object: new_object(settings)?,
                copying: Copying {
                    threshold: settings.multipart_copy_threshold_size,
                    part: settings.multipart_copy_chunk_size,
                    at_once: settings.multipart_copy_max_concurrency,
                },
            },
            class: settings.chosen_class(),
        };
        Ok((bucket, line))
    }
}

/// Headers that a copy needs, since it takes nothing over from its source.
fn new_object(settings: &S3Settings) -> Result<HeaderMap, OpenError> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: &str, setting| {
        let value = HeaderValue::from_str(value).map_err(|_| OpenError::new(setting, "not a text for a header", ""))?;
        headers.insert(HeaderName::from_static(name), value);
        Ok(())
    };
    if settings.encrypt {
        add(
            "x-amz-server-side-encryption",
            if settings.key_id.is_some() { "aws:kms" } else { "AES256" },
            "storage.s3.encrypt",
        )?;
        if let Some(key) = &settings.key_id {
            add("x-amz-server-side-encryption-aws-kms-key-id", key, "storage.s3.keyid")?;
        }
    }
    if let Some(class) = settings.chosen_class() {
        add("x-amz-storage-class", &class, "storage.s3.storageclass")?;
    }
    Ok(headers)
}

fn client_options(settings: &S3Settings, endpoint: &Endpoint) -> Result<ClientOptions, OpenError> {
    let options = connect::options()
        .with_allow_invalid_certificates(settings.skip_verify)
        // A container without authorities need not have any when nothing is encrypted.
        .with_no_system_certificates(!endpoint.is_encrypted() && settings.access_key.is_some());
    let options = named("storage.s3.useragent", settings.user_agent.as_deref(), options)?;
    authorities(NAMES.authority, settings.ca_file.as_deref(), options)
}

/// In this order: keys of the settings, a credentials file, keys of the environment, web identity, the container's and the
/// machine's role.
fn credentials(
    settings: &S3Settings,
    endpoint: &Endpoint,
    options: &ClientOptions,
) -> Result<AwsCredentialProvider, OpenError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&endpoint.region)
        .with_client_options(options.clone().with_timeout(CREDENTIAL_TIME))
        .with_retry(retries());
    if let Some(sts) = endpoint.sts(settings) {
        builder = builder.with_config(AmazonS3ConfigKey::StsEndpoint, sts);
    }
    let given = |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let access = given(settings.access_key.as_deref());
    let secret = given(settings.secret_key.as_ref().map(|secret| secret.0.as_str()));
    let token = given(settings.session_token.as_ref().map(|token| token.0.as_str()));
    let file = settings.credentials_file.clone();
    match (access, secret) {
        (Some(access), Some(secret)) => {
            builder = builder.with_access_key_id(access).with_secret_access_key(secret);
            builder = token.into_iter().fold(builder, AmazonS3Builder::with_token);
        }
        (Some(_), None) => return Err(OpenError::new(NAMES.secret, "set it, since accesskey is set", "")),
        (None, Some(_)) => return Err(OpenError::new(NAMES.key, "set it, since secretkey is set", "")),
        (None, None) => {
            if let Some(file) = file.or_else(|| settings.variable("AWS_SHARED_CREDENTIALS_FILE").map(Into::into)) {
                let name = settings.variable("AWS_PROFILE").unwrap_or("default").to_owned();
                let setting = "storage.s3.credentialsconfigpath";
                let profile = Profile::read(&file, &name).map_err(|error| {
                    OpenError::new(
                        setting,
                        format!("{} cannot be read: correct it", file.display()),
                        &error.to_string(),
                    )
                })?;
                match (&profile.access_key, &profile.secret_key, profile.role, profile.token_file) {
                    (Some(_), Some(_), ..) => return Ok(Arc::new(FileKeys::new(file, name))),
                    (_, _, Some(role), Some(token_file)) => {
                        let session = profile.role_session.unwrap_or_else(|| "homeport".to_owned());
                        builder = builder
                            .with_config(AmazonS3ConfigKey::RoleArn, role)
                            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file)
                            .with_config(AmazonS3ConfigKey::RoleSessionName, session);
                    }
                    _ => {
                        let remedy = format!("{} has neither keys nor a role in profile {name}", file.display());
                        return Err(OpenError::new(setting, remedy, ""));
                    }
                }
            } else {
                builder = from_environment(builder, settings);
            }
        }
    }
    let built = builder.build().map_err(|error| broken(&error))?;
    Ok(Renewed::new(Arc::clone(built.credentials())))
}

/// What says where credentials are; nothing else of the environment counts.
fn from_environment(builder: AmazonS3Builder, settings: &S3Settings) -> AmazonS3Builder {
    use AmazonS3ConfigKey as Key;
    let variables = [
        ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
        ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
        ("AWS_SESSION_TOKEN", Key::Token),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
        ("AWS_METADATA_ENDPOINT", Key::MetadataEndpoint),
    ];
    variables.into_iter().fold(builder, |builder, (name, key)| match settings.variable(name) {
        Some(value) => builder.with_config(key, value),
        None => builder,
    })
}

impl Bucket for S3 {
    fn objects(&self) -> &dyn ObjectStore {
        &self.store
    }

    fn parts(&self) -> &dyn MultipartStore {
        &self.store
    }

    fn lists(&self) -> &dyn PaginatedListStore {
        &self.store
    }

    fn delete<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.single.delete(path))
    }

    fn delete_same<'a>(&'a self, path: &'a Path, mark: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.calls.delete_same(path, mark))
    }

    fn copy<'a>(&'a self, from: &'a Path, to: &'a Path, size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if size <= self.calls.copying.threshold {
                return self.calls.copy_small(from, to).await;
            }
            let mut attributes = Attributes::new();
            if let Some(class) = &self.class {
                attributes.insert(Attribute::StorageClass, class.clone().into());
            }
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let upload = self.store.create_multipart_opts(to, options).await?;
            let copied = match self.calls.copy_parts(from, to, &upload, size).await {
                Ok(parts) => self.store.complete_multipart(to, &upload, parts).await.map(drop),
                Err(error) => Err(error),
            };
            if copied.is_err() {
                // It failed already; what stays goes when it is old.
                drop(self.store.abort_multipart(to, &upload).await);
            }
            copied
        })
    }

    fn unfinished<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Unfinished>>> {
        Box::pin(self.calls.unfinished(prefix))
    }

    fn signed<'a>(&'a self, path: &'a Path, ttl: Duration) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async move { Ok(Some(self.signer.signed_url(Method::GET, path, ttl).await?.to_string())) })
    }

    fn storage_class(&self) -> Option<&str> {
        self.class.as_deref()
    }
}
