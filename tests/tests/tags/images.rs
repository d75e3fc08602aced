//! Images with everything that a tag shows.

use crate::world::Project;
use anyhow::Result;
use e2e::{Client, Image, digest};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What the tests of kubectl look at: the repositories of the manual, an index, an artifact that belongs to it.
pub(crate) fn shelf(project: &Project) -> Result<()> {
    let (client, path) = (&project.client, |repository: &str| project.path(repository));
    for tag in ["latest", "1.0"] {
        image(client, &path("http-echo"), tag, "amd64", "")?;
    }
    image(client, &path("test/http-echo"), "latest", "arm64", "v8")?;
    let platforms = [("amd64", ""), ("arm64", "v8")].map(|(architecture, variant)| -> Result<Value> {
        let by = image(client, &path("multi/arch"), &format!("1-{architecture}"), architecture, variant)?;
        let mut descriptor = by;
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        if !variant.is_empty() {
            descriptor["platform"]["variant"] = json!(variant);
        }
        Ok(descriptor)
    });
    let platforms = platforms.into_iter().collect::<Result<Vec<_>>>()?;
    let annotations = json!({ "org.opencontainers.image.title": "two platforms" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": platforms, "annotations": annotations });
    let index = put(client, &path("multi/arch"), "1", INDEX, &index)?;
    let empty = b"{}";
    client.push_blob(&path("multi/arch"), empty)?;
    let bill = json!({
        "schemaVersion": 2,
        "mediaType": Image::MEDIA_TYPE,
        "artifactType": "application/spdx+json",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(empty), "size": 2 },
        "layers": [{ "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(empty), "size": 2 }],
        "subject": index,
    });
    put(client, &path("multi/arch"), "bill", Image::MEDIA_TYPE, &bill)?;
    Ok(())
}

/// Pushes an image with labels; its descriptor.
fn image(client: &Client, repo: &str, tag: &str, architecture: &str, variant: &str) -> Result<Value> {
    let mut config = json!({
        "created": "1999-01-02T03:04:05Z",
        "os": "linux",
        "architecture": architecture,
        "config": { "Labels": { "org.opencontainers.image.version": "1.0", "maintainer": "somebody" } },
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    if !variant.is_empty() {
        config["variant"] = json!(variant);
    }
    let layers = [e2e::random(1, 3000), e2e::random(2, 70_000)];
    let part = |media_type: &str, blob: &[u8]| -> Result<Value> {
        Ok(json!({ "mediaType": media_type, "digest": client.push_blob(repo, blob)?, "size": blob.len() }))
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": Image::MEDIA_TYPE,
        "config": part(CONFIG, config.to_string().as_bytes())?,
        "layers": layers.iter().map(|layer| part(LAYER, layer)).collect::<Result<Vec<_>>>()?,
        "annotations": { "org.opencontainers.image.source": "https://example.test/source" },
    });
    put(client, repo, tag, Image::MEDIA_TYPE, &manifest)
}

fn put(client: &Client, repo: &str, tag: &str, media_type: &str, manifest: &Value) -> Result<Value> {
    let bytes = manifest.to_string().into_bytes();
    let digest = client.push_manifest(repo, tag, media_type, &bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}
