use std::sync::atomic::Ordering;

use http::{Method, StatusCode};

use super::*;

const NOT_FOUND: (u16, &str) = (404, "NotFound");

fn is(answer: &Answer, expected: (u16, &str)) {
    assert_eq!(refusal(answer), (expected.0, expected.1.to_owned()));
}

async fn left(world: &World) -> Vec<String> {
    tags(&world.get(USER, &all(Some("shop"))).await.json())
}

#[tokio::test]
async fn a_tag_goes_and_others_stay() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1", "v2"], "a").await;
    let path = one("shop", "app", "v1");
    let uid = world.get(USER, &path).await.json()["metadata"]["uid"].clone();
    let answer = world.delete(USER, &path, r#"{"propagationPolicy":"Background"}"#).await;
    assert_eq!(answer.status, StatusCode::OK);
    let status = answer.json();
    assert_eq!((&status["kind"], &status["status"]), (&"Status".into(), &"Success".into()));
    assert_eq!((&status["details"]["name"], &status["details"]["uid"]), (&"mfyhaotwge".into(), &uid));
    assert_eq!(left(&world).await, ["app:v2"]);
    is(&world.get(USER, &path).await, NOT_FOUND);
    is(&world.delete(USER, &path, "").await, NOT_FOUND);
}

#[tokio::test]
async fn who_may_delete() {
    let world = World::start(&["shop"]).await;
    world.push("shop/app", &["v1", "v2"], "a").await;
    world.rights.grant("reader", "shop/*", &[Action::Pull]);
    world.rights.grant("remover", "shop/app", &[Action::Delete]);
    let (there, missing) = (one("shop", "app", "v1"), one("shop", "app", "none"));
    is(&world.delete("nobody", &there, "").await, NOT_FOUND);
    is(&world.delete("reader", &there, "").await, (403, "Forbidden"));
    is(&world.delete("reader", &missing, "").await, NOT_FOUND);
    is(&world.delete("remover", &missing, "").await, NOT_FOUND);
    is(&world.delete("remover", &one("other", "app", "v1"), "").await, NOT_FOUND);
    is(&world.get("remover", &there).await, NOT_FOUND);
    let many = world.delete("remover", &all(Some("shop")), "").await;
    assert_eq!(many.status, StatusCode::OK, "many are those that it sees");
    world.rights.grant("pusher", "shop/*", &[Action::Push]);
    is(&world.get("pusher", &there).await, NOT_FOUND);
    is(&world.delete("pusher", &there, "").await, NOT_FOUND);
    assert_eq!(world.delete("remover", &there, "").await.status, StatusCode::OK);
    is(&world.delete("remover", &format!("{}/A", all(Some("shop"))), "").await, (400, "BadRequest"));
    world.cluster.set_namespace("shop", "another-uid", false);
    let deadline = std::time::Instant::now() + crate::testing::PATIENCE;
    // The tenancy believes what it has seen for a moment.
    while world.get("reader", &one("shop", "app", "v2")).await.status == StatusCode::OK {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    world.rights.grant("remover", "shop/app", &[Action::Pull]);
    is(&world.delete("remover", &one("shop", "app", "v2"), "").await, NOT_FOUND);
}

#[tokio::test]
async fn preconditions_and_dry_runs() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let path = one("shop", "app", "v1");
    let metadata = world.get(USER, &path).await.json()["metadata"].clone();
    let with = |uid: &Value, version: &Value| {
        json!({ "preconditions": { "uid": uid, "resourceVersion": version } }).to_string()
    };
    let (uid, version) = (&metadata["uid"], &metadata["resourceVersion"]);
    is(&world.delete(USER, &path, &with(&"x".into(), &Value::Null)).await, (409, "Conflict"));
    is(&world.delete(USER, &path, &with(uid, &"5".into())).await, (409, "Conflict"));
    assert_eq!(world.delete(USER, &path, r#"{"dryRun":["All"]}"#).await.json()["status"], "Success");
    assert_eq!(world.delete(USER, &format!("{path}?dryRun=All"), "").await.json()["status"], "Success");
    is(&world.delete(USER, &one("shop", "app", "none"), r#"{"dryRun":["All"]}"#).await, NOT_FOUND);
    is(&world.delete(USER, &path, "{").await, (400, "BadRequest"));
    is(&world.delete(USER, &path, r#"{"dryRun":["Some"]}"#).await, (422, "Invalid"));
    assert_eq!(left(&world).await, ["app:v1"]);
    assert_eq!(world.delete(USER, &path, &with(uid, version)).await.status, StatusCode::OK);
    assert_eq!(left(&world).await, [""; 0]);
}

/// Pushed between the look at the preconditions and the deletion.
#[tokio::test]
async fn a_push_meanwhile_survives_preconditions() {
    let world = world(&["shop"]).await;
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{:064}", 1), "size": 1 });
    let manifest = |number: usize| {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [],
            "annotations": { "number": number.to_string() },
        })
    };
    let (mut gone, mut refused) = (0, 0);
    for round in 0..60 {
        world.push("shop/app", &["v1"], "a").await;
        let path = one("shop", "app", "v1");
        let metadata = world.get(USER, &path).await.json()["metadata"].clone();
        let what = if round % 2 == 0 { path.clone() } else { all(Some("shop")) };
        let body = json!({ "preconditions": { "resourceVersion": metadata["resourceVersion"] } }).to_string();
        let push = async {
            for _ in 0..round / 2 {
                tokio::task::yield_now().await;
            }
            world.push_manifest("shop/app", &["v1"], &manifest(round)).await
        };
        let (answer, pushed) = tokio::join!(world.delete(USER, &what, &body), push);
        match answer.status {
            StatusCode::OK => gone += 1,
            _ => {
                is(&answer, (409, "Conflict"));
                refused += 1;
            }
        }
        let left = world.get(USER, &path).await.json();
        assert_eq!(left["status"]["digest"], pushed.to_string(), "round {round}: {left}");
    }
    assert!(gone > 0 && refused > 0, "{gone} gone, {refused} refused");
}

#[tokio::test]
async fn switches() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1", "v2"], "a").await;
    let path = one("shop", "app", "v1");
    world.knobs.read_only.store(true, Ordering::SeqCst);
    for path in [&path, &all(Some("shop"))] {
        let refused = world.delete(USER, path, "").await;
        is(&refused, (503, "ServiceUnavailable"));
        assert_eq!(refused.header("retry-after"), "", "clients would wait for it, ten times");
    }
    world.knobs.read_only.store(false, Ordering::SeqCst);
    world.knobs.no_delete.store(true, Ordering::SeqCst);
    for path in [&path, &all(Some("shop"))] {
        is(&world.delete(USER, path, "").await, (405, "MethodNotAllowed"));
    }
    assert_eq!(left(&world).await.len(), 2);
    let nobody = World::start(&["shop"]).await;
    nobody.push("shop/app", &["v1"], "a").await;
    nobody.knobs.no_delete.store(true, Ordering::SeqCst);
    assert_eq!(nobody.delete(USER, &all(Some("shop")), "").await.status, StatusCode::OK, "nothing to see");
    world.cluster.set_namespace("shop", "shop-uid", true);
    let deadline = std::time::Instant::now() + crate::testing::PATIENCE;
    while world.delete(USER, &path, "").await.status != StatusCode::OK {
        assert!(std::time::Instant::now() < deadline, "a namespace that ends takes its tags along");
        tokio::task::yield_now().await;
    }
    assert_eq!(world.delete(USER, &all(Some("shop")), "").await.status, StatusCode::OK);
    assert_eq!(left(&world).await, [""; 0]);
}

#[tokio::test]
async fn what_is_not_there_needs_no_leave() {
    let world = world(&["shop", "empty"]).await;
    world.push("shop/app", &["v1"], "a").await;
    for knob in [&world.knobs.read_only, &world.knobs.no_delete] {
        knob.store(true, Ordering::SeqCst);
        // What the namespace controller sends for every namespace that ends.
        for path in [all(Some("empty")), format!("{}?fieldSelector=tag%3Dv2", all(Some("shop")))] {
            assert_eq!(world.delete(USER, &path, "").await.json()["status"], "Success", "{path}");
        }
        is(&world.delete(USER, &one("shop", "app", "none"), "").await, NOT_FOUND);
        is(&world.delete(USER, &one("empty", "app", "v1"), "").await, NOT_FOUND);
        assert!(world.delete(USER, &one("shop", "app", "v1"), "").await.status.as_u16() >= 400);
        knob.store(false, Ordering::SeqCst);
    }
    assert_eq!(left(&world).await, ["app:v1"]);
}

#[tokio::test]
async fn dependents_are_not_orphaned_silently() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    let path = one("shop", "app", "v1");
    is(&world.delete(USER, &path, r#"{"propagationPolicy":"Orphan"}"#).await, (422, "Invalid"));
    is(&world.delete(USER, &format!("{path}?orphanDependents=true"), "").await, (422, "Invalid"));
    is(&world.delete(USER, &all(Some("shop")), r#"{"propagationPolicy":"Orphan"}"#).await, (422, "Invalid"));
    assert_eq!(left(&world).await, ["app:v1"]);
    assert_eq!(world.delete(USER, &path, r#"{"propagationPolicy":"Foreground"}"#).await.status, StatusCode::OK);
}

#[tokio::test]
async fn collections() {
    let world = world(&["shop", "lab"]).await;
    let names: Vec<String> = (0..150).map(|number| format!("v{number}")).collect();
    for part in names.chunks(50) {
        world.push("shop/app", &part.iter().map(String::as_str).collect::<Vec<_>>(), "a").await;
    }
    world.push("shop/web", &["v1", "keep"], "b").await;
    world.push("lab/app", &["v1"], "c").await;
    let collection = all(Some("shop"));
    assert_eq!(world.delete(USER, &collection, r#"{"dryRun":["All"]}"#).await.status, StatusCode::OK);
    assert_eq!(left(&world).await.len(), 152);
    let selected = format!("{collection}?labelSelector=payload-registry.deckhouse.io/tag%3Dv1");
    assert_eq!(world.delete(USER, &selected, "").await.json()["status"], "Success");
    assert_eq!(left(&world).await.len(), 150);
    assert_eq!(
        world.delete(USER, &format!("{collection}?limit=10&fieldSelector=repository%3Dapp"), "").await.status,
        StatusCode::OK
    );
    assert_eq!(left(&world).await.len(), 140);
    assert_eq!(
        world.delete(USER, &format!("{collection}?fieldSelector=repository%3Dapp"), "").await.status,
        StatusCode::OK
    );
    assert_eq!(left(&world).await, ["web:keep"]);
    assert_eq!(world.delete(USER, &collection, "").await.status, StatusCode::OK);
    assert_eq!(left(&world).await, [""; 0]);
    assert_eq!(world.delete(USER, &collection, "").await.status, StatusCode::OK, "nothing is left, and that is fine");
    assert_eq!(tags(&world.get(USER, &all(Some("lab"))).await.json()), ["app:v1"]);
    is(&world.delete(USER, &all(None), "").await, (405, "MethodNotAllowed"));
    is(&world.delete(USER, &format!("{collection}?labelSelector=%3D"), "").await, (400, "BadRequest"));
}

#[tokio::test]
async fn what_may_not_be_deleted_is_left_and_counted() {
    let world = World::start(&["shop"]).await;
    world.push("shop/app", &["v1", "v2"], "a").await;
    world.push("shop/web", &["v1"], "b").await;
    world.push("shop/hidden", &["v1"], "c").await;
    world.rights.grant(USER, "shop/app", &[Action::Pull, Action::Delete]);
    world.rights.grant(USER, "shop/web", &[Action::Pull]);
    let refused = world.delete(USER, &all(Some("shop")), "").await;
    is(&refused, (403, "Forbidden"));
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("2 tags were deleted") && message.contains("1 others"), "{message}");
    assert_eq!(left(&world).await, ["web:v1"]);
    world.rights.grant("root", "shop/*", &[Action::Pull]);
    assert_eq!(tags(&world.get("root", &all(Some("shop"))).await.json()), ["hidden:v1", "web:v1"]);
    assert_eq!(
        world.delete("nobody", &all(Some("shop")), "").await.status,
        StatusCode::OK,
        "nothing to see, nothing to do"
    );
    assert_eq!(tags(&world.get("root", &all(Some("shop"))).await.json()).len(), 2);
}

#[tokio::test]
async fn tags_are_not_made_here() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1"], "a").await;
    for (method, path) in [
        (Method::POST, all(Some("shop"))),
        (Method::PUT, one("shop", "app", "v1")),
        (Method::PATCH, one("shop", "app", "v1")),
    ] {
        is(&world.ask(USER, method, &path, &[], "{}").await, (405, "MethodNotAllowed"));
    }
}

#[tokio::test]
async fn an_immutable_tag_goes_with_its_namespace_only() {
    let world = world(&["shop"]).await;
    world.push("shop/app", &["v1", "dev"], "a").await;
    world.store.set_immutable_tags(content::ImmutableTags::parse(&["shop/*:v*"]).unwrap());
    let path = one("shop", "app", "v1");
    for (path, body) in [(&path, ""), (&path, r#"{"dryRun":["All"]}"#)] {
        let answer = world.delete(USER, path, body).await;
        is(&answer, (403, "Forbidden"));
        let message = answer.json()["message"].to_string();
        assert!(message.contains("is forbidden: the tag is immutable"), "{message}");
    }
    is(&world.delete(USER, &one("shop", "app", "v2"), "").await, NOT_FOUND);
    let answer = world.delete(USER, &all(Some("shop")), "").await;
    is(&answer, (403, "Forbidden"));
    assert_eq!(answer.json()["message"], "1 tags were deleted, 1 others are immutable");
    assert_eq!(left(&world).await, ["app:v1"]);

    world.cluster.set_namespace("shop", "shop-uid", true);
    let deadline = std::time::Instant::now() + crate::testing::PATIENCE;
    while world.delete(USER, &all(Some("shop")), "").await.status != StatusCode::OK {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert_eq!(left(&world).await, [""; 0]);
}
