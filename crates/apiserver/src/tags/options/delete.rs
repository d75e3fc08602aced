//! `DeleteOptions`: of the body, or of the query when there is no body.

use oci::Query;
use serde::Deserialize;
use serde_json::Value;

use crate::status::{Failure, Result};

/// How a deletion is wanted. What has no meaning for a tag (its grace) is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// Only the object with this UID is meant.
    pub(crate) uid: Option<String>,
    /// Only the object as it was at this version is meant.
    pub(crate) version: Option<String>,
    /// Nothing is to happen.
    pub(crate) dry_run: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    kind: Option<String>,
    preconditions: Option<Preconditions>,
    dry_run: Option<Vec<String>>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    #[serde(rename = "gracePeriodSeconds")]
    _grace: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// # Errors
    /// 400 for what cannot be read, 422 for values that there are not.
    pub(crate) fn parse(query: &str, body: &[u8]) -> Result<Self> {
        let raw = if body.iter().all(u8::is_ascii_whitespace) { from_query(query) } else { from_body(body)? };
        let dry_run = raw.dry_run.unwrap_or_default();
        if let Some(other) = dry_run.iter().find(|value| *value != "All") {
            let message = format!("Unsupported value: {other:?}: supported values: \"All\"");
            return Err(Failure::invalid("", "dryRun", &message));
        }
        if let Some(other) = &raw.propagation_policy {
            if raw.orphan_dependents.is_some() {
                let message = "orphanDependents and deletionPropagation cannot be both set";
                return Err(Failure::invalid("", "propagationPolicy", message));
            }
            if !matches!(other.as_str(), "Foreground" | "Background" | "Orphan") {
                let message = format!(
                    "Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \"Orphan\""
                );
                return Err(Failure::invalid("", "propagationPolicy", &message));
            }
        }
        // Others may name a tag as their owner. That its owner is gone makes the garbage collector remove them: to leave them
        // alone, their reference would have to be taken off first, and a tag has no finalizer that could wait for that.
        if raw.propagation_policy.as_deref() == Some("Orphan") || raw.orphan_dependents == Some(true) {
            let message = "dependents of a tag cannot be orphaned; take the tag off their ownerReferences first";
            return Err(Failure::invalid("", "propagationPolicy", message));
        }
        let Preconditions { uid, resource_version } = raw.preconditions.unwrap_or_default();
        Ok(Self { uid, version: resource_version, dry_run: !dry_run.is_empty() })
    }
}

fn from_body(body: &[u8]) -> Result<Raw> {
    let refuse = |why: &str| Failure::bad_request(format!("the body is not a DeleteOptions in JSON: {why}"));
    let value: Value = serde_json::from_slice(body).map_err(|error| refuse(&error.to_string()))?;
    // An array would be taken for the fields in their order.
    let preconditions = &value["preconditions"];
    if !value.is_object() || !(preconditions.is_object() || preconditions.is_null()) {
        return Err(refuse("it has another form"));
    }
    let raw = Raw::deserialize(value).map_err(|error| refuse(&error.to_string()))?;
    match raw.kind.as_deref() {
        None | Some("" | "DeleteOptions") => Ok(raw),
        Some(other) => Err(Failure::bad_request(format!("the body is a {other:?}, not a DeleteOptions"))),
    }
}

fn from_query(query: &str) -> Raw {
    let query = Query::new(Some(query));
    let dry_run: Vec<String> = query.all("dryRun").filter(|value| !value.is_empty()).map(Into::into).collect();
    Raw {
        dry_run: Some(dry_run),
        propagation_policy: query.get("propagationPolicy").filter(|text| !text.is_empty()).map(Into::into),
        orphan_dependents: query.get("orphanDependents").map(|text| text != "0" && text != "false"),
        ..Raw::default()
    }
}
