//! From the older registries to Homeport and back, on the same folder.

use crate::desk::Desk;
use crate::material;
use crate::peer::Old;
use crate::view::{View, manifest, referrers, sha512, tags, view, view_by};
use anyhow::{Result, ensure};
use e2e::{Client, Image, Server, digest};
use serde_json::json;
use std::path::{Path, PathBuf};

/// More names than there are.
pub(crate) const WHOLE: usize = 1000;

const OLD: [&str; 2] = ["docker-registry", "distribution"];

/// What both tests need to know of a tree that an older registry wrote.
pub(crate) struct Filled {
    pub(crate) view: View,
    /// Digest of `team/app:amd64`, to which things are attached.
    pub(crate) subject: String,
    /// Manifests that no tag names.
    pub(crate) untagged: Vec<String>,
}

/// Fills a tree through an older registry, with real clients. `None` when a program is missing.
pub(crate) fn fill(desk: &Desk, old: &'static str, tree: &Path) -> Result<Option<Filled>> {
    let Some(old) = Old::find(desk, old, tree)? else { return Ok(None) };
    fill_through(desk, &old)
}

/// The same through one that is there.
pub(crate) fn fill_through(desk: &Desk, old: &Old<'_>) -> Result<Option<Filled>> {
    let (Some(crane), Some(skopeo), Some(oras)) = (desk.tool("crane"), desk.tool("skopeo"), desk.tool("oras")) else {
        return Ok(None);
    };
    let running = old.serve()?;
    let (host, client) = (running.address(), running.client());
    material::index(desk, &crane, &format!("{host}/team/app"))?;
    let docker = material::layer(desk, "docker")?;
    crane.ok(&format!("append --new_layer {} --new_tag {host}/team/docker:1", docker.display()))?;
    // Repositories inside of each other, a tag that has moved, a tag that is gone.
    material::image(desk, &crane, &format!("{host}/team/app/sub:1"), "old")?;
    let moved = crane.ok(&format!("digest {host}/team/app/sub:1"))?;
    material::image(desk, &crane, &format!("{host}/team/app/sub:1"), "new")?;
    crane.ok(&format!("copy {host}/team/app:arm64 {host}/a/b/c/d/e:x"))?;
    client.push_image("gone", "1", &Image::new(7, &[10]))?;
    client.delete(&format!("/v2/gone/manifests/{}", digest(&Image::new(7, &[10]).manifest)))?;
    // Another client, and blobs of all sizes.
    let plain = "--src-tls-verify=false --dest-tls-verify=false";
    skopeo.ok(&format!("copy {plain} docker://{host}/team/app:arm64 docker://{host}/team/skopeo:1"))?;
    client.push_image("team/big", "1", &Image::new(3, &[0, 1, 4096, 8 << 20]))?;
    // Without `mediaType` inside, as older clients write them: the registry has to tell what it is.
    let bare = String::from_utf8(Image::new(3, &[0, 1, 4096, 8 << 20]).manifest)?;
    let bare = bare.replace(&format!("\"mediaType\":\"{}\",", Image::MEDIA_TYPE), "");
    ensure!(!bare.contains(Image::MEDIA_TYPE));
    let child = client.push_manifest("team/big", "bare", Image::MEDIA_TYPE, bare.as_bytes())?;
    let entry = json!({"mediaType": Image::MEDIA_TYPE, "digest": child, "size": bare.len()});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    client.push_manifest("team/big", "bare-index", material::OCI_INDEX, index.as_bytes())?;
    // These registries know nothing of referrers: oras writes the fallback tag.
    desk.write("sbom.json", "{\"packages\":[]}")?;
    for kind in ["sbom", "scan"] {
        let line = format!("attach --plain-http --artifact-type application/x-{kind} {host}/team/app:amd64");
        oras.ok(&format!("{line} sbom.json:application/json --annotation kind={kind}"))?;
    }
    let subject = crane.ok(&format!("digest {host}/team/app:amd64"))?.trim().to_owned();
    ensure!(tags(&client, "team/app")?.contains(&subject.replace(':', "-")), "no fallback tag");
    let untagged = vec![format!("team/app/sub@{}", moved.trim())];
    // In one page: on a bucket distribution loses names between pages, since a bucket has another order than it believes.
    let view = view_by(&client, &untagged, WHOLE)?;
    running.stop()?;
    Ok(Some(Filled { view, subject, untagged }))
}

