//! What can be seen of a store, and what must hold of it at any moment.

use bytes::Bytes;
use content::{IndexChildren, PutManifest, Settings, Store};
use oci::{Digest, Hasher, Manifest, Page, Reference, RepoName, Tag};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::memory::MemoryDriver;
use storage::{Driver, ObjectBody};

pub(crate) const REPO: &str = "team/app";
pub(crate) const OTHER: &str = "team/other";

pub(crate) fn repo() -> RepoName<'static> {
    RepoName::parse(REPO).unwrap()
}

pub(crate) fn other() -> RepoName<'static> {
    RepoName::parse(OTHER).unwrap()
}

pub(crate) fn tag(text: &str) -> Tag<'_> {
    Tag::parse(text).unwrap()
}

pub(crate) fn open(driver: impl Driver + 'static) -> Arc<Store> {
    Store::new(Arc::new(driver), Settings::default())
}

/// Bytes that differ by `seed`.
pub(crate) fn bytes(seed: u8, len: usize) -> Bytes {
    (0..len).map(|index| u8::try_from((index * 31 + index / 251) % 251).unwrap() ^ seed).collect()
}

pub(crate) async fn push_blob(store: &Arc<Store>, repo: RepoName<'_>, content: &[u8]) -> content::Result<Digest> {
    let digest = Digest::sha256(content);
    let ticket = store.upload_begin(repo, digest.algorithm(), None);
    let mut upload = store.upload_open(repo, ticket.id, Some(&ticket), Some(content.len() as u64)).await?;
    upload.write(content).await?;
    upload.commit(repo, digest).await?;
    Ok(digest)
}

/// A manifest over one blob, with `filler` bytes of annotations.
pub(crate) fn manifest(blob: &[u8], subject: Option<Digest>, filler: usize) -> Bytes {
    let descriptor = |digest: Digest, size: usize| {
        serde_json::json!({
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest.to_string(), "size": size
        })
    };
    let mut value = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(Digest::sha256(blob), blob.len()),
        "layers": [],
        "annotations": { "filler": "x".repeat(filler) },
    });
    if let Some(subject) = subject {
        value["subject"] = descriptor(subject, 1);
    }
    value.to_string().into()
}

pub(crate) async fn push_manifest(
    store: &Store,
    bytes: &Bytes,
    digest: Option<Digest>,
    tags: &[&str],
) -> content::Result<Digest> {
    push_manifest_to(store, repo(), bytes, digest, tags).await
}

pub(crate) async fn push_manifest_to(
    store: &Store,
    repo: RepoName<'_>,
    bytes: &Bytes,
    digest: Option<Digest>,
    tags: &[&str],
) -> content::Result<Digest> {
    let tags: Vec<Tag<'_>> = tags.iter().map(|text| tag(text)).collect();
    let put = PutManifest {
        bytes: bytes.clone(),
        content_type: None,
        digest,
        tags: &tags,
        children: &IndexChildren::Any,
        blobs_required: true,
        url_allowed: &|_| false,
    };
    Ok(store.manifest_put(repo, put).await?.digest)
}

/// What clients can see, by name.
pub(crate) type Snapshot = BTreeMap<String, String>;

/// Looks at everything in storage through a fresh store, and checks what must always hold.
pub(crate) async fn look(driver: &MemoryDriver) -> Snapshot {
    let store = open(driver.clone());
    let mut seen = Snapshot::new();
    for key in driver.keys() {
        check_content(driver, &key).await;
        let Some(rest) = key.strip_prefix("docker/registry/v2/repositories/") else { continue };
        let Some((name, below)) = rest.split_once("/_") else { continue };
        let name = RepoName::parse(name).unwrap();
        let parts: Vec<&str> = below.split('/').collect();
        match parts[..] {
            ["layers", algorithm, hex, "link"] => {
                let digest = Digest::parse(&format!("{algorithm}:{hex}")).unwrap();
                check_blob(&store, name, digest).await;
                seen.insert(format!("{name} blob {digest}"), "there".into());
            }
            ["manifests", "revisions", algorithm, hex, "link"] => {
                let digest = Digest::parse(&format!("{algorithm}:{hex}")).unwrap();
                check_manifest(&store, name, Reference::Digest(digest)).await;
                seen.insert(format!("{name} manifest {digest}"), "there".into());
                referrers(&store, name, digest, &mut seen).await;
            }
            _ => {}
        }
        let page = Page { limit: 1000, last: None, explicit: false };
        for text in store.tags(name, &page).await.unwrap().iter() {
            let digest = check_manifest(&store, name, Reference::Tag(tag(text))).await;
            seen.insert(format!("{name} tag {text}"), digest.to_string());
        }
    }
    seen
}

/// Nothing in the tree of blobs has another content than its path says.
async fn check_content(driver: &MemoryDriver, key: &str) {
    let Some(path) = key.strip_prefix("docker/registry/v2/blobs/") else { return };
    let parts: Vec<&str> = path.split('/').collect();
    let [algorithm, _, hex, "data"] = parts[..] else { panic!("{key}") };
    let digest = Digest::parse(&format!("{algorithm}:{hex}")).unwrap();
    let bytes = driver.get(key, usize::MAX).await.unwrap();
    assert_eq!(Hasher::digest(digest.algorithm(), &bytes), digest, "half content");
}

async fn check_blob(store: &Store, name: RepoName<'_>, digest: Digest) {
    let blob = store.blob_open(name, digest).await.unwrap_or_else(|error| panic!("blob {digest}: {error}"));
    let ObjectBody::Bytes(bytes) = blob.object.body else { panic!("a file in memory") };
    assert_eq!(Hasher::digest(digest.algorithm(), &bytes), digest);
}

async fn check_manifest(store: &Store, name: RepoName<'_>, reference: Reference<'_>) -> Digest {
    let found = store.manifest(name, reference).await;
    let (digest, stored) = found.unwrap_or_else(|error| panic!("{reference:?} of {name}: {error}"));
    assert_eq!(Hasher::digest(digest.algorithm(), &stored.bytes), digest);
    let manifest = Manifest::parse(&stored.bytes, None).unwrap();
    for descriptor in manifest.config.iter().chain(&manifest.layers) {
        check_blob(store, name, descriptor.digest).await;
    }
    digest
}

async fn referrers(store: &Store, name: RepoName<'_>, subject: Digest, seen: &mut Snapshot) {
    let page = Page { limit: 1000, last: None, explicit: false };
    for text in store.referrers(name, subject, None, &page).await.unwrap().descriptors {
        let digest: Digest = serde_json::from_str::<oci::Descriptor>(&text).unwrap().digest;
        check_manifest(store, name, Reference::Digest(digest)).await;
        seen.insert(format!("{name} referrer {subject} {digest}"), "there".into());
    }
}
