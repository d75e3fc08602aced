//! Whom the cluster calls its front proxy, and what becomes of that while everything runs.

use crate::certificates::{Authority, Pair};
use crate::direct::{Direct, Stream};
use crate::world::{API, Project, World, alone, name_of};
use anyhow::{Context, Result, ensure};
use e2e::kube::{Kube, until};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const AUTHORITIES: &str = "requestheader-client-ca-file";
const NAMES: &str = "requestheader-allowed-names";
const USERS: &str = "requestheader-username-headers";

/// What the API server publishes. It writes its own part of it again when that is missing, and leaves what is more.
struct Published<'a> {
    kube: &'a Kube,
    before: Value,
}

impl<'a> Published<'a> {
    fn new(kube: &'a Kube) -> Result<Self> {
        let mut this = Self { kube, before: Value::Null };
        this.before = this.data()?;
        Ok(this)
    }

    fn data(&self) -> Result<Value> {
        let object = self.kube.ok("-n kube-system get configmap extension-apiserver-authentication -o json")?;
        Ok(serde_json::from_str::<Value>(&object)?["data"].clone())
    }

    fn set(&self, key: &str, value: &str) -> Result<()> {
        let patch = json!({ "data": { key: value } });
        let line =
            "-n kube-system patch configmap extension-apiserver-authentication --type=merge --patch-file /dev/stdin";
        self.kube.feed(line, &patch.to_string()).map(drop)
    }

    fn has(&self, key: &str, part: &str) -> Result<bool> {
        Ok(self.data()?[key].as_str().is_some_and(|value| value.contains(part.trim())))
    }

    /// One more authority.
    fn add_authority(&self, pem: &str) -> Result<()> {
        let now = self.data()?[AUTHORITIES].as_str().context("authorities")?.to_owned();
        self.set(AUTHORITIES, &format!("{now}\n{pem}"))
    }

    /// One more entry of a list.
    fn add(&self, key: &str, entry: &str) -> Result<()> {
        let mut list: Vec<String> = serde_json::from_str(self.data()?[key].as_str().unwrap_or("[]"))?;
        list.push(entry.to_owned());
        self.set(key, &json!(list).to_string())
    }

    /// As it was at the beginning.
    fn restore(&self) -> Result<()> {
        let line =
            "-n kube-system patch configmap extension-apiserver-authentication --type=merge --patch-file /dev/stdin";
        self.kube.feed(line, &json!({ "data": self.before }).to_string()).map(drop)
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        drop(self.restore());
    }
}

/// Curl with a client certificate.
fn shows(direct: &Direct, pair: &Pair) -> Direct {
    let (certificate, key) = (pair.certificate.display().to_string(), pair.key.display().to_string());
    direct.with(&["--cert", &certificate, "--key", &key])
}

/// Status, and the number of tags that are listed.
fn listed(direct: &Direct, project: &Project, header: &str) -> Result<(u16, usize)> {
    let header = format!("{header}: {}", project.namespace.user("owner"));
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let reply = direct.with(&["-H", &header]).get(&path)?;
    Ok((reply.status, reply.json()["items"].as_array().map_or(0, Vec::len)))
}

fn works(world: &World, project: &Project) -> Result<()> {
    let names = world.kube.ok(&format!("-n {} get prt -o name", project.name()))?;
    ensure!(names.contains(&name_of("app", "1")), "{names}");
    Ok(())
}

/// Each of the three parts counts from the moment it is published until it is taken away, and the cluster's own proxy all along.
#[test]
fn what_is_published_about_the_front_proxy_is_followed() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let published = Published::new(world.kube)?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path(), "another")?;
    let (named, other) = (authority.client("named", "front-proxy-client")?, authority.client("other", "second-proxy")?);
    let (named, other) = (shows(&world.direct(), &named), shows(&world.direct(), &other));
    let as_usual = "X-Remote-User";
    let refused = (401, 0);
    assert_eq!((listed(&named, &project, as_usual)?, listed(&other, &project, as_usual)?), (refused, refused));

    published.add_authority(&authority.pem()?)?;
    let took = until("the new authority counts", || Ok(listed(&named, &project, as_usual)? == (200, 1)))?;
    println!("authority after {took:?}");
    assert_eq!(listed(&other, &project, as_usual)?, refused);
    works(&world, &project)?;

    published.add(NAMES, "second-proxy")?;
    until("the new name counts", || Ok(listed(&other, &project, as_usual)? == (200, 1)))?;
    works(&world, &project)?;

    assert_eq!(listed(&other, &project, "X-Other-User")?.1, 0);
    published.add(USERS, "X-Other-User")?;
    until("the new header counts", || Ok(listed(&other, &project, "X-Other-User")? == (200, 1)))?;
    // From now on it is the proxy's alone.
    assert_eq!(listed(&world.direct().token(&project.token), &project, "X-Other-User")?, refused);
    assert_eq!(listed(&other, &project, as_usual)?, (200, 1));
    works(&world, &project)?;

    published.restore()?;
    until("nothing of it counts any more", || {
        let header = listed(&world.direct().token(&project.token), &project, "X-Other-User")?;
        Ok(listed(&named, &project, as_usual)? == refused
            && listed(&other, &project, as_usual)? == refused
            && header == (200, 1))
    })?;
    works(&world, &project)
}

