//! What is no good request is told so, as Kubernetes does it.

use crate::world::{API, name_of, shared};
use anyhow::Result;

#[test]
fn malformed_requests_are_answered_with_a_status() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    for tag in ["1", "2", "3"] {
        project.push("app", tag, 1)?;
    }
    let base = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let direct = world.direct().token(&project.token);
    let page = direct.get(&format!("{base}?limit=1"))?.json();
    let token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let version = page["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    assert!(!token.is_empty() && !version.is_empty(), "{page}");
    let bad = [
        "limit=x".to_owned(),
        "limit=1&continue=%21%21".to_owned(),
        "limit=1&continue=bm90aGluZw".to_owned(),
        format!("limit=1&continue={}", &token[..token.len() - 3]),
        format!("limit=1&continue={token}&labelSelector=a%3Db"),
        format!("limit=1&continue={token}&fieldSelector=tag%3D1"),
        format!("limit=1&continue={token}&resourceVersion={version}"),
        "labelSelector=a+in+%28".to_owned(),
        "labelSelector=%3D%3D".to_owned(),
        "fieldSelector=status.size%3D1".to_owned(),
        "fieldSelector=metadata.name".to_owned(),
        "resourceVersion=abc".to_owned(),
        "resourceVersion=-1".to_owned(),
        "watch=1&resourceVersion=abc".to_owned(),
        "timeoutSeconds=soon&watch=1".to_owned(),
    ];
    for query in bad {
        let reply = direct.get(&format!("{base}?{query}"))?;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text);
        reply.is_failure(400, "BadRequest");
    }
    // Options that are well-formed and make no sense together.
    for query in [
        "resourceVersionMatch=Exact".to_owned(),
        format!("resourceVersion={version}&resourceVersionMatch=Sometimes"),
        "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
        "sendInitialEvents=true".to_owned(),
        "watch=1&sendInitialEvents=true".to_owned(),
    ] {
        let reply = direct.get(&format!("{base}?{query}"))?;
        assert!(matches!(reply.status, 400 | 422), "{query}: {} {}", reply.status, reply.text);
        assert_eq!(reply.json()["kind"], "Status");
    }
    // Another namespace's token.
    let other = world.project()?;
    let elsewhere = format!("{API}/namespaces/{}/payloadrepositorytags?limit=1&continue={token}", other.name());
    world.direct().token(&other.token).get(&elsewhere)?.is_failure(400, "BadRequest");
    Ok(())
}

#[test]
fn names_that_are_no_tags_are_not_found() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let base = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let direct = world.direct().token(&project.token);
    let good = name_of("app", "1");
    assert_eq!(direct.get(&format!("{base}/{good}"))?.status, 200);
    let names = [
        good.to_uppercase(),
        format!("{good}======"),
        format!("{good}a"),
        "x".to_owned(),
        "0189".to_owned(),
        "%2e%2e".to_owned(),
        "a.b-c".to_owned(),
        name_of("UPPER", "1"),
        name_of("..", "1"),
        name_of("app/../app", "1"),
        name_of("app", "not a tag"),
        name_of("app", ""),
        name_of("", "1"),
        name_of("/app", "1"),
        "a".repeat(5000),
    ];
    for name in names {
        let reply = direct.get(&format!("{base}/{name}"))?;
        assert!(matches!(reply.status, 400 | 404), "{name}: {} {}", reply.status, reply.text);
        assert_eq!(reply.json()["kind"], "Status", "{name}: {}", reply.text);
        let reply = direct.with(&["-X", "DELETE"]).get(&format!("{base}/{name}"))?;
        assert!(matches!(reply.status, 400 | 404), "DELETE {name}: {} {}", reply.status, reply.text);
    }
    assert_eq!(project.tags("app")?, ["1"]);
    Ok(())
}

#[test]
fn what_is_not_spoken_is_refused() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let base = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let direct = world.direct().token(&project.token);
    let accept = |what: &str| direct.with(&["--header", &format!("Accept: {what}")]);
    for what in [
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "text/html",
        "application/json;as=Table;v=v2;g=meta.k8s.io",
    ] {
        accept(what).get(&base)?.is_failure(406, "NotAcceptable");
    }
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    assert_eq!(accept(table).get(&base)?.json()["kind"], "Table");
    let part = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    assert_eq!(accept(part).get(&base)?.json()["kind"], "PartialObjectMetadataList");
    assert_eq!(accept("*/*").get(&base)?.json()["kind"], "PayloadRepositoryTagList");
    let plain = direct.get(&base)?;
    assert!(plain.headers.to_lowercase().contains("content-type: application/json"), "{}", plain.headers);
    let packed = direct.with(&["--header", "Accept-Encoding: gzip"]).get(&base)?;
    let wanted = plain.text.len() > 1024;
    assert_eq!(packed.headers.to_lowercase().contains("content-encoding: gzip"), wanted, "{}", packed.headers);
    for (method, path, status, reason) in [
        ("POST", base.clone(), 405, "MethodNotAllowed"),
        ("PUT", format!("{base}/{}", name_of("app", "1")), 405, "MethodNotAllowed"),
        ("PATCH", format!("{base}/{}", name_of("app", "1")), 405, "MethodNotAllowed"),
        ("GET", base.replace("v1alpha1", "v9"), 404, "NotFound"),
        ("GET", base.replace("payloadrepositorytags", "others"), 404, "NotFound"),
        ("GET", format!("{base}/{}/status", name_of("app", "1")), 404, "NotFound"),
        ("DELETE", format!("{API}/payloadrepositorytags"), 405, "MethodNotAllowed"),
    ] {
        direct
            .with(&["-X", method, "-H", "Content-Type: application/json", "--data", "{}"])
            .get(&path)?
            .is_failure(status, reason);
    }
    let huge = format!("{{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"padding\":\"{}\"}}", "x".repeat(1 << 20));
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), huge)?;
    let data = format!("@{}", file.path().display());
    let one = format!("{base}/{}", name_of("app", "1"));
    let reply = direct
        .with(&["-X", "DELETE", "-H", "Content-Type: application/json", "-H", "Expect:", "--http1.1", "--data", &data])
        .get(&one)?;
    assert_eq!(reply.status, 413, "{}", reply.text);
    for body in ["{", "[]", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"preconditions\":3}"] {
        let with = ["-X", "DELETE", "-H", "Content-Type: application/json", "--data", body];
        direct.with(&with).get(&one)?.is_failure(400, "BadRequest");
    }
    assert_eq!(project.tags("app")?, ["1"]);
    Ok(())
}

/// Names above the limit of Kubernetes are listed, read and deleted all the same.
#[test]
fn very_long_names_work() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let repository = vec!["component"; 14].join("/");
    let tag = "t".repeat(120);
    let (name, digest) = (name_of(&repository, &tag), project.push(&repository, &tag, 1)?);
    assert!(name.len() > 253);
    let (kube, ns) = (world.kube, project.name());
    assert_eq!(kube.ok(&format!("-n {ns} get prt -o name"))?.trim().rsplit('/').next(), Some(name.as_str()));
    assert_eq!(kube.field(&format!("-n {ns} prt {name}"), ".status.digest")?, digest);
    kube.ok(&format!("-n {ns} delete prt {name}"))?;
    assert_eq!(project.status(&repository, &tag)?, 404);
    Ok(())
}
