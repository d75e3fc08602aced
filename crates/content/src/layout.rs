//! Every object path, in one place.
//!
//! ```text
//! docker/registry/v2/                                   distribution's tree
//!   blobs/<alg>/<hex2>/<hex>/data                       bytes of any blob or manifest, shared by all repositories
//!   repositories/<name>/
//!     _layers/<alg>/<hex>/link                          the repository has this blob
//!     _manifests/revisions/<alg>/<hex>/link             the repository has this manifest
//!     _manifests/tags/<tag>/current/link                what the tag is
//!     _manifests/tags/<tag>/index/<alg>/<hex>/link      what the tag has been
//! homeport/v1/                                          our own records
//!   aliases/<alg>/<hex2>/<hex>                         canonical digest of a blob that was pushed by another algorithm
//!   sessions/<uuid>                                     an upload on its way
//!   uploads/                                            bytes of uploads (the driver's)
//!   referrers/<name>/_of/<alg>/<hex>/<alg>.<hex>        descriptor of a manifest that names <hex> as its subject
//!   namespaces/<namespace>                              UID of the namespace that the content was pushed for
//!   cluster                                             UID of the cluster that the namespaces are of
//!   changes/<uuid>                                      last changes of tags that one of several processes has made
//!   copied                                              which storage all of this was copied from, until a registry writes
//! ```
//!
//! A link holds `<alg>:<hex>` without a newline and may name another digest than its path: content that was pushed by
//! sha512 is kept once, under sha256.

use oci::{Algorithm, Digest, RepoName, Tag};

/// What distribution knows.
pub const ROOT: &str = "docker/registry/v2";

/// Longest text of a link that is read, in bytes.
pub const LINK_MAX: usize = 256;

/// Where sessions are.
pub(crate) const SESSIONS: &str = "homeport/v1/sessions";
/// Where drivers keep unfinished bytes on files.
pub(crate) const UPLOADS: &str = "homeport/v1/uploads";
/// Where repositories are.
pub const REPOSITORIES: &str = "docker/registry/v2/repositories";
/// Where the owners of namespaces are.
pub const NAMESPACES: &str = "homeport/v1/namespaces";
/// Which cluster the owners are of.
pub const CLUSTER: &str = "homeport/v1/cluster";
/// Where processes that share the storage tell each other what happened to tags.
pub(crate) const CHANGES: &str = "homeport/v1/changes";
/// Records of our own.
pub const RECORDS: &str = "homeport/v1";
/// Names of blobs that were pushed by another algorithm than the canonical one.
pub const ALIASES: &str = "homeport/v1/aliases";
/// Which storage everything was copied from; gone as soon as a registry writes.
pub const COPIED: &str = "homeport/v1/copied";
/// Children of `homeport/v1` that are of use to the process, the machine or the service that has them only.
pub const PASSING: &[&str] =
    &["changes", "copied", "journal", "locks", "probe", "secret", "sessions", "tmp", "uploads"];
/// Child of a repository that tells that it has had a manifest.
pub const MANIFESTS: &str = "_manifests";
/// Child of a repository that tells that it has had a blob.
pub const LAYERS: &str = "_layers";

fn join(parts: &[&str]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.push_str(part);
    }
    out
}

/// The bytes of a blob or manifest, under its canonical digest.
pub fn blob_data(digest: &Digest) -> String {
    let hex = digest.hex();
    let hex = hex.as_str();
    join(&[ROOT, "/blobs/", digest.algorithm().name(), "/", &hex[..2], "/", hex, "/data"])
}

/// The bytes of all blobs under an algorithm, in folders by the first two digits.
#[must_use]
pub fn blobs(algorithm: Algorithm) -> String {
    join(&[ROOT, "/blobs/", algorithm.name()])
}

/// Everything of a repository, and of those whose names begin with its own.
pub fn repository(name: &str) -> String {
    join(&[REPOSITORIES, "/", name])
}

/// Says that the repository has this blob.
pub fn layer_link(repo: RepoName<'_>, digest: &Digest) -> String {
    let hex = digest.hex();
    join(&[REPOSITORIES, "/", repo.as_str(), "/_layers/", digest.algorithm().name(), "/", hex.as_str(), "/link"])
}

/// Says that the repository has this manifest.
pub fn revision_link(repo: RepoName<'_>, digest: &Digest) -> String {
    let hex = digest.hex();
    let parts = [
        REPOSITORIES,
        "/",
        repo.as_str(),
        "/_manifests/revisions/",
        digest.algorithm().name(),
        "/",
        hex.as_str(),
        "/link",
    ];
    join(&parts)
}

/// The blobs of a repository under an algorithm: `<hex>/link` each.
#[must_use]
pub fn layers(repo: RepoName<'_>, algorithm: Algorithm) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_layers/", algorithm.name()])
}

/// The manifests of a repository under an algorithm: `<hex>/link` each.
#[must_use]
pub fn revisions(repo: RepoName<'_>, algorithm: Algorithm) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_manifests/revisions/", algorithm.name()])
}

/// The tags of a repository.
pub fn tags(repo: RepoName<'_>) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_manifests/tags"])
}

/// Everything of a tag.
pub fn tag(repo: RepoName<'_>, tag: Tag<'_>) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_manifests/tags/", tag.as_str()])
}

/// The child of a tag that has what it is.
pub(crate) const CURRENT: &str = "current";

/// What a tag is.
pub fn tag_current(repo: RepoName<'_>, tag: Tag<'_>) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_manifests/tags/", tag.as_str(), "/current/link"])
}

