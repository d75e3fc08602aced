//! An image of one layer in the OCI image layout.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::program;
use super::tar::{self, Entry};

pub(super) struct Layout {
    /// Of the manifest, which is the image's.
    pub(super) digest: String,
    /// Path below the layout's folder, and content.
    files: Vec<(String, Vec<u8>)>,
}

impl Layout {
    pub(super) fn new(layer: Vec<u8>, config: Vec<u8>) -> Self {
        let descriptor = |kind: &str, blob: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(blob), "size": blob.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": [descriptor("layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("manifest.v1+json", &manifest);
        entry["platform"] = json!({ "architecture": program::architecture(), "os": "linux" });
        let version = env!("CARGO_PKG_VERSION");
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": version,
            // The name under which containerd imports it.
            "io.containerd.image.name": format!("localhost/homeport:{version}"),
        });
        let index =
            json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry] });
        let digest = digest(&manifest);
        let mut files: Vec<_> = [layer, config, manifest].into_iter().map(|blob| (blob_path(&blob), blob)).collect();
        files.push(("index.json".to_owned(), index.to_string().into_bytes()));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files.sort();
        Self { digest, files }
    }

    /// Writes a folder, or a file when the name ends in `.tar`. What is there is replaced.
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        // Made beside it and renamed, so that nothing half written looks finished.
        let scratch = tempfile::tempdir_in(parent)?;
        let made = scratch.path().join("image");
        if out.extension().is_some_and(|ending| ending == "tar") {
            fs::write(&made, self.archive())?;
        } else {
            self.write_folder(&made)?;
            if out.join("oci-layout").is_file() {
                fs::remove_dir_all(out)?;
            }
        }
        fs::rename(&made, out).with_context(|| format!("{} is in the way", out.display()))
    }

    fn write_folder(&self, folder: &Path) -> Result<()> {
        for (path, content) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, content)?;
        }
        Ok(())
    }

    fn archive(&self) -> Vec<u8> {
        let mut entries = vec![Entry::folder("blobs/"), Entry::folder("blobs/sha256/")];
        entries.extend(self.files.iter().map(|(path, content)| Entry::file(path, 0o644, content.clone())));
        tar::pack(&entries)
    }
}

fn blob_path(blob: &[u8]) -> String {
    format!("blobs/{}", digest(blob).replace(':', "/"))
}

/// `sha256:<hex>`
pub(super) fn digest(content: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(content) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
