//! One look: read, decide, carry out.

use std::sync::Arc;

use access::Clock;
use cluster::{ApiError, Call, Connection, merge_patch, post};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::decide::{self, Cause, Inputs, Plan, Registration};
use super::memory::Memory;
use super::metrics::Metrics;
use super::objects::{self, MANAGER};
use super::pair::{self, MakeError, Pair};
use super::{SECRET, Settings};
use crate::api;

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Make(#[from] MakeError),
}

impl LookError {
    /// Somebody changed an object meanwhile.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(error) if error.code() == Some(409))
    }
}

pub(super) struct Keeper {
    pub(super) connection: Connection,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
}

impl Keeper {
    /// Looks, and does what is to be done.
    pub(super) async fn look(&self, memory: &mut Memory) -> Result<(), LookError> {
        let Some(service) =
            api::find::<APIService>(&self.connection, Call::ApiService, &self.settings.service_path()).await?
        else {
            self.metrics.set_end(None);
            return Ok(());
        };
        let registration = objects::registration(&service, &self.settings.namespace);
        let secret = match registration {
            Registration::Ours { .. } => {
                api::find::<Secret>(&self.connection, Call::Secret, &self.secret_path()).await?
            }
            Registration::NotOurs => None,
        };
        let stored = secret.as_ref().map(objects::stored);
        let unchanged = secret.as_ref().map(|secret| memory.unchanged_for(&secret.metadata, self.clock.elapsed()));
        let settled = unchanged.is_some_and(|time| time >= self.settings.settle);
        let mut now = Timestamp::from_second(self.clock.unix_seconds()).unwrap_or_default();
        let (namespace, stored) = (self.settings.namespace.as_str(), stored.as_ref());
        let decide = |now| decide::decide(Inputs { namespace, registration: &registration, stored, settled, now });
        let mut plan = decide(now);
        if matches!(plan, Plan::Renew { .. }) {
            // Whoever is to believe the certificate decides what time it is.
            now = self.server_time().await?.unwrap_or(now);
            plan = decide(now);
        }
        match plan {
            Plan::Idle => self.metrics.set_end(None),
            Plan::Keep { end, trust, ca } => {
                memory.made = None;
                self.metrics.set_end(end);
                if let Some(bundle) = trust {
                    self.trust(&service.metadata, &bundle).await?;
                }
                if let (Some(bundle), Some(secret)) = (ca, &secret) {
                    self.patch(&objects::says(&secret.metadata, &bundle)).await?;
                }
            }
            Plan::Renew { cause, beside } => {
                let pair = memory.made.take().map_or_else(|| pair::make(namespace, now), Ok)?;
                let bundle = decide::renewed(beside, memory.made.insert(pair.clone()));
                self.trust(&service.metadata, &bundle).await?;
                self.store(secret.as_ref(), &pair, &bundle, cause).await?;
                memory.made = None;
            }
        }
        Ok(())
    }

    /// The time of the API server; `None` if it does not tell.
    async fn server_time(&self) -> Result<Option<Timestamp>, ApiError> {
        let question = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let request = post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &question)?;
        match self.connection.call::<SelfSubjectReview>(Call::Other, request).await {
            Ok(review) => Ok(review.metadata.creation_timestamp.map(|time| time.0)),
            Err(ApiError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn trust(&self, service: &ObjectMeta, bundle: &Bundle) -> Result<(), ApiError> {
        let request = api::apply(&self.settings.service_path(), MANAGER, &objects::trust(service, bundle))?;
        self.connection.call::<IgnoredAny>(Call::ApiService, request).await?;
        tracing::info!(apiservice = self.settings.api_service, "the API server is told which certificates to trust");
        Ok(())
    }

    async fn store(&self, old: Option<&Secret>, pair: &Pair, bundle: &Bundle, cause: Cause) -> Result<(), ApiError> {
        let namespace = &self.settings.namespace;
        match old {
            Some(old) => self.patch(&objects::replaced(&old.metadata, pair, bundle)).await?,
            None => {
                let path = format!("/api/v1/namespaces/{namespace}/secrets?fieldManager={MANAGER}");
                let fresh = objects::fresh(namespace, pair, bundle);
                self.connection.call::<IgnoredAny>(Call::Secret, post(&path, &fresh)?).await?;
            }
        }
        self.metrics.count_renewed();
        tracing::info!(secret = format!("{namespace}/{SECRET}"), ?cause, "certificate of the API made");
        Ok(())
    }

    async fn patch(&self, change: &Value) -> Result<(), ApiError> {
        let path = format!("{}?fieldManager={MANAGER}", self.secret_path());
        self.connection.call::<IgnoredAny>(Call::Secret, merge_patch(&path, change)?).await.map(|_| ())
    }

    fn secret_path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets/{SECRET}", self.settings.namespace)
    }
}