/// A second API server beside the first; ended with this value.
struct Second(Child);

impl Second {
    /// With the flags of the first, but for these.
    fn start(kube: &Kube, port: u16, flags: &[(&str, String)]) -> Result<Self> {
        let pid = kube.script("in", &["pgrep", "-o", "-x", "kube-apiserver"])?;
        let line = kube.script("in", &["cat", &format!("/proc/{}/cmdline", pid.trim())])?;
        let own = [
            ("--secure-port", port.to_string()),
            // It would take the first one's place in the Service of the API.
            ("--endpoint-reconciler-type", "none".to_owned()),
        ];
        let is_ours = |word: &str| own.iter().chain(flags).any(|(flag, _)| word.starts_with(&format!("{flag}=")));
        let mut words: Vec<String> =
            line.split('\0').filter(|word| !word.is_empty() && !is_ours(word)).map(str::to_owned).collect();
        words.extend(own.iter().chain(flags).map(|(flag, value)| format!("{flag}={value}")));
        let program = kube.cluster()?.folder().join("bin/kube-apiserver");
        if let Some(first) = words.first_mut() {
            *first = program.display().to_string();
        }
        let mut command = kube.cluster()?.command("in");
        // A group of its own: what runs in the node goes with it.
        command.args(words).process_group(0);
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status());
        drop(self.0.wait());
    }
}

/// A control plane of two, of which one got a new authority for its proxy and another name of it.
#[test]
fn another_api_server_with_a_proxy_of_its_own() -> Result<()> {
    const PORT: u16 = 6543;
    let Some(world) = alone()? else { return Ok(()) };
    let (kube, project) = (world.kube, world.project()?);
    project.push("app", "1", 1)?;
    let published = Published::new(kube)?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path(), "second")?;
    let pair = authority.client("proxy", "second-proxy")?;
    assert_eq!(listed(&shows(&world.direct(), &pair), &project, "X-Remote-User")?, (401, 0));
    let second = Second::start(
        kube,
        PORT,
        &[
            ("--requestheader-client-ca-file", authority.path().display().to_string()),
            ("--requestheader-allowed-names", "second-proxy".to_owned()),
            ("--proxy-client-cert-file", pair.certificate.display().to_string()),
            ("--proxy-client-key-file", pair.key.display().to_string()),
        ],
    )?;
    let there = format!("--server=https://{}:{PORT}", kube.cluster()?.node_address());
    until("the second one is ready", || Ok(kube.ok(&format!("{there} get --raw /readyz")).is_ok()))?;
    until("both proxies are published", || {
        Ok(published.has(NAMES, "second-proxy")? && published.has(NAMES, "front-proxy-client")?)
    })?;
    let took = until("it shows tags", || {
        Ok(kube
            .ok(&format!("{there} -n {} get prt -o name", project.name()))
            .is_ok_and(|names| names.lines().count() == 1))
    })?;
    println!("shown {took:?} after it was ready");
    works(&world, &project)?;
    // Changes and events by both ways.
    let watch = format!("{there} -n {} get prt --watch --output-watch-events -o json", project.name());
    let watch = Stream::start(&mut kube.command(&watch))?;
    until("it watches", || Ok(watch.text().contains("ADDED")))?;
    project.push("app", "2", 1)?;
    until("the event is there", || Ok(watch.text().contains(&name_of("app", "2"))))?;
    kube.ok(&format!("{there} -n {} delete prt {}", project.name(), name_of("app", "2")))?;
    assert_eq!(project.status("app", "2")?, 404);

    drop((watch, second));
    published.restore()?;
    let proxy = shows(&world.direct(), &pair);
    until("its proxy is a stranger again", || Ok(listed(&proxy, &project, "X-Remote-User")? == (401, 0)))?;
    works(&world, &project)
}

