//! Reading manifests: what they are and what they refer to. The bytes themselves are never changed.

use crate::{Digest, media_type};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Most descriptors that one manifest may hold; far above what fits into the default 4 MiB of real content.
const DESCRIPTORS_MAX: usize = 50_000;

/// A reference to content (image-spec, descriptor.md).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the target.
    #[serde(default)]
    pub media_type: String,
    /// Digest of the target.
    pub digest: Digest,
    /// Size of the target in bytes.
    pub size: i64,
    /// Type of the artifact behind a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Box<RawValue>>,
    /// Platform as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Box<RawValue>>,
    /// Where else the target is to be had; layers with such addresses need not be here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Config and layers (or blobs).
    Image,
    /// A list of manifests.
    Index,
}

/// A manifest, read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Media type to answer with.
    pub media_type: String,
    /// Image or index.
    pub kind: Kind,
    /// Config of an image.
    pub config: Option<Descriptor>,
    /// Layers of an image, blobs of an artifact.
    pub layers: Vec<Descriptor>,
    /// Children of an index.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one refers to.
    pub subject: Option<Descriptor>,
    /// Explicit artifact type.
    pub artifact_type: Option<String>,
    /// Annotations as written.
    pub annotations: Option<Box<RawValue>>,
}

/// Why bytes are not an acceptable manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No JSON, wrong field types, bad digests.
    #[error("manifest is not valid: {0}")]
    Json(serde_json::Error),
    /// Docker schema 1.
    #[error("docker schema 1 manifests are not accepted, push with a client that writes schema 2 or OCI manifests")]
    Schema1,
    /// `schemaVersion` is not 2.
    #[error("schemaVersion must be 2")]
    SchemaVersion,
    /// Header and body disagree.
    #[error("Content-Type is {header} but the manifest's mediaType is {body}")]
    MediaTypeMismatch {
        /// What the request said.
        header: String,
        /// What the body says.
        body: String,
    },
    /// A type that cannot be recovered from the bytes later.
    #[error("a manifest of type {0} must carry the field mediaType")]
    MediaTypeMissing(String),
    /// Something that no manifest is, such as a page for browsers.
    #[error("{0} is no media type of a manifest")]
    MediaTypeUnknown(String),
    /// Fields of an image and of an index together, or none of either.
    #[error("{0}")]
    Shape(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<Box<RawValue>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<Box<RawValue>>,
}

impl Manifest {
    /// Reads `bytes`; `content_type` is the request's header, or `None` for stored content.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let header = content_type.map(media_type::essence).filter(|text| !text.is_empty());
        if header.is_some_and(media_type::is_docker_schema1) {
            return Err(ManifestError::Schema1);
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return Err(ManifestError::Schema1);
        }
        let media_type = resolve_media_type(header, &raw)?;
        if media_type != media_type::OCI_ARTIFACT && raw.schema_version != Some(2) {
            return Err(ManifestError::SchemaVersion);
        }
        let kind = shape(&media_type, &raw)?;
        let mut layers = raw.layers.unwrap_or_default();
        layers.extend(raw.blobs.unwrap_or_default());
        let manifests = raw.manifests.unwrap_or_default();
        if layers.len() + manifests.len() > DESCRIPTORS_MAX {
            return Err(ManifestError::Shape("manifest holds more than 50,000 descriptors"));
        }
        Ok(Self {
            media_type,
            kind,
            config: raw.config,
            layers,
            manifests,
            subject: raw.subject,
            artifact_type: raw.artifact_type.filter(|text| !text.is_empty()),
            annotations: raw.annotations.filter(|raw| raw.get() != "null"),
        })
    }

    /// The artifact type that the referrers API shows: explicit, or the config's media type.
    #[must_use]
    pub fn effective_artifact_type(&self) -> Option<&str> {
        self.artifact_type.as_deref().or_else(|| match self.kind {
            Kind::Image => self.config.as_ref().map(|config| config.media_type.as_str()),
            Kind::Index => None,
        })
    }

    /// The descriptor of this manifest in a referrers answer.
    #[must_use]
    pub fn as_referrer(&self, digest: Digest, size: usize) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            artifact_type: self.effective_artifact_type().map(str::to_owned),
            annotations: self.annotations.clone(),
            platform: None,
            urls: Vec::new(),
        }
    }
}

