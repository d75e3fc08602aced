//! A namespace ends with its tags, and no other one has to wait. Case A-72.

use crate::direct::Stream;
use crate::world::{API, Project, World, alone, shared};
use anyhow::Result;
use e2e::kube::{NAMESPACE_END, until, until_within};
use e2e::site::catalog;
use std::thread;
use std::time::{Duration, Instant};

const REPOSITORIES: u64 = 10;
const TAGS: u64 = 60;
/// The cluster itself takes five seconds at least, and much longer on a busy machine.
const SLOW: Duration = Duration::from_secs(120);

fn fill(project: &Project) -> Result<()> {
    for repository in (0..REPOSITORIES).map(|index| format!("r{index}")) {
        let path = project.path(&repository);
        project.push(&repository, "t0", 1)?;
        let manifest = project.client.get(&format!("/v2/{path}/manifests/t0"))?.body;
        for tag in 1..TAGS {
            project.client.push_manifest(&path, &format!("t{tag}"), e2e::Image::MEDIA_TYPE, &manifest)?;
        }
    }
    Ok(())
}

/// How long the cluster takes to end it.
fn end(world: &World, name: &str) -> Result<Duration> {
    let begun = Instant::now();
    world.kube.delete_namespace(name)?;
    Ok(begun.elapsed())
}

fn shows(world: &World, project: &Project) -> Result<usize> {
    Ok(world
        .kube
        .ok(&format!("get prt -A --field-selector metadata.namespace={} -o name", project.name()))?
        .lines()
        .count())
}

#[test]
fn a_namespace_with_many_tags_ends_in_seconds() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let (project, stays, empty) = (world.project()?, world.project()?, world.kube.namespace()?);
    fill(&project)?;
    stays.push("r0", "t0", 1)?;
    assert_eq!(shows(&world, &project)?, usize::try_from(REPOSITORIES * TAGS)?);
    let (full, other) = thread::scope(|scope| {
        let other = scope.spawn(|| end(&world, &empty.name));
        (end(&world, project.name()), other.join())
    });
    let (full, other) = (full?, other.map_err(|_| anyhow::anyhow!("the other one"))??);
    println!("with {} tags: {full:?}; an empty one: {other:?}", REPOSITORIES * TAGS);
    assert!(full < other + SLOW, "{full:?}, an empty one {other:?}");
    assert_eq!(shows(&world, &project)?, 0);
    until("the registry's own clean-up agrees", || {
        let left = catalog(&world.site.client(&stays.token))?;
        Ok(!left.iter().any(|name| name.starts_with(&project.path(""))))
    })?;
    assert_eq!((stays.status("r0", "t0")?, shows(&world, &stays)?), (200, 1));
    // What takes the name shows nothing of the old one.
    world.kube.ok(&format!("create namespace {}", project.name()))?;
    assert_eq!(shows(&world, &project)?, 0);
    Ok(())
}

/// Namespaces end while tags come and go elsewhere.
#[test]
fn other_namespaces_end_as_fast_as_without_the_api() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    for round in 0..3 {
        let other = world.kube.namespace()?;
        world.kube.ok(&format!("-n {} create configmap c --from-literal=a=b", other.name))?;
        project.push("app", &format!("t{round}"), round)?;
        let took = end(&world, &other.name)?;
        println!("ended after {took:?}");
        assert!(took < SLOW, "{took:?}");
    }
    let conditions = world.kube.field(&format!("namespace {}", project.name()), ".status.conditions")?;
    assert!(!conditions.contains("Failure"), "{conditions}");
    Ok(())
}

/// What holds a namespace up is told in its status, in words of the API server; with the API back, it ends.
#[test]
fn a_namespace_deleted_while_the_api_is_down() -> Result<()> {
    let Some(mut world) = alone()? else { return Ok(()) };
    let (project, stays, empty) = (world.project()?, world.project()?, world.kube.namespace()?);
    fill(&project)?;
    stays.push("app", "1", 1)?;
    world.kill()?;
    for name in [project.name(), empty.name.as_str()] {
        world.kube.ok(&format!("delete namespace {name} --wait=false"))?;
    }
    until("the cluster says what it waits for", || {
        let conditions = world.kube.field(&format!("namespace {}", project.name()), ".status.conditions")?;
        Ok(conditions.contains("payload-registry.deckhouse.io"))
    })?;
    assert_eq!(world.kube.field(&format!("namespace {}", empty.name), ".status.phase")?, "Terminating");
    world.begin()?;
    let back = world.wait_for_api()?;
    let begun = Instant::now();
    for name in [project.name(), empty.name.as_str()] {
        until_within(NAMESPACE_END, "the namespace is gone", || {
            Ok(world.kube.ok(&format!("get namespace {name} --ignore-not-found"))?.is_empty())
        })?;
    }
    println!("the API came back after {back:?}, the namespaces ended {:?} later", begun.elapsed());
    until("the registry's own clean-up agrees", || {
        let left = catalog(&world.site.client(&stays.token))?;
        Ok(!left.iter().any(|name| name.starts_with(&project.path(""))))
    })?;
    assert_eq!((stays.status("app", "1")?, shows(&world, &stays)?), (200, 1));
    Ok(())
}

/// Those who follow all namespaces, as controllers of the cluster do, need not list everything again for each one that ends.
#[test]
fn the_end_of_a_namespace_ends_no_watch_of_all() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let (project, stays) = (world.project()?, world.project()?);
    for tag in ["1", "2"] {
        project.push("app", tag, 1)?;
    }
    stays.push("app", "1", 1)?;
    let mut watch = Stream::start(&mut world.kube.command(&format!("get --raw {API}/payloadrepositorytags?watch=1")))?;
    // Namespaces of other tests may still be on their way out.
    let ours = [project.name(), stays.name()];
    until("it has begun", || Ok(watch.brief_of(&ours).len() >= 3))?;
    end(&world, project.name())?;
    until("the registry's own clean-up agrees", || {
        Ok(world
            .site
            .log()
            .lines()
            .any(|line| line.contains("content of a deleted namespace removed") && line.contains(project.name())))
    })?;
    stays.push("app", "2", 1)?;
    until("what comes later is told", || Ok(watch.brief_of(&ours).last().is_some_and(|last| last == "ADDED app:2")))?;
    let seen = watch.brief_of(&ours);
    assert_eq!(seen.iter().filter(|event| event.starts_with("DELETED app:")).count(), 2, "{seen:?}");
    assert!(!watch.brief().contains(&"ERROR".to_owned()) && !watch.has_ended()?, "{}", watch.text());
    Ok(())
}
