//! The blobs and manifests of the benchmarks, made once per run.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::load::{Body, Source, digest_text};

pub(in crate::bench) const SMALL: u64 = 10 << 10;
pub(in crate::bench) const LARGE: u64 = 100 << 20;
pub(in crate::bench) const HUGE: u64 = 1 << 30;
/// Ten of them make the image that is pulled.
const LAYER: u64 = 10 << 20;

/// More than the clients, so that no two ask for the same at once.
const SMALL_COUNT: usize = 256;
const LARGE_COUNT: usize = 4;
const MANIFEST_COUNT: usize = 64;
const LAYER_COUNT: usize = 10;

pub(in crate::bench) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(in crate::bench) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(in crate::bench) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What the chosen cells need, so that a run of few cells is not a set-up of many.
#[derive(Clone, Copy, Default)]
pub(in crate::bench) struct Needs {
    pub(in crate::bench) large: bool,
    pub(in crate::bench) huge: bool,
    pub(in crate::bench) image: bool,
    /// The 50,000 tags and the 10,000 repositories.
    pub(in crate::bench) many: bool,
    /// The trees get the referrers' subject.
    pub(in crate::bench) referrers: bool,
}

#[derive(Clone)]
pub(in crate::bench) struct Blob {
    pub(in crate::bench) digest: String,
    pub(in crate::bench) size: u64,
}

#[derive(Clone)]
pub(in crate::bench) struct Manifest {
    pub(in crate::bench) digest: String,
    pub(in crate::bench) bytes: Vec<u8>,
}

pub(in crate::bench) struct Content {
    folder: PathBuf,
    pub(in crate::bench) needs: Needs,
    pub(in crate::bench) config: Blob,
    pub(in crate::bench) small: Vec<Blob>,
    pub(in crate::bench) large: Vec<Blob>,
    pub(in crate::bench) huge: Vec<Blob>,
    pub(in crate::bench) layers: Vec<Blob>,
    /// Each under the tag of its index.
    pub(in crate::bench) manifests: Vec<Manifest>,
    /// With the layers, under the tag `image`.
    pub(in crate::bench) image: Option<Manifest>,
}

impl Content {
    pub(in crate::bench) fn make(folder: &Path, needs: Needs) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let mut source = Source::new(0);
        let mut blobs = |wanted: bool, count: usize, size: u64| -> Result<Vec<Blob>> {
            let count = if wanted { count } else { 0 };
            (0..count).map(|_| write_blob(folder, &mut source, size)).collect()
        };
        let small = blobs(true, SMALL_COUNT, SMALL)?;
        let large = blobs(needs.large, LARGE_COUNT, LARGE)?;
        let huge = blobs(needs.huge, 1, HUGE)?;
        let layers = blobs(needs.image, LAYER_COUNT, LAYER)?;
        let config = write_bytes(folder, br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}"#)?;
        // About the size of a real image's manifest: a config and ten layers.
        let manifests = (0..MANIFEST_COUNT)
            .map(|index| write_manifest(folder, &config, &small[index..index + LAYER_COUNT]))
            .collect::<Result<Vec<_>>>()?;
        let image = if needs.image { Some(write_manifest(folder, &config, &layers)?) } else { None };
        Ok(Self { folder: folder.to_owned(), needs, config, small, large, huge, layers, manifests, image })
    }

    pub(in crate::bench) fn file(&self, digest: &str) -> PathBuf {
        self.folder.join(super::hex(digest))
    }

    pub(in crate::bench) fn blobs(&self) -> impl Iterator<Item = &Blob> {
        let config = std::iter::once(&self.config);
        config.chain(&self.small).chain(&self.large).chain(&self.huge).chain(&self.layers)
    }
}

/// A manifest of these parts; the note makes it unique.
pub(in crate::bench) fn manifest_bytes(config: &Blob, layers: &[Blob], note: &str) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| json!({ "mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size }))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": { "mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size },
        "layers": layers,
        "annotations": { "bench": note },
    })
    .to_string()
    .into_bytes()
}

fn write_manifest(folder: &Path, config: &Blob, layers: &[Blob]) -> Result<Manifest> {
    let bytes = manifest_bytes(config, layers, "read");
    let blob = write_bytes(folder, &bytes)?;
    Ok(Manifest { digest: blob.digest, bytes })
}

fn write_bytes(folder: &Path, bytes: &[u8]) -> Result<Blob> {
    let digest = digest_text(&Sha256::digest(bytes));
    write_body(folder, &digest, &Body::small(bytes))?;
    Ok(Blob { digest, size: bytes.len() as u64 })
}

fn write_blob(folder: &Path, source: &mut Source, size: u64) -> Result<Blob> {
    let (body, digest) = source.make(size);
    write_body(folder, &digest, &body)?;
    Ok(Blob { digest, size })
}

fn write_body(folder: &Path, digest: &str, body: &Body) -> Result<()> {
    let path = folder.join(super::hex(digest));
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut writer = BufWriter::new(file);
    let mut offset = 0;
    while !body.piece(offset).is_empty() {
        let piece = body.piece(offset);
        writer.write_all(piece).with_context(|| format!("write {}", path.display()))?;
        offset += piece.len() as u64;
    }
    writer.flush().with_context(|| format!("write {}", path.display()))
}