/// Everything that a tag has been.
pub(crate) fn tag_history(repo: RepoName<'_>, tag: Tag<'_>) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_manifests/tags/", tag.as_str(), "/index"])
}

/// What a tag has been, as far as it was pushed under this algorithm: `<hex>/link` each.
#[must_use]
pub fn tag_indexes(repo: RepoName<'_>, tag: Tag<'_>, algorithm: Algorithm) -> String {
    join(&[REPOSITORIES, "/", repo.as_str(), "/_manifests/tags/", tag.as_str(), "/index/", algorithm.name()])
}

/// Says that a tag is or has been this manifest.
pub fn tag_index(repo: RepoName<'_>, tag: Tag<'_>, digest: &Digest) -> String {
    let hex = digest.hex();
    let (algorithm, hex) = (digest.algorithm().name(), hex.as_str());
    join(&[
        REPOSITORIES,
        "/",
        repo.as_str(),
        "/_manifests/tags/",
        tag.as_str(),
        "/index/",
        algorithm,
        "/",
        hex,
        "/link",
    ])
}

/// Where the canonical digest of a blob is found that was pushed by another algorithm.
pub(crate) fn alias(digest: &Digest) -> String {
    let hex = digest.hex();
    let hex = hex.as_str();
    join(&["homeport/v1/aliases/", digest.algorithm().name(), "/", &hex[..2], "/", hex])
}

pub(crate) fn session(id: uuid::Uuid) -> String {
    format!("{SESSIONS}/{id}")
}

/// What one process tells the others.
pub(crate) fn changes_of(process: uuid::Uuid) -> String {
    format!("{CHANGES}/{process}")
}

/// Who owns a namespace.
pub fn namespace(name: &str) -> String {
    join(&[NAMESPACES, "/", name])
}

/// Everything that says who refers to whom in a namespace.
pub fn namespace_referrers(name: &str) -> String {
    join(&["homeport/v1/referrers/", name])
}

pub(crate) fn referrers(repo: RepoName<'_>, subject: &Digest) -> String {
    let hex = subject.hex();
    join(&[&subjects(repo, subject.algorithm()), "/", hex.as_str()])
}

/// What the manifests of a repository refer to, as far as its digest is of this algorithm: `<hex>/<referrer>` each.
#[must_use]
pub fn subjects(repo: RepoName<'_>, algorithm: Algorithm) -> String {
    join(&["homeport/v1/referrers/", repo.as_str(), "/_of/", algorithm.name()])
}

/// Descriptor of a manifest that names another one as its subject.
pub fn referrer(repo: RepoName<'_>, subject: &Digest, referrer: &Digest) -> String {
    let hex = referrer.hex();
    join(&[&referrers(repo, subject), "/", referrer.algorithm().name(), ".", hex.as_str()])
}

/// The digest in the last part of a [`referrer`] key.
pub fn parse_referrer(name: &str) -> Option<Digest> {
    Digest::parse(&name.replacen('.', ":", 1)).ok()
}

/// The tag under which clients keep referrers of registries without the referrers API.
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    // distribution-spec, "Referrers Tag Schema": the encoded part is cut to 64 characters.
    format!("{}{}", fallback_start(subject.algorithm()), &hex.as_str()[..64])
}

/// What all fallback tags of an algorithm begin with.
pub(crate) fn fallback_start(algorithm: Algorithm) -> String {
    format!("{}-", algorithm.name())
}

/// Name of the lock on a manifest of a repository.
pub(crate) fn manifest_lock(repo: RepoName<'_>, digest: &Digest) -> String {
    format!("manifest {repo}@{digest}")
}

/// Name of the lock on a tag.
pub(crate) fn tag_lock(repo: RepoName<'_>, tag: Tag<'_>) -> String {
    format!("tag {repo}:{tag}")
}

/// Name of the lock on a blob of a repository.
pub(crate) fn layer_lock(repo: RepoName<'_>, digest: &Digest) -> String {
    format!("layer {repo}@{digest}")
}

/// Name of the lock on the bytes of a blob.
pub(crate) fn blob_lock(digest: &Digest) -> String {
    format!("blob {digest}")
}

/// Name of the lock on an owner record.
pub(crate) fn owner_lock(key: &str) -> String {
    format!("owner {key}")
}

/// Reads a link; `None` when it is empty or damaged.
pub fn parse_link(text: &[u8]) -> Option<Digest> {
    Digest::parse(std::str::from_utf8(text).ok()?.trim_end()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_paths() {
        let digest = Digest::sha256(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let repo = RepoName::parse("a/b").unwrap();
        let v1 = Tag::parse("v1").unwrap();
        let root = "docker/registry/v2/";
        for (path, expected) in [
            (blob_data(&digest), format!("blobs/sha256/e3/{hex}/data")),
            (layer_link(repo, &digest), format!("repositories/a/b/_layers/sha256/{hex}/link")),
            (revision_link(repo, &digest), format!("repositories/a/b/_manifests/revisions/sha256/{hex}/link")),
            (tag_current(repo, v1), "repositories/a/b/_manifests/tags/v1/current/link".to_owned()),
            (tag_index(repo, v1, &digest), format!("repositories/a/b/_manifests/tags/v1/index/sha256/{hex}/link")),
        ] {
            assert_eq!(path, format!("{root}{expected}"));
        }
        assert_eq!(fallback_tag(&digest), format!("sha256-{hex}"));
        assert_eq!(parse_referrer(&format!("sha256.{hex}")), Some(digest));
        let long = Digest::new(Algorithm::Sha512, &[7; 64]).unwrap();
        assert!(Tag::parse(&fallback_tag(&long)).is_ok());
    }
}
