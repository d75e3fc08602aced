//! Namespaces that come, go, and come again.

use crate::script::user;
use crate::world::{ALL, BLOB, CI, World, bearer, manifest};
use access::{NamespaceState, NamespaceUid, Source};
use content::{Namespace, Removal};
use oci::Digest;
use std::sync::atomic::Ordering;

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn the_first_push_claims_the_namespace() {
    let world = World::new().await;
    assert_eq!(world.owner("shop").await, None);
    world.push("shop/app", "v1").await;
    assert_eq!(world.owner("shop").await.as_deref(), Some("u1"));
    assert_eq!(world.ci("GET", "/v2/shop/app/manifests/v1", b"").await.status, 200);
}

#[tokio::test]
async fn a_namespace_made_anew_sees_nothing_of_the_old_one() {
    let world = World::new().await;
    let image = world.push("shop/app", "v1").await;
    let blob = Digest::sha256(BLOB);
    // What is remembered must not help either.
    assert_eq!(world.ci("GET", &format!("/v2/shop/app/manifests/{image}"), b"").await.status, 200);
    assert_eq!(world.ci("GET", &format!("/v2/shop/app/blobs/{blob}"), b"").await.status, 200);
    world.script.exists("other", "o1");
    world.script.grant(user(CI), &ALL, "other", "**");
    world.script.exists("shop", "u2");
    for (method, path) in [
        ("GET", "manifests/v1".to_owned()),
        ("GET", format!("manifests/{image}")),
        ("GET", format!("blobs/{blob}")),
        ("GET", "tags/list".to_owned()),
        ("GET", format!("referrers/{image}")),
        ("DELETE", "manifests/v1".to_owned()),
        ("DELETE", format!("blobs/{blob}")),
    ] {
        let answer = world.ci(method, &format!("/v2/shop/app/{path}"), b"").await;
        assert_eq!(answer.refusal(), refusal(404, "NAME_UNKNOWN"), "{method} {path}: {}", answer.body);
    }
    assert_eq!(world.ci("HEAD", "/v2/shop/app/manifests/v1", b"").await.status, 404);
    for (method, path, body) in [
        ("POST", "blobs/uploads/".to_owned(), BLOB),
        ("POST", format!("blobs/uploads/?digest={blob}"), BLOB),
        ("POST", format!("blobs/uploads/?mount={blob}&from=shop/app"), b""),
        ("PUT", "manifests/v1".to_owned(), manifest().as_bytes()),
    ] {
        let answer = world.ci(method, &format!("/v2/shop/app/{path}"), body).await;
        assert_eq!(answer.refusal(), refusal(503, "UNAVAILABLE"), "{method} {path}");
        assert_eq!(answer.header("retry-after"), "5");
        assert!(answer.message().contains("\"shop\" was deleted and made anew"), "{}", answer.body);
    }
    let mount = world.ci("POST", &format!("/v2/other/x/blobs/uploads/?mount={blob}&from=shop/app"), b"").await;
    assert_eq!(mount.status, 202, "a mount is a plain upload");
    assert_eq!(world.ci("GET", "/v2/_catalog", b"").await.json()["repositories"], serde_json::json!([]));

    let other = world.other_process();
    let removed = other.delete_namespace(Namespace::parse("shop").unwrap(), "u1", Some("u2")).await.unwrap();
    assert_eq!(removed, Removal::Done);
    for path in [format!("manifests/{image}"), format!("blobs/{blob}"), "manifests/v1".to_owned()] {
        assert_eq!(world.ci("GET", &format!("/v2/shop/app/{path}"), b"").await.status, 404, "{path}");
    }
    world.push("shop/app", "v2").await;
    let tags = world.ci("GET", "/v2/shop/app/tags/list", b"").await.json();
    assert_eq!(tags["tags"], serde_json::json!(["v2"]));
}

#[tokio::test]
async fn what_was_remembered_before_an_unseen_removal_is_not_served() {
    let world = World::new().await;
    let image = world.push("shop/app", "v1").await;
    world.script.set("shop", NamespaceState::Absent);
    let path = format!("/v2/shop/app/manifests/{image}");
    assert_eq!(world.ci("GET", &path, b"").await.status, 200, "still read by whoever may");
    // All at once: removed by another process, made anew, and nobody has claimed it yet.
    let other = world.other_process();
    other.delete_namespace(Namespace::parse("shop").unwrap(), "u1", None).await.unwrap();
    world.script.exists("shop", "u2");
    assert_eq!(world.ci("GET", &path, b"").await.status, 404);
}

