//! cosign with a key pair and without a transparency log.

use crate::desk::{Desk, Tool};
use crate::view::{referrers, tags};
use anyhow::Result;
use e2e::{Image, Server};

/// What makes cosign 3 do without any service.
const OFFLINE: &str = "--yes --use-signing-config=false --tlog-upload=false --key cosign.key";
const VERIFY: &str = "--key cosign.pub --insecure-ignore-tlog=true";

fn start(desk: &Desk) -> Result<Option<(Tool<'_>, Server, String)>> {
    let Some(cosign) = desk.tool("cosign") else { return Ok(None) };
    cosign.ok("generate-key-pair")?;
    let server = Server::open()?;
    let digest = server.client().push_image("team/app", "1", &Image::new(1, &[1000]))?;
    Ok(Some((cosign, server, digest)))
}

#[test]
fn sign_attest_verify() -> Result<()> {
    let desk = Desk::new()?;
    let Some((cosign, server, digest)) = start(&desk)? else { return Ok(()) };
    let image = format!("{}/team/app@{digest}", server.address());
    assert!(!cosign.refused(&format!("verify {VERIFY} {image}"))?.is_empty());
    cosign.ok(&format!("sign {OFFLINE} -a build=7 {image}"))?;
    let verified = cosign.ok(&format!("verify {VERIFY} {}/team/app:1", server.address()))?;
    assert!(verified.contains(&digest), "{verified}");
    desk.write("predicate.json", "{\"scanned\":true}")?;
    cosign.ok(&format!("attest {OFFLINE} --type custom --predicate predicate.json {image}"))?;
    assert!(cosign.ok(&format!("verify-attestation {VERIFY} --type custom {image}"))?.contains("payload"));
    assert!(!cosign.refused(&format!("verify-attestation {VERIFY} --type spdx {image}"))?.is_empty());
    // Signature and attestation are referrers; no tag is made for them.
    assert_eq!(referrers(&server.client(), "team/app", &digest)?.len(), 2);
    assert_eq!(tags(&server.client(), "team/app")?, ["1"]);
    let tree = cosign.ok(&format!("tree {image}"))?;
    assert_eq!(tree.matches("via OCI referrer").count(), 2, "{tree}");

    // Another key does not verify.
    std::fs::rename(desk.path("cosign.pub"), desk.path("first.pub"))?;
    std::fs::remove_file(desk.path("cosign.key"))?;
    cosign.ok("generate-key-pair")?;
    assert!(!cosign.refused(&format!("verify {VERIFY} {image}"))?.is_empty());
    Ok(())
}

/// The form of cosign 2: signatures under tags.
#[test]
fn signatures_under_tags() -> Result<()> {
    let desk = Desk::new()?;
    let Some((cosign, server, digest)) = start(&desk)? else { return Ok(()) };
    let image = format!("{}/team/app@{digest}", server.address());
    cosign.ok(&format!("sign {OFFLINE} --new-bundle-format=false {image}"))?;
    let name = digest.replace(':', "-");
    assert_eq!(tags(&server.client(), "team/app")?, ["1".to_owned(), format!("{name}.sig")]);
    cosign.ok(&format!("verify {VERIFY} --new-bundle-format=false {image}"))?;
    // A second signature reads and replaces the tag.
    cosign.ok(&format!("sign {OFFLINE} --new-bundle-format=false -a second=yes {image}"))?;
    cosign.ok(&format!("verify {VERIFY} --new-bundle-format=false -a second=yes {image}"))?;
    cosign.ok(&format!("clean --force --type signature {image}"))?;
    assert_eq!(tags(&server.client(), "team/app")?, ["1"]);
    Ok(())
}

/// `cosign copy` of this version takes only signatures under tags along; oras takes the referrers.
#[test]
fn signatures_travel_with_a_copy() -> Result<()> {
    let desk = Desk::new()?;
    let Some((cosign, server, digest)) = start(&desk)? else { return Ok(()) };
    let Some(oras) = desk.tool("oras") else { return Ok(()) };
    let host = server.address();
    cosign.ok(&format!("sign {OFFLINE} {host}/team/app@{digest}"))?;
    oras.ok(&format!("cp -r --from-plain-http --to-plain-http {host}/team/app:1 {host}/copy/app:1"))?;
    cosign.ok(&format!("verify {VERIFY} {host}/copy/app@{digest}"))?;

    cosign.ok(&format!("sign {OFFLINE} --new-bundle-format=false {host}/team/app@{digest}"))?;
    cosign.ok(&format!("copy {host}/team/app:1 {host}/other/app:1"))?;
    cosign.ok(&format!("verify {VERIFY} --new-bundle-format=false {host}/other/app@{digest}"))?;
    Ok(())
}
