//! Tags are deleted as objects. Case A-68.

use crate::direct::Stream;
use crate::world::{Project, World, name_of, shared};
use anyhow::Result;
use e2e::kube::{PATIENCE, until, until_within};
use std::time::{Duration, Instant};

/// Tags `1` to `count` of one repository.
fn fill(project: &Project, repository: &str, count: u64) -> Result<()> {
    (1..=count).try_for_each(|index| project.push(repository, &index.to_string(), index).map(drop))
}

fn listed(world: &World, project: &Project) -> Result<String> {
    let columns = "jsonpath={range .items[*]}{.status.repository}:{.status.tag}{\" \"}{end}";
    Ok(world.kube.ok(&format!("-n {} get prt -o '{columns}'", project.name()))?.trim().to_owned())
}

#[test]
fn kubectl_deletes_one_tag_and_no_other() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let (kube, ns) = (world.kube, project.name());
    let digest = project.push("app", "1", 1)?;
    assert_eq!(project.push("app", "same", 1)?, digest);
    fill(&project, "other", 2)?;
    let said = kube.ok(&format!("-n {ns} delete prt {}", name_of("app", "1")))?;
    assert!(said.contains(&format!("\"{}\" deleted", name_of("app", "1"))), "{said}");
    // At once, and nothing else that has the digest.
    assert_eq!(project.status("app", "1")?, 404);
    assert_eq!((project.status("app", "same")?, project.status("app", &digest)?), (200, 200));
    assert_eq!(listed(&world, &project)?, "app:same other:1 other:2");
    let again = kube.refused(&format!("-n {ns} delete prt {}", name_of("app", "1")), "")?;
    assert!(again.contains("NotFound"), "{again}");
    kube.ok(&format!("-n {ns} delete prt {} --ignore-not-found", name_of("app", "1")))?;
    // Whoever pulls by tag gets what is there now.
    assert_ne!(project.push("app", "1", 9)?, digest);
    assert_eq!(project.status("app", "1")?, 200);
    Ok(())
}

#[test]
fn a_dry_run_deletes_nothing() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project, "app", 3)?;
    let (kube, ns) = (world.kube, project.name());
    let one = kube.ok(&format!("-n {ns} delete prt {} --dry-run=server", name_of("app", "1")))?;
    let all = kube.ok(&format!("-n {ns} delete prt --all --dry-run=server"))?;
    assert!(one.contains("server dry run") && all.matches("server dry run").count() == 3, "{one}\n{all}");
    let path = format!("{}/namespaces/{ns}/payloadrepositorytags", crate::world::API);
    for query in
        ["", "&labelSelector=payload-registry.deckhouse.io/tag%3D2", "&fieldSelector=repository%3Dapp,tag!%3D1"]
    {
        kube.ok(&format!("delete --raw {path}?dryRun=All{query}"))?;
    }
    assert_eq!(project.tags("app")?.len(), 3);
    let said = kube.refused(&format!("delete --raw {path}?dryRun=Some"), "")?;
    assert!(said.contains("is invalid: dryRun"), "{said}");
    // Both selectors together, as controllers send them.
    kube.ok(&format!(
        "delete --raw {path}?labelSelector=payload-registry.deckhouse.io/repository%3Dapp&fieldSelector=tag!%3D3"
    ))?;
    assert_eq!(project.tags("app")?, ["3"]);
    Ok(())
}

#[test]
fn kubectl_deletes_by_selector_and_all() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let (project, other) = (world.project()?, world.project()?);
    for repository in ["a", "b", "c"] {
        fill(&project, repository, 2)?;
    }
    fill(&other, "a", 1)?;
    let (kube, ns) = (world.kube, project.name());
    kube.ok(&format!("-n {ns} delete prt -l payload-registry.deckhouse.io/repository=a"))?;
    assert_eq!(listed(&world, &project)?, "b:1 b:2 c:1 c:2");
    kube.ok(&format!("-n {ns} delete prt --field-selector repository=b,tag=2"))?;
    assert_eq!(listed(&world, &project)?, "b:1 c:1 c:2");
    kube.ok(&format!("-n {ns} delete prt --all"))?;
    assert_eq!(listed(&world, &project)?, "");
    assert_eq!((project.tags("c")?.len(), other.tags("a")?.len()), (0, 1));
    // As controllers do it, in one request.
    fill(&other, "b", 3)?;
    let path = format!("{}/namespaces/{}/payloadrepositorytags", crate::world::API, other.name());
    let said = kube.ok(&format!("delete --raw {path}?labelSelector=payload-registry.deckhouse.io/repository%3Db"))?;
    assert!(said.contains("Success") || said.contains("List"), "{said}");
    assert_eq!(listed(&world, &other)?, "a:1");
    Ok(())
}

