//! The emulator of Google Cloud Storage.

use crate::Client;
use crate::service::Service;
use anyhow::{Result, ensure};
use std::process::Command;

const BUCKET: &str = "images";
const ROOT: &str = "some/root";

/// A running emulator with one bucket, in memory; killed when dropped.
pub struct Gcs(Service);

impl Gcs {
    /// Starts one; `None` where the program is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = Service::program("HOMEPORT_TEST_FAKE_GCS", "fake-gcs-server") else { return Ok(None) };
        let address = crate::free_local_address()?;
        let mut command = Command::new(program);
        command.args(["-scheme", "http", "-backend", "memory", "-log-level", "error", "-host", "127.0.0.1"]);
        command.args(["-public-host", "127.0.0.1", "-port", &address.port().to_string()]);
        let gcs = Self(Service::start(command, address)?);
        let bucket = format!("{{\"name\": \"{BUCKET}\"}}");
        let json = [("content-type", "application/json")];
        let made = Client::new(&gcs.endpoint()).send("POST", "/storage/v1/b?project=test", &json, bucket.as_bytes())?;
        ensure!(made.status == 200, "{}", made.text());
        Ok(Some(gcs))
    }

    /// SIGKILL; everything is gone.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()
    }

    /// Scheme and host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// Host and port, as Google's own libraries take them from the environment.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }

    /// The keys of `storage.gcs` that distribution has too.
    #[must_use]
    pub fn section(&self) -> String {
        format!("bucket: {BUCKET}, rootdirectory: /{ROOT}")
    }

    /// A configuration of a registry on the bucket; deleting is allowed, and everybody may read the metrics. `storage` are
    /// further keys of `storage`, and `gcs` of the driver.
    #[must_use]
    pub fn config(&self, storage: &str, gcs: &str) -> String {
        let comma = |keys: &str| if keys.is_empty() { "" } else { ", " };
        format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}{}{storage}, gcs: {{{}, endpoint: '{}'{}{gcs}}}}}\n\
             http: {{secret: 'the secret that all replicas share'}}\nhomeport: {{metrics: {{access: open}}}}\n",
            comma(storage),
            self.section(),
            self.endpoint(),
            comma(gcs)
        )
    }

    /// The same storage as the variables that say it.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let endpoint = self.endpoint();
        let named = [("BUCKET", BUCKET), ("ROOTDIRECTORY", ROOT), ("ENDPOINT", &endpoint)];
        named.iter().map(|(name, value)| (format!("REGISTRY_STORAGE_GCS_{name}"), (*value).to_owned())).collect()
    }

    /// The keys in the bucket, without the root.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub fn keys(&self) -> Result<Vec<String>> {
        let page = Client::new(&self.endpoint()).get(&format!("/storage/v1/b/{BUCKET}/o?prefix={ROOT}/"))?.json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let names =
            items.iter().filter_map(|item| item["name"].as_str()?.strip_prefix(&format!("{ROOT}/")).map(str::to_owned));
        Ok(names.collect())
    }
}
