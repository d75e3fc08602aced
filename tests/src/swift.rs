//! A container of Swift.

use anyhow::Result;

#[path = "../../crates/bucket/tests/servers/swift/cloud.rs"]
#[expect(dead_code, reason = "the driver's own tests use the rest")]
mod cloud;

use cloud::{Cloud, Options, USER};

/// Of the account.
pub const PASSWORD: &str = cloud::PASSWORD;

const CONTAINER: &str = "images";
const PREFIX: &str = "some/root";

/// A running service. It ends when dropped.
pub struct Swift(Cloud);

impl Swift {
    /// Starts one; `None` where the programs are not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Option<Self>> {
        Ok(Cloud::start(&Options::default())?.map(Self))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    /// Starts it again at the same address, with what it has stored.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&mut self) -> Result<()> {
        Ok(self.0.start_again()?)
    }

    /// What a configuration has below `storage`, for this registry and for distribution's. `more` are further keys there.
    #[must_use]
    pub fn storage(&self, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}{comma}{more}, swift: {{authurl: '{}', username: '{USER}', \
             password: '{PASSWORD}', container: {CONTAINER}, prefix: {PREFIX}}}}}\n",
            self.0.auth_url()
        )
    }

    /// A configuration of a registry on the container. Without a secret of its own: replicas derive it from the password.
    #[must_use]
    pub fn config(&self, more: &str) -> String {
        format!("{}homeport: {{metrics: {{access: open}}}}\n", self.storage(more))
    }

    /// The same storage as the variables that say it.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let url = self.0.auth_url();
        let named = [
            ("AUTHURL", url.as_str()),
            ("USERNAME", USER),
            ("PASSWORD", PASSWORD),
            ("CONTAINER", CONTAINER),
            ("PREFIX", PREFIX),
        ];
        named.iter().map(|(name, value)| (format!("REGISTRY_STORAGE_SWIFT_{name}"), (*value).to_owned())).collect()
    }

    /// The names in the container, without the prefix.
    ///
    /// # Errors
    /// It does not answer.
    pub fn names(&self) -> Result<Vec<String>> {
        let names = self.0.names(CONTAINER)?;
        let names = names.iter().filter_map(|name| name.strip_prefix(&format!("{PREFIX}/")).map(str::to_owned));
        Ok(names.collect())
    }

    /// What somebody without a token gets from an address: the status and the end of the answer.
    ///
    /// # Errors
    /// It does not answer.
    pub fn get(&self, url: &str) -> Result<(u16, String)> {
        let target = url.strip_prefix(&format!("http://{}", self.0.address)).unwrap_or(url);
        Ok(self.0.exchange(&format!("GET {target} HTTP/1.1\r\n"), b"")?)
    }
}
