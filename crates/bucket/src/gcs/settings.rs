//! Settings of a bucket of Google Cloud Storage, as distribution names them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where Google's own service is.
pub(super) const GOOGLE: &str = "https://storage.googleapis.com";

/// Everything that can be said of a bucket. Fields have the names of distribution's `storage.gcs`, written in words.
#[derive(Clone)]
pub struct GcsSettings {
    /// `bucket`.
    pub bucket: String,
    /// `keyfile`: a file of credentials as Google writes them.
    pub key_file: Option<PathBuf>,
    /// `credentials`: the content of such a file, as JSON.
    pub credentials: Option<String>,
    /// `rootdirectory`: what all keys begin with.
    pub root_directory: String,
    /// `chunksize` in bytes: size of the parts of large objects.
    pub chunk_size: u64,
    /// `maxconcurrency`: requests under way at once.
    pub max_concurrency: usize,
    /// `useragent`.
    pub user_agent: Option<String>,
    /// Address of a service that is not Google's, or of Google's in a network of one's own. Nothing secret goes to one
    /// without TLS.
    pub endpoint: Option<String>,
    /// Address by which clients reach the service, when it is another one than ours; redirects lead there.
    pub redirect_endpoint: Option<String>,
    /// A file with further certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// Variables of the environment that Google's own libraries heed: see [`GcsSettings::VARIABLES`].
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for GcsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsSettings").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl GcsSettings {
    /// The variables of the environment that count.
    pub const VARIABLES: [&str; 4] =
        ["GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "GCE_METADATA_HOST", "HOME"];

    /// A bucket with everything else as it usually is.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            key_file: None,
            credentials: None,
            root_directory: String::new(),
            chunk_size: 8 << 20,
            max_concurrency: 50,
            user_agent: None,
            endpoint: None,
            redirect_endpoint: None,
            ca_file: None,
            environment: BTreeMap::new(),
        }
    }

    /// A variable of the environment that says something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Scheme and host of the service.
    pub(super) fn service(&self) -> String {
        let given = self.endpoint.as_deref().filter(|address| !address.trim().is_empty());
        match (given, self.variable("STORAGE_EMULATOR_HOST")) {
            (Some(address), _) => with_scheme(address, "https"),
            (None, Some(address)) => with_scheme(address, "http"),
            (None, None) => GOOGLE.to_owned(),
        }
    }

    /// The same for clients.
    pub(super) fn service_of_clients(&self) -> String {
        let given = self.redirect_endpoint.as_deref().filter(|address| !address.trim().is_empty());
        given.map_or_else(|| self.service(), |address| with_scheme(address, "https"))
    }
}

fn with_scheme(address: &str, scheme: &str) -> String {
    let address = address.trim().trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_googles_unless_somebody_says_another() {
        let mut settings = GcsSettings::new("b");
        assert_eq!((settings.service(), settings.service_of_clients()), (GOOGLE.to_owned(), GOOGLE.to_owned()));
        settings.environment.insert("STORAGE_EMULATOR_HOST".to_owned(), "localhost:4443".to_owned());
        assert_eq!(settings.service(), "http://localhost:4443");
        settings.endpoint = Some("private.example.com/".to_owned());
        assert_eq!(settings.service_of_clients(), "https://private.example.com");
        settings.redirect_endpoint = Some("https://b.example.com".to_owned());
        assert_eq!(settings.service_of_clients(), "https://b.example.com");
    }
}
