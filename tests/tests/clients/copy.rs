//! `homeport storage copy`: between files and a bucket, from what others wrote, while clients push, killed and begun again.

use crate::desk::Desk;
use crate::migration::{files, fill, homeport, put, same};
use crate::peer::Old;
use crate::view::{manifest, referrers, sha512, tags, view};
use anyhow::{Context, Result, ensure};
use e2e::s3::S3;
use e2e::{Client, Image, Server, digest, random};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Blobs pass through the registry, so that a client without redirects can read them.
const PASS: &str = "redirect: {disable: true}";
const COPY_MAX: Duration = Duration::from_secs(120);

/// A configuration file for a folder. Only `storage` counts; what is wrong elsewhere does not matter.
fn folder(desk: &Desk, name: &str) -> Result<PathBuf> {
    let root = desk.path(name);
    let text = format!("storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{nonsense: 1}}\n", root.display());
    desk.write(&format!("{name}.yml"), &text)
}

fn bucket(desk: &Desk, s3: &S3) -> Result<PathBuf> {
    desk.write("bucket.yml", &s3.config(""))
}

fn command(from: &Path, to: &Path, more: &[&str]) -> Result<Command> {
    let mut command = Command::new(e2e::binary()?);
    command.args(["storage", "copy", "--output", "json", "--from"]).arg(from).arg("--to").arg(to).args(more);
    // Variables of a registry must not make one place of two.
    command.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/nowhere").stdin(Stdio::null());
    Ok(command)
}

/// What a copy says at its end, and whether it says that it is complete.
fn copy(from: &Path, to: &Path, more: &[&str]) -> Result<(bool, Value)> {
    let output = command(from, to, more)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome: Value = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
    ensure!(outcome["complete"] == json!(output.status.success()), "{outcome} {said}");
    Ok((output.status.success(), outcome))
}

fn complete(from: &Path, to: &Path, more: &[&str]) -> Result<Value> {
    let (complete, outcome) = copy(from, to, more)?;
    ensure!(complete, "not complete: {outcome}");
    Ok(outcome)
}

fn refused(from: &Path, to: &Path, more: &[&str]) -> Result<String> {
    let output = command(from, to, more)?.output()?;
    ensure!(!output.status.success() && output.stdout.is_empty(), "it is not refused");
    Ok(String::from_utf8(output.stderr)?)
}

/// What of a place is to be copied, by key.
fn content(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    const COPIED: [&str; 6] = [
        "docker/registry/v2/blobs",
        "docker/registry/v2/repositories",
        "homeport/v1/referrers",
        "homeport/v1/aliases",
        "homeport/v1/namespaces",
        "homeport/v1/cluster",
    ];
    let mut all = BTreeMap::new();
    for part in COPIED {
        for path in files(&root.join(part))? {
            let key = path.strip_prefix(root)?.to_string_lossy().into_owned();
            if !key.contains("/_uploads/") {
                all.insert(key, std::fs::read(path)?);
            }
        }
    }
    Ok(all)
}

fn identical(one: &Path, other: &Path) -> Result<()> {
    let (one, other) = (content(one)?, content(other)?);
    let differ = |a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
        a.iter().filter(|(key, bytes)| b.get(*key) != Some(bytes)).map(|(key, _)| key.clone()).collect()
    };
    let (missing, more) = (differ(&one, &other), differ(&other, &one));
    ensure!(missing.is_empty() && more.is_empty(), "missing or other: {missing:#?}\nmore or other: {more:#?}");
    ensure!(one.len() > 10, "only {} objects", one.len());
    Ok(())
}

/// Every blob has the bytes that its name says, every link its blob, every tag its manifest. Returns how many links there are.
fn sound(root: &Path) -> Result<usize> {
    let all = content(root)?;
    let mut links = 0;
    for (key, bytes) in &all {
        if let Some(blob) = key.strip_prefix("docker/registry/v2/blobs/sha256/") {
            let hex = blob.split('/').nth(1).unwrap_or_default();
            ensure!(digest(bytes) == format!("sha256:{hex}"), "{key} has other bytes");
        }
        if !key.ends_with("/link") || key.contains("/index/") {
            continue;
        }
        links += 1;
        let text = String::from_utf8(bytes.clone())?;
        let hex = text.strip_prefix("sha256:").with_context(|| format!("{key}: {text:?}"))?;
        let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        ensure!(all.contains_key(&data), "{key} names {text}, which is not there");
        if let Some((manifests, _)) = key.split_once("/tags/") {
            let revision = format!("{manifests}/revisions/sha256/{hex}/link");
            ensure!(all.contains_key(&revision), "{key} names {text}, which the repository does not have");
        }
    }
    Ok(links)
}

fn on_bucket(s3: &S3) -> Result<Server> {
    Server::builder().config(&s3.config(PASS)).no_folder().start()
}