/// Everything is there, nothing else is.
pub(crate) fn same(actual: &View, expected: &View) {
    let missing: Vec<_> = expected.iter().filter(|(key, value)| actual.get(*key) != Some(value)).collect();
    let extra: Vec<_> = actual.iter().filter(|(key, value)| expected.get(*key) != Some(value)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:#?}\nmore: {extra:#?}");
}

pub(crate) fn homeport(tree: &Path) -> Result<Server> {
    Server::builder().config("version: 0.1\nstorage: {delete: {enabled: true}}\n").data(tree).start()
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
        }
    }
    Ok(found)
}

fn served_unchanged(old: &'static str) -> Result<()> {
    let desk = Desk::new()?;
    let tree = desk.path("tree");
    let Some(filled) = fill(&desk, old, &tree)? else { return Ok(()) };
    let before = files(&tree)?;
    let server = homeport(&tree)?;
    let client = server.client();
    same(&view(&client, &filled.untagged)?, &filled.view);

    // What is attached is found through the API, although only the fallback tag tells of it.
    assert_eq!(referrers(&client, "team/app", &filled.subject)?.len(), 2);
    if let Some(oras) = desk.tool("oras") {
        let line = "discover --plain-http --format json --distribution-spec v1.1-referrers-api";
        let found = oras.ok(&format!("{line} {}/team/app:amd64", server.address()))?;
        assert!(found.contains("application/x-sbom") && found.contains("\"kind\": \"scan\""), "{found}");
    }
    // Reading changes nothing.
    server.stop()?;
    let added: Vec<_> = files(&tree)?.into_iter().filter(|file| !before.contains(file)).collect();
    assert!(added.iter().all(|file| !file.starts_with(tree.join("docker"))), "{added:?}");
    Ok(())
}

#[test]
fn data_of_docker_registry_is_served_unchanged() -> Result<()> {
    served_unchanged("docker-registry")
}

#[test]
fn data_of_distribution_is_served_unchanged() -> Result<()> {
    served_unchanged("distribution")
}

/// Changes a tree through Homeport; returns manifests that no tag names.
pub(crate) fn change(desk: &Desk, server: &Server, subject: &str) -> Result<Vec<String>> {
    let (host, client) = (server.address(), server.client());
    let (Some(crane), Some(oras)) = (desk.tool("crane"), desk.tool("oras")) else { return Ok(Vec::new()) };
    material::index(desk, &crane, &format!("{host}/new/app"))?;
    crane.ok(&format!("copy {host}/team/app:all {host}/new/copy:all"))?;
    crane.ok(&format!("tag {host}/team/app:amd64 another"))?;
    crane.ok(&format!("tag {host}/team/app:arm64 skip"))?;
    crane.ok(&format!("delete {host}/team/app:skip"))?;
    let docker = material::layer(desk, "docker-2")?;
    crane.ok(&format!("append --new_layer {} --new_tag {host}/team/docker:1", docker.display()))?;
    // Blobs of all sizes, in one request and in many.
    client.push_image("new/sizes", "1", &Image::new(11, &[0, 1, 100, 65_536, 3 << 20, 16 << 20]))?;
    let content = e2e::random(12, 5 << 20);
    chunked(&client, "new/sizes", &content)?;
    let config = client.push_blob("new/sizes", b"{}")?;
    let image = json!({
        "schemaVersion": 2,
        "mediaType": Image::MEDIA_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&content), "size": content.len()}],
    });
    client.push_manifest("new/sizes", "chunked", Image::MEDIA_TYPE, image.to_string().as_bytes())?;
    // Attached through the API: to an old image and to a new one. No tag names these.
    desk.write("new.json", "{}")?;
    for image in ["team/app:amd64", "new/app:amd64"] {
        let line = format!("attach --plain-http --artifact-type application/x-new {host}/{image}");
        oras.ok(&format!("{line} new.json:application/json"))?;
    }
    let mut untagged = Vec::new();
    let new = digest(&manifest(&client, "new/app", "amd64")?.body);
    for (repo, subject) in [("team/app", subject), ("new/app", &new)] {
        untagged.extend(referrers(&client, repo, subject)?.into_iter().map(|digest| format!("{repo}@{digest}")));
    }
    ensure!(untagged.len() == 4, "{untagged:?}");
    Ok(untagged)
}