#[tokio::test]
async fn a_session_ends_with_its_namespace() {
    let world = World::new().await;
    let blob = Digest::sha256(BLOB);
    let (empty, begun) = (world.begin("shop/app").await, world.begin("shop/app").await);
    let chunk = world.ci("PATCH", &begun, BLOB).await;
    assert_eq!(chunk.status, 202);
    let begun = chunk.header("location").to_owned();
    world.script.exists("shop", "u2");
    let bare = begun.split('?').next().unwrap();
    for address in [&*empty, &*begun, bare] {
        let separator = if address.contains('?') { '&' } else { '?' };
        for (method, path) in [
            ("GET", address.to_owned()),
            ("PATCH", address.to_owned()),
            ("PUT", format!("{address}{separator}digest={blob}")),
            ("DELETE", address.to_owned()),
        ] {
            let answer = world.ci(method, &path, BLOB).await;
            assert_eq!(answer.refusal(), refusal(404, "BLOB_UPLOAD_UNKNOWN"), "{method} {path}");
        }
    }
    // Its bytes do not come back with the removal done.
    let other = world.other_process();
    other.delete_namespace(Namespace::parse("shop").unwrap(), "u1", Some("u2")).await.unwrap();
    let late = world.ci("PUT", &format!("{empty}&digest={blob}"), BLOB).await;
    assert_eq!(late.refusal(), refusal(404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(world.ci("GET", &format!("/v2/shop/app/blobs/{blob}"), b"").await.status, 404);
}

#[tokio::test]
async fn a_namespace_that_goes_during_a_push_gets_nothing_more() {
    let blob = Digest::sha256(BLOB);
    let uid = || NamespaceUid("u1".into());
    for (state, blob_refused, manifest_refused) in [
        (NamespaceState::Terminating(uid()), refusal(403, "DENIED"), refusal(403, "DENIED")),
        (NamespaceState::Absent, refusal(403, "DENIED"), refusal(403, "DENIED")),
        (NamespaceState::Unknown, refusal(503, "UNAVAILABLE"), refusal(503, "UNAVAILABLE")),
        (NamespaceState::Exists(NamespaceUid("u2".into())), refusal(503, "UNAVAILABLE"), refusal(503, "UNAVAILABLE")),
    ] {
        let world = World::new().await;
        world.push("shop/app", "v1").await;
        let address = world.begin("shop/app").await;
        world.script.asked.store(0, Ordering::SeqCst);
        // The requests are admitted and wait for their bodies when the namespace goes.
        let mut upload = world.ci_begin("PUT", &format!("{address}&digest={blob}"), BLOB.len()).await;
        upload.send(&BLOB[..1]).await;
        let manifest = manifest();
        let mut put = world.ci_begin("PUT", "/v2/shop/app/manifests/v2", manifest.len()).await;
        put.send(&manifest.as_bytes()[..1]).await;
        world.until_asked(2).await;
        world.script.set("shop", state.clone());
        upload.send(&BLOB[1..]).await;
        put.send(&manifest.as_bytes()[1..]).await;
        assert_eq!(upload.answer().await.refusal(), blob_refused, "{state:?}");
        assert_eq!(put.answer().await.refusal(), manifest_refused, "{state:?}");
        world.script.exists("shop", "u1");
        let tags = world.ci("GET", "/v2/shop/app/tags/list", b"").await.json();
        assert_eq!(tags["tags"], serde_json::json!(["v1"]), "{state:?}");
    }
}

#[tokio::test]
async fn a_namespace_made_anew_and_emptied_during_a_push_gets_nothing_of_it() {
    let world = World::new().await;
    let address = world.begin("shop/app").await;
    let blob = Digest::sha256(BLOB);
    world.script.asked.store(0, Ordering::SeqCst);
    let mut upload = world.ci_begin("PUT", &format!("{address}&digest={blob}"), BLOB.len()).await;
    upload.send(&BLOB[..1]).await;
    world.until_asked(1).await;
    world.script.exists("shop", "u2");
    let other = world.other_process();
    other.delete_namespace(Namespace::parse("shop").unwrap(), "u1", Some("u2")).await.unwrap();
    upload.send(&BLOB[1..]).await;
    assert_eq!(upload.answer().await.refusal(), refusal(404, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(world.ci("GET", &format!("/v2/shop/app/blobs/{blob}"), b"").await.status, 404);
}

#[tokio::test]
async fn while_the_cluster_is_away_reading_goes_on_and_pushes_wait() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    let address = world.begin("shop/app").await;
    let blob = Digest::sha256(BLOB);
    world.script.away.store(true, Ordering::SeqCst);
    assert_eq!(world.ci("GET", "/v2/shop/app/manifests/v1", b"").await.status, 200);
    for (method, path, body) in [
        ("POST", "/v2/shop/app/blobs/uploads/".to_owned(), BLOB),
        ("PUT", "/v2/shop/app/manifests/v2".to_owned(), manifest().as_bytes()),
        ("PUT", format!("{address}&digest={blob}"), BLOB),
    ] {
        let answer = world.ci(method, &path, body).await;
        assert_eq!(answer.refusal(), refusal(503, "UNAVAILABLE"), "{method} {path}");
        assert_eq!(answer.header("retry-after"), "5");
        assert!(answer.message().contains("the cluster's API does not answer"), "{}", answer.body);
    }
    // What has begun may be brought nearer to its end, and ended once the cluster is back.
    let chunk = world.ci("PATCH", &address, BLOB).await;
    assert_eq!(chunk.status, 202, "{}", chunk.body);
    world.script.away.store(false, Ordering::SeqCst);
    let ended = world.ci("PUT", &format!("{}&digest={blob}", chunk.header("location")), b"").await;
    assert_eq!(ended.status, 201, "{}", ended.body);
}

#[tokio::test]
async fn pushes_need_a_namespace() {
    let world = World::new().await;
    for (name, text) in [
        ("gone", "namespace \"gone\" does not exist"),
        ("a_b", "\"a_b\" cannot be the name of a namespace"),
        ("going", "namespace \"going\" is being deleted"),
    ] {
        world.script.grant(user(CI), &ALL, name, "**");
        world.script.set("going", NamespaceState::Terminating(NamespaceUid("g".into())));
        let answer = world.ci("POST", &format!("/v2/{name}/app/blobs/uploads/"), b"").await;
        assert_eq!(answer.refusal(), refusal(403, "DENIED"));
        assert!(answer.message().contains(text), "{}", answer.body);
        assert_eq!(world.owner(name).await, None);
    }
}

#[tokio::test]
async fn content_from_before_the_cluster_is_served_and_claimed_by_a_push() {
    let world = World::new().await;
    let store = world.other_process();
    let name = oci::RepoName::parse("shop/old").unwrap();
    let ticket = store.upload_begin(name, oci::Algorithm::Sha256, None);
    let mut upload = store.upload_open(name, ticket.id, Some(&ticket), None).await.unwrap();
    upload.write(BLOB).await.unwrap();
    upload.commit(name, Digest::sha256(BLOB)).await.unwrap();
    let path = format!("/v2/shop/old/blobs/{}", Digest::sha256(BLOB));
    world.script.set("shop", NamespaceState::Absent);
    assert_eq!(world.ci("GET", &path, b"").await.status, 200);
    world.script.exists("shop", "u1");
    assert_eq!(world.ci("GET", &path, b"").await.status, 200);
    // What was seen is not forgotten for a namespace that comes for the first time.
    let metrics = world.send(None, "GET", "/extensions/v2/metrics", b"").await.body;
    assert!(metrics.contains("homeport_cache_lookups_total{cache=\"repository\",result=\"hit\"} 1\n"), "{metrics}");
    assert_eq!(world.owner("shop").await, None, "reading claims nothing");
    world.push("shop/old", "v1").await;
    assert_eq!(world.owner("shop").await.as_deref(), Some("u1"));
}

#[tokio::test]
async fn a_damaged_owner_record_serves_nobody() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    world.script.exists("toys", "t1");
    world.script.grant(user(CI), &ALL, "toys", "**");
    world.push("toys/car", "v1").await;
    let damaged = storage::Batch::new().put("homeport/v1/namespaces/shop", "?");
    storage::Driver::apply(&world.driver, damaged).await.unwrap();
    // Another UID, so that what was seen a moment ago does not count.
    world.script.exists("shop", "u2");
    for (method, body) in [("GET", "".to_owned()), ("PUT", manifest())] {
        let answer = world.ci(method, "/v2/shop/app/manifests/v1", body.as_bytes()).await;
        assert_eq!(answer.refusal(), refusal(503, "UNAVAILABLE"), "{method}");
    }
    let catalog = world.ci("GET", "/v2/_catalog", b"").await.json();
    assert_eq!(catalog["repositories"], serde_json::json!(["toys/car"]));
}

#[tokio::test]
async fn content_of_another_cluster_is_not_claimed() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    world.script.exists("kube-system", "another");
    world.script.exists("new", "n1");
    world.script.grant(user(CI), &ALL, "new", "**");
    let answer = world.ci("POST", "/v2/new/app/blobs/uploads/", BLOB).await;
    assert_eq!(answer.refusal(), refusal(503, "UNAVAILABLE"), "{}", answer.body);
    assert!(answer.message().contains("another cluster"), "{}", answer.body);
    assert_eq!(world.owner("new").await, None);
}

#[tokio::test]
async fn a_push_is_for_the_namespace_that_is_there_and_not_for_the_one_in_memory() {
    let u1 = || NamespaceState::Exists(NamespaceUid("u1".into()));
    let blob = Digest::sha256(BLOB);
    let world = World::new().await;
    world.script.lags("shop", u1());
    world.script.exists("shop", "u2");
    // What nobody has claimed becomes the living one's.
    world.push("shop/app", "v1").await;
    assert_eq!(world.owner("shop").await.as_deref(), Some("u2"));
    assert_eq!(world.ci("GET", "/v2/shop/app/manifests/v1", b"").await.status, 200);
    for unsure in [NamespaceState::Absent, NamespaceState::Unknown] {
        world.script.set("shop", unsure.clone());
        assert_eq!(world.ci("GET", "/v2/shop/app/manifests/v1", b"").await.status, 404, "{unsure:?}");
    }

    let world = World::new().await;
    world.script.lags("shop", u1());
    world.push("shop/app", "v1").await;
    let address = world.begin("shop/app").await;
    world.script.asked.store(0, Ordering::SeqCst);
    let manifest = manifest();
    let mut put = world.ci_begin("PUT", "/v2/shop/app/manifests/v2", manifest.len()).await;
    put.send(&manifest.as_bytes()[..1]).await;
    world.until_asked(1).await;
    world.script.exists("shop", "u2");
    put.send(&manifest.as_bytes()[1..]).await;
    assert_eq!(put.answer().await.refusal(), refusal(503, "UNAVAILABLE"), "admitted before, ended after");
    for (method, path, body) in [
        ("POST", "/v2/shop/app/blobs/uploads/".to_owned(), &b""[..]),
        ("PUT", "/v2/shop/app/manifests/v2".to_owned(), manifest.as_bytes()),
        ("PUT", format!("{address}&digest={blob}"), BLOB),
    ] {
        let answer = world.ci(method, &path, body).await;
        assert_eq!(answer.refusal(), refusal(503, "UNAVAILABLE"), "{method} {path}");
        assert!(answer.message().contains("\"shop\" was deleted and made anew"), "{}", answer.body);
    }
    world.script.exists("shop", "u1");
    let tags = world.ci("GET", "/v2/shop/app/tags/list", b"").await.json();
    assert_eq!(tags["tags"], serde_json::json!(["v1"]));
}

#[tokio::test]
async fn absent_in_memory_is_not_absent() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    let pull = async || world.ci("GET", "/v2/shop/app/manifests/v1", b"").await;
    for memory in [NamespaceState::Absent, NamespaceState::Unknown] {
        world.script.lags("shop", memory.clone());
        for (living, status) in [
            (NamespaceState::Exists(NamespaceUid("u2".into())), 404),
            (NamespaceState::Terminating(NamespaceUid("u2".into())), 404),
            (NamespaceState::Exists(NamespaceUid("u1".into())), 200),
            (NamespaceState::Absent, 200),
            (NamespaceState::Unknown, 200),
        ] {
            world.script.set("shop", living.clone());
            assert_eq!(pull().await.status, status, "{memory:?} {living:?}");
        }
        // Nobody is asked who does not answer.
        world.script.exists("shop", "u2");
        world.script.away.store(true, Ordering::SeqCst);
        assert_eq!(pull().await.status, 200);
        world.script.away.store(false, Ordering::SeqCst);
        assert_eq!(pull().await.status, 404);
    }
}

