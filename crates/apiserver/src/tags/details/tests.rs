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
    large["annotations"] = json!("none");
    assert_eq!(manifest(&large).annotations.len(), 0);
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

#[tokio::test]
async fn a_missing_manifest_is_a_problem_that_may_pass() {
    let store = Store::new(Arc::new(MemoryDriver::default()), content::Settings::default());
    let (details, is_final) = read::details(&store, "shop/app", Digest::sha256(b"x"), Depth::Whole).await.unwrap();
    assert!(!is_final && details.problem.is_some() && details.size.is_none());
}
