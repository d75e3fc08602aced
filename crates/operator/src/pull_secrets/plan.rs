//! What to do about one Secret: a function of what is there.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::document::Document;
use super::names;
use super::settings::Settings;
use super::status::Status;
use super::view::SecretView;

/// Lives shorter than this are renewed at half of their time, longer ones at two thirds.
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// The ServiceAccount that a Secret names, as the API itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// It certainly does not exist.
    Missing,
    /// It is about to be gone.
    Deleting,
    /// It exists, with this UID.
    Exists(String),
}

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The Secret.
    pub secret: &'a SecretView,
    /// The ServiceAccount that [`claim`] names.
    pub account: &'a Account,
    /// What is set.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

/// Why a token is asked for. For the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It has none from us yet.
    New,
    /// The ServiceAccount is another one.
    Account,
    /// The data, our annotations, the hosts or the audience have changed.
    Changed,
    /// The token's time has come.
    Age,
}

/// What to do about a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Not ours, or about to be gone: nothing until it changes.
    Ignore,
    /// Nothing until then, but for a status that is not what it says now.
    Rest {
        /// When to look again.
        until: Timestamp,
        /// To be written.
        status: Option<Status>,
    },
    /// Get a token of the ServiceAccount with this UID and write it.
    Issue {
        /// The name of the ServiceAccount, in the Secret's own namespace.
        account: String,
        /// Its UID.
        account_uid: String,
        /// Why.
        cause: Cause,
    },
    /// Tell what is wrong.
    Report(Status),
    /// Another operator fills it: tell that, and nothing in the Secret.
    Leave(Status),
    /// The ServiceAccount of the token that we wrote is gone: so goes the Secret.
    Delete,
}

/// What a Secret asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// Nothing.
    None,
    /// Something that it cannot have.
    Refused(Status),
    /// Something that another operator gives it.
    Elsewhere(Status),
    /// A token of the ServiceAccount of this name in its own namespace.
    Of(&'a str),
}

/// What a Secret asks for, before anybody looks at the ServiceAccount.
#[must_use]
pub fn claim<'a>(secret: &'a SecretView, settings: &Settings) -> Claim<'a> {
    let Some(name) = secret.annotations.service_account.as_deref() else { return Claim::None };
    if secret.deleting {
        return Claim::None;
    }
    if let Some(status) = elsewhere(secret, settings) {
        return Claim::Elsewhere(status);
    }
    let problem = |reason, message: String| Claim::Refused(Status::problem(reason, &message));
    if !names::is_service_account_name(name) {
        let what = "is not the name of a ServiceAccount; it has to be one of the Secret's own namespace, without the namespace";
        return problem("ServiceAccountNameInvalid", format!("{name:.253?} {what}"));
    }
    if secret.secret_type != names::SECRET_TYPE {
        let (is, wanted) = (&secret.secret_type, names::SECRET_TYPE);
        return problem("SecretTypeUnsupported", format!("the type is {is:?}, only {wanted} can be filled"));
    }
    if secret.immutable {
        return problem("SecretImmutable", "the Secret is immutable and cannot be filled".to_owned());
    }
    if settings.hosts().is_empty() {
        return problem(
            "NoRegistryHosts",
            "the registry does not know its host names: set homeport.kubernetes.hosts".to_owned(),
        );
    }
    Claim::Of(name)
}

/// Another operator holds the Secret, whether it runs or not: it may come back, and only people know that it does not.
fn elsewhere(secret: &SecretView, settings: &Settings) -> Option<Status> {
    let ours = settings.operator();
    let operator = secret.annotations.operator.as_deref().filter(|operator| *operator != ours)?;
    let message = format!(
        "the operator of {operator:.253?} fills this Secret, so the one of {ours:?} does not; annotation {} decides",
        names::OPERATOR
    );
    Some(Status::problem("HeldByAnotherOperator", &message))
}