#[tokio::test]
async fn while_the_cluster_is_away_nobody_deletes() {
    let world = World::new().await;
    let image = world.push("shop/app", "v1").await;
    let users = [bearer(&world.own_token(Some(Source::Htpasswd))), bearer(&world.token(CI))];
    let paths = ["manifests/v1".to_owned(), format!("manifests/{image}"), format!("blobs/{}", Digest::sha256(BLOB))];
    world.script.away.store(true, Ordering::SeqCst);
    for path in &paths {
        for authorization in &users {
            let answer = world.send(Some(authorization), "DELETE", &format!("/v2/shop/app/{path}"), b"").await;
            assert_eq!(answer.refusal(), refusal(503, "UNAVAILABLE"), "{path}");
            assert_eq!(answer.header("retry-after"), "5");
            assert!(answer.message().contains("nothing can be deleted"), "{}", answer.body);
        }
    }
    world.script.away.store(false, Ordering::SeqCst);
    for path in &paths {
        let answer = world.send(Some(&users[0]), "DELETE", &format!("/v2/shop/app/{path}"), b"").await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_mount_from_a_damaged_namespace_is_a_plain_upload() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    world.script.exists("toys", "t1");
    world.script.grant(user(CI), &ALL, "toys", "**");
    let damaged = storage::Batch::new().put("homeport/v1/namespaces/shop", "?");
    storage::Driver::apply(&world.driver, damaged).await.unwrap();
    // Another UID, so that what was seen a moment ago does not count.
    world.script.exists("shop", "u2");
    let path = format!("/v2/toys/car/blobs/uploads/?mount={}&from=shop/app", Digest::sha256(BLOB));
    let mount = world.ci("POST", &path, b"").await;
    assert_eq!(mount.status, 202, "{}", mount.body);
}
