//! Finding the API server and proving who we are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use access::{Clock, SystemClock};
use http::header::{HeaderValue, USER_AGENT};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use crate::counters::ApiCounters;
use crate::reach::ApiReach;

const CONNECT_MAX: Duration = Duration::from_secs(3);
const WRITE_MAX: Duration = Duration::from_secs(10);

/// Where the cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectSettings {
    /// A kubeconfig file; without it, the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the file, in place of its current one.
    pub context: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No kubeconfig was named, and this is no pod with a service account.
    #[error(
        "no cluster: run in a pod with a service account (automountServiceAccountToken is not false), or name a \
         kubeconfig file"
    )]
    NotInCluster(#[source] InClusterError),
    /// The file cannot be used.
    #[error("kubeconfig {} cannot be used: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in one line: further ones quote the file, and what is secret in it.
        reason: String,
    },
    /// Certificates or credentials of the configuration cannot be used.
    #[error("credentials for the cluster cannot be used")]
    Client(#[source] Box<kube::Error>),
}

/// A connection to the API of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Connection(Arc<Parts>);

struct Parts {
    client: Client,
    counters: ApiCounters,
    reach: Arc<ApiReach>,
    clock: Arc<dyn Clock>,
}

impl Connection {
    /// Reads the configuration and prepares; the API server is not asked yet, it may be away. Token and certificates of a
    /// pod are read again when they change.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(settings: &ConnectSettings) -> Result<Self, ConnectError> {
        let mut config = match &settings.kubeconfig {
            Some(path) => from_file(path.clone(), settings.context.clone()).await?,
            None => Config::incluster().map_err(ConnectError::NotInCluster)?,
        };
        config.connect_timeout = Some(CONNECT_MAX);
        config.write_timeout = Some(WRITE_MAX);
        // A question is put once; who asks knows better whether and when to ask again.
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("homeport/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        let client = Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
        Ok(Self::with(client, Arc::new(SystemClock::new())))
    }

    pub(crate) fn with(client: Client, clock: Arc<dyn Clock>) -> Self {
        let reach = Arc::new(ApiReach::new(Arc::clone(&clock)));
        Self(Arc::new(Parts { client, counters: ApiCounters::default(), reach, clock }))
    }

    /// The client, for what is not asked through [`Connection::call`].
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The namespace of the pod, or the one of the kubeconfig's context.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.client.default_namespace()
    }

    /// The calls so far.
    #[must_use]
    pub fn counters(&self) -> &ApiCounters {
        &self.0.counters
    }

    /// Whether the API server is there; its probe must be run, see [`ApiReach::run`].
    #[must_use]
    pub fn reach(&self) -> &Arc<ApiReach> {
        &self.0.reach
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }
}

async fn from_file(path: PathBuf, context: Option<String>) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let read = match Kubeconfig::read_from(&path) {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) => Err(error),
    };
    read.map_err(|error: KubeconfigError| {
        let reason = crate::call::chain(&error).lines().next().unwrap_or_default().to_owned();
        ConnectError::Kubeconfig { path, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_say_what_to_do() {
        // In a pod there is a cluster.
        if let Err(nowhere) = Connection::connect(&ConnectSettings::default()).await {
            assert!(nowhere.to_string().contains("name a kubeconfig file"), "{nowhere}");
        }
        let settings = ConnectSettings { kubeconfig: Some("/does/not/exist".into()), context: None };
        let missing = Connection::connect(&settings).await.err().unwrap();
        let text = crate::call::chain(&missing);
        assert!(text.starts_with("kubeconfig /does/not/exist cannot be used: "), "{text}");
        assert!(text.contains("No such file"), "{text}");
    }

    #[tokio::test]
    async fn errors_do_not_quote_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "users:\n- name: a\n  user: {token: SECRET\n  b: [\n").unwrap();
        let settings = ConnectSettings { kubeconfig: Some(file.path().to_owned()), context: None };
        let text = crate::call::chain(&Connection::connect(&settings).await.err().unwrap());
        assert!(!text.contains("SECRET") && !text.contains('\n'), "{text}");
    }
}
