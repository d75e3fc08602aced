use http::StatusCode;

use super::*;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn an_image_with_all_that_is_known_of_it() {
    let world = world(&["shop"]).await;
    let digest = world.push("shop/web/app", &["v1"], "a").await;
    let answer = world.get(USER, &one("shop", "web/app", "v1")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let mut object = answer.json();
    let metadata = object["metadata"].take();
    assert_eq!(metadata["name"], "o5swel3bobydu5rr");
    assert_eq!(metadata["namespace"], "shop");
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert!(metadata["resourceVersion"].as_str().unwrap().parse::<i64>().unwrap() > 1);
    let labels = json!({ format!("{}/repository", super::super::GROUP): "web.app", format!("{}/tag", super::super::GROUP): "v1" });
    assert_eq!(metadata["labels"], labels);
    assert_eq!(metadata.as_object().unwrap().len(), 6, "{metadata}");
    let status = object["status"].as_object_mut().unwrap();
    let pushed = status.remove("pushedAt").unwrap();
    assert_eq!(pushed, metadata["creationTimestamp"]);
    assert!(pushed.as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let layer = oci::Digest::sha256(b"layer a").to_string();
    let size = status.remove("size").unwrap().as_u64().unwrap();
    assert!(size > 7 + 300, "{size}");
    assert_eq!(
        object,
        json!({
            "apiVersion": "payload-registry.deckhouse.io/v1alpha1",
            "kind": "PayloadRepositoryTag",
            "metadata": null,
            "status": {
                "repository": "web/app",
                "tag": "v1",
                "address": "registry.example.com/shop/web/app:v1",
                "digest": digest.to_string(),
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "imageCreatedAt": "2026-01-02T03:04:05Z",
                "os": "linux",
                "architecture": "amd64",
                "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": 7 }],
                "referrers": 0,
            },
        })
    );
}

#[tokio::test]
async fn an_index_with_its_platforms() {
    let world = world(&["shop"]).await;
    let (one_, two) = (world.push("shop/app", &["amd"], "a").await, world.push("shop/app", &["arm"], "b").await);
    let missing = oci::Digest::sha256(b"missing");
    let child = |digest: oci::Digest, platform: Value| json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(), "size": 500, "platform": platform });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "annotations": { "a": "b" },
        "manifests": [
            child(one_, json!({ "os": "linux", "architecture": "amd64" })),
            child(two, json!({ "os": "linux", "architecture": "arm", "variant": "v7" })),
            child(missing, json!({ "os": "linux", "architecture": "s390x" })),
        ],
    });
    world.push_manifest("shop/app", &["all"], &index).await;
    let status = |object: &Value| object["status"].clone();
    let [all_, amd, arm] = [
        status(&world.get(USER, &one("shop", "app", "all")).await.json()),
        status(&world.get(USER, &one("shop", "app", "amd")).await.json()),
        status(&world.get(USER, &one("shop", "app", "arm")).await.json()),
    ];
    let platforms: Vec<_> = all_["platforms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["platform"].clone(), one["size"].clone()))
        .collect();
    assert_eq!(
        platforms,
        [
            ("linux/amd64".into(), amd["size"].clone()),
            ("linux/arm/v7".into(), arm["size"].clone()),
            ("linux/s390x".into(), Value::Null)
        ]
    );
    let bytes = |value: &Value| value["size"].as_u64().unwrap();
    assert_eq!(bytes(&all_), bytes(&amd) + bytes(&arm) + index.to_string().len() as u64);
    assert_eq!((&all_["annotations"]["a"], &all_["layers"], &all_["os"]), (&"b".into(), &Value::Null, &Value::Null));
}

#[tokio::test]
async fn artifacts_subjects_and_referrers() {
    let world = world(&["shop"]).await;
    let image = world.push("shop/app", &["v1"], "a").await;
    let subject =
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.to_string(), "size": 5 });
    let name = oci::RepoName::parse("shop/app").unwrap();
    let (config, _) = world.push_blob(name, b"{}").await;
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.signature",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config.to_string(), "size": 2 },
        "layers": [],
        "subject": subject,
    });
    world.push_manifest("shop/app", &["sig"], &signature).await;
    let signature = world.get(USER, &one("shop", "app", "sig")).await.json();
    assert_eq!(signature["status"]["artifactType"], "application/vnd.example.signature");
    assert_eq!(signature["status"]["subject"], subject);
    let image = world.get(USER, &one("shop", "app", "v1")).await.json();
    assert_eq!((&image["status"]["referrers"], &image["status"]["artifactType"]), (&1.into(), &Value::Null));
}