/// Files of the control plane, put back at the end.
struct Files {
    folder: PathBuf,
    before: Vec<(&'static str, Vec<u8>)>,
}

impl Files {
    const NAMES: [&str; 3] = ["front-proxy-ca.crt", "front-proxy-client.key", "front-proxy-client.crt"];

    fn new(folder: PathBuf) -> Result<Self> {
        let read = |name| Ok((name, std::fs::read(folder.join(name))?));
        let before = Self::NAMES.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { folder, before })
    }

    fn text(&self, name: &str) -> Result<String> {
        let (_, bytes) = self.before.iter().find(|(known, _)| *known == name).context("a file")?;
        Ok(String::from_utf8(bytes.clone())?)
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let new = self.folder.join("new");
        std::fs::write(&new, content)?;
        Ok(std::fs::rename(new, self.folder.join(name))?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for (name, content) in &self.before {
            drop(self.put(name, content));
        }
    }
}

/// The way of the manuals: trust both, exchange the proxy's certificate, forget the old authority. The API server reads all of
/// it again by itself.
#[test]
fn the_authority_of_the_proxy_is_exchanged_while_everything_runs() -> Result<()> {
    let Some(world) = alone()? else { return Ok(()) };
    let (kube, project) = (world.kube, world.project()?);
    project.push("app", "1", 1)?;
    let pki = kube.cluster()?.folder().join("conf/pki");
    let (published, files) = (Published::new(kube)?, Files::new(pki.clone())?);
    let folder = tempfile::tempdir()?;
    let old = Pair { certificate: folder.path().join("old.crt"), key: folder.path().join("old.key") };
    std::fs::copy(pki.join("front-proxy-client.crt"), &old.certificate)?;
    std::fs::copy(pki.join("front-proxy-client.key"), &old.key)?;
    let old = shows(&world.direct(), &old);
    let next = Authority::new(folder.path(), "next-front-proxy")?;
    let pair = next.client("proxy", "front-proxy-client")?;
    let watch = format!("-n {} get prt --watch -o name", project.name());
    let mut watch = Stream::start(&mut kube.command(&watch))?;
    until("it watches", || Ok(watch.text().contains(&name_of("app", "1"))))?;

    let before = files.text("front-proxy-ca.crt")?;
    files.put("front-proxy-ca.crt", format!("{before}{}", next.pem()?).as_bytes())?;
    until("the API server tells of both", || published.has(AUTHORITIES, &next.pem()?))?;
    until("both count", || {
        let new = listed(&shows(&world.direct(), &pair), &project, "X-Remote-User")?;
        Ok(new == (200, 1) && listed(&old, &project, "X-Remote-User")? == (200, 1))
    })?;
    works(&world, &project)?;
    files.put("front-proxy-client.key", &std::fs::read(&pair.key)?)?;
    files.put("front-proxy-client.crt", &std::fs::read(&pair.certificate)?)?;
    files.put("front-proxy-ca.crt", next.pem()?.as_bytes())?;
    // The API server forgets an authority only when it has ended; an administrator takes it out.
    until("the old one is out", || {
        if published.has(AUTHORITIES, &before)? {
            published.set(AUTHORITIES, &next.pem()?)?;
        }
        Ok(listed(&old, &project, "X-Remote-User")? == (401, 0))
    })?;
    until("the API server has the new certificate", || Ok(works(&world, &project).is_ok()))?;
    for round in 0..20 {
        works(&world, &project).with_context(|| format!("{round}"))?;
    }
    // A watch lives as long as its connection.
    project.push("app", "2", 1)?;
    until("the watch has seen what came later", || Ok(watch.text().contains(&name_of("app", "2"))))?;
    assert!(!watch.has_ended()?, "{}", watch.complaints());

    files.put("front-proxy-ca.crt", format!("{before}{}", next.pem()?).as_bytes())?;
    until("the old one is known again", || published.has(AUTHORITIES, &before))?;
    drop(files);
    until("the API server has its own certificate again", || {
        published.restore()?;
        Ok(listed(&shows(&world.direct(), &pair), &project, "X-Remote-User")? == (401, 0)
            && works(&world, &project).is_ok())
    })?;
    world.wait_for_api().map(drop)
}
