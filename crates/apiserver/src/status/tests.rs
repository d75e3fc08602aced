use std::time::Duration;

use super::*;
use crate::testing::read;

/// What `k8s.io/apimachinery` 0.34 prints for the same failures, one per line.
const KUBERNETES: &str = include_str!("kubernetes.jsonl");

#[test]
fn failures_are_written_as_kubernetes_writes_them() {
    let second = Duration::from_secs(1);
    let ours = [
        Failure::not_found("x"),
        Failure::conflict("x", "why"),
        Failure::forbidden_tag("x", "why"),
        Failure::forbidden_path("why"),
        Failure::bad_request("why"),
        Failure::unauthorized("Unauthorized"),
        Failure::expired("why", None),
        Failure::too_many(3 * second),
        Failure::timeout("why"),
        Failure::version_too_large(&7, &5),
        Failure::too_large("why"),
        Failure::invalid("x", "preconditions.uid", "Invalid value: \"v\": why"),
        Failure::method_not_allowed(
            "create is not supported on resources of kind \"payloadrepositorytags.payload-registry.deckhouse.io\"",
        ),
    ];
    let mut theirs = KUBERNETES.lines();
    for failure in ours {
        assert_eq!(serde_json::to_string(&failure).unwrap(), theirs.next().unwrap());
    }
    // The order of keys of what is a `Value` is not theirs, and nobody relies on it.
    let parse = |line: Option<&str>| serde_json::from_str::<Value>(line.unwrap()).unwrap();
    assert_eq!(success(Some("x"), Some("u")), parse(theirs.next()));
    let expired = Failure::expired("why", Some("abc".to_owned()));
    assert_eq!(serde_json::to_value(&expired).unwrap(), parse(theirs.next()));
    assert_eq!(theirs.next(), None);
}

#[tokio::test]
async fn the_answer_carries_status_headers_and_the_object() {
    let failure = Failure::unavailable("why", Duration::from_millis(2_900));
    let answer = read(failure.into_response(Encoding::default())).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((answer.header(header::RETRY_AFTER), answer.header(header::CONTENT_TYPE)), ("2", "application/json"));
    let details = &answer.json()["details"];
    assert_eq!(details, &json!({ "retryAfterSeconds": 2 }));
    let soon = read(Failure::too_many(Duration::ZERO).into_response(Encoding::default())).await;
    assert_eq!(soon.header(header::RETRY_AFTER), "1", "none at all would be no advice");
    let now = read(Failure::unavailable("why", Duration::ZERO).at_once().into_response(Encoding::default())).await;
    assert_eq!((now.status, now.header(header::RETRY_AFTER)), (StatusCode::SERVICE_UNAVAILABLE, ""));
    assert_eq!(now.json()["details"], json!({}));
    let method = read(Failure::no_such_method().into_response(Encoding::default())).await;
    assert_eq!((method.status.as_u16(), method.header(header::ALLOW)), (405, "GET, HEAD"));
}

#[test]
fn causes_are_for_the_log_only() {
    let failure = Failure::internal("disk sda is on fire");
    assert_eq!((failure.status().as_u16(), failure.cause()), (500, Some("disk sda is on fire")));
    assert!(!serde_json::to_string(&failure).unwrap().contains("sda"));
    let damaged: Failure = content::Error::OwnerDamaged("homeport/v1/namespaces/x".to_owned()).into();
    assert_eq!((damaged.status().as_u16(), damaged.reason()), (503, "ServiceUnavailable"));
    assert!(damaged.cause().unwrap().contains("homeport/v1/namespaces/x"));
    assert!(!serde_json::to_string(&damaged).unwrap().contains("homeport/v1"));
}
