//! Two processes on one folder are one registry.

use crate::direct::Direct;
use crate::world::{API, Project, World, alone};
use anyhow::{Context, Result};
use e2e::Server;
use e2e::kube::{until, until_within};
use std::time::{Duration, Instant};

/// Another process, and the way to its API.
fn second(world: &World) -> Result<(Server, Direct)> {
    let api = e2e::free_address(world.kube.host_address().parse()?)?.to_string();
    let server = world.site.beside(|config| config.replace(&world.api, &api))?;
    let direct = Direct::new(&api, &world.authority.path());
    until("its API is ready", || Ok(direct.get("/readyz").is_ok_and(|reply| reply.status == 200)))?;
    Ok((server, direct))
}

#[test]
fn changes_of_one_reach_the_watchers_of_the_other() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let (server, direct) = second(&world)?;
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let other = direct.token(&project.token).stream(&format!("{path}?watch=1"))?;
    let own = world.direct().token(&project.token).stream(&format!("{path}?watch=1"))?;
    until("both have begun", || Ok(other.brief() == ["ADDED app:1"] && own.brief() == ["ADDED app:1"]))?;
    let client = server.client().authorization(&e2e::site::basic("token", &project.token));
    let mut times = Vec::new();
    for round in 0..5 {
        let tag = format!("r{round}");
        // Pushed at one, seen at the other; moved there, seen here; deleted as an object.
        project.push("app", &tag, round)?;
        times.push(appears(&other, &format!("ADDED app:{tag}"))?);
        client.push_image(&project.path("app"), &tag, &e2e::Image::new(100 + round, &[1000]))?;
        times.push(appears(&own, &format!("MODIFIED app:{tag}"))?);
        let one = format!("{path}/{}", crate::world::name_of("app", &tag));
        assert_eq!(direct.token(&project.token).with(&["-X", "DELETE"]).get(&one)?.status, 200);
        times.push(appears(&own, &format!("DELETED app:{tag}"))?);
    }
    println!("{times:?}");
    // Both tell the same of a tag.
    let one = format!("{path}/{}", crate::world::name_of("app", "1"));
    let answers =
        [&direct, &world.direct()].map(|server| server.token(&project.token).get(&one).map(|reply| reply.json()));
    let [first, second] = answers;
    assert_eq!(first?, second?);
    // A place of one is good at the other, once that has been there for a while: it knows nothing of the time before.
    until("the other one goes on from there", || goes_on(&world, &project, &direct, &path))?;

    // A clean end is no event, and the one that stays goes on.
    server.stop()?;
    project.push("app", "after", 1)?;
    appears(&own, "ADDED app:after")?;
    assert!(!own.brief().contains(&"ERROR".to_owned()), "{:?}", own.brief());
    Ok(())
}

/// Whether a watch at the second one goes on from a list of the first one; else it must be told to look again.
fn goes_on(world: &World, project: &Project, second: &Direct, path: &str) -> Result<bool> {
    let list = world.direct().token(&project.token).get(&format!("{path}?limit=1"))?.json();
    let from = list["metadata"]["resourceVersion"].as_str().context("a version")?.to_owned();
    let tag = e2e::kube::unique("late");
    project.push("app", &tag, 1)?;
    let watch = second.token(&project.token).stream(&format!("{path}?watch=1&resourceVersion={from}"))?;
    until("the event, or that it is too late for it", || {
        let seen = watch.brief().iter().any(|event| *event == format!("ADDED app:{tag}"));
        Ok(seen || watch.text().contains("\"code\":410"))
    })
    .with_context(|| format!("{from} {tag}: {:?} {}", watch.text(), watch.complaints()))?;
    Ok(!watch.text().contains("\"code\":410"))
}

/// What a process that was killed had done last, nobody may know: who watches looks again.
#[test]
fn the_last_changes_of_a_process_that_was_killed() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let (server, direct) = second(&world)?;
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let mut own = world.direct().token(&project.token).stream(&format!("{path}?watch=1"))?;
    until("it has begun", || Ok(own.brief() == ["ADDED app:1"]))?;
    drop(direct);
    let client = server.client().authorization(&e2e::site::basic("token", &project.token));
    client.push_image(&project.path("app"), "last", &e2e::Image::new(5, &[1000]))?;
    server.kill()?;
    let told = until_within(Duration::from_secs(60), "the change is seen, or the watch ends", || {
        Ok(own.brief().iter().any(|event| event == "ADDED app:last" || event == "ERROR"))
    });
    let told = told.with_context(|| format!("{:?} {}, ended: {:?}", own.text(), own.complaints(), own.has_ended()))?;
    println!("{:?} after {told:?}", own.brief());
    // Who looks again, as it was told to, finds it.
    let object = format!("-n {} prt {}", project.name(), crate::world::name_of("app", "last"));
    assert!(!world.kube.field(&object, ".status.digest")?.is_empty());
    Ok(())
}

fn appears(watch: &crate::direct::Stream, event: &str) -> Result<Duration> {
    let begun = Instant::now();
    until("the event is there", || Ok(watch.brief().iter().any(|seen| seen == event)))
        .with_context(|| format!("{event}: {:?}", watch.brief()))?;
    Ok(begun.elapsed())
}
