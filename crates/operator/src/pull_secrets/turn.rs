//! One look at one Secret: read, plan, carry out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::Clock;
use cluster::{ApiError, Call, Connection, EventKind, Events, Regarding, Report, get, merge_patch, post};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
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
    /// Another operator fills it.
    Elsewhere,
    /// Its namespace is about to be gone, and this very Secret with it.
    Ending { uid: String },
    /// It could not be done.
    Failed,
    /// There is no such Secret any more.
    Gone,
}

pub(super) struct Worker {
    pub(super) connection: Connection,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pace: Mutex<Pace>,
}

impl Worker {
    pub(super) fn new(
        connection: Connection,
        events: Arc<Events>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { connection, events, clock, metrics, pace: Mutex::new(Pace::per_second(TOKENS_PER_SECOND)) }
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
        if matches!(failed, ApiError::Refused(_)) {
            tracing::warn!(secret = %key, error = %failed, "pull secret cannot be looked after");
        } else {
            // With thousands of Secrets an outage is told by the watch, once.
            tracing::debug!(secret = %key, error = %failed, "pull secret cannot be looked after");
        }
        Outcome::Failed
    }

    async fn look(&self, key: &Key, settings: &Settings, may_issue: bool) -> Result<Outcome, ApiError> {
        let secret = match self.connection.call::<Secret>(Call::Secret, get(&path(key))?).await {
            Ok(secret) => SecretView::of(secret),
            Err(error) if api::says_absent(&error, "secrets", &key.name) => None,
            Err(error) => return Err(error),
        };
        let Some(secret) = secret else { return Ok(Outcome::Gone) };
        let now = self.now();
        let account = match plan::claim(&secret, settings) {
            Claim::Of(name) => self.account(&key.namespace, name).await?,
            // Not looked at.
            Claim::None | Claim::Refused(_) | Claim::Elsewhere(_) => Account::Deleting,
        };
        match plan::plan(Inputs { secret: &secret, account: &account, settings, now }) {
            Plan::Ignore => Ok(Outcome::Rest { until: None, written: None }),
            Plan::Rest { until, status } => {
                let written = match status {
                    Some(status) => self.write(&secret, &fill::told(&secret, &status, settings)).await?,
                    None => None,
                };
                Ok(Outcome::Rest { until: Some(until), written })
            }
            Plan::Report(status) => {
                self.metrics.count_refused();
                Ok(Outcome::Rest { until: None, written: self.tell(&secret, &status, settings).await? })
            }
            Plan::Leave(status) => {
                self.events.publish(report(&secret, &status));
                tracing::debug!(secret = %key, reason = status.message, "pull secret is left to another operator");
                Ok(Outcome::Elsewhere)
            }
            Plan::Delete => self.delete(&secret).await,
            Plan::Issue { .. } if !may_issue => Ok(Outcome::Later),
            Plan::Issue { account, account_uid, cause } => {
                self.issue(&secret, (&account, &account_uid), cause, settings).await
            }
        }
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Account, ApiError> {
        let request = api::metadata_only(get(&account_path(namespace, name))?);
        match self.connection.call::<Described>(Call::ServiceAccount, request).await {
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
    ) -> Result<Outcome, ApiError> {
        let turn = self.pace.lock().unwrap_or_else(PoisonError::into_inner).turn(Instant::now());
        tokio::time::sleep_until(turn).await;
        let path = format!("{}/token", account_path(&secret.key.namespace, account));
        let request = post(&path, &fill::token_request(secret, settings))?;
        let answer = match self.connection.call::<TokenRequest>(Call::TokenRequest, request).await {
            Ok(answer) => answer,
            // The Secret was replaced, and the token would have been bound to the one before.
            Err(error) if api::is_conflict(&error) => return Err(error),
            Err(error) if api::says_namespace_ends(&error) => {
                tracing::debug!(secret = %secret.key, "pull secret is left alone, its namespace is being deleted");
                return Ok(Outcome::Ending { uid: secret.uid.clone() });
            }
            Err(error) => {
                if let Some(message) = api::refusal(&error) {
                    self.tell(secret, &Status::problem("TokenRequestFailed", message), settings).await?;
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
    async fn write(&self, secret: &SecretView, change: &Value) -> Result<Option<String>, ApiError> {
        let path = format!("{}?fieldManager={MANAGER}", path(&secret.key));
        let request = api::metadata_only(merge_patch(&path, change)?);
        let written = self.connection.call::<Described>(Call::Secret, request).await?;
        Ok(written.metadata.resource_version)
    }

    /// Tells people what is wrong: those who look at the Secret, and those who look at Events.
    async fn tell(
        &self,
        secret: &SecretView,
        status: &Status,
        settings: &Settings,
    ) -> Result<Option<String>, ApiError> {
        self.events.publish(report(secret, status));
        if plan::is_told(secret, status, settings) {
            return Ok(None);
        }
        self.write(secret, &fill::told(secret, status, settings)).await
    }

    async fn delete(&self, secret: &SecretView) -> Result<Outcome, ApiError> {
        let only = json!({ "uid": secret.uid, "resourceVersion": secret.resource_version });
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": only });
        match self.connection.call::<IgnoredAny>(Call::Secret, api::delete(&path(&secret.key), &options)?).await {
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

/// An object of which only the metadata came.
#[derive(Deserialize)]
struct Described {
    metadata: ObjectMeta,
}

fn path(secret: &Key) -> String {
    format!("/api/v1/namespaces/{}/secrets/{}", secret.namespace, secret.name)
}

fn account_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
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