/// A blob in chunks of 1 MiB.
fn chunked(client: &Client, repo: &str, content: &[u8]) -> Result<()> {
    let begun = client.send("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[])?;
    let mut location = begun.header("location").to_owned();
    for chunk in content.chunks(1 << 20) {
        let answer = client.send("PATCH", &location, &[], chunk)?;
        ensure!(answer.status == 202, "PATCH: {} {}", answer.status, answer.text());
        answer.header("location").clone_into(&mut location);
    }
    put(client, &location, &digest(content), &[])
}

pub(crate) fn put(client: &Client, location: &str, digest: &str, content: &[u8]) -> Result<()> {
    let separator = if location.contains('?') { '&' } else { '?' };
    let answer = client.send("PUT", &format!("{location}{separator}digest={digest}"), &[], content)?;
    ensure!(answer.status == 201, "PUT: {} {}", answer.status, answer.text());
    Ok(())
}

fn there_and_back(first: &'static str) -> Result<()> {
    let desk = Desk::new()?;
    let tree = desk.path("tree");
    let Some(filled) = fill(&desk, first, &tree)? else { return Ok(()) };
    let server = homeport(&tree)?;
    let mut untagged = change(&desk, &server, &filled.subject)?;
    untagged.extend(filled.untagged);
    let client = server.client();
    let expected = view(&client, &untagged)?;
    assert!(expected.len() > filled.view.len() + 20, "{expected:#?}");
    assert_eq!(referrers(&client, "team/app", &filled.subject)?.len(), 3, "two through the fallback tag, one recorded");
    server.stop()?;
    let journal = files(&tree.join("homeport/v1/journal"))?;
    assert!(journal.iter().all(|file| file.ends_with("lock")), "a clean stop leaves no journal: {journal:?}");

    for name in OLD {
        let Some(old) = Old::find(&desk, name, &tree)? else { return Ok(()) };
        let running = old.serve()?;
        same(&view(&running.client(), &untagged)?, &expected);
        if let Some(oras) = desk.tool("oras") {
            // Without the API a client asks for the fallback tag: what an older registry was told is still there.
            let found =
                oras.ok(&format!("discover --plain-http --format json {}/team/app:amd64", running.address()))?;
            assert!(found.contains("application/x-sbom"), "{found}");
        }
        running.stop()?;
        let said = old.garbage_collect("")?;
        ensure!(!said.contains("rror"), "{name}: {said}");
        let running = old.serve()?;
        same(&view(&running.client(), &untagged)?, &expected);
        running.stop()?;
        let server = homeport(&tree)?;
        same(&view(&server.client(), &untagged)?, &expected);
        assert_eq!(referrers(&server.client(), "team/app", &filled.subject)?.len(), 3);
        server.stop()?;
    }
    Ok(())
}

#[test]
fn from_docker_registry_and_back() -> Result<()> {
    there_and_back("docker-registry")
}

#[test]
fn from_distribution_and_back() -> Result<()> {
    there_and_back("distribution")
}

/// Garbage collection without `-m` of a tree that only Homeport wrote: what is deleted goes, what is reachable stays.
fn garbage_collected_by(name: &'static str) -> Result<()> {
    let desk = Desk::new()?;
    let tree = desk.path("tree");
    let Some(old) = Old::find(&desk, name, &tree)? else { return Ok(()) };
    let (Some(crane), Some(oras)) = (desk.tool("crane"), desk.tool("oras")) else { return Ok(()) };
    let server = homeport(&tree)?;
    let (host, client) = (server.address(), server.client());
    let deleted = Image::new(21, &[1000, 300_000]);
    client.push_image("team/app", "deleted", &deleted)?;
    client.push_image("team/app", "kept", &Image::new(22, &[1000]))?;
    material::index(&desk, &crane, &format!("{host}/team/app"))?;
    // Only the index is tagged, its images are not.
    for platform in ["amd64", "arm64"] {
        crane.ok(&format!("tag {host}/team/app:all again"))?;
        crane.ok(&format!("copy {host}/team/app:{platform} {host}/copied/{platform}:1"))?;
        assert_eq!(client.delete(&format!("/v2/team/app/manifests/{platform}"))?.status, 202);
    }
    desk.write("new.json", "{}")?;
    for spec in ["v1.1-referrers-api", "v1.1-referrers-tag"] {
        let line = format!("attach --plain-http --distribution-spec {spec} --artifact-type application/x-{spec}");
        oras.ok(&format!("{line} {host}/team/app:kept new.json:application/json"))?;
    }
    let kept = digest(&Image::new(22, &[1000]).manifest);
    let untagged: Vec<_> =
        referrers(&client, "team/app", &kept)?.iter().map(|digest| format!("team/app@{digest}")).collect();
    assert_eq!(untagged.len(), 2);
    assert_eq!(client.delete(&format!("/v2/team/app/manifests/{}", digest(&deleted.manifest)))?.status, 202);
    // An upload that nobody finishes.
    client.send("POST", "/v2/team/app/blobs/uploads/", &[], &[])?;
    let expected = view(&client, &untagged)?;
    server.stop()?;

    let said = old.garbage_collect("")?;
    let removed = digest(&deleted.blobs[2]);
    assert!(said.contains(&removed), "{said}");
    assert!(
        files(&tree.join("docker/registry/v2/blobs"))?
            .iter()
            .all(|file| !file.display().to_string().contains(&removed[7..]))
    );
    let server = homeport(&tree)?;
    let client = server.client();
    same(&view(&client, &untagged)?, &expected);
    assert_eq!(referrers(&client, "team/app", &kept)?.len(), 2);
    // What was removed behind our back is unknown, and can be pushed again.
    assert_eq!(client.head(&format!("/v2/team/app/blobs/{removed}"))?.status, 404);
    client.push_image("team/app", "deleted", &deleted)?;
    crane.ok(&format!("manifest {}/team/app:deleted", server.address()))?;
    view(&client, &[])?;
    Ok(())
}

#[test]
fn garbage_collection_of_docker_registry() -> Result<()> {
    garbage_collected_by("docker-registry")
}

#[test]
fn garbage_collection_of_distribution() -> Result<()> {
    garbage_collected_by("distribution")
}

/// With `-m` the older registries remove what no tag names, so also what is attached through the API. That is then
/// unknown here too; what a fallback tag names stays with 3.1.1.
#[test]
fn garbage_collection_of_untagged_manifests() -> Result<()> {
    for name in OLD {
        let desk = Desk::new()?;
        let tree = desk.path("tree");
        let (Some(old), Some(oras)) = (Old::find(&desk, name, &tree)?, desk.tool("oras")) else { return Ok(()) };
        let server = homeport(&tree)?;
        let client = server.client();
        let subject = client.push_image("team/app", "1", &Image::new(1, &[1000]))?;
        desk.write("new.json", "{}")?;
        for kind in ["tag", "api"] {
            let line = format!(
                "attach --plain-http --distribution-spec v1.1-referrers-{kind} --artifact-type application/x-{kind}"
            );
            oras.ok(&format!("{line} {}/team/app:1 new.json:application/json", server.address()))?;
        }
        let attached = referrers(&client, "team/app", &subject)?;
        assert_eq!(attached.len(), 2);
        server.stop()?;
        old.garbage_collect("--delete-untagged")?;
        let server = homeport(&tree)?;
        let client = server.client();
        let left = referrers(&client, "team/app", &subject)?;
        // 2.8.2 does not look into an index: it removes the images of every tagged one, too.
        assert_eq!(left.len(), usize::from(name == "distribution"), "{left:?}");
        for digest in attached {
            let expected = if left.contains(&digest) { 200 } else { 404 };
            assert_eq!(manifest(&client, "team/app", &digest)?.status, expected, "{name} {digest}");
        }
        assert_eq!(manifest(&client, "team/app", "1")?.status, 200);
    }
    Ok(())
}

/// Blobs by sha512, both ways.
#[test]
fn sha512_blobs() -> Result<()> {
    let desk = Desk::new()?;
    let content = e2e::random(5, 100_000);
    let long = sha512(&content);
    let path = format!("/v2/team/long/blobs/{long}");
    for name in OLD {
        let tree = desk.path(&format!("tree-{name}"));
        let Some(old) = Old::find(&desk, name, &tree)? else { return Ok(()) };
        // Theirs is ours.
        let running = old.serve()?;
        let begun = running.client().send("POST", "/v2/team/long/blobs/uploads/", &[], &[])?;
        put(&running.client(), begun.header("location"), &long, &content)?;
        running.stop()?;
        let server = homeport(&tree)?;
        let client = server.client();
        assert_eq!(client.get(&path)?.body, content, "{name}");
        // Ours is theirs.
        let second = e2e::random(6, 5 << 20);
        let begun = client.send("POST", "/v2/team/long/blobs/uploads/", &[], &[])?;
        put(&client, begun.header("location"), &sha512(&second), &second)?;
        server.stop()?;
        let running = old.serve()?;
        assert_eq!(running.client().get(&path)?.body, content, "{name}");
        for digest in [sha512(&second), digest(&second)] {
            let answer = running.client().get(&format!("/v2/team/long/blobs/{digest}"))?;
            assert_eq!((answer.status, answer.body == second), (200, true), "{name} {digest}: {}", answer.text());
        }
        running.stop()?;
    }
    Ok(())
}

/// The garbage collection of both older registries takes layers that a manifest names by sha512, from their own trees too.
/// What is left is unknown here, not an error, and heals with the next push.
#[test]
fn sha512_layers_after_garbage_collection() -> Result<()> {
    let desk = Desk::new()?;
    let (content, config) = (e2e::random(6, 100_000), b"{}");
    let (long, short) = (sha512(&content), digest(&content));
    let image = json!({
        "schemaVersion": 2,
        "mediaType": Image::MEDIA_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": long, "size": content.len()}],
    });
    let image = image.to_string().into_bytes();
    let push = |client: &Client| -> Result<()> {
        let begun = client.send("POST", "/v2/team/long/blobs/uploads/", &[], &[])?;
        put(client, begun.header("location"), &long, &content)?;
        client.push_blob("team/long", config)?;
        client.push_manifest("team/long", "1", Image::MEDIA_TYPE, &image)?;
        view(client, &[])?;
        Ok(())
    };
    for name in OLD {
        let tree = desk.path(&format!("tree-{name}"));
        let Some(old) = Old::find(&desk, name, &tree)? else { return Ok(()) };
        let server = homeport(&tree)?;
        push(&server.client())?;
        server.stop()?;
        // 3.1.1 also fails on its way.
        drop(old.garbage_collect(""));
        let server = homeport(&tree)?;
        let client = server.client();
        assert_eq!(manifest(&client, "team/long", "1")?.body, image);
        for digest in [&long, &short] {
            for method in ["GET", "HEAD"] {
                let answer = client.send(method, &format!("/v2/team/long/blobs/{digest}"), &[], &[])?;
                assert_eq!(answer.status, 404, "{name} {digest}: {}", answer.text());
            }
        }
        push(&server.client())?;
    }
    Ok(())
}

/// After a crash: the old registries see everything that the machine has in memory, and Homeport repairs the rest.
#[test]
fn unclean_stop() -> Result<()> {
    let desk = Desk::new()?;
    let tree = desk.path("tree");
    let Some(old) = Old::find(&desk, "distribution", &tree)? else { return Ok(()) };
    let server = homeport(&tree)?;
    let client = server.client();
    for tag in ["1", "moved"] {
        client.push_image("team/app", tag, &Image::new(1, &[1000, 2 << 20]))?;
    }
    let expected = view(&client, &[])?;
    server.kill()?;
    assert!(files(&tree.join("homeport/v1/journal"))?.len() > 1);
    let running = old.serve()?;
    same(&view(&running.client(), &[])?, &expected);
    // What the older registry writes now is younger than the journal, and stays.
    let moved = Image::new(3, &[1000]);
    running.client().push_image("team/app", "moved", &moved)?;
    running.stop()?;
    let server = homeport(&tree)?;
    let client = server.client();
    assert_eq!(manifest(&client, "team/app", "moved")?.body, moved.manifest);
    assert_eq!(tags(&client, "team/app")?, ["1", "moved"]);
    server.stop()?;
    let running = old.serve()?;
    view(&running.client(), &[])?;
    Ok(())
}
