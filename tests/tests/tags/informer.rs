//! A client-go informer beside the registry: what it has in its store is what there is.
//!
//! `HOMEPORT_INFORMER_SECONDS=600 cargo test -p e2e --test tags informer` for the long run.

use crate::world::{Project, World, alone, name_of, shared};
use anyhow::{Context, Result, ensure};
use e2e::kube::{Kube, accesses, collect, not_tested, until, until_within};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// An informer may be behind by so much: a list begun anew on a busy machine.
const BEHIND: Duration = Duration::from_secs(30);
/// An informer whose watch or list has failed again and again waits for a minute before it lists.
const BACK: Duration = Duration::from_secs(240);

/// The program of `tests/informer`, built once. `None` without Go.
pub(crate) fn program() -> Result<Option<PathBuf>> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let Some(go) = xtask::places::on_path("go") else {
        not_tested("no Go to build the informer");
        return Ok(None);
    };
    let built = BUILT.get_or_init(|| build(&go).map_err(|error| format!("{error:#}")));
    built.clone().map(Some).map_err(anyhow::Error::msg)
}

fn build(go: &PathBuf) -> Result<PathBuf> {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("informer");
    let mut content = Vec::new();
    for file in ["main.go", "go.mod", "go.sum"] {
        content.extend(std::fs::read(source.join(file))?);
    }
    let folder = xtask::places::cache()?.join("bin");
    let digest = e2e::digest(&content);
    let program = folder.join(format!("informer-{}", digest.get(7..19).unwrap_or_default()));
    if program.is_file() {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder)?;
    let new = folder.join(e2e::kube::unique("informer"));
    let mut command = Command::new(go);
    command.current_dir(&source).args(["build", "-o"]).arg(&new).arg(".");
    command.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOFLAGS", "-mod=readonly -buildvcs=false");
    let output = command.output()?;
    ensure!(output.status.success(), "go build: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(new, &program)?;
    Ok(program)
}

/// A running informer of one namespace.
pub(crate) struct Informer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: Arc<Mutex<String>>,
    name: &'static str,
}

impl Informer {
    fn start(user: &Kube, program: &PathBuf, namespace: &str, watch_list: bool) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(namespace).env("KUBECONFIG", user.kubeconfig());
        // The two ways in which informers get their first state.
        command.env("KUBE_FEATURE_WatchListClient", watch_list.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("input")?;
        let output = BufReader::new(child.stdout.take().context("output")?);
        let errors = collect(child.stderr.take().context("errors")?);
        Ok(Self { child, input, output, errors, name: if watch_list { "watch-list" } else { "list and watch" } })
    }

