//! Callers who bring a token of the cluster.

use crate::script::user;
use crate::world::{BLOB, CI, World, basic, bearer, manifest};
use access::{Action, Source, Subject};
use oci::Digest;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn the_token_endpoint_hands_the_token_back() {
    let world = World::new().await;
    let token = world.token(CI);
    let scope = "scope=repository:shop/app:pull,push";
    for (authorization, query) in [
        (basic("token", &token), scope.to_owned()),
        (basic("anything", &token), format!("{scope}&offline_token=true")),
        (basic("", &token), scope.to_owned()),
        (basic("<token>", &token), scope.to_owned()),
        (basic("token", &token), format!("{scope}&account=token")),
        (basic("token", &token), format!("{scope}&account={CI}")),
        (bearer(&token), format!("{scope}&account={CI}")),
        (bearer(&token), String::new()),
    ] {
        for path in ["/token", "/openshift/token"] {
            let answer = world.send(Some(&authorization), "GET", &format!("{path}?{query}"), b"").await;
            assert_eq!(answer.status, 200, "{query}: {}", answer.body);
            let json = answer.json();
            assert_eq!((json["token"].as_str(), json["access_token"].as_str()), (Some(&*token), Some(&*token)));
            assert_eq!(json["expires_in"], 300);
            assert!(json["issued_at"].as_str().unwrap().contains('T'), "{json}");
            assert_eq!(json.get("refresh_token"), None);
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }
    assert_eq!(world.script.reviews.load(Ordering::SeqCst), 1);
    let short = world.token_for(CI, 90);
    let answer = world.send(Some(&basic("token", &short)), "GET", "/token", b"").await;
    assert_eq!(answer.json()["expires_in"], 90);
}

#[tokio::test]
async fn forms_work_too() {
    let world = World::new().await;
    let token = world.token(CI);
    for form in [
        format!("grant_type=password&service=registry.test&username=token&password={token}&access_type=offline"),
        format!("grant_type=refresh_token&service=registry.test&refresh_token={token}"),
    ] {
        let answer = world.post_form("/token", &form).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["access_token"].as_str(), Some(&*token));
        assert_eq!(answer.json().get("refresh_token"), None);
    }
    let refused = world.post_form("/token", "grant_type=refresh_token&refresh_token=a.b.c").await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn nobody_gets_a_token_for_somebody_else() {
    let world = World::new().await;
    let token = world.token(CI);
    for (authorization, account) in
        [(basic("token", &token), "root"), (basic("token", &token), ""), (bearer(&token), "token")]
    {
        let answer = world.send(Some(&authorization), "GET", &format!("/token?account={account}"), b"").await;
        assert_eq!(answer.status, 400, "{account}: {}", answer.body);
    }
}

#[tokio::test]
async fn our_own_access_token_does_not_renew_itself() {
    let world = World::new().await;
    for own in [world.own_token(None), world.own_token(Some(Source::Htpasswd))] {
        for authorization in [bearer(&own), basic("", &own), basic("<token>", &own), basic("token", &own)] {
            let answer = world.send(Some(&authorization), "GET", "/token", b"").await;
            assert_eq!(answer.status, 401, "{}", answer.body);
        }
        let answer = world.post_form("/token", &format!("grant_type=refresh_token&refresh_token={own}")).await;
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
    assert_eq!(world.script.reviews.load(Ordering::SeqCst), 0, "our tokens are shown to nobody");
}

#[tokio::test]
async fn who_is_known_and_who_may() {
    let world = World::new().await;
    let stranger = "system:serviceaccount:toys:x";
    assert_eq!(world.send(None, "GET", "/v2/", b"").await.status, 401);
    for authorization in [bearer(&world.token(stranger)), basic("token", &world.token(stranger))] {
        assert_eq!(world.send(Some(&authorization), "GET", "/v2/", b"").await.status, 200);
        let refused = world.send(Some(&authorization), "PUT", "/v2/shop/a/b/manifests/v1", b"").await;
        assert_eq!(refused.refusal(), (403, "DENIED".to_owned()));
        assert!(refused.message().contains(stranger), "{}", refused.body);
        let detail = serde_json::json!({
            "verb": "create", "resource": "payloadrepositoryaccesses.payload-registry.deckhouse.io",
            "namespace": "shop", "path": "a/b",
        });
        assert_eq!(refused.json()["errors"][0]["detail"], detail);
    }
    // Rights of the cluster would not help a user of ours.
    let own = world.own_token(Some(Source::StaticUser));
    let refused = world.send(Some(&bearer(&own)), "PUT", "/v2/shop/a/b/manifests/v1", b"").await;
    assert_eq!(refused.refusal(), (403, "DENIED".to_owned()));
    assert_eq!(refused.json()["errors"][0].get("detail"), None);
    // Everybody has a token, and with it what everybody may do.
    let anonymous = world.send(None, "GET", "/token?scope=repository:shop/app:pull", b"").await;
    let token = anonymous.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(world.send(Some(&bearer(&token)), "GET", "/v2/shop/app/tags/list", b"").await.status, 401);
    world.push("shop/app", "v1").await;
    let everybody = Subject::Group("system:unauthenticated".into());
    world.script.grant(everybody, &[Action::Pull], "shop", "app");
    assert_eq!(world.send(Some(&bearer(&token)), "GET", "/v2/shop/app/tags/list", b"").await.status, 200);
    assert_eq!(world.send(None, "GET", "/v2/shop/app/tags/list", b"").await.status, 200);
}

#[tokio::test]
async fn undecided_is_neither_yes_nor_no() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    world.script.undecided.store(true, Ordering::SeqCst);
    for (method, text) in [("GET", "try again"), ("PUT", "nothing can be pushed"), ("DELETE", "nothing can be deleted")]
    {
        let answer = world.ci(method, "/v2/shop/app/manifests/v1", manifest().as_bytes()).await;
        assert_eq!(answer.refusal(), (503, "UNAVAILABLE".to_owned()), "{method}");
        assert_eq!(answer.header("retry-after"), "7");
        assert!(answer.message().contains(text), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_long_upload_outlives_its_token_but_not_a_revocation() {
    for revoked in [false, true] {
        let world = World::new().await;
        let token = world.token_for(CI, 100);
        let blob = Digest::sha256(BLOB);
        let begun = world.send(Some(&bearer(&token)), "POST", "/v2/shop/app/blobs/uploads/", b"").await;
        let address = begun.header("location").to_owned();
        if revoked {
            world.script.revoke_token(&token);
            world.clock.advance(Duration::from_secs(61));
            assert_eq!(world.send(Some(&bearer(&token)), "GET", "/v2/", b"").await.status, 401);
        }
        world.clock.advance(Duration::from_secs(200));
        for authorization in [bearer(&token), basic("token", &token)] {
            assert_eq!(world.send(Some(&authorization), "GET", "/v2/", b"").await.status, 401);
            let chunk = world.send(Some(&authorization), "GET", &address, b"").await;
            assert_eq!(chunk.status, if revoked { 401 } else { 204 }, "{}", chunk.body);
        }
        let ended = world.send(Some(&bearer(&token)), "PUT", &format!("{address}&digest={blob}"), BLOB).await;
        assert_eq!(ended.status, if revoked { 401 } else { 201 }, "{}", ended.body);
        // Without the address that was signed for its caller it is good for nothing.
        let other = world.begin("shop/app").await;
        let bare = other.split('?').next().unwrap();
        assert_eq!(world.send(Some(&bearer(&token)), "GET", bare, b"").await.status, 401);
    }
}

#[tokio::test]
async fn a_right_that_is_taken_back_stops_the_next_request_of_an_upload() {
    let blob = Digest::sha256(BLOB);
    for ended in [false, true] {
        let world = World::new().await;
        let builder = "system:serviceaccount:shop:builder";
        let binding = world.script.grant(user(builder), &[Action::Push], "shop", "**");
        let authorization = bearer(&world.token_for(builder, 100));
        let send = async |method: &str, path: &str, body| world.send(Some(&authorization), method, path, body).await;
        let begun = send("POST", "/v2/shop/app/blobs/uploads/", b"").await;
        let chunk = send("PATCH", begun.header("location"), BLOB).await;
        assert_eq!(chunk.status, 202, "{}", chunk.body);
        let address = chunk.header("location").to_owned();
        if ended {
            world.clock.advance(Duration::from_secs(200));
        }
        assert_eq!(send("GET", &address, b"").await.status, 204);
        world.script.revoke(&binding);
        let end = format!("{address}&digest={blob}");
        for (method, path) in [("GET", &address), ("PATCH", &address), ("PUT", &end), ("DELETE", &address)] {
            let answer = send(method, path, b"").await;
            assert_eq!(answer.refusal(), (403, "DENIED".to_owned()), "{method} {ended}");
        }
        world.script.grant(user(builder), &[Action::Push], "shop", "**");
        assert_eq!(send("PUT", &end, b"").await.status, 201, "nothing was lost");
    }
}

#[tokio::test]
async fn while_rights_are_unknown_an_upload_goes_on_and_does_not_end() {
    let world = World::new().await;
    let blob = Digest::sha256(BLOB);
    let address = world.begin("shop/app").await;
    world.script.undecided.store(true, Ordering::SeqCst);
    let chunk = world.ci("PATCH", &address, BLOB).await;
    assert_eq!(chunk.status, 202, "{}", chunk.body);
    let address = chunk.header("location").to_owned();
    assert_eq!(world.ci("GET", &address, b"").await.status, 204);
    let bare = address.split('?').next().unwrap();
    let end = format!("{address}&digest={blob}");
    for (method, path) in [("PUT", &*end), ("DELETE", &*address), ("GET", bare), ("PATCH", bare)] {
        assert_eq!(world.ci(method, path, b"").await.refusal(), (503, "UNAVAILABLE".to_owned()), "{method} {path}");
    }
    // A ticket helps nobody but the one it was given to.
    let other = bearer(&world.token("system:serviceaccount:toys:x"));
    assert_eq!(world.send(Some(&other), "PATCH", &address, b"x").await.status, 503);
    world.script.undecided.store(false, Ordering::SeqCst);
    assert_eq!(world.ci("PUT", &end, b"").await.status, 201);
}

#[tokio::test]
async fn a_mount_without_the_right_looks_like_one_of_nothing() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    let reader = "system:serviceaccount:toys:x";
    world.script.exists("toys", "t1");
    world.script.grant(user(reader), &[Action::Push, Action::Pull], "toys", "**");
    let (there, nowhere) = (Digest::sha256(BLOB), Digest::sha256(b"nowhere"));
    let mut answers = Vec::new();
    for (digest, from) in [(there, "shop/app"), (nowhere, "shop/app"), (nowhere, "toys/b"), (there, "no/such")] {
        let path = format!("/v2/toys/a/blobs/uploads/?mount={digest}&from={from}");
        let answer = world.send(Some(&bearer(&world.token(reader))), "POST", &path, b"").await;
        let names = answer.head.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned());
        answers.push((answer.status, answer.body.clone(), names.collect::<Vec<_>>()));
    }
    assert_eq!(answers[0].0, 202);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn the_metrics_tell_what_callers_cost() {
    let world = World::new().await;
    world.push("shop/app", "v1").await;
    world.ci("GET", "/v2/no/right/tags/list", b"").await;
    world.send(Some(&bearer("a.b.c")), "GET", "/v2/", b"").await;
    let text = world.send(None, "GET", "/extensions/v2/metrics", b"").await.body;
    for line in [
        "homeport_token_reviews_total{result=\"answered\"} 1",
        "homeport_token_answers_total{answer=\"accepted\"} 2",
        "registry_auth_k8s_authz_requests_total{code=\"200\"} 2",
        "registry_auth_k8s_authz_requests_total{code=\"403\"} 1",
        "registry_auth_k8s_authz_request_latency_seconds_count{code=\"403\"} 1",
        "script_figures 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
