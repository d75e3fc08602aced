use std::sync::Arc;

use content::Store;
use oci::Manifest;
use serde_json::{Value, json};
use storage::memory::MemoryDriver;

use super::*;

fn manifest(value: &Value) -> Details {
    parse::from_manifest(&Manifest::parse(value.to_string().as_bytes(), None).unwrap())
}

fn descriptor(kind: &str, seed: &str) -> Value {
    json!({ "mediaType": kind, "digest": Digest::sha256(seed.as_bytes()).to_string(), "size": 3 })
}

fn image(config: &str) -> Value {
    json!({ "schemaVersion": 2, "config": descriptor(config, "c"), "layers": [] })
}

#[test]
fn artifact_types() {
    let kind = |value: &Value| manifest(value).artifact_type;
    assert_eq!(kind(&image("application/vnd.oci.image.config.v1+json")), None);
    assert_eq!(kind(&image("application/vnd.docker.container.image.v1+json")), None);
    assert_eq!(kind(&image("application/vnd.oci.empty.v1+json")), None);
    assert_eq!(
        kind(&image("application/vnd.cncf.helm.config.v1+json")).as_deref(),
        Some("application/vnd.cncf.helm.config.v1+json")
    );
    let mut explicit = image("application/vnd.oci.image.config.v1+json");
    explicit["artifactType"] = "a/b".into();
    assert_eq!(kind(&explicit).as_deref(), Some("a/b"));
}

#[test]
fn what_is_too_much_is_cut() {
    let mut large = image("application/vnd.oci.image.config.v1+json");
    assert!(!manifest(&large).truncated);
    large["layers"] = (0..LAYERS_MAX + 1).map(|number| descriptor("a/b", &number.to_string())).collect();
    let details = manifest(&large);
    assert!(details.truncated && details.layers.len() == LAYERS_MAX);
    large["layers"] = json!([]);
    large["annotations"] =
        (0..LABELS_MAX + 1).map(|number| (format!("k{number}"), "v".into())).collect::<serde_json::Map<_, _>>().into();
    let details = manifest(&large);
    assert!(details.truncated && details.annotations.len() == LABELS_MAX);
    large["annotations"] = json!({ "long": "x".repeat(TEXT_MAX), "short": "y", "odd": 5 });
    let details = manifest(&large);
    assert!(details.truncated);
    assert_eq!(details.annotations, BTreeMap::from([("short".to_owned(), "y".to_owned())]));
    // The first ones by name, wherever they stand.
    let texts: Vec<String> = (0..LABELS_MAX + 100).rev().map(|number| format!("\"k{number:03}\":\"v\"")).collect();
    large["annotations"] = json!("all");
    let text = large.to_string().replace("\"all\"", &format!("{{{}}}", texts.join(",")));
    let details = parse::from_manifest(&Manifest::parse(text.as_bytes(), None).unwrap());
    assert!(details.truncated && details.annotations.len() == LABELS_MAX && details.annotations.contains_key("k000"));
    for odd in [json!("none"), json!([["a", "b"]])] {
        large["annotations"] = odd;
        assert_eq!(manifest(&large).annotations.len(), 0);
    }
}

#[test]
fn configurations_of_any_form() {
    let read = |value: Value| {
        let mut details = Details::default();
        parse::add_config(&mut details, value.to_string().as_bytes());
        details
    };
    let plain = read(
        json!({ "created": "2020-01-01T10:00:00.5+02:00", "os": "linux", "architecture": "arm", "variant": "v7", "config": { "Labels": { "a": "b" } } }),
    );
    assert_eq!(plain.image_created_at.as_deref(), Some("2020-01-01T08:00:00.5Z"));
    assert_eq!(
        (plain.os.as_deref(), plain.architecture.as_deref(), plain.variant.as_deref()),
        (Some("linux"), Some("arm"), Some("v7"))
    );
    assert_eq!(plain.config_labels.get("a").map(String::as_str), Some("b"));
    let odd = read(
        json!({ "created": "yesterday", "os": 5, "architecture": "", "config": { "Labels": [1] }, "history": [{}] }),
    );
    assert_eq!(odd, Details::default());
    assert_eq!(read(json!({ "config": null })), Details::default());
    assert!(read(json!([])).problem.is_some() && read(json!(5)).problem.is_some());
    assert!(read(json!({ "os": "x".repeat(TEXT_MAX + 1) })).truncated);
}

#[test]
fn platforms_of_any_form() {
    let platform = |value: Value| {
        let raw = serde_json::value::to_raw_value(&value).unwrap();
        parse::platform(Some(&raw))
    };
    assert_eq!(
        platform(json!({ "os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1" })),
        "linux/arm/v7"
    );
    assert_eq!(platform(json!({ "architecture": "arm" })), "arm");
    for odd in [json!({}), json!(5), json!([]), json!({ "os": {} })] {
        assert_eq!(platform(odd), "");
    }
    assert_eq!(parse::platform(None), "");
}