fn from_an_older_registry(name: &'static str) -> Result<()> {
    let desk = Desk::new()?;
    let (tree, back) = (desk.path("tree"), desk.path("back"));
    let Some(s3) = S3::start()? else { return Ok(()) };
    let Some(filled) = fill(&desk, name, &tree)? else { return Ok(()) };
    let (from, to, again) = (folder(&desk, "tree")?, bucket(&desk, &s3)?, folder(&desk, "back")?);
    complete(&from, &to, &[])?;
    identical(&tree, &s3.tree())?;
    let server = on_bucket(&s3)?;
    same(&view(&server.client(), &filled.untagged)?, &filled.view);
    server.stop()?;
    // Back, and to whom it came from.
    complete(&to, &again, &[])?;
    identical(&tree, &back)?;
    let Some(old) = Old::find(&desk, name, &back)? else { return Ok(()) };
    let running = old.serve()?;
    same(&view(&running.client(), &filled.untagged)?, &filled.view);
    running.stop()
}

#[test]
fn from_distribution_to_a_bucket_and_back() -> Result<()> {
    from_an_older_registry("distribution")
}

#[test]
fn from_docker_registry_to_a_bucket_and_back() -> Result<()> {
    from_an_older_registry("docker-registry")
}

/// What only Homeport has: blobs by sha512, referrers of the API.
#[test]
fn from_homeport_to_a_bucket_and_back() -> Result<()> {
    let desk = Desk::new()?;
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = homeport(&desk.path("tree"))?;
    let client = server.client();
    let subject = client.push_image("team/app", "1", &Image::new(1, &[0, 1000, 9 << 20]))?;
    let long = random(5, 300_000);
    let begun = client.send("POST", "/v2/team/long/blobs/uploads/", &[], &[])?;
    put(&client, begun.header("location"), &sha512(&long), &long)?;
    let empty = client.push_blob("team/app", b"{}")?;
    let attached = json!({
        "schemaVersion": 2, "mediaType": Image::MEDIA_TYPE, "artifactType": "application/x-note",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}, "layers": [],
        "subject": {"mediaType": Image::MEDIA_TYPE, "digest": subject, "size": 1},
    });
    let attached = attached.to_string().into_bytes();
    client.push_manifest("team/app", &digest(&attached), Image::MEDIA_TYPE, &attached)?;
    let expected = view(&client, &[])?;
    let (from, to, again) = (folder(&desk, "tree")?, bucket(&desk, &s3)?, folder(&desk, "back")?);
    // While it is served.
    complete(&from, &to, &[])?;
    identical(server.data(), &s3.tree())?;
    complete(&to, &again, &[])?;
    identical(server.data(), &desk.path("back"))?;
    server.stop()?;
    for server in [on_bucket(&s3)?, homeport(&desk.path("back"))?] {
        let client = server.client();
        same(&view(&client, &[])?, &expected);
        assert_eq!(referrers(&client, "team/app", &subject)?, [digest(&attached)]);
        assert_eq!(client.get(&format!("/v2/team/long/blobs/{}", sha512(&long)))?.body, long);
    }
    // Nothing of one registry that is not another's.
    let keys = s3.keys().into_iter().filter(|key| key.starts_with("homeport/v1/"));
    let kinds: std::collections::BTreeSet<String> =
        keys.filter_map(|key| key.split('/').nth(2).map(str::to_owned)).collect();
    assert!(kinds.iter().all(|kind| ["aliases", "referrers", "probe"].contains(&kind.as_str())), "{kinds:?}");
    Ok(())
}

