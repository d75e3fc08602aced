use std::sync::{Arc, Mutex};

use super::*;
use crate::testing::Server;

/// What `follow` shows until `check` holds for what the server was asked; and the feed.
async fn followed(server: &Server, what: &str, check: impl Fn(&[String]) -> bool) -> (Vec<String>, Arc<Feed>) {
    let shown = Mutex::new(Vec::new());
    let feed = server.connection.reach().feed("things");
    let following = follow::<Thing>(&server.connection, &feed, |change| {
        shown.lock().unwrap().push(match change {
            Change::Applied(thing) | Change::Listed(thing) | Change::Deleted(thing) => thing.metadata.name,
            Change::Start => "start".to_owned(),
            Change::Complete => "complete".to_owned(),
        });
    });
    tokio::select! {
        () = following => panic!("a watch does not end"),
        () = server.until(what, check) => {}
    }
    (shown.into_inner().unwrap(), feed)
}

fn watches_from(target: &str, version: u32) -> bool {
    target.contains("watch=true") && target.ends_with(&format!("&resourceversion={version}"))
}

#[tokio::test]
async fn a_broken_watch_goes_on_where_it_was_and_one_that_is_too_old_is_an_interruption() {
    let lists = Mutex::new(0);
    let server = Server::start(move |target, _| {
        let error = |code: u16| format!(r#"{{"type":"ERROR","object":{{"status":"Failure","code":{code}}}}}"#);
        let added = r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"11"}}}"#;
        if !target.contains("watch=true") {
            let mut lists = lists.lock().unwrap();
            *lists += 1;
            let list = r#"{"metadata":{"resourceVersion":"10"},"items":[]}"#;
            // The second one never comes.
            return (*lists == 1).then(|| (200, list.to_owned()));
        }
        let events = if watches_from(target, 10) { format!("{added}\n{}\n", error(500)) } else { error(410) + "\n" };
        Some((200, events))
    })
    .await;
    let second_list = |asked: &[String]| asked.iter().filter(|target| !target.contains("watch=true")).count() == 2;
    let (shown, feed) = followed(&server, "second list", second_list).await;
    assert_eq!(shown, ["start", "complete", "a", "start"]);
    let asked = server.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(watches_from(&asked[1], 10) && watches_from(&asked[2], 11), "{asked:?}");
    assert!(feed.interrupted_for(Duration::ZERO).is_some());
}

#[tokio::test]
async fn pages_that_are_too_long_are_asked_for_shorter() {
    let server = Server::start(|target, _| match target {
        "/things?limit=500" => Some((200, " ".repeat(Call::List.bytes_max() + 1))),
        "/things?limit=250" => Some((
            200,
            r#"{"metadata":{"resourceVersion":"10","continue":"x"},"items":[{"metadata":{"name":"a"}}]}"#.to_owned(),
        )),
        "/things?limit=250&continue=x" => {
            Some((200, r#"{"metadata":{"resourceVersion":"10"},"items":[{"metadata":{"name":"b"}}]}"#.to_owned()))
        }
        _ => None,
    })
    .await;
    let (shown, _) = followed(&server, "watch", |asked| asked.iter().any(|target| watches_from(target, 10))).await;
    assert_eq!(shown, ["start", "start", "a", "b", "complete"]);
    assert!(!server.connection.reach().is_away());
}

#[derive(Clone, Debug, Deserialize)]
struct Thing {
    metadata: Meta,
}

impl Kind for Thing {
    const PATH: &'static str = "/things";

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

fn taken(text: &str) -> (Result<Option<String>, bool>, Vec<String>) {
    let mut seen = Vec::new();
    let result = take::<Thing>(serde_json::from_str(text).unwrap(), &mut |change| {
        seen.push(match change {
            Change::Applied(thing) => format!("+{}", thing.metadata.name),
            Change::Deleted(thing) => format!("-{}", thing.metadata.name),
            _ => "list".to_owned(),
        });
    });
    (result.map_err(|broken| matches!(broken, Broken::TooOld)), seen)
}

#[test]
fn events() {
    let object = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
    for (kind, seen) in [("ADDED", "+a"), ("MODIFIED", "+a"), ("DELETED", "-a")] {
        let event = format!(r#"{{"type":"{kind}","object":{object}}}"#);
        assert_eq!(taken(&event), (Ok(Some("7".into())), vec![seen.to_owned()]));
    }
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"T","apiVersion":"v1","metadata":{"resourceVersion":"9"}}}"#;
    assert_eq!(taken(bookmark), (Ok(Some("9".into())), vec![]));
    for (code, too_old) in [(410, true), (500, false)] {
        let error = format!(r#"{{"type":"ERROR","object":{{"status":"Failure","code":{code}}}}}"#);
        assert_eq!(taken(&error), (Err(too_old), vec![]));
    }
}

#[test]
fn pauses_grow_to_a_bound() {
    for (failures, milliseconds) in
        [(1, 200), (2, 400), (3, 800), (4, 1_600), (5, 3_200), (6, 5_000), (u32::MAX, 5_000)]
    {
        let pause = pause(failures).as_millis();
        assert!((milliseconds * 3 / 4..=milliseconds * 5 / 4).contains(&pause), "{failures}: {pause}");
    }
}

#[test]
fn values_are_escaped() {
    assert_eq!(escape("123"), "123");
    assert_eq!(escape("a+b/c=&x y\u{e9}"), "a%2Bb%2Fc%3D%26x%20y%C3%A9");
}
