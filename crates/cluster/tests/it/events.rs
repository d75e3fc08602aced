//! Reports about objects.

use std::sync::Arc;

use cluster::{Call, EventKind, Events, Outcome, Regarding, Report};

use crate::support::{connect, delete, namespace, namespace_path, read, unique, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn equal_reports_are_one_event_and_a_flood_is_bounded() {
    let Some((client, connection)) = connect("events").await else { return };
    let space = unique("events");
    let uid = namespace(&client, &space).await;
    let events = Events::new(&connection, "homeport", "test");
    let report = |message: String| Report {
        regarding: Regarding {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            namespace: Some(space.clone()),
            name: space.clone(),
            uid: uid.clone(),
            resource_version: None,
        },
        kind: EventKind::Normal,
        reason: "Tested",
        message,
    };
    for _ in 0..10 {
        events.publish(report("same".into()));
    }
    for number in 0..2_000 {
        events.publish(report(format!("another {number}")));
    }
    assert_eq!(events.dropped(), 2_010 - 1_024, "nobody waits, and nothing grows");
    tokio::spawn(Arc::clone(&events).run());
    let made = || connection.counters().get(Call::Event, Outcome::Ok);
    until_true("a burst of events", || made() >= 50).await;
    assert!(made() < 150, "and then slowly");
    let list = read(&client, &format!("/api/v1/namespaces/{space}/events")).await;
    let same = list["items"].as_array().unwrap().iter().filter(|event| event["message"] == "same").count();
    assert_eq!(same, 1);
    delete(&client, &namespace_path(&space)).await;
}
