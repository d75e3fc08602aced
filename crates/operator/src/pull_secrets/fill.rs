//! The requests that carry out a plan, as values.

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::claims::Claims;
use super::document::Document;
use super::names;
use super::plan::{self, Account};
use super::settings::Settings;
use super::status::Status;
use super::view::SecretView;

/// What to ask the API server for: a token that ends with the Secret.
pub(super) fn token_request(secret: &SecretView, settings: &Settings) -> TokenRequest {
    TokenRequest {
        metadata: ObjectMeta::default(),
        spec: TokenRequestSpec {
            audiences: settings.audience().map(str::to_owned).into_iter().collect(),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(secret.key.name.clone()),
                uid: Some(secret.uid.clone()),
            }),
            expiration_seconds: Some(settings.lifetime_seconds()),
        },
        status: None,
    }
}

/// A token of a ServiceAccount.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) expires: Timestamp,
}

impl Token {
    /// The token of an answer, if it is one of the ServiceAccount with this UID: between our look at the ServiceAccount and
    /// the answer it may have been replaced.
    pub(super) fn of(answer: TokenRequest, account_uid: &str) -> Option<Self> {
        let status = answer.status?;
        let claims = Claims::read(&status.token)?;
        let same = claims.kubernetes.serviceaccount.is_some_and(|account| account.uid == account_uid);
        // Whole seconds, as the annotation has them.
        let expires = Timestamp::from_second(status.expiration_timestamp.0.as_second()).ok()?;
        (same && !status.token.is_empty()).then_some(Self { text: status.token, expires })
    }

    /// When to renew it.
    pub(super) fn renewal(&self, secret: &SecretView, now: Timestamp) -> Option<Timestamp> {
        let claims = Claims::read(&self.text);
        let life = claims.and_then(|claims| Some(claims.exp?.saturating_sub(claims.iat?)));
        let life = life.map_or_else(|| self.expires.duration_since(now), SignedDuration::from_secs);
        plan::renewal(self.expires, life, &secret.uid)
    }
}

/// The change that puts a token into a Secret. It applies only to the state that the plan was made for.
pub(super) fn filled(
    secret: &SecretView,
    account: &str,
    account_uid: &str,
    settings: &Settings,
    token: &Token,
) -> Value {
    let mut document = Document::parse(&secret.data.0);
    document.fill(&secret.key, settings.hosts(), &token.text);
    let expires_at = token.expires.to_string();
    let hash = plan::fingerprint(secret, (account, account_uid), settings, &expires_at, &token.text);
    json!({
        "metadata": {
            "uid": secret.uid,
            "resourceVersion": secret.resource_version,
            "annotations": {
                (names::SERVICE_ACCOUNT_UID): account_uid,
                (names::EXPIRES_AT): expires_at,
                (names::HASH): hash,
                (names::STATUS): Status::filled(account).to_annotation(),
                (names::OPERATOR): settings.operator(),
            },
            "ownerReferences": owners(secret, account, account_uid),
        },
        "data": { (names::DATA_KEY): BASE64.encode(&document.into_bytes()) },
    })
}

/// The change that tells how a Secret stands, and who looks after it.
pub(super) fn told(secret: &SecretView, status: &Status, settings: &Settings) -> Value {
    let mut annotations = json!({ (names::STATUS): status.to_annotation() });
    if let Some(holder) = plan::holder(settings) {
        annotations[names::OPERATOR] = json!(holder);
    }
    json!({
        "metadata": {
            "uid": secret.uid,
            "resourceVersion": secret.resource_version,
            "annotations": annotations,
        },
    })
}

/// The Secret goes with the ServiceAccount of its token, no longer with an earlier one, and with whatever else it went with.
fn owners(secret: &SecretView, account: &str, account_uid: &str) -> Vec<OwnerReference> {
    let earlier = secret.annotations.service_account_uid.as_deref();
    let replaced = |owner: &&OwnerReference| {
        plan::is_account(&owner.api_version, &owner.kind)
            && (owner.uid == account_uid || owner.name == account || Some(owner.uid.as_str()) == earlier)
    };
    let mut owners: Vec<_> = secret.owners.iter().filter(|owner| !replaced(owner)).cloned().collect();
    owners.push(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ServiceAccount".to_owned(),
        name: account.to_owned(),
        uid: account_uid.to_owned(),
        ..OwnerReference::default()
    });
    owners
}

/// The ServiceAccount that metadata tell of.
pub(super) fn account(metadata: Option<ObjectMeta>) -> Account {
    match metadata {
        None => Account::Missing,
        Some(metadata) if metadata.deletion_timestamp.is_some() => Account::Deleting,
        // An object without a UID does not exist; to give nothing is the safe answer.
        Some(metadata) => metadata.uid.map_or(Account::Deleting, Account::Exists),
    }
}

#[cfg(test)]
#[path = "fill_tests.rs"]
mod tests;
