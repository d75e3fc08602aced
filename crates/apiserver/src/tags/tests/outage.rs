use http::{Method, StatusCode};
use storage::memory::MemoryDriver;

use super::*;

/// A world with `shop/app:v1`, in which every change of the storage fails, and everything after the first one.
async fn failing() -> World {
    let driver = MemoryDriver::default();
    World::start_on(driver.clone(), &["shop"]).await.push("shop/app", &["v1"], "a").await;
    granted(World::start_failing(driver, &["shop", "empty"]).await, &["shop", "empty"])
}

/// Clients wait for as long as an answer says, ten times, before they tell anybody.
fn is_told_at_once(answer: &Answer) {
    assert_eq!(refusal(answer), (503, "ServiceUnavailable".into()));
    assert_eq!((answer.header("retry-after"), &answer.json()["details"]), ("", &json!({})));
    let message = answer.json()["message"].to_string();
    assert!(message.contains("the registry's storage does not answer"), "{message}");
}

#[tokio::test]
async fn tags_wait_for_the_storage_and_nothing_else_does() {
    let world = failing().await;
    assert_eq!(tags(&world.get(USER, &all(Some("shop"))).await.json()), ["app:v1"]);
    is_told_at_once(&world.delete(USER, &all(Some("shop")), "").await);
    let tag = one("shop", "app", "v1");
    for (method, path) in [
        (Method::GET, all(None)),
        (Method::GET, all(Some("shop"))),
        (Method::GET, format!("{}?limit=1", all(Some("shop")))),
        (Method::GET, tag.clone()),
        (Method::DELETE, tag),
    ] {
        let refused = world.ask(USER, method, &path, &[], "").await;
        assert_eq!(refusal(&refused), (503, "ServiceUnavailable".into()), "{path}");
        assert_eq!((refused.header("retry-after"), &refused.json()["details"]["retryAfterSeconds"]), ("5", &json!(5)));
    }
    let watch = world.get(USER, &format!("{}?watch=1", all(Some("shop")))).await.json();
    assert_eq!((&watch["type"], &watch["object"]["code"]), (&"ERROR".into(), &json!(503)), "{watch}");
    // Nobody can tell that there is nothing in it.
    for path in [all(Some("empty")), format!("{}?fieldSelector=tag%3Dv1", all(Some("shop")))] {
        is_told_at_once(&world.delete(USER, &path, "").await);
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(world.direct(Method::GET, path, &[]).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/apis", &format!("/apis/{API_VERSION}"), "/openapi/v2", "/openapi/v3"] {
        assert_eq!(world.get(USER, path).await.status, StatusCode::OK, "{path}");
    }
}