    /// What it has now.
    fn look(&mut self) -> Result<Value> {
        self.input.write_all(b"\n")?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("{line:?} {}", self.complaints()))
    }

    /// Lets it stand still, or go on.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name}");
        Ok(())
    }

    fn complaints(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Informer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: {}", self.name, self.complaints());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What has been done to one tag: since when it is as it is, and what it may have been before.
struct Known {
    digest: Option<String>,
    since: Instant,
}

/// All tags by `repository:tag`.
type Truth = BTreeMap<String, Known>;

/// Compares a store with the truth, as far as that has been so for long enough.
fn check(informer: &mut Informer, truth: &Truth) -> Result<()> {
    let asked = Instant::now();
    let (name, seen) = (informer.name, informer.look()?);
    let (objects, metadata) = (&seen["objects"], &seen["metadata"]);
    for (tag, known) in truth.iter().filter(|(_, known)| asked.duration_since(known.since) > BEHIND) {
        let (repository, last) = tag.rsplit_once(':').unwrap_or_default();
        let has = &metadata[name_of(repository, last)];
        assert_eq!(
            objects[tag]["digest"].as_str(),
            known.digest.as_deref(),
            "{name}: {tag}, {:?} ago",
            known.since.elapsed()
        );
        assert_eq!(
            has.is_object(),
            known.digest.is_some(),
            "{name}: metadata of {tag}, {:?} ago",
            known.since.elapsed()
        );
        assert!(!has.is_object() || has["uid"] == objects[tag]["uid"], "{name}: {tag} has two identities");
    }
    let strange = objects.as_object().into_iter().flatten().find(|(tag, _)| !truth.contains_key(*tag));
    assert!(strange.is_none(), "{name}: {strange:?} was never pushed");
    for events in ["objectEvents", "metadataEvents"] {
        assert_eq!(seen[events]["wrong"], serde_json::json!([]), "{name}: {events}");
    }
    Ok(())
}

/// In a quiet moment every store is the truth, soon; how long the slowest took.
fn settle(informers: &mut [Informer], truth: &Truth) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    let expected: BTreeMap<&String, &str> =
        truth.iter().filter_map(|(tag, known)| Some((tag, known.digest.as_deref()?))).collect();
    for informer in informers {
        let mut seen = Value::Null;
        let settled = until_within(BEHIND, "the informer has what there is", || {
            seen = informer.look()?;
            let objects = seen["objects"].as_object().context("objects")?;
            let same =
                expected.iter().all(|(tag, digest)| objects.get(*tag).is_some_and(|seen| seen["digest"] == **digest));
            let metadata = seen["metadata"].as_object().map_or(0, serde_json::Map::len);
            Ok(same && objects.len() == expected.len() && metadata == expected.len())
        });
        let settled = settled.with_context(|| format!("{}: {seen}\nexpected: {expected:?}", informer.name))?;
        slowest = slowest.max(settled);
    }
    Ok(slowest)
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// Pushes, moves or deletes one tag, through the registry or as an object, and writes it down.
fn change(
    world: &World,
    project: &Project,
    manifests: &[Vec<u8>],
    random: &mut Random,
    truth: &mut Truth,
) -> Result<()> {
    let (repository, tag) = (format!("r{}", random.below(4)), format!("t{}", random.below(12)));
    let key = format!("{repository}:{tag}");
    let exists = truth.get(&key).is_some_and(|known| known.digest.is_some());
    let digest = match random.below(3) {
        0 if exists && random.below(2) == 0 => {
            let object = format!(
                "{}/namespaces/{}/payloadrepositorytags/{}",
                crate::world::API,
                project.name(),
                name_of(&repository, &tag)
            );
            world.direct().token(&project.token).with(&["-X", "DELETE"]).get(&object)?;
            None
        }
        0 if exists => {
            project.delete(&repository, &tag)?;
            None
        }
        0 => return Ok(()),
        _ => {
            let manifest = &manifests[usize::try_from(random.below(manifests.len() as u64))?];
            Some(project.client.push_manifest(&project.path(&repository), &tag, e2e::Image::MEDIA_TYPE, manifest)?)
        }
    };
    if truth.get(&key).is_none_or(|known| known.digest != digest) {
        truth.insert(key, Known { digest, since: Instant::now() });
    }
    Ok(())
}

/// The blobs of some images in each repository, so that a push is one request; their manifests.
fn stock(project: &Project) -> Result<Vec<Vec<u8>>> {
    let images: Vec<e2e::Image> = (0..6).map(|seed| e2e::Image::new(seed, &[500])).collect();
    for repository in (0..4).map(|index| project.path(&format!("r{index}"))) {
        for blob in images.iter().flat_map(|image| &image.blobs) {
            project.client.push_blob(&repository, blob)?;
        }
    }
    Ok(images.into_iter().map(|image| image.manifest).collect())
}

/// The registry's own list, with digests.
pub(crate) fn listed(project: &Project) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for repository in (0..4).map(|index| format!("r{index}")) {
        for tag in project.tags(&repository)? {
            let answer = project.client.head(&format!("/v2/{}/manifests/{tag}", project.path(&repository)))?;
            all.insert(format!("{repository}:{tag}"), answer.header("docker-content-digest").to_owned());
        }
    }
    Ok(all)
}

