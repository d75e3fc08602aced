use super::*;
use crate::counters::Outcome;
use crate::testing::Server;

fn user(name: &str, group: &str) -> Caller {
    Caller::named(name, Source::Cluster).with_groups([group])
}

fn answer(allowed: bool) -> Option<(u16, String)> {
    Some((201, format!(r#"{{"status":{{"allowed":{allowed}}}}}"#)))
}

#[tokio::test]
async fn answers_are_asked_for_once_and_believed_for_ten_seconds() {
    let server = Server::start(|target, body| {
        assert_eq!(target, "/apis/authorization.k8s.io/v1/subjectaccessreviews");
        let asked: serde_json::Value = serde_json::from_str(body).unwrap();
        let spec = &asked["spec"];
        assert!(spec.get("resourceAttributes").is_none(), "{body}");
        let what = &spec["nonResourceAttributes"];
        answer(spec["user"] == "bob" && spec["groups"][0] == "g" && what["path"] == "/apis" && what["verb"] == "get")
    })
    .await;
    let reviews = PathReviews::new(&server.connection);
    let (bob, eve) = (user("bob", "g"), user("eve", "g"));
    for round in 1..=2 {
        for _ in 0..3 {
            assert_eq!(reviews.allowed(&bob, "/apis", "get").await, Ok(true));
            assert_eq!(reviews.allowed(&bob, "/apis", "post").await, Ok(false));
            assert_eq!(reviews.allowed(&bob, "/metrics", "get").await, Ok(false));
            assert_eq!(reviews.allowed(&eve, "/apis", "get").await, Ok(false));
            assert_eq!(reviews.allowed(&user("bob", "h"), "/apis", "get").await, Ok(false));
            assert_eq!(reviews.allowed(&Caller::anonymous(), "/apis", "get").await, Ok(false));
        }
        assert_eq!(server.asked().len(), 6 * round);
        server.clock.advance(ANSWER_TTL);
    }
    assert_eq!(server.connection.counters().get(Call::PathReview, Outcome::Ok), 12);
}

#[tokio::test]
async fn some_answers_need_no_question() {
    let server = Server::start(|_, _| answer(true)).await;
    let reviews = PathReviews::new(&server.connection);
    let root = Caller::named("root", Source::Cluster).with_groups(["system:authenticated", MASTERS]);
    assert!(matches!(reviews.allowed(&root, "/anything", "post"), Reply::Ready(Ok(true))));
    let bob = user("bob", "g");
    let longest = format!("/{}", "a".repeat(PATH_BYTES_MAX - 1));
    assert!(matches!(reviews.allowed(&bob, &format!("{longest}a"), "get"), Reply::Ready(Ok(false))));
    assert!(server.asked().is_empty());
    assert_eq!(reviews.allowed(&bob, &longest, "get").await, Ok(true));
    // A local user that somebody put into a group of this name is not the cluster's administrator.
    let local = Caller::named("bob", Source::StaticUser).with_groups([MASTERS]);
    assert!(matches!(reviews.allowed(&local, "/apis", "get"), Reply::Pending(_)));
}

#[tokio::test]
async fn no_answer_is_neither_yes_nor_no() {
    let server = Server::start(|_, body| match body {
        busy if busy.contains("/busy") => Some((429, String::new())),
        refused if refused.contains("/refused") => Some((403, String::new())),
        denied if denied.contains("/denied") => Some((201, r#"{"status":{"allowed":true,"denied":true}}"#.into())),
        _ => answer(true),
    })
    .await;
    let reviews = PathReviews::new(&server.connection);
    let bob = user("bob", "g");
    let told = Unavailable { retry_after: Duration::from_secs(7) };
    let asked = |path| reviews.allowed(&bob, path, "get");
    for _ in 0..2 {
        assert_eq!(asked("/busy").await, Err(told));
        assert_eq!(asked("/refused").await, Err(Unavailable { retry_after: RETRY_AFTER_DEFAULT }));
        assert_eq!(asked("/denied").await, Ok(false));
        assert_eq!(asked("/known").await, Ok(true));
    }
    assert_eq!(server.asked().len(), 6, "what is no answer is not remembered");
    server.go_away();
    assert_eq!(asked("/known").await, Ok(true));
    assert_eq!(asked("/new").await, Err(Unavailable { retry_after: RETRY_AFTER_DEFAULT }));
    assert_eq!(server.asked().len(), 6, "nobody is asked while nobody is there");
}