#[test]
fn kubectl_waits_for_the_end_of_a_tag() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    fill(&project, "app", 2)?;
    let (kube, ns, name) = (world.kube, project.name(), name_of("app", "1"));
    let line = format!("-n {ns} wait --for=delete prt/{name} --timeout={}s", PATIENCE.as_secs());
    let mut wait = Stream::start(&mut kube.command(&line))?;
    // Of a tag that it has not found it would say that there is none.
    let found = format!("path={}/namespaces/{ns}/payloadrepositorytags/{name} ", crate::world::API);
    until("it has found the tag", || {
        Ok(world.site.log().lines().any(|line| line.contains(&found) && line.contains(" verb=get ")))
    })?;
    // By then it watches, as a rule.
    let early = until_within(Duration::from_millis(800), "it ends", || wait.has_ended());
    assert!(early.is_err(), "{} {}", wait.text(), wait.complaints());
    project.delete("app", "1")?;
    let took = until("it has seen the end", || wait.has_ended())?;
    assert!(wait.text().contains("condition met"), "{} {}", wait.text(), wait.complaints());
    println!("seen after {took:?}");
    let digest = kube.field(&format!("-n {ns} prt {}", name_of("app", "2")), ".status.digest")?;
    kube.ok(&format!("-n {ns} wait prt/{} --for=jsonpath={{.status.digest}}={digest}", name_of("app", "2")))?;
    Ok(())
}

/// A tag that was deleted and pushed again is another object; one that was moved is the same.
#[test]
fn the_identity_of_a_tag() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let object = format!("-n {} prt {}", project.name(), name_of("app", "1"));
    let identity = || -> Result<(String, String, String)> {
        let of = |path: &str| world.kube.field(&object, path);
        Ok((of(".metadata.uid")?, of(".metadata.creationTimestamp")?, of(".metadata.resourceVersion")?))
    };
    project.push("app", "1", 1)?;
    let first = identity()?;
    assert_eq!(identity()?, first);
    project.push("app", "1", 2)?;
    let moved = identity()?;
    assert_eq!((&moved.0, &moved.1), (&first.0, &first.1));
    assert!(moved.2.parse::<u64>()? > first.2.parse::<u64>()?, "{first:?} {moved:?}");
    // Preconditions, as the garbage collector has them.
    let path = format!("{}/namespaces/{}/payloadrepositorytags", crate::world::API, project.name());
    let path = format!("{path}/{}", name_of("app", "1"));
    let direct = world.direct().token(&project.token);
    for stale in [format!("{{\"uid\":\"{}x\"}}", moved.0), format!("{{\"resourceVersion\":\"{}\"}}", first.2)] {
        let body = format!("{{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{stale}}}");
        let with = ["-X", "DELETE", "-H", "Content-Type: application/json", "--data", &body];
        direct.with(&with).get(&path)?.is_failure(409, "Conflict");
    }
    project.delete("app", "1")?;
    until("it is gone", || Ok(identity().is_err()))?;
    project.push("app", "1", 1)?;
    assert_ne!(identity()?.0, first.0);
    Ok(())
}

/// A deletion that takes longer than its request may tells how far it came, and goes on when it is repeated.
#[test]
fn what_takes_too_long_is_done_in_pieces() -> Result<()> {
    const TAGS: usize = 3_000;
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let image = e2e::Image::new(1, &[100]);
    project.client.push_image(&project.path("app"), "t0", &image)?;
    let tags: Vec<String> = (0..TAGS).map(|tag| format!("tag=t{tag}")).collect();
    for some in tags.chunks(100) {
        let path = format!("/v2/{}/manifests/{}?{}", project.path("app"), e2e::digest(&image.manifest), some.join("&"));
        let put = project.client.send("PUT", &path, &[("content-type", e2e::Image::MEDIA_TYPE)], &image.manifest)?;
        assert_eq!(put.status, 201, "{}", put.text());
    }
    let path = format!("{}/namespaces/{}/payloadrepositorytags?timeout=1200ms", crate::world::API, project.name());
    let direct = world.direct().token(&project.token).with(&["-X", "DELETE"]);
    let (begun, mut pieces, mut told, mut left) = (Instant::now(), 0, 0, TAGS);
    let mut progress = begun;
    while left > 0 {
        let reply = direct.get(&path)?;
        let now = project.tags("app")?.len();
        if reply.status != 200 {
            reply.is_failure(504, "Timeout");
            let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
            let gone = message.split(' ').find_map(|word| word.parse::<usize>().ok());
            pieces += 1;
            // On a busy machine the whole time may be over before the work stops. What has begun goes to its end uncounted.
            if let Some(gone) = gone {
                assert!(message.contains("repeat the request"), "{message}");
                assert!(gone <= left - now, "{message} {left} {now}");
                // Nor need there be time for the first one.
                told += usize::from(gone > 0);
            }
        } else {
            assert_eq!(now, 0);
        }
        if now < left {
            progress = Instant::now();
        }
        assert!(progress.elapsed() < PATIENCE, "no tag goes any more, {now} are left");
        left = now;
    }
    println!("{TAGS} tags after {:?} in {pieces} pieces, told {told} times how many", begun.elapsed());
    assert!(pieces > 0);
    Ok(())
}
