//! Lists.

use super::calls::{Call, Calls, Target, failed, has_status};
use crate::bucket::Unfinished;
use http::Method;
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Longest list that is read, in bytes: names are not longer than a kilobyte.
const LIST_MAX: usize = 32 << 20;
/// Pages of notes that are looked at, of a thousand each.
const NOTE_PAGES_MAX: usize = 100;
const NOTE_PAGE: usize = 1000;

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    subdir: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    last_modified: String,
}

impl Entry {
    fn modified(&self) -> Option<SystemTime> {
        modified(&self.last_modified)
    }
}

/// Lists tell times of Greenwich without saying so.
fn modified(text: &str) -> Option<SystemTime> {
    let time: jiff::civil::DateTime = text.trim_end_matches('Z').parse().ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| SystemTime::from(time.timestamp()))
}

impl Calls {
    async fn entries(&self, prefix: &str, delimiter: Option<&str>, marker: &str, limit: usize) -> Result<Vec<Entry>> {
        let call = Call::new(Method::GET, Target::Container).query("format", "json").query("limit", limit.to_string());
        let call = if prefix.is_empty() { call } else { call.query("prefix", prefix) };
        let call = if marker.is_empty() { call } else { call.query("marker", marker) };
        let call = delimiter.into_iter().fold(call, |call, delimiter| call.query("delimiter", delimiter));
        let text = self.send_and_read(call, LIST_MAX).await?;
        if text.body.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&text.body).map_err(|error| failed(format!("a list is not understood: {error}")))
    }

    /// A page of objects and, with a delimiter, of what they begin with.
    pub(super) async fn page(&self, prefix: &str, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let most = self.info().listing();
        let limit = options.max_keys.unwrap_or(most).min(most);
        let marker = options.page_token.or(options.offset).unwrap_or_default();
        let entries = self.entries(prefix, options.delimiter.as_deref(), &marker, limit).await?;
        let last = entries.last().map(|entry| entry.subdir.clone().unwrap_or_else(|| entry.name.clone()));
        let page_token = last.filter(|_| !self.info().is_last(entries.len(), limit));
        let (mut common_prefixes, mut objects) = (Vec::new(), Vec::new());
        for entry in entries {
            let modified = entry.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match entry.subdir {
                Some(subdir) => common_prefixes.extend(Path::parse(&subdir)),
                None => objects.extend(Path::parse(&entry.name).map(|location| ObjectMeta {
                    location,
                    last_modified: modified.into(),
                    size: entry.bytes,
                    e_tag: entry.hash,
                    version: None,
                })),
            }
        }
        let result = ListResult { common_prefixes, objects, extensions: http::Extensions::new() };
        Ok(PaginatedListResult { result, page_token })
    }

    pub(super) async fn names_after(&self, prefix: &str, marker: &str, limit: usize) -> Result<Vec<String>> {
        let entries = self.entries(prefix, None, marker, limit.min(self.info().listing())).await?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    pub(super) async fn names(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        self.names_after(prefix, "", limit).await
    }

    /// How long everything below a prefix is, by name.
    pub(super) async fn sizes_below(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let (mut all, mut marker) = (BTreeMap::new(), String::new());
        for _ in 0..NOTE_PAGES_MAX {
            let entries = self.entries(prefix, None, &marker, NOTE_PAGE.min(self.info().listing())).await?;
            let count = entries.len();
            if let Some(last) = entries.last() {
                marker.clone_from(&last.name);
            }
            all.extend(entries.into_iter().map(|entry| (entry.name, entry.bytes)));
            if self.info().is_last(count, NOTE_PAGE) {
                break;
            }
        }
        Ok(all)
    }

    /// What the notes say was begun.
    pub(super) async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>> {
        let (all_notes, below) = (self.notes_below(""), self.notes_below(prefix));
        let (mut all, mut marker) = (Vec::new(), String::new());
        for _ in 0..NOTE_PAGES_MAX {
            let entries = self.entries(&below, None, &marker, NOTE_PAGE.min(self.info().listing())).await?;
            let Some(last) = entries.last() else { break };
            marker.clone_from(&last.name);
            let read = |entry: Entry| {
                let begun = entry.modified()?;
                let (path, id) = entry.name.strip_prefix(&all_notes)?.rsplit_once('/')?;
                Some(Unfinished { path: Path::parse(path).ok()?, id: id.to_owned(), begun })
            };
            all.extend(entries.into_iter().filter_map(read));
        }
        Ok(all)
    }

    /// The container is there.
    pub(super) async fn has_container(&self) -> Result<bool> {
        match self.look().await {
            Ok(_) => Ok(true),
            Err(error) if has_status(&error, 404) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn entries_are_read() {
        let text = r#"[{"subdir": "files/a/"}, {"bytes": 3, "hash": "x", "name": "files/b", "content_type": "text/plain",
            "last_modified": "2026-11-21T17:22:38.123450", "slo_etag": "\"y\""}]"#;
        let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
        assert_eq!(entries[0].subdir.as_deref(), Some("files/a/"));
        let expected = SystemTime::UNIX_EPOCH + Duration::new(1_795_281_758, 123_450_000);
        assert_eq!(entries[1].modified(), Some(expected));
        assert_eq!(modified("yesterday"), None);
        assert_eq!(modified("2026-11-21T17:22:38.123Z").unwrap(), expected - Duration::from_micros(450));
    }
}
