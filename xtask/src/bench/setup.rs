//! What can only be put into a server through its own API.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::plan::referrers_path;
use super::store::content::MANIFEST_TYPE;
use super::store::{Content, REFERRERS};
use crate::load::Client;

const REFERRER_COUNT: usize = 1000;

/// A subject with a thousand referrers.
pub(super) fn referrers(content: &Content, client: &mut Client) -> Result<()> {
    let subject = content.manifests.first().context("no subject")?;
    let mut manifest: Value = serde_json::from_slice(&subject.bytes)?;
    manifest["layers"] = json!([]);
    manifest["subject"] = json!({ "mediaType": MANIFEST_TYPE, "digest": subject.digest, "size": subject.bytes.len() });
    manifest["artifactType"] = json!("application/vnd.example.bench");
    for index in 0..REFERRER_COUNT {
        manifest["annotations"] = json!({ "bench": format!("referrer {index}") });
        let path = format!("/v2/{REFERRERS}/manifests/r{index}");
        let header = format!("Content-Type: {MANIFEST_TYPE}\r\n");
        let reply = client.send("PUT", &path, &header, manifest.to_string().as_bytes())?;
        if reply.status != 201 {
            bail!("pushing a referrer: status {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
    }
    let reply = client.get(&referrers_path(content)?, "")?;
    let list: Value = serde_json::from_slice(&reply.body).context("the referrers are no JSON")?;
    let count = list["manifests"].as_array().map_or(0, Vec::len);
    // Paging is allowed; an empty answer would make the cell meaningless.
    if count < 100 {
        bail!("{count} referrers were listed of {REFERRER_COUNT}");
    }
    Ok(())
}
