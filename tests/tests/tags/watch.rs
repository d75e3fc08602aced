//! Watches: events in time and in order, bookmarks, places to go on from.

use crate::direct::Stream;
use crate::world::{API, Project, World, name_of, shared};
use anyhow::{Context, Result};
use e2e::kube::until;

fn path(project: &Project) -> String {
    format!("{API}/namespaces/{}/payloadrepositorytags", project.name())
}

fn version(world: &World, project: &Project) -> Result<String> {
    let list = world.direct().token(&project.token).get(&format!("{}?limit=1", path(project)))?.json();
    Ok(list["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned())
}

/// Waits for an event.
fn appears(watch: &Stream, event: &str) -> Result<()> {
    until("the event is there", || Ok(watch.brief().iter().any(|seen| seen == event)))
        .with_context(|| format!("{event}: {:?} {}", watch.brief(), watch.complaints()))?;
    Ok(())
}

#[test]
fn kubectl_sees_changes() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "old", 1)?;
    let line = format!("-n {} get prt --watch --output-watch-events -o json", project.name());
    let json = Stream::start(&mut world.kube.command(&line))?;
    let line = format!("-n {} get prt --watch -o wide", project.name());
    let table = Stream::start(&mut world.kube.command(&line))?;
    let has = |text: &str| json.text().contains(text);
    until("both have begun", || Ok(has("\"old\"") && table.text().contains("old")))?;
    // kubectl lists first, and then watches.
    project.push("app", "warm", 1)?;
    until("both watch", || Ok(has("\"warm\"") && table.text().contains("warm")))?;
    project.push("app", "new", 2)?;
    until("the new tag is seen", || Ok(has("\"new\"") && table.text().contains(&name_of("app", "new"))))?;
    let digest = project.push("app", "new", 3)?;
    until("the moved tag is seen", || Ok(has("\"MODIFIED\"") && table.text().contains(&digest[..19])))?;
    project.delete("app", "new")?;
    until("the end is seen", || Ok(has("\"DELETED\"")))?;
    let lines = table.text();
    assert!(lines.starts_with("NAME") && lines.matches("NAME").count() == 1, "{lines}");
    Ok(())
}

#[test]
fn events_have_the_order_of_the_changes() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("a", "1", 1)?;
    let direct = world.direct().token(&project.token);
    let all = direct.stream(&format!("{}?watch=true", path(&project)))?;
    let one = format!("{}?watch=true&fieldSelector=metadata.name%3D{}", path(&project), name_of("b", "1"));
    let one = direct.stream(&one)?;
    let labelled = format!("{}?watch=true&labelSelector=payload-registry.deckhouse.io/repository%3Da", path(&project));
    let labelled = direct.stream(&labelled)?;
    until("they have begun", || Ok(all.brief() == ["ADDED a:1"] && labelled.brief() == ["ADDED a:1"]))?;
    project.push("b", "1", 1)?;
    appears(&all, "ADDED b:1")?;
    appears(&one, "ADDED b:1")?;
    project.push("b", "1", 2)?;
    appears(&all, "MODIFIED b:1")?;
    project.push("a", "2", 2)?;
    appears(&labelled, "ADDED a:2")?;
    project.delete("b", "1")?;
    appears(&all, "DELETED b:1")?;
    appears(&one, "DELETED b:1")?;
    // A whole manifest takes all its tags along.
    let digest = project.push("a", "3", 2)?;
    appears(&all, "ADDED a:3")?;
    let deleted = project.client.delete(&format!("/v2/{}/manifests/{digest}", project.path("a")))?;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    appears(&all, "DELETED a:2")?;
    appears(&labelled, "DELETED a:3")?;
    // What goes through the cluster is no other change.
    world.kube.ok(&format!("-n {} delete prt {}", project.name(), name_of("a", "1")))?;
    appears(&all, "DELETED a:1")?;
    let mut seen = all.brief();
    seen[7..9].sort();
    let expected = [
        "ADDED a:1",
        "ADDED b:1",
        "MODIFIED b:1",
        "ADDED a:2",
        "DELETED b:1",
        "ADDED a:3",
        "DELETED a:1",
        "DELETED a:2",
        "DELETED a:3",
    ];
    let mut sorted = seen.clone();
    sorted.sort();
    let mut all_expected = expected.map(str::to_owned).to_vec();
    all_expected.sort();
    assert_eq!(sorted, all_expected);
    assert_eq!(seen[..6], expected[..6]);
    assert_eq!(one.brief(), ["ADDED b:1", "MODIFIED b:1", "DELETED b:1"]);
    assert_eq!(labelled.brief()[..2], ["ADDED a:1", "ADDED a:2"]);
    // What was deleted is told as it was, and versions only grow.
    let events = all.events();
    let deleted = events.iter().find(|event| event["type"] == "DELETED").context("one")?;
    assert_eq!(deleted["object"]["metadata"]["name"], name_of("b", "1"));
    assert!(deleted["object"]["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    Ok(())
}

#[test]
fn a_watch_goes_on_where_another_one_ended() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("a", "before", 1)?;
    let from = version(&world, &project)?;
    project.push("a", "1", 1)?;
    project.push("a", "2", 1)?;
    project.delete("a", "1")?;
    let direct = world.direct().token(&project.token);
    let watch = direct.stream(&format!("{}?watch=true&resourceVersion={from}", path(&project)))?;
    until("the past is there", || Ok(watch.brief().iter().any(|event| event == "ADDED a:2")))?;
    project.push("a", "3", 1)?;
    appears(&watch, "ADDED a:3")?;
    // What came and went is told as gone, or not at all.
    let seen = watch.brief();
    let first = seen.iter().position(|event| event.ends_with("a:1"));
    assert!(first.is_none_or(|at| seen[at..].contains(&"DELETED a:1".to_owned())), "{seen:?}");
    assert!(!seen.contains(&"ADDED a:before".to_owned()), "{seen:?}");
    // From a version of an object.
    let object = format!("-n {} prt {}", project.name(), name_of("a", "2"));
    let of_object = world.kube.field(&object, ".metadata.resourceVersion")?;
    let watch = direct.stream(&format!("{}?watch=true&resourceVersion={of_object}", path(&project)))?;
    until("what came later is there", || Ok(watch.brief().iter().any(|event| event == "ADDED a:3")))?;
    // Too old, and from a future that nobody knows.
    for version in ["1", "1000000", "18446744073709551615"] {
        let mut watch = direct.stream(&format!("{}?watch=true&resourceVersion={version}", path(&project)))?;
        until("it ends", || watch.has_ended())?;
        let text = watch.text();
        assert!(text.contains("410") && text.contains("Expired"), "{version}: {text}");
    }
    Ok(())
}

