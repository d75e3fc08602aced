//! A service that speaks S3.

use crate::service::Service;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const ACCESS: &str = "homeport-access";
const SECRET: &str = "homeport-secret";
const REGION: &str = "eu-test-1";
const BUCKET: &str = "images";
const ROOT: &str = "some/root";

/// A running service with one bucket, kept in a folder; killed when dropped.
pub struct S3 {
    service: Service,
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl S3 {
    /// Starts one; `None` where the program is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = Service::program("HOMEPORT_TEST_S3_VERSITYGW", "versitygw") else { return Ok(None) };
        let (dir, address) = (tempfile::tempdir()?, crate::free_local_address()?);
        std::fs::create_dir_all(dir.path().join("data").join(BUCKET))?;
        let service = Service::start(command(&program, address, dir.path(), ACCESS, SECRET), address)?;
        Ok(Some(Self { service, program, dir }))
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.service.kill()
    }

    /// Starts it again at the same address, with what it has stored.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.start_again_with(ACCESS, SECRET)
    }

    /// The same with other keys, as the only ones.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again_with(&mut self, access: &str, secret: &str) -> Result<()> {
        let address = self.service.address;
        self.service = Service::start(command(&self.program, address, self.dir.path(), access, secret), address)?;
        Ok(())
    }

    /// Scheme and host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.service.endpoint()
    }

    /// A configuration of a registry on the bucket; deleting is allowed, and everybody may read the metrics. `more` are
    /// further keys of `storage`, such as `redirect: {disable: true}`.
    #[must_use]
    pub fn config(&self, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}{comma}{more}, s3: {{bucket: {BUCKET}, region: {REGION}, \
             regionendpoint: '{}', accesskey: {ACCESS}, secretkey: {SECRET}, rootdirectory: /{ROOT}}}}}\n\
             http: {{secret: 'the secret that all replicas share'}}\nhomeport: {{metrics: {{access: open}}}}\n",
            self.endpoint()
        )
    }

    /// The same storage as a line of distribution's configuration.
    #[must_use]
    pub fn of_distribution(&self) -> String {
        format!(
            "s3: {{bucket: {BUCKET}, region: {REGION}, regionendpoint: '{}', accesskey: {ACCESS}, secretkey: {SECRET}, \
             rootdirectory: /{ROOT}, forcepathstyle: true, secure: false}}",
            self.endpoint()
        )
    }

    /// The storage of that configuration as the variables that say the same.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let endpoint = self.endpoint();
        let named = [
            ("BUCKET", BUCKET),
            ("REGION", REGION),
            ("REGIONENDPOINT", &endpoint),
            ("ACCESSKEY", ACCESS),
            ("SECRETKEY", SECRET),
            ("ROOTDIRECTORY", ROOT),
        ];
        named.iter().map(|(name, value)| (format!("REGISTRY_STORAGE_S3_{name}"), (*value).to_owned())).collect()
    }

    /// The folder in which the service keeps each object as a file.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.dir.path().join("data").join(BUCKET).join(ROOT)
    }

    /// The keys in the bucket, without the root.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let root = self.tree();
        let mut keys = Vec::new();
        walk(&root, &root, &mut keys);
        keys.sort();
        keys
    }
}

fn command(program: &Path, address: SocketAddr, dir: &Path, access: &str, secret: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--access", access, "--secret", secret, "--region", REGION, "--quiet", "--keep-alive"]);
    command.args(["--port", &address.to_string(), "posix"]).arg(dir.join("data"));
    command
}

fn walk(folder: &Path, root: &Path, keys: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, root, keys);
        } else if let Ok(key) = path.strip_prefix(root) {
            keys.push(key.to_string_lossy().into_owned());
        }
    }
}
