//! Content to push.

use sha2::{Digest, Sha256};

/// `sha256:<hex>` of content.
#[must_use]
pub fn digest(content: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(content) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes that look random and are the same for the same seed.
#[must_use]
pub fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// An image that no program can run, but every registry can store.
pub struct Image {
    /// Config first, then layers.
    pub blobs: Vec<Vec<u8>>,
    /// Its manifest.
    pub manifest: Vec<u8>,
}

impl Image {
    /// Type of the manifest.
    pub const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

    /// An image with layers of these sizes.
    #[must_use]
    pub fn new(seed: u64, layers: &[usize]) -> Self {
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","seed":{seed},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        let mut blobs = vec![config.into_bytes()];
        for (index, size) in layers.iter().enumerate() {
            blobs.push(random(seed.wrapping_mul(1000) + index as u64 + 1, *size));
        }
        let descriptor = |media_type: &str, blob: &[u8]| serde_json::json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() });
        let layers: Vec<_> =
            blobs[1..].iter().map(|blob| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", blob)).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": Self::MEDIA_TYPE,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &blobs[0]),
            "layers": layers,
        });
        Self { manifest: manifest.to_string().into_bytes(), blobs }
    }
}
