//! What the API server is asked, and what happens while it is away. On a cluster of its own, one test after the other.

use crate::hosted::{self, Hosted};
use anyhow::Result;
use e2e::Client;
use e2e::kube::{Kube, here, not_tested, until, until_within};
use e2e::site::{Repository, Site, basic};
use std::time::Duration;
use xtask::cluster::{Cluster, Extent, Taken, obstacle};

/// As fast as a watch comes back, and a probe.
const RECOVERY: Duration = Duration::from_secs(60);

/// A cluster that only one test uses; down with this value.
struct Alone {
    kube: Kube,
    cluster: Taken,
}

/// `None`, with a line that says so, where there cannot be one.
fn alone(extent: Extent) -> Result<Option<Alone>> {
    if here()?.is_none() {
        return Ok(None);
    }
    if let Some(why) = obstacle(extent) {
        not_tested(&format!("no cluster of its own: {why}"));
        return Ok(None);
    }
    let cluster = Cluster::aside("hp-outage", "10.79")?.take()?;
    // What an aborted run left behind would count, too.
    cluster.down()?;
    let kube = Kube::new(cluster.up(extent)?, Some(Cluster::clone(&cluster)))?;
    Ok(Some(Alone { kube, cluster }))
}

impl Alone {
    /// Requests to the API server so far that a filter of metric lines lets through.
    fn requests(&self, filter: impl Fn(&str) -> bool) -> Result<u64> {
        let metrics = self.kube.ok("get --raw /metrics")?;
        let lines = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{") && filter(line));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum())
    }

    fn reviews(&self) -> Result<u64> {
        self.requests(|line| line.contains("resource=\"tokenreviews\""))
    }

    fn signal(&self, signal: &str, pid: &str) -> Result<()> {
        self.kube.script("in", &["kill", &format!("-{signal}"), pid]).map(drop)
    }

    /// The API server's process, and the shell that starts it again.
    fn processes(&self) -> Result<(String, String)> {
        let pid = self.kube.script("in", &["pgrep", "-o", "-x", "kube-apiserver"])?.trim().to_owned();
        let parent = self.kube.script("in", &["ps", "-o", "ppid=", "-p", &pid])?.trim().to_owned();
        Ok((pid, parent))
    }
}

/// The API server is gone: connections are refused.
struct Gone<'a> {
    alone: &'a Alone,
    shell: String,
}

impl<'a> Gone<'a> {
    fn begin(alone: &'a Alone) -> Result<Self> {
        let (pid, shell) = alone.processes()?;
        alone.signal("STOP", &shell)?;
        let gone = Self { alone, shell };
        alone.signal("KILL", &pid)?;
        Ok(gone)
    }

    fn end(self) -> Result<()> {
        let kube = &self.alone.kube;
        drop(self);
        until("the API server is back", || Ok(kube.ok("get --raw /readyz").is_ok())).map(drop)
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        drop(self.alone.signal("CONT", &self.shell));
    }
}

#[test]
fn a_pull_with_a_warm_identity_asks_nothing() -> Result<()> {
    const LAYERS: usize = 20;
    let Some(alone) = alone(Extent::ControlPlane)? else { return Ok(()) };
    let kube = &alone.kube;
    let (site, project) = (Site::start_with(kube, "", "")?, kube.namespace()?);
    let owner = site.client(&project.owner()?);
    let repo = format!("{}/app", project.name);
    let image = e2e::Image::new(1, &[1000; LAYERS]);
    until("may push", || Ok(Repository::new(&owner, &repo).begin_push()?.status == 202))?;
    owner.push_image(&repo, "1", &image)?;

    let puller = site.client(&project.token("owner")?);
    let before = alone.reviews()?;
    let paths: Vec<String> = image.blobs.iter().map(|blob| format!("/v2/{repo}/blobs/{}", e2e::digest(blob))).collect();
    let paths: Vec<String> = paths.into_iter().chain([format!("/v2/{repo}/manifests/1")]).collect();
    // All of it at once, as containerd does with layers.
    let pull = || -> Result<()> {
        std::thread::scope(|scope| {
            let puller = &puller;
            let threads: Vec<_> = paths.iter().map(|path| scope.spawn(move || puller.get(path))).collect();
            for thread in threads {
                assert_eq!(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??.status, 200);
            }
            Ok(())
        })
    };
    pull()?;
    assert_eq!(alone.reviews()? - before, 1, "a cold pull is one review");
    // What this registry does in the background, and kubectl, is not about a pull: only reviews and reads of objects are.
    let about_pulls = |line: &str| {
        [
            "tokenreviews",
            "subjectaccessreviews",
            "selfsubjectrulesreviews",
            "\"roles\"",
            "\"rolebindings\"",
            "\"clusterroles\"",
            "\"clusterrolebindings\"",
            "\"namespaces\"",
        ]
        .iter()
        .any(|name| line.contains(name))
            && !line.contains("verb=\"WATCH\"")
    };
    let reviews = alone.reviews()?;
    let (before, mut after) = (alone.requests(about_pulls)?, 0);
    for _ in 0..5 {
        pull()?;
        after = alone.requests(about_pulls)?;
    }
    // The controllers of the cluster itself look at namespaces now and then.
    assert!(after - before < LAYERS as u64, "{} requests for 5 warm pulls of {LAYERS} layers", after - before);
    assert_eq!(alone.reviews()?, reviews, "a warm pull is no review");
    Ok(())
}