#[test]
fn the_first_events_end_with_a_bookmark() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    for tag in ["1", "2", "3"] {
        project.push("a", tag, 1)?;
    }
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    // Long enough for a push on a busy machine.
    let query = format!("{}?{query}&timeoutSeconds=30", path(&project));
    let mut watch = world.direct().token(&project.token).stream(&query)?;
    until("the first events are over", || Ok(watch.brief().len() >= 4))?;
    assert_eq!(watch.brief(), ["ADDED a:1", "ADDED a:2", "ADDED a:3", "BOOKMARK"]);
    let bookmark = &watch.events()[3]["object"]["metadata"];
    assert_eq!(bookmark["annotations"]["k8s.io/initial-events-end"], "true");
    let at = bookmark["resourceVersion"].as_str().context("a version")?.to_owned();
    project.push("a", "4", 1)?;
    appears(&watch, "ADDED a:4")?;
    until("its time is over", || watch.has_ended())?;
    // The last word is a place to go on from.
    let events = watch.events();
    assert_eq!(events.last().context("events")?["type"], "BOOKMARK");
    assert!(
        events[5]["object"]["metadata"]["resourceVersion"].as_str().context("a version")?.parse::<u64>()?
            > at.parse()?
    );
    Ok(())
}

#[test]
fn every_form_of_an_event() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("a", "1", 1)?;
    let direct = world.direct().token(&project.token);
    let watch = |accept: &str| {
        direct
            .with(&["--header", &format!("Accept: application/json{accept}")])
            .stream(&format!("{}?watch=1", path(&project)))
    };
    let (table, part) =
        (watch(";as=Table;g=meta.k8s.io;v=v1")?, watch(";as=PartialObjectMetadata;g=meta.k8s.io;v=v1")?);
    until("they have begun", || Ok(table.events().len() == 1 && part.events().len() == 1))?;
    project.push("a", "2", 1)?;
    project.delete("a", "1")?;
    until("the events are there", || Ok(table.events().len() == 3 && part.events().len() == 3))?;
    let kinds = |stream: &Stream| {
        stream.events().iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (kinds(&table), kinds(&part)),
        (
            vec!["ADDED".into(), "ADDED".into(), "DELETED".into()],
            vec!["ADDED".into(), "ADDED".into(), "DELETED".into()]
        )
    );
    let (rows, metadata) = (table.events(), part.events());
    assert!(rows.iter().all(|event| event["object"]["kind"] == "Table"
        && event["object"]["rows"].as_array().is_some_and(|rows| rows.len() == 1)));
    assert!(rows[0]["object"]["columnDefinitions"].as_array().is_some_and(|columns| columns.len() >= 3));
    assert!(
        metadata
            .iter()
            .all(|event| event["object"]["kind"] == "PartialObjectMetadata" && event["object"].get("status").is_none())
    );
    Ok(())
}
