//! Tags as rows for people: what `kubectl get` prints.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};

use super::object::{Found, Object, Partial, age};
use super::options::IncludeObject;

/// `columnDefinitions`. Those with a priority are shown with `-o wide` only.
pub(crate) fn columns() -> Value {
    let column = |name: &str, format: &str, priority: u32, description: &str| json!({ "name": name, "type": "string", "format": format, "description": description, "priority": priority });
    json!([
        column("Name", "name", 0, "Lower-case base32 of \"repository:tag\", without padding."),
        column("Repository", "", 0, "Repository below the namespace."),
        column("Tag", "", 0, "The tag."),
        column("Address", "", 1, "Address to pull the image from."),
        column("Digest", "", 1, "Digest of the manifest that the tag stands for."),
        column("Size", "", 1, "Bytes of the manifest and of all that it refers to."),
        column("Age", "", 1, "Time since the tag was pushed."),
    ])
}

/// How many columns there are.
const COLUMNS: usize = 7;

#[derive(Serialize)]
pub(crate) struct Row<'a> {
    cells: [String; COLUMNS],
    object: Option<RowObject<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RowObject<'a> {
    Object(Object<'a>),
    Partial(Partial<'a>),
}

pub(crate) fn row<'a>(found: &'a Found, include: IncludeObject, host: &str, now: SystemTime) -> Row<'a> {
    let identity = found.identity();
    let size = found.details.as_ref().and_then(|details| details.size);
    let cells = [
        identity.name(),
        identity.relative().to_owned(),
        identity.tag.to_owned(),
        found.address(host),
        found.state.digest.to_string(),
        size.map_or_else(|| "<unknown>".to_owned(), human_size),
        age(found.state.pushed, now),
    ];
    let object = match include {
        IncludeObject::None => None,
        IncludeObject::Metadata => Some(RowObject::Partial(found.partial())),
        IncludeObject::Object => Some(RowObject::Object(found.object(host))),
    };
    Row { cells, object }
}

/// The row of a bookmark, which is about no tag.
pub(crate) fn bookmark_row(object: &Value) -> Value {
    let cells = [""; COLUMNS];
    json!({ "cells": cells, "object": object })
}

/// `12.3 MiB`
fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The largest unit of which there is at least one, after rounding to a tenth.
    let tenths = |power: u32| (u128::from(bytes) * 10 + (1 << (10 * power - 1))) >> (10 * power);
    let (mut power, mut unit) = (1, UNITS[0]);
    for (larger, name) in (2..).zip(UNITS.into_iter().skip(1)) {
        if tenths(power) < 10_240 {
            break;
        }
        (power, unit) = (larger, name);
    }
    let tenths = tenths(power);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_524, "1023.9 KiB"),
            (1_048_525, "1.0 MiB"),
            (12_897_485, "12.3 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_size(bytes), expected);
        }
    }

    #[test]
    fn every_cell_has_a_column() {
        let columns = columns();
        let names: Vec<_> = columns.as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["Name", "Repository", "Tag", "Address", "Digest", "Size", "Age"]);
        assert_eq!(names.len(), COLUMNS);
        let narrow: Vec<_> = columns.as_array().unwrap().iter().filter(|column| column["priority"] == 0).collect();
        assert_eq!(narrow.len(), 3);
    }
}
