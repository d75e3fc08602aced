//! From distribution to Homeport and back, on the same bucket.

use crate::desk::Desk;
use crate::migration::{WHOLE, change, files, fill_through, same};
use crate::peer::Old;
use crate::view::{manifest, referrers, tags, view, view_by};
use anyhow::{Context, Result, ensure};
use e2e::s3::S3;
use e2e::{Image, Server, digest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PASS: &str = "redirect: {disable: true}";

fn homeport(s3: &S3) -> Result<Server> {
    Server::builder().config(&s3.config(PASS)).no_folder().start()
}

/// Every object of distribution's tree: content has the digest that its key says, a link leads to content that is there.
fn objects(tree: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let root = tree.join("docker/registry/v2");
    let mut found = BTreeMap::new();
    for file in files(&root)? {
        let key = file.strip_prefix(&root)?.to_owned();
        let content = std::fs::read(&file)?;
        found.insert(key, digest(&content));
        if !file.ends_with("link") {
            continue;
        }
        let text = String::from_utf8(content)?;
        let (algorithm, hex) = text.split_once(':').with_context(|| format!("{}: {text:?}", file.display()))?;
        let data = root.join("blobs").join(algorithm).join(&hex[..2]).join(hex).join("data");
        ensure!(data.is_file(), "{} leads to {text}, which is not there", file.display());
    }
    for (key, digest) in &found {
        if key.ends_with("data") && key.starts_with("blobs") {
            let hex = key.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            ensure!(*digest == format!("sha256:{hex}"), "{} is {digest}", key.display());
        }
    }
    Ok(found)
}

#[test]
fn from_distribution_and_back() -> Result<()> {
    let Some(s3) = S3::start()? else { return Ok(()) };
    let desk = Desk::new()?;
    let Some(old) = Old::find_on(&desk, "distribution", &s3.of_distribution())? else { return Ok(()) };
    let Some(filled) = fill_through(&desk, &old)? else { return Ok(()) };
    let before = objects(&s3.tree())?;

    // Served in place, and reading changes nothing.
    let server = homeport(&s3)?;
    same(&view(&server.client(), &filled.untagged)?, &filled.view);
    assert_eq!(referrers(&server.client(), "team/app", &filled.subject)?.len(), 2);
    assert_eq!(objects(&s3.tree())?, before);

    // Changed by Homeport, served by distribution.
    let mut untagged = change(&desk, &server, &filled.subject)?;
    untagged.extend(filled.untagged);
    let client = server.client();
    let large = Image::new(31, &[23 << 20]);
    client.push_image("team/large", "1", &large)?;
    assert_eq!(client.delete("/v2/team/large/manifests/1")?.status, 202);
    client.push_image("team/large", "2", &large)?;
    let removed = client.push_image("team/large", "3", &Image::new(32, &[100]))?;
    assert_eq!(client.delete(&format!("/v2/team/large/manifests/{removed}"))?.status, 202);
    let expected = view(&client, &untagged)?;
    assert!(expected.len() > filled.view.len() + 20, "{expected:#?}");
    objects(&s3.tree())?;
    server.stop()?;
    let running = old.serve()?;
    same(&view_by(&running.client(), &untagged, WHOLE)?, &expected);
    assert_eq!(manifest(&running.client(), "team/large", &removed)?.status, 404);

    // Changed by distribution, served by Homeport.
    let client = running.client();
    let again = Image::new(33, &[11 << 20, 100]);
    client.push_image("team/large", "2", &again)?;
    client.push_image("back/app", "1", &again)?;
    let subject = digest(&again.manifest);
    let dropped = client.push_image("back/app", "2", &Image::new(34, &[100]))?;
    assert_eq!(client.delete(&format!("/v2/back/app/manifests/{dropped}"))?.status, 202);
    let expected = view_by(&client, &untagged, WHOLE)?;
    running.stop()?;
    let server = homeport(&s3)?;
    let client = server.client();
    same(&view(&client, &untagged)?, &expected);
    assert_eq!(tags(&client, "back/app")?, ["1"]);
    assert_eq!(digest(&manifest(&client, "team/large", "2")?.body), subject);
    assert_eq!(manifest(&client, "back/app", &dropped)?.status, 404);
    server.stop()?;

    // Its garbage collection takes nothing that either of them serves.
    let said = old.garbage_collect("")?;
    ensure!(!said.contains("rror"), "{said}");
    let running = old.serve()?;
    same(&view_by(&running.client(), &untagged, WHOLE)?, &expected);
    running.stop()?;
    let server = homeport(&s3)?;
    same(&view(&server.client(), &untagged)?, &expected);
    server.stop()?;
    Ok(())
}