/// Waits until all informers have exactly this.
pub(crate) fn agree(expected: &BTreeMap<String, String>, informers: &mut [Informer]) -> Result<()> {
    for informer in informers {
        let mut seen = Value::Null;
        let agreed = until_within(BACK, "the informer has what the registry lists", || {
            seen = informer.look()?;
            let objects = seen["objects"].as_object().context("objects")?;
            let has: BTreeMap<_, _> = objects
                .iter()
                .map(|(tag, object)| (tag.clone(), object["digest"].as_str().unwrap_or_default().to_owned()))
                .collect();
            Ok(has == *expected
                && seen["metadata"].as_object().is_some_and(|metadata| metadata.len() == expected.len()))
        });
        agreed.with_context(|| {
            format!("{}: {seen}\nthe registry: {expected:?}\n{}", informer.name, informer.complaints())
        })?;
        println!("{}: {} tags, {} {}", informer.name, expected.len(), seen["objectEvents"], seen["metadataEvents"]);
    }
    Ok(())
}

pub(crate) fn start(user: &Kube, project: &Project) -> Result<Option<Vec<Informer>>> {
    let Some(program) = program()? else { return Ok(None) };
    let start = |watch_list| Informer::start(user, &program, project.name(), watch_list);
    let mut informers = vec![start(false)?, start(true)?];
    for informer in &mut informers {
        until("the informer has synced", || Ok(informer.look()?["synced"] == true))
            .with_context(|| format!("{}: {}", informer.name, informer.complaints()))?;
    }
    Ok(Some(informers))
}

/// How many lists and watches of a namespace have ended.
fn answered(world: &World, project: &Project) -> String {
    let (log, path) = (world.site.log(), format!("/namespaces/{}/payloadrepositorytags", project.name()));
    let count = |verb: &str| {
        let verb = format!(" verb={verb} ");
        log.lines().filter(|line| line.contains(&path) && line.contains(&verb)).count()
    };
    format!("{} lists and {} watches ended", count("list"), count("watch"))
}