/// Pushes one image after the other.
fn push_until(client: &Client, stop: &AtomicBool, number: u64, pushed: &AtomicU64) -> Result<()> {
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let image = Image::new(number * 10_000 + round, &[700, 150_000, 2 << 20]);
        client.push_image(&format!("team{number}/app{}", round % 3), &format!("v{}", round % 50), &image)?;
        pushed.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Kills a copy when it has written so many objects more.
fn kill_after(mut child: Child, s3: &S3, more: usize) -> Result<bool> {
    let (before, until) = (s3.keys().len(), Instant::now() + COPY_MAX);
    let ended = loop {
        if child.try_wait()?.is_some() {
            break true;
        }
        if s3.keys().len() >= before + more {
            break false;
        }
        ensure!(Instant::now() < until, "the copy does not go on");
        std::thread::sleep(Duration::from_millis(2));
    };
    child.kill()?;
    child.wait()?;
    Ok(!ended)
}

#[test]
fn while_clients_push_and_killed_again_and_again() -> Result<()> {
    let desk = Desk::new()?;
    let Some(s3) = S3::start()? else { return Ok(()) };
    let server = homeport(&desk.path("tree"))?;
    let (from, to) = (folder(&desk, "tree")?, bucket(&desk, &s3)?);
    let (stop, pushed) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut kills = 0;
    std::thread::scope(|scope| -> Result<()> {
        let pushers: Vec<_> = (0..3)
            .map(|number| {
                let (client, stop, pushed) = (server.client(), &stop, &pushed);
                scope.spawn(move || push_until(&client, stop, number, pushed))
            })
            .collect();
        let mut work = || -> Result<()> {
            let until = Instant::now() + COPY_MAX;
            while pushed.load(Ordering::SeqCst) < 10 {
                ensure!(Instant::now() < until, "nothing is pushed");
                std::thread::sleep(Duration::from_millis(2));
            }
            for more in [1, 5, 20, 50, 90] {
                let child = command(&from, &to, &[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
                kills += usize::from(kill_after(child, &s3, more)?);
                sound(&s3.tree()).with_context(|| format!("killed after {more}"))?;
            }
            let during = complete(&from, &to, &[])?;
            ensure!(during["blobs_there"].as_u64() > Some(0), "nothing was taken over from before: {during}");
            ensure!(sound(&s3.tree())? > 0, "no links");
            Ok(())
        };
        let worked = work();
        stop.store(true, Ordering::SeqCst);
        for pusher in pushers {
            pusher.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        worked
    })?;
    assert!(kills > 0, "every copy was done before it was killed");
    let expected = view(&server.client(), &[])?;
    server.stop()?;
    let last = complete(&from, &to, &[])?;
    ensure!(last["findings"] == json!([]), "{last}");
    identical(&desk.path("tree"), &s3.tree())?;
    assert_eq!(complete(&from, &to, &[])?["blobs_copied"], json!(0));
    same(&view(&on_bucket(&s3)?.client(), &[])?, &expected);
    println!("{kills} kills, {} images pushed meanwhile, {} objects", pushed.into_inner(), s3.keys().len());
    Ok(())
}

#[test]
fn a_broken_blob_is_reported_and_not_copied() -> Result<()> {
    let desk = Desk::new()?;
    let server = homeport(&desk.path("tree"))?;
    let client = server.client();
    let (good, bad) = (Image::new(1, &[1000]), Image::new(2, &[2000, 3 << 20]));
    client.push_image("team/app", "good", &good)?;
    client.push_image("team/app", "bad", &bad)?;
    server.stop()?;
    let (from, to) = (folder(&desk, "tree")?, folder(&desk, "copy")?);
    let hex = digest(&bad.blobs[2]).replace("sha256:", "");
    let key = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let mut bytes = bad.blobs[2].clone();
    bytes[1 << 20] ^= 1;
    std::fs::write(desk.path("tree").join(&key), bytes)?;
    let (complete_now, outcome) = copy(&from, &to, &[])?;
    assert!(!complete_now);
    assert_eq!((&outcome["broken"], &outcome["findings"][0]["key"]), (&json!(1), &json!(key)), "{outcome}");
    assert!(!desk.path("copy").join(&key).exists());
    sound(&desk.path("copy"))?;
    let server = homeport(&desk.path("copy"))?;
    assert_eq!(manifest(&server.client(), "team/app", "good")?.body, good.manifest);
    assert_eq!(server.client().get(&format!("/v2/team/app/blobs/{}", digest(&bad.blobs[2])))?.status, 404);
    Ok(())
}

#[test]
fn deletions_are_carried_over_until_a_registry_writes() -> Result<()> {
    let desk = Desk::new()?;
    let server = homeport(&desk.path("tree"))?;
    let client = server.client();
    for (repo, tag, seed) in
        [("team/app", "1", 1), ("team/app", "2", 2), ("team/other", "1", 3), ("team/other/sub", "1", 4)]
    {
        client.push_image(repo, tag, &Image::new(seed, &[1000]))?;
    }
    let (from, to) = (folder(&desk, "tree")?, folder(&desk, "copy")?);
    complete(&from, &to, &[])?;
    client.delete("/v2/team/app/manifests/2")?;
    client.delete(&format!("/v2/team/other/manifests/{}", digest(&Image::new(3, &[1000]).manifest)))?;
    let planned = complete(&from, &to, &["--delete", "--dry-run"])?;
    let repository = desk.path("copy").join("docker/registry/v2/repositories/team");
    assert!(complete(&from, &to, &[])?["removed"] == json!(0) && repository.join("app/_manifests/tags/2").exists());
    assert_eq!(complete(&from, &to, &["--delete"])?["removed"], planned["removed"]);
    assert!(!repository.join("app/_manifests/tags/2").exists());
    assert!(planned["removed"].as_u64() >= Some(3), "{planned}");
    server.stop()?;
    assert!(refused(&to, &from, &[])?.contains("--into-existing"));

    // Looking at it changes nothing.
    let reading = Server::builder().config("version: 0.1\n").data(&desk.path("copy")).arg("--read-only").start()?;
    assert_eq!(tags(&reading.client(), "team/app")?, ["1"]);
    assert_eq!(tags(&reading.client(), "team/other")?, Vec::<String>::new());
    assert_eq!(tags(&reading.client(), "team/other/sub")?, ["1"]);
    reading.stop()?;
    complete(&from, &to, &["--delete"])?;
    homeport(&desk.path("copy"))?.stop()?;
    assert!(refused(&from, &to, &["--delete"])?.contains("a registry has written there"));
    let same = refused(&from, &from, &["--into-existing"])?;
    assert!(same.contains("same place"), "{same}");
    Ok(())
}
