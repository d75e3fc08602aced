//! How services are connected to.

use crate::open::OpenError;
use http::HeaderValue;
use object_store::client::Certificate;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Time for an answer of what gives credentials.
pub(crate) const CREDENTIAL_TIME: Duration = Duration::from_secs(20);
/// Time to get a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Further attempts of a request that failed, and the time for all of them.
const RETRIES_MAX: usize = 3;
const RETRY_TIME: Duration = Duration::from_secs(15);
/// Longest file of authorities that is read, in bytes.
const CA_FILE_MAX: u64 = 8 << 20;

/// What holds for connections to every service. Answers are timed where they are counted.
pub(crate) fn options() -> ClientOptions {
    // The client library takes the process's provider; a second one is refused, which is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    ClientOptions::new()
        .with_allow_http(true)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIME)
        .with_http1_only()
        .with_user_agent(HeaderValue::from_static("homeport"))
}

pub(crate) fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(4), base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIME }
}

/// Names the client as `setting` says, if it says anything.
pub(crate) fn named(
    setting: &'static str,
    agent: Option<&str>,
    options: ClientOptions,
) -> Result<ClientOptions, OpenError> {
    let Some(agent) = agent.filter(|agent| !agent.is_empty()) else { return Ok(options) };
    let agent = HeaderValue::from_str(agent);
    let agent = agent.map_err(|_| OpenError::new(setting, "not a text for a header: correct it", ""))?;
    Ok(options.with_user_agent(agent))
}

/// Adds the authorities of a file, if `setting` names one.
pub(crate) fn authorities(
    setting: &'static str,
    file: Option<&Path>,
    options: ClientOptions,
) -> Result<ClientOptions, OpenError> {
    let Some(file) = file else { return Ok(options) };
    let unusable = |cause: &dyn std::fmt::Display| {
        let remedy = format!("{} has no certificates in PEM: correct it", file.display());
        OpenError::new(setting, remedy, &cause.to_string())
    };
    let pem = read_bounded(file).map_err(|error| unusable(&error))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?;
    if certificates.is_empty() {
        return Err(unusable(&"empty"));
    }
    Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
}

fn read_bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(CA_FILE_MAX).read_to_end(&mut content)?;
    Ok(content)
}
