//! oras: artifacts and what is attached to them.

use crate::desk::Desk;
use crate::view::{manifest, referrers, tags};
use anyhow::Result;
use e2e::{Image, Server};

#[test]
fn artifact_comes_back() -> Result<()> {
    let desk = Desk::new()?;
    let Some(oras) = desk.tool("oras") else { return Ok(()) };
    let server = Server::open()?;
    let to = format!("{}/team/artifact", server.address());
    desk.write("hello.txt", "hello")?;
    desk.write("empty.txt", "")?;
    let line = "--artifact-type application/vnd.acme.config hello.txt:text/plain empty.txt:text/plain";
    oras.ok(&format!("push --plain-http {to}:v1 {line}"))?;
    oras.ok(&format!("pull --plain-http {to}:v1 -o {}", desk.text("out")))?;
    assert_eq!(std::fs::read_to_string(desk.path("out/hello.txt"))?, "hello");
    assert_eq!(std::fs::read_to_string(desk.path("out/empty.txt"))?, "");
    assert!(oras.ok(&format!("manifest fetch --plain-http {to}:v1"))?.contains("application/vnd.acme.config"));
    oras.ok(&format!("tag --plain-http {to}:v1 stable next"))?;
    assert_eq!(oras.ok(&format!("repo tags --plain-http {to}"))?, "next\nstable\nv1\n");
    assert_eq!(oras.ok(&format!("repo ls --plain-http {}", server.address()))?, "team/artifact\n");
    oras.ok(&format!("manifest delete --plain-http --force {to}:next"))?;
    assert_eq!(manifest(&server.client(), "team/artifact", "v1")?.status, 404);
    Ok(())
}

#[test]
fn attach_discover_copy() -> Result<()> {
    let desk = Desk::new()?;
    let Some(oras) = desk.tool("oras") else { return Ok(()) };
    let server = Server::open()?;
    let (host, client) = (server.address(), server.client());
    let subject = client.push_image("team/app", "1", &Image::new(1, &[1000]))?;
    for kind in ["sbom", "scan"] {
        desk.write(&format!("{kind}.json"), &format!("{{\"a\":\"{kind}\"}}"))?;
        let line = format!("attach --plain-http --artifact-type application/x-{kind} {host}/team/app:1");
        oras.ok(&format!("{line} {kind}.json:application/json --annotation kind={kind}"))?;
    }
    assert_eq!(tags(&client, "team/app")?, ["1"], "no fallback tag");
    for spec in ["", "--distribution-spec v1.1-referrers-api"] {
        let found = oras.ok(&format!("discover --plain-http --format json {spec} {host}/team/app:1"))?;
        assert!(found.contains("application/x-sbom") && found.contains("application/x-scan"), "{found}");
        assert!(found.contains("\"kind\": \"sbom\""), "annotations: {found}");
    }
    let found = oras.ok(&format!("discover --plain-http --artifact-type application/x-scan {host}/team/app:1"))?;
    assert!(found.contains("application/x-scan") && !found.contains("application/x-sbom"), "{found}");
    // An attachment of an attachment, then the tree is copied.
    let sbom = referrers(&client, "team/app", &subject)?.remove(0);
    oras.ok(&format!(
        "attach --plain-http --artifact-type application/x-deep {host}/team/app@{sbom} scan.json:application/json"
    ))?;
    oras.ok(&format!("cp -r --from-plain-http --to-plain-http {host}/team/app:1 {host}/copy/app:1"))?;
    assert_eq!(referrers(&client, "copy/app", &subject)?, referrers(&client, "team/app", &subject)?);
    assert_eq!(referrers(&client, "copy/app", &sbom)?.len(), 1);
    // Deleted, it is no longer found.
    oras.ok(&format!("manifest delete --plain-http --force {host}/team/app@{sbom}"))?;
    assert!(!referrers(&client, "team/app", &subject)?.contains(&sbom));
    Ok(())
}

/// A client that insists on fallback tags: what it attaches is in the API, and the other way round nothing is lost.
#[test]
fn fallback_tags_and_api_are_one_list() -> Result<()> {
    let desk = Desk::new()?;
    let Some(oras) = desk.tool("oras") else { return Ok(()) };
    let server = Server::open()?;
    let (host, client) = (server.address(), server.client());
    let subject = client.push_image("team/app", "1", &Image::new(1, &[1000]))?;
    desk.write("a.json", "{}")?;
    for kind in ["tag", "api"] {
        let line = format!(
            "attach --plain-http --distribution-spec v1.1-referrers-{kind} --artifact-type application/x-{kind}"
        );
        oras.ok(&format!("{line} {host}/team/app:1 a.json:application/json"))?;
    }
    assert_eq!(tags(&client, "team/app")?, ["1".to_owned(), subject.replace(':', "-")]);
    let found = oras.ok(&format!("discover --plain-http --format json {host}/team/app:1"))?;
    assert!(found.contains("application/x-tag") && found.contains("application/x-api"), "{found}");
    assert_eq!(referrers(&client, "team/app", &subject)?.len(), 2);
    Ok(())
}

#[test]
fn blobs() -> Result<()> {
    let desk = Desk::new()?;
    let Some(oras) = desk.tool("oras") else { return Ok(()) };
    let server = Server::open()?;
    let to = format!("{}/team/blobs", server.address());
    desk.write("blob", "some bytes")?;
    oras.ok(&format!("blob push --plain-http {to} blob"))?;
    let digest = e2e::digest(b"some bytes");
    assert_eq!(oras.ok(&format!("blob fetch --plain-http {to}@{digest} --output -"))?, "some bytes");
    oras.ok(&format!("blob delete --plain-http --force {to}@{digest}"))?;
    assert_eq!(server.client().head(&format!("/v2/team/blobs/blobs/{digest}"))?.status, 404);
    Ok(())
}
