//! Which form of an answer a client wants: the header `Accept` as kube-apiserver reads it.

use std::cmp::Reverse;

use crate::status::Failure;

/// Alternatives of one header that are looked at. Kubernetes' clients send at most six.
const CLAUSES_MAX: usize = 64;
/// Group of the forms that stand for any resource.
const META_GROUP: &str = "meta.k8s.io";
const META_VERSION: &str = "v1";

/// In which form objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// A `Table` for people.
    Table,
    /// `PartialObjectMetadata`, or a list of it.
    Partial,
}

/// One alternative of an `Accept` header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clause<'a> {
    kind: &'a str,
    subkind: &'a str,
    parameters: &'a str,
}

/// What a client wants to have made of an object: kind, group and version.
type Conversion<'a> = (&'a str, &'a str, &'a str);

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<(Self, f32)> {
        let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subkind) = match media.trim().split_once('/') {
            Some((kind, subkind)) => (kind.trim(), subkind.trim()),
            None if media.trim() == "*" => ("*", "*"),
            None => return None,
        };
        let clause = Self { kind, subkind, parameters };
        // As elsewhere, what is no number counts as if nothing was said.
        let quality = clause.parameter("q").and_then(|value| value.parse().ok()).unwrap_or(1.0);
        Some((clause, quality))
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        let pairs = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(key, _)| key.trim() == name);
        values.next().map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// Whether JSON is meant, or anything.
    pub(crate) fn takes_json(&self) -> bool {
        self.takes("application", "json")
    }

    /// Whether this media type is meant, or anything.
    pub(crate) fn takes(&self, kind: &str, subkind: &str) -> bool {
        match (self.kind, self.subkind) {
            ("*", "*") => true,
            (own, "*") => own.eq_ignore_ascii_case(kind),
            (own, sub) => own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subkind),
        }
    }

    /// Kind, group and version that the answer is to be converted to, if any of them is named.
    pub(crate) fn conversion(&self) -> Option<Conversion<'a>> {
        let (kind, group, version) = (self.parameter("as"), self.parameter("g"), self.parameter("v"));
        let named = kind.or(group).or(version).is_some();
        named.then(|| (kind.unwrap_or_default(), group.unwrap_or_default(), version.unwrap_or_default()))
    }

    fn form(&self) -> Option<Form> {
        // Streams exist of watch events only, and no other version of the server's schema.
        let plain = self.parameter("stream").is_none_or(|stream| matches!(stream, "" | "watch"))
            && self.parameter("sv").is_none_or(str::is_empty);
        if !self.takes_json() || !plain {
            return None;
        }
        match self.conversion() {
            None => Some(Form::Object),
            Some(("Table", META_GROUP, META_VERSION)) => Some(Form::Table),
            Some(("PartialObjectMetadata" | "PartialObjectMetadataList", META_GROUP, META_VERSION)) => {
                Some(Form::Partial)
            }
            Some(_) => None,
        }
    }
}

/// The alternatives of the header, best first; one that takes anything when there is no header.
pub(crate) fn clauses(accept: Option<&str>) -> Vec<Clause<'_>> {
    let accept = accept.filter(|text| !text.trim().is_empty()).unwrap_or("*/*");
    let mut parsed: Vec<_> = accept.split(',').take(CLAUSES_MAX).filter_map(Clause::parse).collect();
    parsed.retain(|(_, quality)| *quality > 0.0);
    // Stable: what is equally good stays in the client's order.
    parsed.sort_by_key(|(_, quality)| Reverse(millis(*quality)));
    parsed.into_iter().map(|(clause, _)| clause).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and 1000, and `as` saturates")]
fn millis(quality: f32) -> i32 {
    (quality.clamp(0.0, 1.0) * 1000.0) as i32
}

/// The first alternative that is spoken here.
///
/// # Errors
/// 406 when there is none.
pub(crate) fn form(accept: Option<&str>) -> Result<Form, Failure> {
    clauses(accept).iter().find_map(Clause::form).ok_or_else(json_only)
}

/// 406 as kube-apiserver words it.
pub(crate) fn json_only() -> Failure {
    Failure::not_acceptable(
        "only the following media types are accepted: application/json, application/json;stream=watch",
    )
}

#[cfg(test)]
mod tests;
