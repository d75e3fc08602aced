//! Azurite: Azure Blob storage on this machine.

use crate::Client;
use crate::service::Service;
use anyhow::{Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use std::process::Command;

const ACCOUNT: &str = "homeport";
/// `homeport-secret-of-the-account`.
const KEY: &str = "aG9tZXBvcnQtc2VjcmV0LW9mLXRoZS1hY2NvdW50";
const CONTAINER: &str = "images";
const ROOT: &str = "some/root";
const VERSION: &str = "2021-12-02";

/// A running service with one container; killed when dropped.
pub struct Azure {
    service: Service,
    _dir: tempfile::TempDir,
}

impl Azure {
    /// Starts one; `None` where the program is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = Service::program("HOMEPORT_TEST_AZURITE", "azurite") else { return Ok(None) };
        let (dir, address) = (tempfile::tempdir()?, crate::free_local_address()?);
        let mut command = Command::new(program);
        command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"]);
        command.args(["--blobPort", &address.port().to_string()]).arg("--location").arg(dir.path());
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
        let azure = Self { service: Service::start(command, address)?, _dir: dir };
        azure.request("PUT", "restype=container")?;
        Ok(Some(azure))
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.service.kill()
    }

    /// Scheme and host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.service.endpoint()
    }

    /// What a configuration has below `storage`, for this registry and for distribution's; deleting is allowed. `more` are
    /// further keys there, such as `redirect: {disable: true}`.
    #[must_use]
    pub fn storage(&self, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}{comma}{more}, azure: {{accountname: {ACCOUNT}, \
             accountkey: {KEY}, container: {CONTAINER}, serviceurl: '{}/{ACCOUNT}', rootdirectory: /{ROOT}, \
             credentials: {{type: shared_key}}}}}}\n",
            self.endpoint()
        )
    }

    /// A configuration of a registry on the container.
    #[must_use]
    pub fn config(&self, more: &str) -> String {
        format!("{}http: {{secret: 'the secret that all replicas share'}}\n", self.storage(more))
    }

    /// The same storage as the variables that say it.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let url = format!("{}/{ACCOUNT}", self.endpoint());
        let named = [
            ("ACCOUNTNAME", ACCOUNT),
            ("ACCOUNTKEY", KEY),
            ("CONTAINER", CONTAINER),
            ("SERVICEURL", &url),
            ("ROOTDIRECTORY", ROOT),
            ("CREDENTIALS_TYPE", "shared_key"),
        ];
        named.iter().map(|(name, value)| (format!("REGISTRY_STORAGE_AZURE_{name}"), (*value).to_owned())).collect()
    }

    /// The keys in the container, without the root.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn keys(&self) -> Result<Vec<String>> {
        let text = self.request("GET", "comp=list&restype=container")?;
        let names = text.split("<Name>").skip(1).filter_map(|rest| rest.split("</Name>").next());
        Ok(names.filter_map(|name| name.strip_prefix(&format!("{ROOT}/"))).map(str::to_owned).collect())
    }

    /// A signed request about the container, whose parameters are in the order of their names.
    fn request(&self, method: &str, query: &str) -> Result<String> {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let parameters = query.split('&').map(|pair| pair.replace('=', ":")).collect::<Vec<_>>().join("\n");
        let said = format!(
            "{method}\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\n{parameters}"
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(KEY)?);
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, said.as_bytes()));
        let client = Client::new(&self.endpoint()).authorization(&format!("SharedKey {ACCOUNT}:{signature}"));
        let headers = [("x-ms-date", date.as_str()), ("x-ms-version", VERSION)];
        let answer = client.send(method, &format!("/{ACCOUNT}/{CONTAINER}?{query}"), &headers, &[])?;
        ensure!(matches!(answer.status, 200 | 201), "{method} {query}: {}", answer.text());
        Ok(answer.text())
    }
}