#[test]
fn known_callers_go_on_pulling_while_the_api_server_is_away() -> Result<()> {
    let Some(alone) = alone(Extent::ControlPlane)? else { return Ok(()) };
    let kube = &alone.kube;
    let short = "    tokenTTL: 1s\n    negativeTTL: 1s\n";
    let mut site = Site::start_with(kube, short, "")?;
    let forgetful = Site::start_with(kube, &format!("{short}    staleFor: 3s\n"), "")?;
    let project = kube.namespace()?;
    let repo = format!("{}/app", project.name);
    let token = project.owner()?;
    for site in [&site, &forgetful] {
        let owner = site.client(&token);
        Repository::new(&owner, &repo).first_push(1)?;
    }
    let unknown = project.token("owner")?;

    for round in 0..2 {
        let gone = Gone::begin(&alone)?;
        let owner = site.client(&token);
        let known = Repository::new(&owner, &repo);
        until("pushes are refused", || {
            assert_eq!(known.pull()?.status, 200, "a known caller pulls all the time, round {round}");
            Ok(known.begin_push()?.status == 503)
        })?;
        let push = known.begin_push()?;
        assert!(
            !push.header("retry-after").is_empty() && push.text().to_lowercase().contains("push"),
            "{}",
            push.text()
        );
        let answer = Repository::new(&site.client(&unknown), &repo).pull()?;
        // Its first use was after the outage before: known since then.
        if round == 0 {
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(!answer.header("retry-after").is_empty());
        }
        let client = forgetful.client(&token);
        until_within(RECOVERY, "the forgetful registry does not know any more", || {
            Ok(Repository::new(&client, &repo).pull()?.status == 503)
        })?;
        assert_eq!(known.pull()?.status, 200);
        gone.end()?;
        until_within(RECOVERY, "pushes work again", || Ok(known.begin_push()?.status == 202))?;
        until_within(RECOVERY, "the unknown one is known", || {
            Ok(Repository::new(&site.client(&unknown), &repo).pull()?.status == 200)
        })?;
        until_within(RECOVERY, "the forgetful one pulls again", || {
            Ok(Repository::new(&client, &repo).pull()?.status == 200)
        })?;
        Repository::new(&owner, &repo).push(10 + round)?;
    }

    // Both killed, the registry first: it starts while there is no API server, and gets along when there is.
    let gone = Gone::begin(&alone)?;
    site.kill()?;
    site.begin_without_cluster()?;
    let client = site.client(&token);
    let answer = Repository::new(&client, &repo).pull()?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    gone.end()?;
    until_within(RECOVERY, "it serves", || Ok(Repository::new(&client, &repo).pull()?.status == 200))?;
    // What a pull needs to know may be back before what a push does.
    Repository::new(&client, &repo).first_push(20)?;
    Ok(())
}

