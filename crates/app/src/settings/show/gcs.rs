//! A bucket of Google Cloud Storage.

use super::{Lines, Shown};
use crate::settings::resolved::Gcs;
use std::path::PathBuf;

/// Members of `credentials` that nobody may see.
const HIDDEN: &[&str] = &["private_key", "private_key_id"];

pub(super) fn show(out: &mut Lines, gcs: &Gcs) {
    let Gcs {
        bucket,
        key_file,
        credentials,
        private_key: _,
        root_directory,
        chunk_bytes,
        requests_max,
        user_agent,
        endpoint,
        redirect_endpoint,
        ca_file,
    } = gcs;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let texts = [
        ("bucket", Some(bucket.clone())),
        ("keyfile", path(key_file)),
        ("rootdirectory", Some(root_directory.clone()).filter(|root| !root.is_empty())),
        ("chunksize", Some(chunk_bytes.to_string())),
        ("maxconcurrency", Some(requests_max.to_string())),
        ("useragent", user_agent.clone()),
        ("endpoint", endpoint.clone()),
        ("redirectendpoint", redirect_endpoint.clone()),
        ("cafile", path(ca_file)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            out.put(&format!("storage.gcs.{name}"), text);
        }
    }
    for (name, value) in credentials {
        let value = value.expose().to_owned();
        let shown = if HIDDEN.contains(name) { Shown::Secret(value) } else { Shown::Text(value) };
        out.at(&format!("storage.gcs.credentials.{name}"), shown);
    }
}
