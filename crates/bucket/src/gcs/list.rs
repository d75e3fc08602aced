//! Lists of objects.

use super::Gcs;
use super::api::{Call, failed};
use async_trait::async_trait;
use http::{Extensions, Method};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};
use serde::Deserialize;
use std::time::SystemTime;

/// What is asked for; an answer with everything is ten times as long.
const FIELDS: &str = "nextPageToken,prefixes,items(name,size,updated,generation,etag)";

/// A page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_page_token: Option<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    items: Vec<Item>,
}

/// An object as lists and metadata have it. Numbers are texts.
#[derive(Deserialize)]
pub(super) struct Item {
    #[serde(default)]
    name: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    updated: String,
    #[serde(default)]
    generation: String,
}

impl Item {
    /// What the library calls an object; the mark is its generation.
    pub(super) fn meta(self, path: Option<Path>) -> Result<ObjectMeta> {
        let broken = |what: &str| failed(format!("an object has no {what} in the service's answer"));
        let location = match path {
            Some(path) => path,
            None => Path::parse(&self.name).map_err(|error| failed(error.to_string()))?,
        };
        let updated: jiff::Timestamp = self.updated.parse().map_err(|_| broken("time"))?;
        Ok(ObjectMeta {
            location,
            last_modified: SystemTime::from(updated).into(),
            size: self.size.parse().map_err(|_| broken("size"))?,
            e_tag: Some(self.generation.clone()).filter(|generation| !generation.is_empty()),
            version: Some(self.generation),
        })
    }
}

#[async_trait]
impl PaginatedListStore for Gcs {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let max = options.max_keys.map(|max| max.to_string());
        let parameters = [
            ("prefix", prefix),
            ("delimiter", options.delimiter.as_deref()),
            ("startOffset", options.offset.as_deref()),
            ("maxResults", max.as_deref()),
            ("pageToken", options.page_token.as_deref()),
        ];
        let call = Call::new(Method::GET, self.api.list_url()).query("fields", FIELDS);
        let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let call = given.fold(call, |call, (name, value)| call.query(name, value));
        let page: Page = self.api.list(&call).await?;
        // The offset itself is not asked for, though the service gives it.
        let after = options.offset.unwrap_or_default();
        // What cannot be a key of ours is somebody else's, such as a folder's own object.
        let wanted = |item: &Item| (after.is_empty() || item.name > after) && Path::parse(&item.name).is_ok();
        let objects = page.items.into_iter().filter(wanted).map(|item| item.meta(None)).collect::<Result<_>>()?;
        let prefixes = page.prefixes.iter().filter_map(|prefix| Path::parse(prefix).ok()).collect();
        let result = ListResult { common_prefixes: prefixes, objects, extensions: Extensions::new() };
        Ok(PaginatedListResult { result, page_token: page.next_page_token })
    }
}
