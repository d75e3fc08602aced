//! Objects, lists and events in the form that was asked for.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};

use super::details::Depth;
use super::object::Found;
use super::options::IncludeObject;
use super::position::Version;
use super::{API_VERSION, KIND, LIST_KIND, table};
use crate::negotiate::Form;
use crate::status::Result;

const META_VERSION: &str = "meta.k8s.io/v1";

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Object,
    Partial,
    Table(IncludeObject),
}

impl Style {
    /// # Errors
    /// 400 for a table with rows that there are not.
    pub(crate) fn of(form: Form, query: &str) -> Result<Self> {
        match form {
            Form::Object => Ok(Self::Object),
            Form::Partial => Ok(Self::Partial),
            Form::Table => IncludeObject::parse(query).map(Self::Table),
        }
    }

    /// How much it tells of an image.
    pub(crate) fn depth(self) -> Option<Depth> {
        match self {
            Self::Partial => None,
            Self::Object | Self::Table(IncludeObject::Object) => Some(Depth::Whole),
            Self::Table(_) => Some(Depth::Line),
        }
    }
}

/// Writes JSON.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    pub(crate) style: Style,
    /// The registry's address.
    pub(crate) host: String,
}

impl Renderer {
    /// One object, or a table with one row. The columns of a table may be left out.
    pub(crate) fn single(&self, found: &Found, columns: bool) -> Value {
        match self.style {
            Style::Object => value(&found.object(&self.host)),
            Style::Partial => value(&found.partial()),
            Style::Table(include) => {
                let row = table::row(found, include, &self.host, SystemTime::now());
                self.table(found.version, columns, vec![value(&row)])
            }
        }
    }

    /// What stands before the items of a list.
    pub(crate) fn head(&self, version: Version, proceed: Option<&str>) -> Vec<u8> {
        let (kind, api_version) = match self.style {
            Style::Object => (LIST_KIND, API_VERSION),
            Style::Partial => ("PartialObjectMetadataList", META_VERSION),
            Style::Table(_) => ("Table", META_VERSION),
        };
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if let Some(proceed) = proceed {
            metadata["continue"] = proceed.into();
        }
        let items = match self.style {
            Style::Table(_) => format!("\"columnDefinitions\":{},\"rows\":[", table::columns()),
            Style::Object | Style::Partial => "\"items\":[".to_owned(),
        };
        format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},{items}").into_bytes()
    }

    /// Adds an item of a list.
    pub(crate) fn item(&self, found: &Found, out: &mut Vec<u8>) {
        match self.style {
            Style::Object => write(out, &found.object(&self.host)),
            Style::Partial => write(out, &found.partial()),
            Style::Table(include) => write(out, &table::row(found, include, &self.host, SystemTime::now())),
        }
    }

    /// What stands behind the items.
    pub(crate) fn tail(&self) -> &'static [u8] {
        b"]}\n"
    }

    /// Adds one event of a watch, in a line. The columns of a table are told once.
    pub(crate) fn event(&self, kind: &'static str, found: &Found, columns: bool, out: &mut Vec<u8>) {
        match self.style {
            Style::Object => write_line(out, kind, &found.object(&self.host)),
            Style::Partial => write_line(out, kind, &found.partial()),
            Style::Table(_) => write_line(out, kind, &self.single(found, columns)),
        }
    }

    /// The event that only tells how far the watch is; `initial_end`: that everything there is was told.
    pub(crate) fn bookmark(&self, version: Version, initial_end: bool, columns: bool) -> Vec<u8> {
        let (kind, api_version) = match self.style {
            Style::Object => (KIND, API_VERSION),
            Style::Partial | Style::Table(_) => ("PartialObjectMetadata", META_VERSION),
        };
        let mut metadata = json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata });
        match self.style {
            Style::Table(_) => line("BOOKMARK", &self.table(version, columns, vec![table::bookmark_row(&object)])),
            Style::Object | Style::Partial => line("BOOKMARK", &object),
        }
    }

    fn table(&self, version: Version, columns: bool, rows: Vec<Value>) -> Value {
        json!({
            "kind": "Table",
            "apiVersion": META_VERSION,
            "metadata": { "resourceVersion": version.to_string() },
            "columnDefinitions": columns.then(table::columns),
            "rows": rows,
        })
    }
}

/// One line of a watch.
pub(crate) fn line(kind: &str, object: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    write_line(&mut out, kind, object);
    out
}

fn write_line(out: &mut Vec<u8>, kind: &str, object: &impl Serialize) {
    #[derive(Serialize)]
    struct Event<'a, T> {
        #[serde(rename = "type")]
        kind: &'a str,
        object: &'a T,
    }
    write(out, &Event { kind, object });
    out.push(b'\n');
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    // Nothing of ours has keys that are no strings, and memory does not fail.
    if let Err(error) = serde_json::to_writer(out, value) {
        tracing::error!(%error, "an object has no JSON form");
    }
}

fn value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