/// What to do about a Secret.
#[must_use]
pub fn plan(inputs: Inputs<'_>) -> Plan {
    let secret = inputs.secret;
    let name = match claim(secret, inputs.settings) {
        Claim::None => return Plan::Ignore,
        Claim::Refused(status) => return Plan::Report(status),
        Claim::Elsewhere(status) => return Plan::Leave(status),
        Claim::Of(name) => name,
    };
    let account_uid = match inputs.account {
        // Its end is an event of its own.
        Account::Deleting => return Plan::Ignore,
        Account::Missing if was_filled(&inputs) => return Plan::Delete,
        Account::Missing => {
            let message = format!("there is no ServiceAccount {name:?} in namespace {:?}", secret.key.namespace);
            return Plan::Report(Status::problem("ServiceAccountNotFound", &message));
        }
        Account::Exists(uid) => uid,
    };
    let issue = |cause| Plan::Issue { account: name.to_owned(), account_uid: account_uid.clone(), cause };
    let annotations = &secret.annotations;
    match &annotations.service_account_uid {
        None => return issue(Cause::New),
        Some(written) if written != account_uid => return issue(Cause::Account),
        Some(_) => {}
    }
    let Some(token) = token_as_written(&inputs, account_uid) else { return issue(Cause::Changed) };
    let Some(until) = refresh_at(secret, &token, inputs.settings) else { return issue(Cause::Changed) };
    if until <= inputs.now {
        return issue(Cause::Age);
    }
    let status = Status::filled(name);
    let known = is_told(secret, &status, inputs.settings);
    Plan::Rest { until, status: (!known).then_some(status) }
}

/// The Secret says how it stands, and who looks after it.
pub(super) fn is_told(secret: &SecretView, status: &Status, settings: &Settings) -> bool {
    let annotations = &secret.annotations;
    annotations.status.as_deref() == Some(status.to_annotation().as_str())
        && holder(settings).is_none_or(|holder| annotations.operator.as_deref() == Some(holder))
}

/// Who holds what we write into. An operator that has nothing to put into Secrets leaves them to others.
pub(super) fn holder(settings: &Settings) -> Option<&str> {
    (!settings.hosts().is_empty()).then_some(settings.operator())
}

/// We filled this very Secret for an account of this name. A copy of a filled Secret was not filled, whatever owners were
/// copied with it, nor was one that has been given the name of another account since. What does not look like that and has
/// the account as its owner is left to the cluster's garbage collector.
fn was_filled(inputs: &Inputs<'_>) -> bool {
    let uid = inputs.secret.annotations.service_account_uid.as_deref();
    uid.is_some_and(|uid| token_as_written(inputs, uid).is_some())
}

/// Whether an owner of this kind is a ServiceAccount.
pub(super) fn is_account(api_version: &str, kind: &str) -> bool {
    api_version == "v1" && kind == "ServiceAccount"
}

/// The token of the Secret, if everything is as we wrote it for this ServiceAccount and these settings.
fn token_as_written(inputs: &Inputs<'_>, account_uid: &str) -> Option<String> {
    let annotations = &inputs.secret.annotations;
    let document = Document::parse(&inputs.secret.data.0);
    let token = document.token(inputs.settings.hosts())?;
    let account = (annotations.service_account.as_deref()?, account_uid);
    let hash = fingerprint(inputs.secret, account, inputs.settings, annotations.expires_at.as_deref()?, token);
    (annotations.hash.as_deref() == Some(hash.as_str())).then(|| token.to_owned())
}

/// What is in a Secret that we filled, in one value: another value means that something was changed since.
pub(super) fn fingerprint(
    secret: &SecretView,
    (account, account_uid): (&str, &str),
    settings: &Settings,
    expires_at: &str,
    token: &str,
) -> String {
    let mut hasher = Sha256::new();
    let audience = settings.audience().unwrap_or_default();
    let fixed = ["homeport pull secret 1", &secret.uid, account, account_uid, audience, expires_at, token];
    for field in fixed.into_iter().chain(settings.hosts().iter().map(String::as_str)) {
        // With the lengths no two lists of fields are the same bytes.
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

/// When to renew the token of a Secret.
fn refresh_at(secret: &SecretView, token: &str, settings: &Settings) -> Option<Timestamp> {
    let expires: Timestamp = secret.annotations.expires_at.as_deref()?.parse().ok()?;
    // The API server may give less than was asked for.
    let life = Claims::read(token).and_then(|claims| Some(claims.exp?.saturating_sub(claims.iat?)));
    let life = life.filter(|life| *life > 0).unwrap_or_else(|| settings.lifetime_seconds());
    renewal(expires, SignedDuration::from_secs(life), &secret.uid)
}

/// The time to renew what ends at `expires` and lives for `life`: different for each Secret, since many are made at once.
pub(super) fn renewal(expires: Timestamp, life: SignedDuration, uid: &str) -> Option<Timestamp> {
    let spread = Sha256::digest(uid).iter().take(2).fold(0, |sum, byte| sum * 256 + i64::from(*byte));
    let permille = if life < SHORT_LIFE { 400 + spread % 101 } else { 600 + spread % 67 };
    let left = SignedDuration::from_secs(life.as_secs().checked_mul(1000 - permille)? / 1000);
    expires.checked_sub(left).ok()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