#[tokio::test]
async fn what_is_damaged_is_still_there() {
    let world = world(&["shop"]).await;
    let digest = world.push("shop/app", &["v1"], "a").await;
    let hex = digest.hex().as_str().to_owned();
    let key = world.driver.keys().into_iter().find(|key| key.contains("/blobs/") && key.contains(&hex)).unwrap();
    storage::Driver::apply(&world.driver, storage::Batch::new().put(key, "damaged")).await.unwrap();
    let row = world.get_as(USER, &one("shop", "app", "v1"), TABLE).await.json()["rows"][0].clone();
    assert_eq!(row["cells"][4], digest.to_string());
    let whole = world.get(USER, &one("shop", "app", "v1")).await.json();
    assert_eq!(whole["status"]["digest"], digest.to_string());
    let listed = world.get(USER, &all(Some("shop"))).await.json();
    assert_eq!(tags(&listed), ["app:v1"]);
    assert_eq!(world.delete(USER, &one("shop", "app", "v1"), "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn other_forms() {
    let world = world(&["shop"]).await;
    let digest = world.push("shop/app", &["v1"], "a").await;
    let path = one("shop", "app", "v1");
    let object = world.get(USER, &path).await.json();
    let partial = world.get_as(USER, &path, PARTIAL).await.json();
    assert_eq!((&partial["kind"], &partial["apiVersion"]), (&"PartialObjectMetadata".into(), &"meta.k8s.io/v1".into()));
    assert_eq!(partial["metadata"], object["metadata"]);
    assert_eq!(partial.as_object().unwrap().len(), 3);
    let table = world.get_as(USER, &path, TABLE).await.json();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&"Table".into(), &"meta.k8s.io/v1".into()));
    assert_eq!(table["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 7);
    let cells = &table["rows"][0]["cells"];
    let expected = ["mfyhaotwge", "app", "v1", "registry.example.com/shop/app:v1", &digest.to_string()];
    assert_eq!(cells.as_array().unwrap()[..5], expected.map(Value::from));
    assert!(cells[5].as_str().unwrap().ends_with(" B") && cells[6].as_str().unwrap().ends_with('s'), "{cells}");
    assert_eq!(table["rows"][0]["object"], partial);
    let with = |include: &str| format!("{path}?includeObject={include}");
    let row = |table: Value| table["rows"][0]["object"].clone();
    assert_eq!(row(world.get_as(USER, &with("None"), TABLE).await.json()), Value::Null);
    assert_eq!(row(world.get_as(USER, &with("Object"), TABLE).await.json()), object);
    assert_eq!(refusal(&world.get_as(USER, &with("Some"), TABLE).await), (400, "BadRequest".into()));
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let not_found = (404, "NotFound".to_owned());
    for (repository, tag) in [("app", "v2"), ("other", "v1")] {
        assert_eq!(refusal(&world.get(USER, &one("shop", repository, tag)).await), not_found);
    }
    for odd in ["mfyhaotwgf", "a", "x-y", "1"] {
        assert_eq!(refusal(&world.get(USER, &format!("{}/{odd}", all(Some("shop")))).await), not_found, "{odd}");
    }
    for odd in ["MFYHAOTWGE", "a_b", "a%3Ab", "%C3%A4", &"a".repeat(700)] {
        let answer = world.get(USER, &format!("{}/{odd}", all(Some("shop")))).await;
        assert_eq!(refusal(&answer), (400, "BadRequest".into()), "{odd}");
    }
    assert_eq!(refusal(&world.get(USER, &one("other", "app", "v1")).await), not_found);
    assert_eq!(refusal(&world.get("bob", &one("shop", "app", "v1")).await), not_found, "nobody else's to know");
}

#[tokio::test]
async fn names_longer_than_kubernetes_has() {
    let world = world(&["shop"]).await;
    let (repository, tag) = ("r/".repeat(100) + "x", "t".repeat(128));
    world.push(&format!("shop/{repository}"), &[&tag], "a").await;
    let listed = world.get(USER, &all(Some("shop"))).await.json();
    let name = listed["items"][0]["metadata"]["name"].as_str().unwrap();
    assert!(name.len() > 253);
    assert_eq!(listed["items"][0]["metadata"].get("labels"), None, "too long for labels");
    let path = format!("{}/{name}", all(Some("shop")));
    assert_eq!(world.get(USER, &path).await.json(), listed["items"][0]);
    assert_eq!(world.delete(USER, &path, "").await.status, StatusCode::OK);
    assert_eq!(world.get(USER, &path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_life_has_one_uid() {
    let world = world(&["shop"]).await;
    let path = one("shop", "app", "v1");
    let look = async || {
        let metadata = world.get(USER, &path).await.json()["metadata"].clone();
        (metadata["uid"].clone(), metadata["resourceVersion"].clone(), metadata["creationTimestamp"].clone())
    };
    world.push("shop/app", &["v1"], "a").await;
    let first = look().await;
    assert_eq!(look().await, first);
    world.push("shop/app", &["v1"], "b").await;
    let moved = look().await;
    assert_eq!((&moved.0, &moved.2), (&first.0, &first.2));
    assert_ne!(moved.1, first.1);
    world.delete(USER, &path, "").await;
    world.push("shop/app", &["v1"], "b").await;
    assert_ne!(look().await.0, first.0);
}

#[tokio::test]
async fn a_named_tag_is_got_and_not_watched() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let object = world.get(USER, &one("shop", "app", "v1")).await.json();
    assert_eq!(
        world.get(USER, &format!("{}?watch=1&resourceVersion=5", one("shop", "app", "v1"))).await.json(),
        object
    );
}

#[tokio::test]
async fn a_named_tag_is_not_older_than_wanted() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let path = one("shop", "app", "v1");
    let object = world.get(USER, &path).await.json();
    let own = object["metadata"]["resourceVersion"].as_str().unwrap();
    // The clock of another replica may be ahead.
    for good in ["", "0", "5", own, &in_seconds(9).to_string()] {
        assert_eq!(world.get(USER, &format!("{path}?resourceVersion={good}")).await.json(), object, "{good}");
    }
    for bad in ["resourceVersion=abc", "resourceVersion=-1", &"a=b&".repeat(200)] {
        assert_eq!(refusal(&world.get(USER, &format!("{path}?{bad}")).await), (400, "BadRequest".into()), "{bad}");
    }
    let later = in_seconds(60);
    for path in [path, one("shop", "app", "none")] {
        is_too_large(&world.get(USER, &format!("{path}?resourceVersion={later}")).await, later);
    }
}
