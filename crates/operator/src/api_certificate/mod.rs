//! The certificate of the API of tags, and what the cluster trusts: the Secret that pods serve with, and the `caBundle` of
//! the APIService.
//!
//! Invariants:
//! * What is served is trusted: `caBundle` has a new certificate of ours before the Secret does. Nothing is taken out of it
//!   before the Secret has been the same for [`Settings::settle`], since pods see the Secret late.
//! * Only a certificate that we made is replaced: it is marked, and signed with its own key. Where somebody else makes it,
//!   `caBundle` follows the `ca.crt` of the Secret, and only to what vouches for the certificate in it.
//! * Nothing is done unless there is an APIService that leads to our Service. It is never made here, and goes only with the
//!   namespace of the registry ([`retire`]).
//! * A change applies only to the state that it was made for. No key is logged or shown.
//!
//! What is to be done is a function of what is there ([`decide::decide`]); `look` reads and carries out, [`run`] says when.

mod bundle;
mod decide;
mod look;
mod memory;
mod metrics;
mod objects;
mod pair;
mod retire;
mod runner;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use metrics::{Counts, Metrics};
pub use pair::{MakeError, Pair, make};
pub use retire::retire;
pub use runner::run;

/// The Secret with the certificate, in the namespace of the registry.
pub const SECRET: &str = "homeport-api-tls";
/// The Service that leads to the pods.
pub const SERVICE: &str = "homeport-api";
/// The APIService; there is one in a cluster.
pub const API_SERVICE: &str = "v1alpha1.payload-registry.deckhouse.io";
/// The annotation of a Secret whose certificate we made, and its value.
pub const MARK: (&str, &str) = ("homeport/certificate", "self-signed");

/// Between two looks: for so long at most a `caBundle` that somebody took away is missing.
const INTERVAL: Duration = Duration::from_secs(30);
/// By then every pod shows what is in the Secret; a kubelet takes up to a minute and a half to bring it. A leader of before
/// has no change on its way any more, either.
const SETTLE: Duration = Duration::from_secs(300);

/// What is looked after, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the Service and the Secret are.
    pub namespace: String,
    /// The name of the APIService.
    pub api_service: String,
    /// Between two looks.
    pub interval: Duration,
    /// For how long the Secret has to be unchanged before anything is taken out of `caBundle`.
    pub settle: Duration,
}

impl Settings {
    /// The API of the registry in this namespace.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let (namespace, api_service) = (namespace.to_owned(), API_SERVICE.to_owned());
        Self { namespace, api_service, interval: INTERVAL, settle: SETTLE }
    }

    fn service_path(&self) -> String {
        format!("/apis/apiregistration.k8s.io/v1/apiservices/{}", self.api_service)
    }
}

/// The name that kube-apiserver expects in the certificate.
pub(crate) fn server_name(namespace: &str) -> String {
    format!("{SERVICE}.{namespace}.svc")
}
