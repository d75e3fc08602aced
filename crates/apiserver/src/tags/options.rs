//! The parameters of a request, as apimachinery reads and validates them.

mod delete;
#[cfg(test)]
mod tests;

pub(crate) use delete::DeleteOptions;

use std::time::Duration;

use oci::Query;

use super::continuation;
use super::position::Version;
use super::selectors::{FieldSelector, LabelSelector, Selectors};
use crate::status::{Failure, Result};

/// What rows of a table carry of their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl IncludeObject {
    /// # Errors
    /// 400 for what there is not.
    pub(crate) fn parse(query: &str) -> Result<Self> {
        match Query::new(Some(query)).get("includeObject").as_deref() {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Failure::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    Exact,
    NotOlderThan,
}

/// What `resourceVersion` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Left out.
    Unset,
    /// `0`: anything will do.
    Any,
    At(Version),
}

impl Since {
    /// Reads it from the parameters of a request for one object.
    ///
    /// # Errors
    /// 400 for what is no version.
    pub(crate) fn parse(query: &str) -> Result<Self> {
        let query = Query::new(Some(query));
        if query.is_too_long() {
            return Err(too_many());
        }
        since(query.get("resourceVersion").filter(|text| !text.is_empty()).as_deref())
    }

    /// Whether what is read at `here` is as new as it is wanted.
    ///
    /// # Errors
    /// 504 for a version that nobody has given out yet.
    pub(crate) fn check(self, here: Version) -> Result<()> {
        match self {
            Self::At(version) if version.is_to_come(here.micros()) => Err(Failure::version_too_large(&version, &here)),
            _ => Ok(()),
        }
    }
}

/// Parameters of list, watch and deletecollection.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) selectors: Selectors,
    /// Stands for the namespace and the selectors in continue tokens.
    pub(crate) mark: String,
    pub(crate) watch: bool,
    pub(crate) bookmarks: bool,
    pub(crate) since: Since,
    pub(crate) version_match: Option<Match>,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    /// Most objects of a page.
    pub(crate) limit: Option<usize>,
    pub(crate) proceed: Option<String>,
}

impl ListOptions {
    /// Reads the parameters of a request for a collection.
    ///
    /// # Errors
    /// 400 for what cannot be read and for what excludes each other.
    pub(crate) fn parse(query: &str, namespace: Option<&str>) -> Result<Self> {
        let query = Query::new(Some(query));
        if query.is_too_long() {
            return Err(too_many());
        }
        let text = |key| query.get(key).filter(|text| !text.is_empty());
        let (fields, labels) =
            (query.get("fieldSelector").unwrap_or_default(), query.get("labelSelector").unwrap_or_default());
        let options = Self {
            selectors: selectors(&fields, &labels)?,
            mark: continuation::mark(namespace, &fields, &labels),
            watch: flag(query, "watch").unwrap_or_default(),
            bookmarks: flag(query, "allowWatchBookmarks").unwrap_or_default(),
            since: since(text("resourceVersion").as_deref())?,
            version_match: version_match(text("resourceVersionMatch").as_deref())?,
            send_initial_events: flag(query, "sendInitialEvents"),
            timeout: number(query, "timeoutSeconds")?.map(|seconds| Duration::from_secs(seconds as u64)),
            limit: number(query, "limit")?,
            proceed: text("continue").map(std::borrow::Cow::into_owned),
        };
        options.validate()?;
        Ok(options)
    }

    fn validate(&self) -> Result<()> {
        let refuse =
            |message: &str| Err(Failure::bad_request(format!("ListOptions.meta.k8s.io \"\" is invalid: {message}")));
        let matching = self.version_match.is_some();
        if matching && self.proceed.is_some() {
            return refuse(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if self.watch {
            if self.send_initial_events.is_some() && self.version_match != Some(Match::NotOlderThan) {
                return refuse(
                    "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                );
            }
            if matching && self.send_initial_events.is_none() {
                return refuse(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            return Ok(());
        }
        if self.send_initial_events.is_some() {
            return refuse("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
        }
        match (self.version_match, self.since) {
            (Some(_), Since::Unset) => refuse(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (Some(Match::Exact), Since::Any) => refuse(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (_, Since::At(_)) if self.proceed.is_some() => {
                Err(Failure::bad_request("specifying resource version is not allowed when using continue"))
            }
            _ => Ok(()),
        }
    }
}

fn too_many() -> Failure {
    Failure::bad_request("the query has too many parameters")
}

fn selectors(fields: &str, labels: &str) -> Result<Selectors> {
    let fields = FieldSelector::parse(fields).map_err(Failure::bad_request)?;
    let labels = LabelSelector::parse(labels)
        .map_err(|error| Failure::bad_request(format!("unable to parse label selector: {error}")))?;
    Ok(Selectors { fields, labels })
}

fn flag(query: Query<'_>, key: &str) -> Option<bool> {
    query.get(key).map(|text| text != "0" && !text.eq_ignore_ascii_case("false"))
}

/// A number above zero. Zero and what is below are as good as none.
fn number(query: Query<'_>, key: &str) -> Result<Option<usize>> {
    let Some(text) = query.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) => Ok(usize::try_from(number).ok().filter(|number| *number > 0)),
        Err(_) => Err(Failure::bad_request(format!("{key}: {text:?} is not a whole number"))),
    }
}

fn since(text: Option<&str>) -> Result<Since> {
    match text {
        None => Ok(Since::Unset),
        Some("0") => Ok(Since::Any),
        Some(text) => match Version::parse(text) {
            Some(version) => Ok(Since::At(version)),
            None => Err(Failure::bad_request(format!(
                "resourceVersion: Invalid value: {text:?}: not a version of this API"
            ))),
        },
    }
}

fn version_match(text: Option<&str>) -> Result<Option<Match>> {
    match text {
        None => Ok(None),
        Some("Exact") => Ok(Some(Match::Exact)),
        Some("NotOlderThan") => Ok(Some(Match::NotOlderThan)),
        Some(other) => Err(Failure::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
    }
}