#[test]
fn texts_of_an_object_have_a_bound_together() {
    let mut large = image("application/vnd.oci.image.config.v1+json");
    let texts = |letter: &str, count: usize| -> serde_json::Map<_, _> {
        (0..count).map(|number| (format!("k{number:02}"), letter.repeat(500).into())).collect()
    };
    large["annotations"] = texts("x", 20).into();
    let mut details = manifest(&large);
    assert!(!details.truncated && details.annotations.len() == 20);
    parse::add_config(&mut details, json!({ "config": { "Labels": texts("y", 20) } }).to_string().as_bytes());
    assert!(details.truncated);
    assert_eq!(details.config_labels.len(), 12, "what is left of 16 KiB");
    // As many bytes as they are sent with, not as they have in memory.
    large["annotations"] = texts("\u{1}", 20).into();
    let details = manifest(&large);
    assert!(details.truncated && details.annotations.len() == 5, "{}", details.annotations.len());
    assert!(serde_json::to_vec(&details.annotations).unwrap().len() <= TEXTS_MAX + 1024);
    large["annotations"] = Value::Null;
    large["layers"] = json!([
        descriptor(&"a".repeat(WORD_MAX), "1"),
        descriptor(&"a".repeat(WORD_MAX + 1), "2"),
        descriptor("a\"b", "3")
    ]);
    let lengths: Vec<usize> = manifest(&large).layers.iter().map(|layer| layer.media_type.len()).collect();
    assert_eq!(lengths, [WORD_MAX, 0, 0]);
}

/// A repository in memory.
struct Repository(Arc<Store>);

impl Repository {
    const NAME: &str = "shop/app";

    fn new() -> Self {
        Self(Store::new(Arc::new(MemoryDriver::default()), content::Settings::default()))
    }

    async fn push(&self, manifest: &Value) -> Digest {
        let put = content::PutManifest {
            bytes: manifest.to_string().into(),
            content_type: None,
            digest: None,
            tags: &[],
            blobs_required: false,
            children: &content::IndexChildren::Any,
            url_allowed: &|_| true,
        };
        self.0.manifest_put(RepoName::parse(Self::NAME).unwrap(), put).await.unwrap().digest
    }

    fn index(children: impl IntoIterator<Item = Digest>) -> Value {
        let child = |digest: Digest| json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": 9 });
        let children: Vec<Value> = children.into_iter().map(child).collect();
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children })
    }

    async fn details(&self, memory: &Memory, digest: Digest, keep: Keep) -> Arc<Details> {
        memory.details(&self.0, &Self::NAME.into(), digest, Depth::Whole, keep).await.unwrap()
    }
}

fn with_layers(count: usize, seed: &str) -> Value {
    let mut value = image("application/vnd.oci.image.config.v1+json");
    value["layers"] = (0..count).map(|number| descriptor("a/b", &format!("{seed}{number}"))).collect();
    value
}

#[tokio::test]
async fn the_size_of_an_index_is_bounded_work() {
    let (repository, memory) = (Repository::new(), Memory::new());
    let small = repository.push(&with_layers(3, "s")).await;
    let mut children = vec![small];
    for number in 0..12 {
        children.push(repository.push(&with_layers(900, &number.to_string())).await);
    }
    let few = repository.push(&Repository::index(children[..4].iter().copied())).await;
    let few = repository.details(&memory, few, Keep::Costly).await;
    assert!(few.size.is_some() && !few.truncated);
    let many = repository.push(&Repository::index(children.iter().copied())).await;
    let many = repository.details(&memory, many, Keep::Costly).await;
    assert!(many.size.is_none() && many.truncated, "more than 10,000 contents");
    assert!(many.platforms[0].size.is_some() && many.platforms[12].size.is_none());
    let nested =
        repository.push(&Repository::index((0..9_990).map(|number: u32| Digest::sha256(&number.to_le_bytes())))).await;
    let nested = repository.push(&Repository::index([nested, small])).await;
    let nested = repository.details(&memory, nested, Keep::Costly).await;
    assert!(nested.size.is_none() && nested.truncated, "more than 400 manifests");
    let large = repository.push(&with_layers(10_000, "l")).await;
    let large = repository.details(&memory, large, Keep::Costly).await;
    assert!(large.size.is_none() && large.truncated);
}

#[tokio::test]
async fn what_is_remembered() {
    let (repository, memory) = (Repository::new(), Memory::new());
    let image = repository.push(&with_layers(1, "a")).await;
    let missing = Digest::sha256(b"later");
    let index = repository.push(&Repository::index([image, missing])).await;
    let known = repository.details(&memory, index, Keep::Costly).await;
    assert_eq!(known.platforms[1].size, None);
    let again = repository.details(&memory, index, Keep::Costly).await;
    assert!(Arc::ptr_eq(&known, &again), "for a moment also what is not complete");
    let key: Key = (Repository::NAME.into(), index, Depth::Whole);
    let mut old = memory.known.get(&key).unwrap();
    old.until = Some(Instant::now());
    memory.known.insert(key, old);
    assert!(!Arc::ptr_eq(&known, &repository.details(&memory, index, Keep::Costly).await));
    let whole = repository.push(&Repository::index([image])).await;
    let (one, two) = tokio::join!(
        repository.details(&memory, whole, Keep::Costly),
        repository.details(&memory, whole, Keep::Costly)
    );
    assert!(Arc::ptr_eq(&one, &two));
    // The configuration is not here.
    let listed = repository.details(&memory, image, Keep::Costly).await;
    assert!(
        !Arc::ptr_eq(&listed, &repository.details(&memory, image, Keep::Costly).await),
        "lists leave nothing behind"
    );
    let kept = repository.details(&memory, image, Keep::Everything).await;
    assert!(Arc::ptr_eq(&kept, &repository.details(&memory, image, Keep::Costly).await));
}

#[tokio::test]
async fn a_missing_manifest_is_a_problem_that_may_pass() {
    let (repository, memory) = (Repository::new(), Memory::new());
    let value = with_layers(1, "a");
    let missing = Digest::sha256(value.to_string().as_bytes());
    let details = repository.details(&memory, missing, Keep::Everything).await;
    assert!(details.problem.is_some() && details.size.is_none());
    assert_eq!(repository.push(&value).await, missing);
    assert!(repository.details(&memory, missing, Keep::Everything).await.size.is_some());
}