fn resolve_media_type(header: Option<&str>, raw: &Raw) -> Result<String, ManifestError> {
    let body = raw.media_type.as_deref().filter(|text| !text.is_empty());
    if body.is_some_and(media_type::is_docker_schema1) {
        return Err(ManifestError::Schema1);
    }
    if let Some(body) = body.filter(|body| !media_type::is_application(body)) {
        return Err(ManifestError::MediaTypeUnknown(body.to_owned()));
    }
    match (header, body) {
        (Some(header), Some(body)) if header != body => {
            Err(ManifestError::MediaTypeMismatch { header: header.to_owned(), body: body.to_owned() })
        }
        (_, Some(body)) => Ok(body.to_owned()),
        (header, None) => {
            let implied = if raw.manifests.is_some() { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
            match header {
                Some(header) if header != implied => Err(ManifestError::MediaTypeMissing(header.to_owned())),
                _ => Ok(implied.to_owned()),
            }
        }
    }
}

fn shape(media_type: &str, raw: &Raw) -> Result<Kind, ManifestError> {
    let image = raw.config.is_some() || raw.layers.is_some() || raw.blobs.is_some();
    let index = raw.manifests.is_some();
    match media_type {
        media_type::OCI_INDEX | media_type::DOCKER_LIST => {
            if image {
                return Err(ManifestError::Shape("an index must not hold config or layers"));
            }
            if !index {
                return Err(ManifestError::Shape("an index must hold the field manifests"));
            }
            Ok(Kind::Index)
        }
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {
            if index {
                return Err(ManifestError::Shape("an image manifest must not hold the field manifests"));
            }
            if raw.config.is_none() {
                return Err(ManifestError::Shape("an image manifest must hold the field config"));
            }
            Ok(Kind::Image)
        }
        _ if index && !image => Ok(Kind::Index),
        _ => Ok(Kind::Image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"application/vnd.x","digest":"{D}","size":0}},"layers":[]}}"#
        )
    }

    #[test]
    fn media_type_comes_from_header_or_body() {
        let plain = image("");
        assert_eq!(Manifest::parse(plain.as_bytes(), None).unwrap().media_type, media_type::OCI_MANIFEST);
        let docker = image(&format!(r#""mediaType":"{}","#, media_type::DOCKER_MANIFEST));
        assert_eq!(Manifest::parse(docker.as_bytes(), None).unwrap().media_type, media_type::DOCKER_MANIFEST);
        assert!(matches!(
            Manifest::parse(docker.as_bytes(), Some(media_type::OCI_MANIFEST)),
            Err(ManifestError::MediaTypeMismatch { .. })
        ));
        assert!(matches!(
            Manifest::parse(plain.as_bytes(), Some(media_type::DOCKER_MANIFEST)),
            Err(ManifestError::MediaTypeMissing(_))
        ));
        assert!(
            Manifest::parse(plain.as_bytes(), Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"))
                .is_ok()
        );
    }

    #[test]
    fn refused_shapes() {
        for (body, what) in [
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
            (r#"{"schemaVersion":2,"manifests":[],"config":{"digest":"sha256:x","size":1}}"#, "valid"),
            (r#"{"schemaVersion":3,"manifests":[]}"#, "schemaVersion"),
            (r#"{"schemaVersion":2}"#, "config"),
            ("[]", "valid"),
            ("", "valid"),
        ] {
            let error = Manifest::parse(body.as_bytes(), None).unwrap_err().to_string();
            assert!(error.contains(what), "{body}: {error}");
        }
        let deep = format!(r#"{{"schemaVersion":2,"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(Manifest::parse(deep.as_bytes(), None).is_err());
    }

    #[test]
    fn artifact_type_falls_back_to_the_config() {
        let manifest = Manifest::parse(image("").as_bytes(), None).unwrap();
        assert_eq!(manifest.effective_artifact_type(), Some("application/vnd.x"));
        let manifest = Manifest::parse(image(r#""artifactType":"a/b","#).as_bytes(), None).unwrap();
        assert_eq!(manifest.effective_artifact_type(), Some("a/b"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in "\\PC{0,80}") {
            let _ = Manifest::parse(&bytes, Some(&kind));
        }
    }
}
