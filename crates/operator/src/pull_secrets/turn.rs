//! One look at one Secret: read, plan, carry out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::Clock;
use cluster::{EventKind, Events, Regarding, Report};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Error};
use serde_json::Value;
use tokio::time::Instant;

use super::fill::{self, Token};
use super::metrics::Metrics;
use super::plan::{self, Account, Cause, Claim, Inputs, Plan};
use super::settings::Settings;
use super::status::Status;
use super::view::{Key, SecretView};
use crate::api;
use crate::schedule::Pace;

const MANAGER: &str = "homeport-pull-secrets";
/// A look that takes longer has failed.
const TURN_TIME_MAX: Duration = Duration::from_secs(30);
/// Tokens that are asked for in a second, all Secrets together.
const TOKENS_PER_SECOND: u32 = 20;

/// What came out of a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing more to do until then, or until a change.
    Rest { until: Option<Timestamp>, written: Option<String> },
    /// A token was written; `renew` is the time for the next one.
    Filled { renew: Option<Timestamp>, written: Option<String> },
    /// It wants a token, and has had too many in a short time.
    Later,
    /// It could not be done.
    Failed,
    /// There is no such Secret any more.
    Gone,
}

pub(super) struct Worker {
    pub(super) client: Client,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pace: Mutex<Pace>,
}

impl Worker {
    pub(super) fn new(client: Client, events: Arc<Events>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { client, events, clock, metrics, pace: Mutex::new(Pace::per_second(TOKENS_PER_SECOND)) }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock.unix_seconds()).unwrap_or_default()
    }

    /// Looks at a Secret and does what is to be done; a token only if it may have one now.
    pub(super) async fn turn(&self, key: &Key, settings: &Settings, may_issue: bool) -> Outcome {
        let failed = match tokio::time::timeout(TURN_TIME_MAX, self.look(key, settings, may_issue)).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(error)) if api::is_conflict(&error) => return Outcome::Failed,
            Ok(Err(error)) => error,
            Err(_) => {
                self.metrics.count_error();
                tracing::debug!(secret = %key, "the API server takes too long");
                return Outcome::Failed;
            }
        };
        self.metrics.count_error();
        let error = api::describe(&failed);
        if matches!(failed, Error::Api(_)) {
            tracing::warn!(secret = %key, error, "pull secret cannot be looked after");
        } else {
            // With thousands of Secrets an outage is told by the watch, once.
            tracing::debug!(secret = %key, error, "pull secret cannot be looked after");
        }
        Outcome::Failed
    }

    async fn look(&self, key: &Key, settings: &Settings, may_issue: bool) -> Result<Outcome, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let secret = match secrets.get(&key.name).await {
            Ok(secret) => SecretView::of(secret),
            Err(error) if api::says_absent(&error, "secrets", &key.name) => None,
            Err(error) => return Err(error),
        };
        let Some(secret) = secret else { return Ok(Outcome::Gone) };
        let account = match plan::claim(&secret, settings) {
            Claim::Of(name) => self.account(&key.namespace, name).await?,
            // Not looked at.
            Claim::None | Claim::Refused(_) => Account::Deleting,
        };
        match plan::plan(Inputs { secret: &secret, account: &account, settings, now: self.now() }) {
            Plan::Ignore => Ok(Outcome::Rest { until: None, written: None }),
            Plan::Rest { until, status } => {
                let written = match status {
                    Some(status) => self.write(&secret, &fill::told(&secret, &status)).await?,
                    None => None,
                };
                Ok(Outcome::Rest { until: Some(until), written })
            }
            Plan::Report(status) => {
                self.metrics.count_refused();
                Ok(Outcome::Rest { until: None, written: self.tell(&secret, &status).await? })
            }
            Plan::Delete => self.delete(&secret).await,
            Plan::Issue { .. } if !may_issue => Ok(Outcome::Later),
            Plan::Issue { account, account_uid, cause } => {
                self.issue(&secret, (&account, &account_uid), cause, settings).await
            }
        }
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Account, Error> {
        let accounts: Api<PartialObjectMeta<ServiceAccount>> = Api::namespaced(self.client.clone(), namespace);
        match accounts.get(name).await {
            Ok(account) => Ok(fill::account(Some(account.metadata))),
            Err(error) if api::says_absent(&error, "serviceaccounts", name) => Ok(Account::Missing),
            Err(error) => Err(error),
        }
    }

    async fn issue(
        &self,
        secret: &SecretView,
        (account, account_uid): (&str, &str),
        cause: Cause,
        settings: &Settings,
    ) -> Result<Outcome, Error> {
        let turn = self.pace.lock().unwrap_or_else(PoisonError::into_inner).turn(Instant::now());
        tokio::time::sleep_until(turn).await;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &secret.key.namespace);
        let request = fill::token_request(secret, settings);
        let answer = match accounts.create_token_request(account, &PostParams::default(), &request).await {
            Ok(answer) => answer,
            // The Secret was replaced, and the token would have been bound to the one before.
            Err(error) if api::is_conflict(&error) => return Err(error),
            Err(error) => {
                if let Some(message) = api::refusal(&error) {
                    self.tell(secret, &Status::problem("TokenRequestFailed", message)).await?;
                }
                return Err(error);
            }
        };
        // Another look finds the new ServiceAccount.
        let Some(token) = Token::of(answer, account_uid) else { return Ok(Outcome::Failed) };
        let change = fill::filled(secret, account, account_uid, settings, &token);
        let written = self.write(secret, &change).await?;
        self.metrics.count_filled();
        tracing::info!(secret = %secret.key, account, ?cause, expires = %token.expires, "pull secret filled");
        Ok(Outcome::Filled { renew: token.renewal(secret, self.now()), written })
    }

    /// Changes a Secret; returns its new version.
    async fn write(&self, secret: &SecretView, change: &Value) -> Result<Option<String>, Error> {
        // Only metadata come back.
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &secret.key.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let written = secrets.patch(&secret.key.name, &params, &Patch::Merge(change)).await?;
        Ok(written.metadata.resource_version)
    }

    /// Tells people what is wrong: those who look at the Secret, and those who look at Events.
    async fn tell(&self, secret: &SecretView, status: &Status) -> Result<Option<String>, Error> {
        self.events.publish(report(secret, status));
        if secret.annotations.status.as_deref() == Some(status.to_annotation().as_str()) {
            return Ok(None);
        }
        self.write(secret, &fill::told(secret, status)).await
    }

    async fn delete(&self, secret: &SecretView) -> Result<Outcome, Error> {
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &secret.key.namespace);
        let only =
            Preconditions { uid: Some(secret.uid.clone()), resource_version: Some(secret.resource_version.clone()) };
        match secrets.delete(&secret.key.name, &DeleteParams::default().preconditions(only)).await {
            Ok(_) => {
                self.metrics.count_deleted();
                tracing::info!(secret = %secret.key, "pull secret deleted with its ServiceAccount");
                Ok(Outcome::Gone)
            }
            Err(error) if api::says_absent(&error, "secrets", &secret.key.name) => Ok(Outcome::Gone),
            Err(error) => Err(error),
        }
    }
}

fn report(secret: &SecretView, status: &Status) -> Report {
    Report {
        regarding: Regarding {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: Some(secret.key.namespace.clone()),
            name: secret.key.name.clone(),
            uid: secret.uid.clone(),
            resource_version: None,
        },
        kind: EventKind::Warning,
        reason: status.reason,
        message: status.message.clone(),
    }
}