/// How long a run takes at least.
fn seconds(usual: u64) -> u64 {
    std::env::var("HOMEPORT_INFORMER_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn an_informer_is_consistent_under_random_changes() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let seconds = seconds(120);
    let project = world.project()?;
    let (manifests, mut truth) = (stock(&project)?, Truth::new());
    let seed = u64::from(std::process::id()) | 1 << 40;
    let mut random = Random(seed);
    for _ in 0..20 {
        change(&world, &project, &manifests, &mut random, &mut truth)?;
    }
    let Some(mut informers) = start(world.kube, &project)? else { return Ok(()) };
    println!("seed {seed}");
    let (begun, mut changes, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(seconds) {
        // Storms and quiet.
        let storm = random.below(30);
        for _ in 0..storm {
            change(&world, &project, &manifests, &mut random, &mut truth)?;
            changes += 1;
        }
        for informer in &mut informers {
            check(informer, &truth)?;
        }
        if storm < 6 {
            slowest = slowest.max(settle(&mut informers, &truth)?);
        }
    }
    println!("{changes} changes, behind by {slowest:?} at most, {}", answered(&world, &project));
    assert!(changes > 50, "{changes} changes only");
    agree(&listed(&project)?, &mut informers)
}

/// The registry is killed and starts again; meanwhile its storage is as it is, and afterwards it is changed.
#[test]
fn an_informer_survives_the_end_of_the_registry() -> Result<()> {
    let Some(mut world) = alone()? else { return Ok(()) };
    let project = world.project()?;
    let (manifests, mut truth, mut random) = (stock(&project)?, Truth::new(), Random(0x5eed_5eed));
    for _ in 0..30 {
        change(&world, &project, &manifests, &mut random, &mut truth)?;
    }
    let Some(mut informers) = start(world.kube, &project)? else { return Ok(()) };
    for round in 0..2 {
        world.kill()?;
        world.begin()?;
        let client = world.site.client(&project.token);
        let repo = project.path("r0");
        until("the registry takes images", || {
            Ok(e2e::site::Repository::new(&client, &repo).begin_push()?.status == 202)
        })?;
        // Right at the start, before the informers are back.
        for _ in 0..15 {
            change(&world, &project, &manifests, &mut random, &mut truth)?;
        }
        world.wait_for_api()?;
        agree(&listed(&project)?, &mut informers).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

/// Which repositories its user may read: all, those of a list, or none.
#[derive(Clone, Copy, Debug)]
enum May {
    All,
    Only(&'static [&'static str]),
    Nothing,
}

impl May {
    const ANY: [Self; 4] = [Self::All, Self::Only(&["r0", "r2"]), Self::Only(&["r1"]), Self::Nothing];

    /// Changes the Role, or takes its binding away.
    fn grant(self, project: &Project, user: &str) -> Result<()> {
        let names = match self {
            Self::All => String::new(),
            Self::Only(names) => names.join(", "),
            Self::Nothing => return project.namespace.revoke(user),
        };
        project.namespace.grant(user, &accesses("get", &names))
    }

    fn covers(self, tag: &str) -> bool {
        let repository = tag.rsplit_once(':').map_or(tag, |(repository, _)| repository);
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(&repository),
            Self::Nothing => false,
        }
    }
}

/// Tags come and go, and so do the rights of whoever follows: what it has is what it may see now, and nothing that it saw
/// before.
#[test]
fn an_informer_has_what_its_user_may_see() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let (project, seconds) = (world.project()?, seconds(60));
    let (manifests, mut truth) = (stock(&project)?, Truth::new());
    let seed = u64::from(std::process::id()) | 1 << 41;
    let mut random = Random(seed);
    for _ in 0..30 {
        change(&world, &project, &manifests, &mut random, &mut truth)?;
    }
    let token = project.namespace.account("follower")?;
    let user = world.kube.with_token(&token)?;
    May::All.grant(&project, "follower")?;
    let Some(mut informers) = start(&user, &project)? else { return Ok(()) };
    println!("seed {seed}");
    let follower = world.direct().token(&token);
    let path = format!("{}/namespaces/{}/payloadrepositorytags", crate::world::API, project.name());
    let visible = |may: May| -> Result<BTreeMap<String, String>> {
        let mut all = listed(&project)?;
        all.retain(|tag, _| may.covers(tag));
        Ok(all)
    };
    let tag_of = |object: &Value| {
        let part = |name: &str| object["status"][name].as_str().unwrap_or_default().to_owned();
        format!("{}:{}", part("repository"), part("tag"))
    };
    let (begun, mut rounds) = (Instant::now(), 0);
    while rounds < May::ANY.len() || begun.elapsed() < Duration::from_secs(seconds) {
        // Each of them once, and then by chance.
        let may = May::ANY[if rounds < May::ANY.len() { rounds } else { random.below(4) as usize }];
        may.grant(&project, "follower")?;
        rounds += 1;
        for _ in 0..random.below(20) + 2 {
            change(&world, &project, &manifests, &mut random, &mut truth)?;
        }
        let expected = visible(may)?;
        until("the rights count", || {
            let reply = follower.get(&path)?;
            let list = reply.json();
            let shown: BTreeSet<String> = list["items"].as_array().into_iter().flatten().map(tag_of).collect();
            Ok(reply.status == 200 && shown.iter().eq(expected.keys()))
        })?;
        // A watch looks at the rights with each change, and otherwise once a minute.
        project.push("r3", "told", rounds as u64)?;
        agree(&visible(may)?, &mut informers).with_context(|| format!("round {rounds}: {may:?}"))?;
    }
    println!("{rounds} times other rights, {}", answered(&world, &project));
    for informer in &mut informers {
        let seen = informer.look()?;
        for events in ["objectEvents", "metadataEvents"] {
            assert_eq!(seen[events]["wrong"], serde_json::json!([]), "{}: {events}", informer.name);
        }
    }
    Ok(())
}
