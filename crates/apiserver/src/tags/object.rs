//! A tag as an object of Kubernetes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use content::TagState;
use oci::Digest;
use serde::Serialize;
use uuid::Uuid;

use super::details::Details;
use super::identity::Identity;
use super::position::{Version, micros};
use super::walk::Entry;
use super::{API_VERSION, KIND, REPOSITORY_LABEL, TAG_LABEL};

/// A tag, looked at.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) state: TagState,
    /// That of its push; of a tag that was removed, that of its removal.
    pub(crate) version: Version,
    /// As much as the form of the answer needs.
    pub(crate) details: Option<Arc<Details>>,
    pub(crate) referrers: Option<usize>,
}

impl Found {
    pub(crate) fn identity(&self) -> Identity<'_> {
        self.entry.identity()
    }

    pub(crate) fn uid(&self) -> Uuid {
        self.identity().uid(&self.entry.space.uid, self.state.created)
    }

    /// Where the image is to be pulled from.
    pub(crate) fn address(&self, host: &str) -> String {
        format!("{host}/{}:{}", self.entry.repo, self.entry.tag)
    }

    pub(crate) fn metadata(&self) -> Metadata<'_> {
        let identity = self.identity();
        let labels =
            [(REPOSITORY_LABEL, identity.repository_label()), (TAG_LABEL, identity.tag_label().map(Cow::Borrowed))];
        Metadata {
            name: identity.name(),
            namespace: &self.entry.space.name,
            uid: self.uid().to_string(),
            resource_version: self.version.to_string(),
            creation_timestamp: rfc3339(self.state.created),
            labels: labels.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        }
    }

    pub(crate) fn object<'a>(&'a self, host: &str) -> Object<'a> {
        let identity = self.identity();
        let status = Status {
            repository: identity.relative(),
            tag: identity.tag,
            address: self.address(host),
            digest: self.state.digest,
            pushed_at: rfc3339(self.state.pushed),
            details: self.details.as_deref(),
            referrers: self.referrers,
        };
        Object { api_version: API_VERSION, kind: KIND, metadata: self.metadata(), status }
    }

    pub(crate) fn partial(&self) -> Partial<'_> {
        Partial { kind: "PartialObjectMetadata", api_version: "meta.k8s.io/v1", metadata: self.metadata() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Object<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    status: Status<'a>,
}

/// The form that tells nothing but the metadata.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Partial<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    name: String,
    namespace: &'a str,
    uid: String,
    resource_version: String,
    creation_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    repository: &'a str,
    tag: &'a str,
    address: String,
    digest: Digest,
    pushed_at: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrers: Option<usize>,
}

/// Whole seconds in the form that Kubernetes writes.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let last = jiff::Timestamp::MAX.as_second();
    let seconds = i64::try_from(micros(time) / 1_000_000).unwrap_or(last).min(last);
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// How long ago, as Kubernetes tells it (apimachinery, `duration.HumanDuration`).
pub(crate) fn age(since: SystemTime, now: SystemTime) -> String {
    let elapsed = match now.duration_since(since) {
        Ok(elapsed) => elapsed,
        // Clocks differ a little.
        Err(error) if error.duration() < Duration::from_secs(2) => Duration::ZERO,
        Err(_) => return "<invalid>".to_owned(),
    };
    let seconds = elapsed.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: u64, unit: char, small: u64, part: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{part}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => two(days, 'd', hours % 24, 'h'),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31);
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_861, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ] {
            assert_eq!(age(now - Duration::from_secs(seconds), now), expected);
        }
        assert_eq!(age(now + Duration::from_secs(1), now), "0s");
        assert_eq!(age(now + Duration::from_secs(3), now), "<invalid>");
    }

    #[test]
    fn times_have_whole_seconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }
}
