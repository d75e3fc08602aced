//! The verbs through the whole server.

mod delete;
mod get;
mod list;
mod outage;
mod watch;

use std::time::SystemTime;

use access::Action;
use serde_json::{Value, json};

use super::position::{Version, micros};
use super::{API_VERSION, name};
use crate::testing::{Answer, World};

const USER: &str = "alice";

fn all(namespace: Option<&str>) -> String {
    let base = format!("/apis/{API_VERSION}");
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/payloadrepositorytags"),
        None => format!("{base}/payloadrepositorytags"),
    }
}

fn one(namespace: &str, repository: &str, tag: &str) -> String {
    format!("{}/{}", all(Some(namespace)), name::encode(repository, tag))
}

/// `repository:tag` of each item of a list.
fn tags(list: &Value) -> Vec<String> {
    let text = |item: &Value, key: &str| item["status"][key].as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| format!("{}:{}", text(item, "repository"), text(item, "tag"))).collect()
}

/// A world in which the user may read and delete everything of the namespaces.
async fn world(namespaces: &[&str]) -> World {
    granted(World::start(namespaces).await, namespaces)
}

fn granted(world: World, namespaces: &[&str]) -> World {
    for namespace in namespaces {
        world.rights.grant(USER, &format!("{namespace}/*"), &[Action::Pull, Action::Delete]);
    }
    world
}

/// The Status of a refusal, which must be one.
fn refusal(answer: &Answer) -> (u16, String) {
    let status = answer.json();
    assert_eq!(
        (&status["kind"], &status["apiVersion"], &status["status"]),
        (&"Status".into(), &"v1".into(), &"Failure".into())
    );
    assert_eq!(status["code"], answer.status.as_u16());
    assert!(status["message"].as_str().is_some_and(|message| !message.is_empty()), "{status}");
    (answer.status.as_u16(), status["reason"].as_str().unwrap().to_owned())
}

/// The version of what another replica does so many seconds from now.
fn in_seconds(seconds: u64) -> Version {
    Version::of_now(micros(SystemTime::now()) + seconds * 1_000_000)
}

/// The refusal of kube-apiserver for a version that is to come, which its clients know.
fn is_too_large(answer: &Answer, wanted: Version) {
    assert_eq!(refusal(answer), (504, "Timeout".into()));
    let status = answer.json();
    let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    assert_eq!(status["details"], json!({ "causes": [cause], "retryAfterSeconds": 1 }));
    let expected = format!("Timeout: Too large resource version: {wanted}, current: ");
    let current = status["message"].as_str().unwrap().strip_prefix(&expected).unwrap_or_else(|| panic!("{status}"));
    assert!(Version::parse(current).unwrap() < wanted, "{status}");
    assert_eq!(answer.header("retry-after"), "1");
}