/// The same for a registry in a pod, with what `homeport manifests` sets: its probes and its Service do without an API server.
#[test]
fn a_registry_in_a_pod_outlives_the_api_server() -> Result<()> {
    let Some(image) = hosted::image() else { return Ok(()) };
    let Some(alone) = alone(Extent::Node)? else { return Ok(()) };
    let kube = &alone.kube;
    let hosted = Hosted::start(kube, &image)?;
    let (project, front) = (kube.namespace()?, hosted.front()?);
    let (token, unknown, repo) = (project.owner()?, project.token("owner")?, format!("{}/app", project.name));
    let client =
        |token: &str| Client::new(&format!("http://{}", front.address())).authorization(&basic("token", token));
    let (owner, stranger) = (client(&token), client(&unknown));
    let (known, unknown) = (Repository::new(&owner, &repo), Repository::new(&stranger, &repo));
    until("the Service leads to it, and the owner may push", || {
        Ok(known.begin_push().is_ok_and(|answer| answer.status == 202))
    })?;
    known.push(1)?;
    let pods = format!("-n {} pods -l app.kubernetes.io/component=registry", hosted.home.name);
    let starts = || kube.field(&pods, ".items[*].status.containerStatuses[*].restartCount");
    let uids = || kube.field(&pods, ".items[*].metadata.uid");
    let before = uids()?;

    let gone = Gone::begin(&alone)?;
    until("pushes are refused", || {
        assert_eq!(known.pull()?.status, 200, "a known caller pulls all the time");
        Ok(known.begin_push()?.status == 503)
    })?;
    assert!(!known.begin_push()?.header("retry-after").is_empty());
    assert_eq!(unknown.pull()?.status, 503, "nobody vouches for a stranger");
    gone.end()?;
    // The node counts as lost for a moment, and is out of the Service.
    until("pushes work again", || Ok(known.begin_push().is_ok_and(|answer| answer.status == 202)))?;
    until("the stranger is known", || Ok(unknown.pull().is_ok_and(|answer| answer.status == 200)))?;
    // Through that Service.
    until("it takes images", || Ok(known.push(2).is_ok()))?;
    assert_eq!((uids()?, starts()?.as_str()), (before, "0"), "the same pod, never started again");
    Ok(())
}

/// The API server takes connections and says nothing.
#[test]
fn an_api_server_that_hangs() -> Result<()> {
    let Some(alone) = alone(Extent::ControlPlane)? else { return Ok(()) };
    let kube = &alone.kube;
    let (site, project) = (Site::start_with(kube, "    tokenTTL: 1s\n", "")?, kube.namespace()?);
    let (token, repo) = (project.owner()?, format!("{}/app", project.name));
    let client = site.client(&token);
    Repository::new(&client, &repo).first_push(1)?;
    let unknown = project.token("owner")?;
    let (pid, _) = alone.processes()?;
    alone.signal("STOP", &pid)?;
    let result = (|| -> Result<()> {
        let begun = std::time::Instant::now();
        let answer = Repository::new(&site.client(&unknown), &repo).pull()?;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
        until_within(RECOVERY, "pushes are refused", || {
            let pull = Repository::new(&client, &repo).pull()?;
            assert_eq!(pull.status, 200, "{}", pull.text());
            Ok(Repository::new(&client, &repo).begin_push()?.status == 503)
        })?;
        Ok(())
    })();
    alone.signal("CONT", &pid)?;
    result?;
    until_within(RECOVERY, "pushes work again", || Ok(Repository::new(&client, &repo).begin_push()?.status == 202))?;
    Ok(())
}

/// An API server that lost everything, as after a restore of the wrong backup, is no reason to delete.
#[test]
fn nothing_is_deleted_without_proof() -> Result<()> {
    let Some(alone) = alone(Extent::ControlPlane)? else { return Ok(()) };
    let kube = &alone.kube;
    let settings = "    cleanup: {interval: 1s}\n";
    let (mut site, project) = (Site::start_with(kube, settings, "")?, kube.namespace()?);
    let (token, repo) = (project.owner()?, format!("{}/app", project.name));
    let client = site.client(&token);
    Repository::new(&client, &repo).first_push(1)?;
    // Another cluster at the same address: none of the namespaces, and no content of it may go.
    site.kill()?;
    alone.cluster.down()?;
    alone.cluster.up(Extent::ControlPlane)?;
    kube.ok(&format!("create namespace {}", site.home().name))?;
    site.give_rights(false)?;
    let other = kube.namespace()?;
    site.begin()?;
    let observer = site.client(&other.account("observer")?);
    let binding = format!("{}-observer", other.name);
    kube.ok(&format!(
        "create clusterrolebinding {binding} --clusterrole=cluster-admin --serviceaccount={}:observer",
        other.name
    ))?;
    until("the observer may read", || Ok(matches!(Repository::new(&observer, &repo).pull()?.status, 200 | 404)))?;
    // Long enough for several rounds of the clean-up, each of which could delete.
    let logged = until_within(Duration::from_secs(30), "the clean-up says what is wrong", || {
        Ok(site.log().contains("the store belongs to the cluster"))
    });
    assert_eq!(
        Repository::new(&observer, &repo).pull()?.status,
        200,
        "the content is there: {logged:?}\n{}",
        site.log()
    );
    logged.map(drop)
}
