//! Large objects: parts are objects of their own, of which the service composes one at the end.
//!
//! Parts are in the place of unfinished uploads, below the name of their upload, and their own names are made up anew for
//! each: another attempt never changes a part that somebody counts on. Composing is one step for whoever looks, and may be
//! repeated as long as the parts are there.

use super::Gcs;
use super::api::{Call, STORE, failed};
use crate::bucket::Unfinished;
use crate::children;
use crate::error::{Said, kind_of};
use async_trait::async_trait;
use futures_util::stream::{StreamExt, TryStreamExt};
use http::{Extensions, Method};
use object_store::list::PaginatedListOptions;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectMeta, PutMultipartOptions, PutPayload, PutResult, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;
use storage::ErrorKind;
use uuid::Uuid;

/// Objects of which one is composed at most.
const SOURCES_MAX: usize = 32;
/// Steps of one copy at most; the service copies for half a minute in each.
const STEPS_MAX: usize = 10_000;
/// Requests for one upload under way at once.
const AT_ONCE: usize = 16;

fn unknown_upload() -> object_store::Error {
    Said { status: 404, code: "NoSuchUpload", text: "not all parts are there".to_owned() }.into_error(STORE)
}

/// Two names: what the upload belongs to, and itself.
fn is_upload(id: &str) -> bool {
    id.split_once('/').is_some_and(|(of, own)| Uuid::parse_str(of).is_ok() && Uuid::parse_str(own).is_ok())
}

impl Gcs {
    /// A new upload for the key. A session has its tails beside, which have the session's name.
    fn begin(&self, path: &Path) -> String {
        let session = path.as_ref().strip_prefix(&*self.uploads).and_then(|name| Uuid::parse_str(name).ok());
        format!("{}/{}", session.unwrap_or_else(Uuid::new_v4), Uuid::new_v4())
    }

    /// What the names of an upload's parts begin with. The name of an upload may come from a damaged record.
    fn below(&self, id: &str) -> Result<String> {
        if is_upload(id) { Ok(format!("{}{id}/", self.uploads)) } else { Err(unknown_upload()) }
    }

    async fn send_part(&self, id: &str, payload: PutPayload) -> Result<PartId> {
        let own = Uuid::new_v4().simple().to_string();
        let call = Call::new(Method::POST, self.api.upload_url())
            .query("uploadType", "media")
            .query("fields", "generation")
            .query("name", &format!("{}{own}", self.below(id)?))
            .header("content-type", "application/octet-stream")?
            .body(payload);
        self.api.write(&call).await?;
        Ok(PartId { content_id: own })
    }

    async fn complete(&self, path: &Path, id: &str, parts: Vec<PartId>) -> Result<PutResult> {
        let below = self.below(id)?;
        if parts.is_empty() || parts.iter().any(|part| Uuid::parse_str(&part.content_id).is_err()) {
            return Err(unknown_upload());
        }
        let names: Vec<String> = parts.iter().map(|part| format!("{below}{}", part.content_id)).collect();
        if let Err(error) = self.compose_all(path, &below, names.clone()).await {
            // The parts of an upload go when its object is there.
            let there: BTreeSet<String> = self.names(&below).await?.into_iter().collect();
            return Err(if names.iter().all(|name| there.contains(name)) { error } else { unknown_upload() });
        }
        if let Err(error) = self.remove(self.names(&below).await).await {
            tracing::warn!(%error, "parts of an upload stay until they are old");
        }
        Ok(PutResult { e_tag: None, version: None, extensions: Extensions::new() })
    }

    /// Composes in steps: of every so many objects one, until one request is enough for all.
    async fn compose_all(&self, path: &Path, below: &str, mut names: Vec<String>) -> Result<()> {
        while names.len() > SOURCES_MAX {
            let groups: Vec<Vec<String>> = names.chunks(SOURCES_MAX).map(<[String]>::to_vec).collect();
            let composed = groups.into_iter().map(|group| async move {
                let name = format!("{below}{}", Uuid::new_v4().simple());
                self.compose(&name, &group).await.map(|()| name)
            });
            names = futures_util::stream::iter(composed).buffered(AT_ONCE).try_collect().await?;
        }
        self.compose(self.api.name(path)?, &names).await
    }

    async fn compose(&self, name: &str, sources: &[String]) -> Result<()> {
        let sources: Vec<_> = sources.iter().map(|source| serde_json::json!({"name": source})).collect();
        let document = serde_json::json!({
            "sourceObjects": sources,
            "destination": {"contentType": "application/octet-stream"},
        });
        let call = Call::new(Method::POST, format!("{}/compose", self.api.object_url(name)));
        self.api.write(&call.query("fields", "generation").json(&document)?).await.map(drop)
    }

