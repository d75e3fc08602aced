//! Media types that decide how a manifest is read.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Artifact manifest of the OCI 1.1 release candidates; old ORAS and notation content.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// The empty descriptor's type.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// True for Docker's first schema, signed or not, which no registry accepts any more.
#[must_use]
pub fn is_docker_schema1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

/// Layers that by their licence are not pushed: their absence is normal.
#[must_use]
pub fn is_non_distributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

/// `application/` and a name of RFC 6838: what a manifest may call itself. Anything else, `text/html` above all, would be
/// given to clients as the type of the answer.
#[must_use]
pub fn is_application(media_type: &str) -> bool {
    let name = media_type.strip_prefix("application/").unwrap_or_default();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !name.is_empty() && name.len() <= 127 && name.bytes().all(fine) && !matches!(name, "xhtml+xml" | "xml")
}

/// The type without parameters, trimmed: `a/b; charset=utf-8` is `a/b`.
#[must_use]
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}
