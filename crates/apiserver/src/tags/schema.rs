//! What the fields of the object mean, for OpenAPI and so for `kubectl explain`.

use serde_json::{Value, json};

/// Properties of the object beside `apiVersion`, `kind` and `metadata`.
pub(crate) fn schema() -> Value {
    json!({ "status": {
        "type": "object",
        "description": "What the registry knows about the tag. There is no spec: a tag is made by pushing an image.",
        "properties": status(),
    } })
}

fn status() -> Value {
    json!({
        "repository": text("Name of the repository below its namespace, such as \"team/app\"."),
        "tag": text("The tag, such as \"latest\"."),
        "address": text("Address to pull the image from: HOST/NAMESPACE/REPOSITORY:TAG."),
        "digest": text("Digest of the manifest that the tag stands for now."),
        "pushedAt": time("When the tag was last pushed."),
        "mediaType": text("Media type of the manifest."),
        "artifactType": text("What the manifest holds, if it is no image to run."),
        "size": size("Bytes of the manifest, its configuration and its layers; of an index, of all its images that are in the repository, each blob counted once."),
        "imageCreatedAt": time("When the image was built, as its configuration says."),
        "os": text("Operating system that the image is for."),
        "architecture": text("Processor architecture that the image is for."),
        "variant": text("Variant of the processor architecture."),
        "platforms": list("Images of an index, at most 100.", json!({
            "platform": text("OS/ARCHITECTURE[/VARIANT] that the image is for."),
            "mediaType": text("Media type of the image's manifest."),
            "digest": text("Digest of the image's manifest."),
            "size": size("Bytes of the image; left out when it is not in the repository."),
        })),
        "layers": list("Layers of an image, or blobs of an artifact, at most 200.", content()),
        "configLabels": map("Labels in the image's configuration, at most 64."),
        "annotations": map("Annotations of the manifest, at most 64."),
        "subject": object("The manifest that this one refers to, such as the image of a signature.", content()),
        "referrers": size("Number of manifests that refer to this one, such as signatures. A change of it is no event of a watch."),
        "truncated": { "type": "boolean", "description": "Something was too long to be shown: layers, platforms, labels or annotations are missing here, not in the registry." },
        "problem": text("Why there is less here than there should be, such as a manifest that is damaged."),
    })
}

fn content() -> Value {
    json!({
        "mediaType": text("Media type of the content."),
        "digest": text("Digest of the content."),
        "size": size("Bytes of the content."),
    })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn time(description: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "description": description })
}

fn size(description: &str) -> Value {
    json!({ "type": "integer", "format": "int64", "description": description })
}

fn object(description: &str, properties: Value) -> Value {
    json!({ "type": "object", "description": description, "properties": properties })
}

fn list(description: &str, properties: Value) -> Value {
    json!({ "type": "array", "description": description, "items": { "type": "object", "properties": properties } })
}

fn map(description: &str) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": { "type": "string" } })
}
