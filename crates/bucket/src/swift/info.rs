//! What a service says of itself.

use crate::parts::PARTS_MAX;
use serde::Deserialize;

/// Segments in one manifest, where the service does not say it.
const MANIFEST_SEGMENTS: usize = 1000;
/// Longest list in one answer, where the service does not say it.
const LISTING: usize = 10_000;
/// The first version of Ceph that tells one. Swift itself counts from 1.
const CEPH: u32 = 10;
/// Deletions in one request at most, whatever the service allows: it works through them before it answers.
const DELETES_MAX: usize = 1000;

/// The parts of `/info` that matter.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Info {
    swift: Swift,
    slo: Option<Slo>,
    pub(super) tempurl: Option<TempUrl>,
    bulk_delete: Option<BulkDelete>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Swift {
    version: Option<String>,
    container_listing_limit: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct Slo {
    max_manifest_segments: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct TempUrl {
    pub(super) methods: Vec<String>,
    pub(super) allowed_digests: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct BulkDelete {
    max_deletes_per_request: Option<usize>,
}

impl Info {
    /// The service has told something.
    pub(super) fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// It has large objects that a manifest describes.
    pub(super) fn has_manifests(&self) -> bool {
        !self.is_known() || self.slo.is_some()
    }

    pub(super) fn manifest_segments(&self) -> usize {
        let limit = self.slo.as_ref().and_then(|slo| slo.max_manifest_segments);
        limit.unwrap_or(MANIFEST_SEGMENTS).max(2)
    }

    /// Segments that an object may have.
    pub(super) fn parts(&self) -> usize {
        if self.is_ceph() { self.manifest_segments().min(PARTS_MAX) } else { PARTS_MAX }
    }

    pub(super) fn listing(&self) -> usize {
        self.swift.container_listing_limit.unwrap_or(LISTING).max(1)
    }

    /// A list of `got` names, where `asked` were asked for, has no more after it. Only a service that tells its limit is
    /// known to give as many as it is asked for.
    pub(super) fn is_last(&self, got: usize, asked: usize) -> bool {
        got == 0 || (self.swift.container_listing_limit.is_some() && got < asked.min(self.listing()))
    }

    /// Deletions that one request may ask for; none where the service knows no such requests.
    pub(super) fn deletes(&self) -> Option<usize> {
        let limit = self.bulk_delete.as_ref()?.max_deletes_per_request.unwrap_or(DELETES_MAX);
        (limit > 1).then(|| limit.min(DELETES_MAX))
    }

    /// Ceph's gateway: it takes manifests but does not tell them, and none that name manifests; it keeps no conditions on
    /// writes, and knows keys of accounts only.
    pub(super) fn is_ceph(&self) -> bool {
        self.version().is_some_and(|(major, ..)| major >= CEPH)
    }

    fn version(&self) -> Option<(u32, u32, u32)> {
        let mut numbers = self.swift.version.as_deref()?.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Some((next(), next(), next()))
    }

    /// Containers may have keys of their own for temporary addresses: since 2.2.2.
    pub(super) fn has_container_keys(&self) -> Option<bool> {
        self.version().map(|version| version >= (2, 2, 2) && !self.is_ceph())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let info: Info = serde_json::from_str("{}").unwrap();
        assert!(!info.is_known() && info.has_manifests());
        assert_eq!((info.manifest_segments(), info.listing(), info.deletes()), (1000, 10_000, None));
        assert_eq!(info.has_container_keys(), None);
        assert!(info.is_last(0, 1000) && !info.is_last(1, 1000));
        let text = r#"{"swift": {"version": "2.30.1", "policies": [], "container_listing_limit": 500},
            "slo": {"max_manifest_segments": 3, "min_segment_size": 1}, "bulk_delete": {"max_deletes_per_request": 10000},
            "tempurl": {"methods": ["GET"], "allowed_digests": ["sha256"]}, "other": {"a": 1}}"#;
        let info: Info = serde_json::from_str(text).unwrap();
        assert_eq!((info.manifest_segments(), info.listing(), info.deletes()), (3, 500, Some(1000)));
        assert_eq!(info.has_container_keys(), Some(true));
        assert!(info.is_last(499, 1000) && !info.is_last(500, 1000) && info.is_last(9, 10));
        assert_eq!(info.tempurl.unwrap().allowed_digests, ["sha256"]);
        let old: Info = serde_json::from_str(r#"{"swift": {"version": "2.2.0"}}"#).unwrap();
        assert!(!old.has_manifests() && old.has_container_keys() == Some(false) && !old.is_ceph());
        let ceph =
            r#"{"swift": {"version": "16.2.15"}, "tempurl": {"methods": ["GET"]}, "slo": {}, "bulk_delete": {}}"#;
        let ceph: Info = serde_json::from_str(ceph).unwrap();
        assert!(ceph.is_ceph() && ceph.has_container_keys() == Some(false) && ceph.deletes().is_some());
        assert_eq!((ceph.parts(), old.parts()), (1000, PARTS_MAX));
    }
}