    /// Everything below a prefix of keys.
    async fn objects_below(&self, below: &str) -> Result<Vec<ObjectMeta>> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let options = PaginatedListOptions { page_token: token, ..PaginatedListOptions::default() };
            let page = children::page(self, Some(below), options).await?;
            all.extend(page.result.objects);
            token = page.page_token;
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn names(&self, below: &str) -> Result<Vec<String>> {
        Ok(self.objects_below(below).await?.into_iter().map(|object| object.location.into()).collect())
    }

    async fn remove(&self, names: Result<Vec<String>>) -> Result<()> {
        let deletes = names?.into_iter().map(|name| async move { self.delete_name(&name, None).await });
        futures_util::stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Removes one object, or only this generation of it; a missing one is fine.
    pub(super) async fn delete_name(&self, name: &str, generation: Option<&str>) -> Result<()> {
        let mut call = Call::new(Method::DELETE, self.api.object_url(name));
        if let Some(generation) = generation {
            call = call.query("ifGenerationMatch", generation);
        }
        match self.api.bytes(&call).await {
            Ok(_) => Ok(()),
            Err(error) => match self.api.explained(error).await {
                error if kind_of(&error) == ErrorKind::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Copies within the service, in as many steps as it takes.
    pub(super) async fn rewrite(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.api.object_url(self.api.name(from)?), self.api.name(to)?);
        let place =
            format!("{from}/rewriteTo/b/{}/o/{}", super::api::segment(&self.api.bucket), super::api::segment(to));
        let mut token: Option<String> = None;
        for _ in 0..STEPS_MAX {
            let mut call = Call::new(Method::POST, place.clone()).query("fields", "done,rewriteToken");
            if let Some(token) = &token {
                call = call.query("rewriteToken", token);
            }
            let answer: serde_json::Value = match self.api.document(&call).await {
                Ok(answer) => answer,
                Err(error) => return Err(self.api.explained(error).await),
            };
            if answer["done"].as_bool() == Some(true) {
                return Ok(());
            }
            let next = answer["rewriteToken"].as_str().map(str::to_owned);
            if next.is_none() {
                return Err(failed("a copy has neither an end nor a next step".to_owned()));
            }
            token = next;
        }
        Err(failed(format!("a copy has not ended after {STEPS_MAX} steps")))
    }

    /// Uploads whose parts are there. One begins with its youngest part: what goes on is not old.
    pub(super) async fn uploads_of(&self, prefix: &str) -> Result<Vec<Unfinished>> {
        if prefix != self.uploads {
            // Parts are nowhere else.
            return Ok(Vec::new());
        }
        let mut begun: BTreeMap<String, SystemTime> = BTreeMap::new();
        for object in self.objects_below(prefix).await? {
            let name = object.location.as_ref().strip_prefix(prefix).unwrap_or_default();
            let Some((id, _)) = name.rsplit_once('/').filter(|(id, _)| is_upload(id)) else { continue };
            let time = SystemTime::from(object.last_modified);
            let latest = begun.entry(id.to_owned()).or_insert(time);
            *latest = time.max(*latest);
        }
        let upload = |(id, begun): (String, SystemTime)| {
            let of = id.split_once('/').map_or(id.as_str(), |(of, _)| of);
            Some(Unfinished { path: Path::parse(format!("{prefix}{of}")).ok()?, id, begun })
        };
        Ok(begun.into_iter().filter_map(upload).collect())
    }
}

#[async_trait]
impl MultipartStore for Gcs {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        Ok(self.begin(path))
    }

    async fn create_multipart_opts(&self, path: &Path, _options: PutMultipartOptions) -> Result<MultipartId> {
        self.create_multipart(path).await
    }

    async fn put_part(&self, _path: &Path, id: &MultipartId, _index: usize, data: PutPayload) -> Result<PartId> {
        self.send_part(id, data).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.complete(path, id, parts).await
    }

    async fn abort_multipart(&self, _path: &Path, id: &MultipartId) -> Result<()> {
        let names = self.names(&self.below(id)?).await;
        self.remove(names).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_record_names_no_stranger() {
        let id = format!("{}/{}", Uuid::new_v4(), Uuid::new_v4());
        assert!(is_upload(&id));
        for bad in ["", "/", "..", "a/b", "../../x", &id[1..], &format!("{id}/x")] {
            assert!(!is_upload(bad), "{bad}");
        }
    }
}
