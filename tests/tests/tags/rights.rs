//! Who sees and deletes which tags. Case A-71.

use crate::direct::Stream;
use crate::world::{API, Project, World, name_of, shared};
use anyhow::Result;
use e2e::kube::{Kube, accesses, until};

/// `a:1`, `a:2`, `b:1`, `c/d:1`.
fn fill(project: &Project) -> Result<()> {
    for (repository, tag) in [("a", "1"), ("a", "2"), ("b", "1"), ("c/d", "1")] {
        project.push(repository, tag, 1)?;
    }
    Ok(())
}

/// An account of the project with these rights; kubectl as that account.
fn user(world: &World, project: &Project, name: &str, rules: &str) -> Result<Kube> {
    let token = project.namespace.account(name)?;
    if !rules.is_empty() {
        project.namespace.grant(name, rules)?;
    }
    world.kube.with_token(&token)
}

fn listed(kube: &Kube, namespace: &str) -> Result<String> {
    let columns = "jsonpath={range .items[*]}{.status.repository}:{.status.tag}{\" \"}{end}";
    Ok(kube.ok(&format!("-n {namespace} get prt -o '{columns}'"))?.trim().to_owned())
}

#[test]
fn without_rights_everything_looks_empty() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project)?;
    let (ns, nobody) = (project.name(), user(&world, &project, "nobody", "")?);
    let said = nobody.run(&format!("-n {ns} get prt"), "")?;
    assert!(said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("No resources found"));
    assert!(nobody.run("get prt -A", "")?.status.success());
    let name = name_of("a", "1");
    for line in [format!("-n {ns} get prt {name}"), format!("-n {ns} delete prt {name}")] {
        let said = nobody.refused(&line, "")?;
        assert!(said.contains("NotFound"), "{said}");
    }
    // It finds nothing that it could delete.
    nobody.ok(&format!("-n {ns} delete prt --all"))?;
    // A tag that is not there looks the same.
    let hidden = nobody.refused(&format!("-n {ns} get prt {name}"), "")?.replace(&name, "NAME");
    let missing = name_of("a", "none");
    assert_eq!(nobody.refused(&format!("-n {ns} get prt {missing}"), "")?.replace(&missing, "NAME"), hidden);
    assert_eq!(listed(world.kube, ns)?, "a:1 a:2 b:1 c/d:1");
    // The API server itself lets everybody ask.
    for verb in ["get", "list", "watch", "delete", "deletecollection"] {
        let can =
            nobody.ok(&format!("-n {ns} auth can-i {verb} payloadrepositorytags.payload-registry.deckhouse.io"))?;
        assert!(can.trim().ends_with("yes"), "{verb}: {can}");
    }
    for verb in ["create", "update", "patch"] {
        let can = nobody
            .run(&format!("-n {ns} auth can-i {verb} payloadrepositorytags.payload-registry.deckhouse.io"), "")?;
        assert!(String::from_utf8_lossy(&can.stdout).trim().ends_with("no"), "{verb}");
    }
    Ok(())
}

#[test]
fn rights_by_resource_names() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project)?;
    let (ns, rules) = (project.name(), format!("{}, {}", accesses("get", "a, c/d"), accesses("get, delete", "b")));
    let some = user(&world, &project, "some", &rules)?;
    let mut seen = String::new();
    let settled = until("the rights count", || {
        seen = listed(&some, ns)?;
        Ok(seen == "a:1 a:2 b:1 c/d:1")
    });
    settled.map_err(|error| error.context(seen))?;
    some.ok(&format!("-n {ns} get prt {}", name_of("a", "1")))?;
    // Seen and not deletable: Forbidden, not NotFound.
    for line in [
        format!("-n {ns} delete prt {}", name_of("a", "1")),
        format!("-n {ns} delete prt {} --dry-run=server", name_of("a", "1")),
    ] {
        let said = some.refused(&line, "")?;
        assert!(said.contains("Forbidden"), "{said}");
    }
    some.ok(&format!("-n {ns} delete prt {}", name_of("b", "1")))?;
    assert_eq!((project.status("b", "1")?, project.status("a", "1")?), (404, 200));
    // All at once: what may go goes, and the answer counts the rest.
    project.push("b", "2", 1)?;
    let said = some.refused(&format!("delete --raw {API}/namespaces/{ns}/payloadrepositorytags"), "")?;
    assert!(said.contains("Forbidden"), "{said}");
    assert_eq!(listed(world.kube, ns)?, "a:1 a:2 c/d:1");
    Ok(())
}

#[test]
fn hidden_tags_are_in_no_list_and_no_watch() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project)?;
    let ns = project.name();
    let some = user(&world, &project, "some", &accesses("get", "a"))?;
    until("the rights count", || Ok(listed(&some, ns)? == "a:1 a:2"))?;
    let hidden = some.refused(&format!("-n {ns} get prt {}", name_of("b", "1")), "")?;
    assert!(hidden.contains("NotFound"), "{hidden}");
    let everywhere = some.ok("get prt -A -o name")?;
    assert_eq!(everywhere.lines().count(), 2, "{everywhere}");
    let watch =
        Stream::start(&mut some.command(&format!("get --raw {API}/namespaces/{ns}/payloadrepositorytags?watch=1")))?;
    until("it has begun", || Ok(watch.events().len() == 2))?;
    project.push("b", "2", 1)?;
    project.delete("b", "1")?;
    project.push("a", "3", 1)?;
    project.push("c/d", "2", 1)?;
    project.delete("a", "1")?;
    until("all events are there", || Ok(watch.events().len() >= 4))?;
    assert_eq!(watch.brief(), ["ADDED a:1", "ADDED a:2", "ADDED a:3", "DELETED a:1"]);
    // Rights that come and go count for events that come after.
    let role = format!("-n {ns} patch role some --type=json -p");
    world
        .kube
        .ok(&format!("{role} '[{{\"op\":\"replace\",\"path\":\"/rules/0/resourceNames\",\"value\":[\"b\"]}}]'"))?;
    until("the other right counts", || Ok(listed(&some, ns)? == "b:2"))?;
    project.push("a", "4", 1)?;
    project.push("b", "3", 1)?;
    until("the event of what it may see", || {
        Ok(watch.brief().last().is_some_and(|last| last == "ADDED b:3")
            || watch.brief().last().is_some_and(|last| last == "ERROR"))
    })?;
    assert!(!watch.brief().contains(&"ADDED a:4".to_owned()), "{:?}", watch.brief());
    Ok(())
}

/// Nobody without a name gets to the API, and nobody reads by asking it directly what the cluster would not show.
#[test]
fn the_same_rights_with_and_without_the_cluster_between() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project)?;
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let count = |token: &str| -> Result<(u16, usize)> {
        let reply = world.direct().token(token).get(&path)?;
        Ok((reply.status, reply.json()["items"].as_array().map_or(0, Vec::len)))
    };
    let nobody = project.namespace.account("nobody")?;
    assert_eq!((count(&project.token)?, count(&nobody)?), ((200, 4), (200, 0)));
    project.namespace.grant("nobody", &accesses("get", "a"))?;
    until("the right counts", || Ok(count(&nobody)? == (200, 2)))?;
    // A right to pull is one to see; a right to push is not.
    let pusher = project.namespace.account("pusher")?;
    project.namespace.grant("pusher", &accesses("create, update", ""))?;
    until("the pusher may push", || {
        let client = world.site.client(&pusher);
        Ok(e2e::site::Repository::new(&client, project.path("a")).begin_push()?.status == 202)
    })?;
    assert_eq!(count(&pusher)?, (200, 0));
    Ok(())
}
