//! Where registries of a test keep their content, said by the variables that a registry of distribution is told it by.

use crate::ServerBuilder;
use crate::azure::Azure;
use crate::gcs::Gcs;
use crate::s3::S3;
use crate::swift::Swift;
use anyhow::{Context, Result, ensure};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the place that the tests of the API use instead of a folder: `s3`, `gcs`, `azure` and `swift` are services of each
/// registry's own, `NAME=VALUE …` are the settings of any other storage, in which `{root}` stands for a name that nobody else
/// has.
pub const VARIABLE: &str = "HOMEPORT_TEST_STORAGE";
const SERVICES: [&str; 4] = ["s3", "gcs", "azure", "swift"];

/// False, with a line on standard error: what `test` is about are files, and the tests run over another storage.
#[must_use]
pub fn is_folder(test: &str) -> bool {
    use std::io::Write;
    let other = std::env::var_os(VARIABLE).is_some_and(|text| !text.is_empty());
    if other {
        let mut out = std::io::stderr();
        drop(writeln!(out, "not tested: {test} is about files, and {VARIABLE} is set"));
    }
    !other
}

/// Content of one or more registries.
pub struct Place {
    settings: Vec<(String, String)>,
    /// Where every object is a file.
    tree: Option<PathBuf>,
    /// Whether the registries open the tree themselves.
    folder: bool,
    _service: Option<Box<dyn Any + Send + Sync>>,
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    /// A folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn files() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let tree = Some(dir.path().join("data"));
        Ok(Self { settings: Vec::new(), tree, folder: true, _service: None, _dir: Some(dir) })
    }

    /// A bucket of a service of its own, with parts of the least size; `None` where it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn s3() -> Result<Option<Self>> {
        let Some(service) = S3::start()? else { return Ok(None) };
        let tree = Some(service.tree());
        let mut settings = service.settings();
        settings.push(("REGISTRY_STORAGE_S3_CHUNKSIZE".to_owned(), (5 << 20).to_string()));
        Ok(Some(Self { tree, ..Self::of(settings, service) }))
    }

    /// A service of its own by its name; `None` where it is not installed.
    fn service(name: &str) -> Result<Option<Self>> {
        Ok(match name {
            "s3" => Self::s3()?,
            "gcs" => Gcs::start()?.map(|service| Self::of(service.settings(), service)),
            "azure" => Azure::start()?.map(|service| Self::of(service.settings(), service)),
            _ => Swift::start()?.map(|service| Self::of(service.settings(), service)),
        })
    }

    fn of(settings: Vec<(String, String)>, service: impl Any + Send + Sync) -> Self {
        let service = Some(Box::new(service) as Box<dyn Any + Send + Sync>);
        Self { settings: shared(settings), tree: None, folder: false, _service: service, _dir: None }
    }

    /// The place that [`VARIABLE`] names; `None` without it.
    ///
    /// # Errors
    /// It is no list of settings, or the service does not start.
    pub fn named() -> Result<Option<Self>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
        if SERVICES.contains(&text.as_str()) {
            let place = Self::service(&text)?;
            return Ok(Some(place.with_context(|| format!("{VARIABLE}={text}, and that service is not here"))?));
        }
        let root = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut settings = Vec::new();
        for setting in text.split_whitespace() {
            let (name, value) = setting.split_once('=').with_context(|| format!("{VARIABLE}: {setting}"))?;
            ensure!(name.starts_with("REGISTRY_"), "{VARIABLE}: {name} is no setting of a registry");
            settings.push((name.to_owned(), value.replace("{root}", &root)));
        }
        Ok(Some(Self { settings: shared(settings), tree: None, folder: false, _service: None, _dir: None }))
    }

    /// Lets a registry keep its content here.
    #[must_use]
    pub fn hold(&self, mut builder: ServerBuilder) -> ServerBuilder {
        if let Some(tree) = self.tree.as_deref().filter(|_| self.folder) {
            return builder.data(tree);
        }
        for (name, value) in &self.settings {
            builder = builder.env(name, value);
        }
        // As without any configuration on a folder.
        if !builder.has_config() {
            builder = builder.env("REGISTRY_STORAGE_DELETE_ENABLED", "true");
        }
        builder.no_folder()
    }

    /// Locks keep the processes that share it apart.
    #[must_use]
    pub fn has_locks(&self) -> bool {
        self.folder
    }

    /// Where every object is a file, for whoever looks through them all.
    #[must_use]
    pub fn tree(&self) -> Option<&Path> {
        self.tree.as_deref()
    }
}

/// What registries on one storage have in common besides. Bytes pass through, so that any client can read them.
fn shared(mut settings: Vec<(String, String)>) -> Vec<(String, String)> {
    for (name, value) in
        [("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"), ("REGISTRY_HTTP_SECRET", "the secret that all replicas share")]
    {
        settings.push((name.to_owned(), value.to_owned()));
    }
    settings
}
