//! What may be deleted while the configuration forbids it: the end of a namespace is no wish of its users.

use crate::world::{API, Project, World, alone, name_of};
use anyhow::Result;
use e2e::kube::{NAMESPACE_END, until, until_within};
use std::time::{Duration, Instant};

fn is_gone(world: &World, name: &str) -> Result<bool> {
    Ok(world.kube.ok(&format!("get namespace {name} --ignore-not-found"))?.is_empty())
}

fn fill(project: &Project) -> Result<()> {
    (1..=5).try_for_each(|index| project.push("app", &index.to_string(), index).map(drop))
}

/// As for an unavailable storage: nothing goes, everybody is told why, and nobody waits for somebody else.
#[test]
fn namespaces_end_around_a_registry_that_is_read_only() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let (kube, filled) = (world.kube, world.project()?);
    fill(&filled)?;
    // More than the cluster ends at a time: they must not wait for each other.
    let others = (0..12).map(|_| world.project()).collect::<Result<Vec<_>>>()?;
    others.iter().try_for_each(fill)?;
    let empty = kube.namespace()?;
    let changed = world.site.with_config(|config| format!("{config}  readOnly: true\n"))?;

    let said = kube.refused(&format!("-n {} delete prt {}", filled.name(), name_of("app", "1")), "")?;
    assert!(said.contains("ServiceUnavailable") && said.contains("read-only"), "{said}");
    let said = kube.refused(&format!("-n {} delete prt --all", filled.name()), "")?;
    assert!(said.contains("read-only"), "{said}");
    // With a time to come back, kubectl and the controller that ends namespaces would wait ten times before they say anything.
    let tags = format!("{API}/namespaces/{}/payloadrepositorytags", filled.name());
    for object in [format!("{tags}/{}", name_of("app", "1")), tags] {
        let reply = world.direct().token(&filled.token).with(&["-X", "DELETE"]).get(&object)?;
        reply.is_failure(503, "ServiceUnavailable");
        assert!(!reply.headers.to_lowercase().contains("retry-after"), "{}", reply.headers);
    }

    for project in &others {
        kube.ok(&format!("delete namespace {} --wait=false", project.name()))?;
    }
    kube.ok(&format!("delete namespace {} --wait=false", filled.name()))?;
    let took = until("the namespace says what it waits for", || {
        let conditions = kube.field(&format!("namespace {}", filled.name()), ".status.conditions")?;
        Ok(conditions.contains("NamespaceDeletionContentFailure") && conditions.contains("read-only"))
    })?;
    println!("said after {took:?}");
    let begun = Instant::now();
    kube.delete_namespace(&empty.name)?;
    println!("an empty one ends after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    assert!(!is_gone(&world, filled.name())?);
    assert_eq!(kube.ok(&format!("-n {} get prt -o name", filled.name()))?.lines().count(), 5);

    drop(changed);
    let took = until_within(NAMESPACE_END, "they end when the registry takes changes again", || {
        Ok(is_gone(&world, filled.name())?
            && others
                .iter()
                .map(|other| is_gone(&world, other.name()))
                .collect::<Result<Vec<_>>>()?
                .iter()
                .all(|gone| *gone))
    })?;
    println!("all ended {took:?} later");
    Ok(())
}

#[test]
fn namespaces_end_where_deleting_is_switched_off() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let (kube, project, stays) = (world.kube, world.project()?, world.project()?);
    fill(&project)?;
    fill(&stays)?;
    let _changed =
        world.site.with_config(|config| config.replace("delete: {enabled: true}", "delete: {enabled: false}"))?;
    for line in [
        format!("-n {} delete prt {}", project.name(), name_of("app", "1")),
        format!("-n {} delete prt --all", project.name()),
        format!("delete --raw {API}/namespaces/{}/payloadrepositorytags", project.name()),
    ] {
        let said = kube.refused(&line, "")?;
        assert!(said.contains("MethodNotAllowed") && said.contains("storage.delete.enabled"), "{said}");
    }
    assert_eq!(project.tags("app")?.len(), 5);
    let begun = Instant::now();
    kube.delete_namespace(project.name())?;
    println!("ended after {:?}", begun.elapsed());
    assert_eq!(stays.tags("app")?.len(), 5);
    Ok(())
}

#[test]
fn a_deletion_is_written_down() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let (kube, project) = (world.kube, world.project()?);
    fill(&project)?;
    let owner = kube.with_token(&project.token)?;
    let line = |tag: &str| -> Option<String> {
        let log = world.site.log();
        let about = [format!("repository={}", project.path("app")), format!("reference={tag}")];
        let mut lines = log.lines().filter(|line| line.contains("msg=audit") && line.contains("action=tag.delete"));
        lines
            .find(|line| about.iter().all(|part| line.split(' ').any(|word| word.trim_matches('"') == part)))
            .map(str::to_owned)
    };
    owner.ok(&format!("-n {} delete prt {}", project.name(), name_of("app", "1")))?;
    assert_eq!(line("1"), None, "nobody has asked for it");
    let _changed = world
        .site
        .with_config(|config| format!("{config}openshift: {{version: '1.0', audit: {{enabled: true}}}}\n"))?;
    let digest = kube.field(&format!("-n {} prt {}", project.name(), name_of("app", "2")), ".status.digest")?;
    owner.ok(&format!("-n {} delete prt {} --dry-run=server", project.name(), name_of("app", "2")))?;
    assert_eq!(line("2"), None);
    owner.ok(&format!("-n {} delete prt {}", project.name(), name_of("app", "2")))?;
    until("one deletion is written down", || Ok(line("2").is_some()))?;
    let written = line("2").unwrap_or_default();
    for part in ["via=kubernetes", &project.namespace.user("owner"), &digest, "client=", "id="] {
        assert!(written.contains(part), "no {part}: {written}");
    }
    // One line for each of many.
    kube.ok(&format!("delete --raw {API}/namespaces/{}/payloadrepositorytags", project.name()))?;
    until("all are written down", || {
        Ok(["3", "4", "5"].iter().all(|tag| line(tag).is_some_and(|line| line.contains("user=admin"))))
    })?;
    Ok(())
}
