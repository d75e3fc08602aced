//! One registry for all tests, whose tags the cluster shows.

use crate::certificates::Authority;
use crate::direct::Direct;
use anyhow::{Context, Result, anyhow, ensure};
use e2e::kube::{Kube, Namespace, here, not_tested, until, until_within};
use e2e::manifests::{is, manifests};
use e2e::mourner::Mourner;
use e2e::site::{Repository, Site, base64, check_log};
use e2e::{Client, Image};
use serde_json::{Value, json};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// The object that joins the API to the cluster.
pub(crate) const API_SERVICE: &str = "v1alpha1.payload-registry.deckhouse.io";
/// The path of the API on any server.
pub(crate) const API: &str = "/apis/payload-registry.deckhouse.io/v1alpha1";
/// The API server looks at a dead API again within half a minute.
const RETURN: Duration = Duration::from_secs(180);

/// The registry and what leads to it. Never dropped: a [`Mourner`] clears it away.
pub(crate) struct World {
    pub(crate) kube: &'static Kube,
    pub(crate) site: Site<'static>,
    /// `HOST:PORT` of the API.
    pub(crate) api: String,
    pub(crate) authority: Authority,
    /// Names of the certificate.
    pub(crate) names: String,
    mourner: Mourner,
}

/// The world, beside other tests.
pub(crate) struct Shared(RwLockReadGuard<'static, World>);

/// The world for one test alone, which may end the registry.
pub(crate) struct Alone(RwLockWriteGuard<'static, World>);

/// `None`, with a line that says so, where there is no cluster that reaches this machine.
pub(crate) fn shared() -> Result<Option<Shared>> {
    let Some(world) = world()? else { return Ok(None) };
    let world = world.read().unwrap_or_else(PoisonError::into_inner);
    ensure!(world.site.pid().is_some(), "an earlier test has ended the registry, and it did not come back");
    Ok(Some(Shared(world)))
}

/// The same, when all other tests that are running have ended.
pub(crate) fn alone() -> Result<Option<Alone>> {
    let Some(world) = world()? else { return Ok(None) };
    Ok(Some(Alone(world.write().unwrap_or_else(PoisonError::into_inner))))
}

fn world() -> Result<Option<&'static RwLock<World>>> {
    static WORLD: OnceLock<Result<RwLock<World>, String>> = OnceLock::new();
    let Some(kube) = here()? else { return Ok(None) };
    if kube.cluster().is_err() {
        not_tested("this cluster does not reach this machine");
        return Ok(None);
    }
    let world = WORLD.get_or_init(|| World::start(kube).map(RwLock::new).map_err(|error| format!("{error:#}")));
    world.as_ref().map(Some).map_err(|error| anyhow!("the registry of these tests: {error}"))
}

impl World {
    fn start(kube: Kube) -> Result<Self> {
        let kube: &'static Kube = Box::leak(Box::new(kube));
        let mourner = Mourner::new()?;
        let api = e2e::free_address(kube.host_address().parse()?)?.to_string();
        let folder = mourner.folder().display();
        let settings = format!(
            "    tokenTTL: 2s\n    negativeTTL: 1s\n    cleanup: {{interval: 5s}}\n    \
             api: {{addr: '{api}', certificate: {folder}/tls.crt, key: {folder}/tls.key}}\n"
        );
        // The certificate comes later, as in a cluster where its Secret does.
        let site = Site::start_with(kube, &settings, "")?;
        let authority = Authority::new(mourner.folder(), "first")?;
        let host = api.split(':').next().unwrap_or_default();
        let names = format!("DNS:homeport-api.{}.svc,IP:{host}", site.home().name);
        let world = Self { kube, site, api, authority, names, mourner };
        world.note_remains()?;
        world.authority.server("server", &world.names)?.install(world.mourner.folder())?;
        kube.apply(&world.route()?)?;
        kube.apply(&world.api_service()?.to_string())?;
        world.wait_for_api()?;
        Ok(world)
    }

    /// Tells the mourner what there is.
    fn note_remains(&self) -> Result<()> {
        let home = &self.site.home().name;
        let objects = format!(
            "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: {API_SERVICE}}}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {{name: {home}}}\n---\n{}",
            self.site.wide()
        );
        let mut script = self.mourner.deleting(self.kube, &objects)?;
        if let Some(pid) = self.site.pid() {
            script.push_str(&format!("kill -KILL {pid}\n"));
        }
        for folder in self.site.folders() {
            script.push_str(&format!("rm -rf '{}'\n", folder.display()));
        }
        self.mourner.shall(&script)
    }

    /// A Service that leads out of the cluster.
    fn route(&self) -> Result<String> {
        let (host, port) = self.api.split_once(':').context("HOST:PORT")?;
        let home = &self.site.home().name;
        Ok(format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: homeport-api, namespace: {home}}}\n\
             spec: {{ports: [{{name: api, port: 443, targetPort: {port}}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: homeport-api-1, namespace: {home}, labels: {{kubernetes.io/service-name: homeport-api}}}}\n\
             addressType: IPv4\nports: [{{name: api, port: {port}, protocol: TCP}}]\n\
             endpoints: [{{addresses: ['{host}'], conditions: {{ready: true}}}}]\n"
        ))
    }

    /// The APIService that `homeport manifests` prints, with the authority of these tests.
    fn api_service(&self) -> Result<Value> {
        let documents = manifests(&["--namespace", &self.site.home().name])?;
        let document = documents.iter().find(|document| is(document, "APIService")).context("no APIService")?;
        let text = self.kube.feed("create --dry-run=client -o json -f -", document)?;
        let mut object: Value = serde_json::from_str(&text)?;
        assert_eq!(object["metadata"]["name"], API_SERVICE);
        assert_eq!(object["spec"]["service"]["namespace"], *self.site.home().name);
        assert_eq!(object["spec"]["service"]["name"], "homeport-api");
        object["spec"]["caBundle"] = json!(base64(self.authority.pem()?.as_bytes(), e2e::site::STANDARD, true));
        Ok(object)
    }

    /// Makes the cluster trust these authorities of the API.
    pub(crate) fn trust(&self, authorities: &[&Authority]) -> Result<()> {
        let pem = authorities.iter().map(|authority| authority.pem()).collect::<Result<Vec<_>>>()?.concat();
        let bundle = base64(pem.as_bytes(), e2e::site::STANDARD, true);
        let patch = json!({ "spec": { "caBundle": bundle } });
        self.kube.ok(&format!("patch apiservice {API_SERVICE} --type=merge -p '{patch}'")).map(drop)
    }

    /// The folder of certificate and key.
    pub(crate) fn folder(&self) -> PathBuf {
        self.mourner.folder().to_owned()
    }

    /// Waits until the cluster leads requests to the API.
    pub(crate) fn wait_for_api(&self) -> Result<Duration> {
        let answered = until_within(RETURN, "the cluster shows the API", || {
            // A change of the object makes the API server look at once; one that fails does not end the wait.
            let poke = format!("annotate apiservice {API_SERVICE} --overwrite tests/looked={}", e2e::kube::unique("t"));
            drop(self.kube.ok(&poke));
            Ok(self.kube.ok(&format!("get --raw {API}")).is_ok())
        });
        answered.map_err(|error| {
            let seen = self.kube.ok(&format!("get apiservice {API_SERVICE} -o yaml")).unwrap_or_default();
            anyhow!("{error}\n{seen}\n{}", self.site.log())
        })
    }

    /// The API without the cluster between.
    pub(crate) fn direct(&self) -> Direct {
        Direct::new(&self.api, &self.authority.path())
    }

    /// A namespace with somebody who may do anything to its repositories.
    pub(crate) fn project(&self) -> Result<Project> {
        let namespace = self.kube.namespace()?;
        let token = namespace.owner()?;
        let client = self.site.client(&token);
        let project = Project { namespace, token, client };
        let repo = project.path("app");
        until("the owner may push", || Ok(Repository::new(&project.client, &repo).begin_push()?.status == 202))?;
        Ok(project)
    }
}

impl Deref for Shared {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let log = self.site.log();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(300)..].join("\n"));
        } else {
            check_log(&log);
        }
    }
}

impl Deref for Alone {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Alone {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.site.kill()?;
        self.note_remains()
    }

    /// Starts the registry again, which does not wait until the cluster knows.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.site.begin()?;
        self.note_remains()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        println!("{}", self.site.log());
        if self.site.pid().is_none() {
            drop(self.begin());
        }
        // For the test after this one.
        drop(self.wait_for_api());
    }
}

/// A namespace and its owner.
pub(crate) struct Project {
    pub(crate) namespace: Namespace<'static>,
    pub(crate) token: String,
    pub(crate) client: Client,
}

impl Project {
    pub(crate) fn name(&self) -> &str {
        &self.namespace.name
    }

    /// The whole name of a repository.
    pub(crate) fn path(&self, repository: &str) -> String {
        format!("{}/{repository}", self.name())
    }

    /// Pushes a small image, another one for each seed; its digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, seed: u64) -> Result<String> {
        self.client.push_image(&self.path(repository), tag, &Image::new(seed, &[1000]))
    }

    /// Takes a tag away through the registry.
    pub(crate) fn delete(&self, repository: &str, tag: &str) -> Result<()> {
        let answer = self.client.delete(&format!("/v2/{}/manifests/{tag}", self.path(repository)))?;
        ensure!(answer.status == 202, "{} {}", answer.status, answer.text());
        Ok(())
    }

    /// Status of a tag at the registry.
    pub(crate) fn status(&self, repository: &str, tag: &str) -> Result<u16> {
        Ok(self.client.head(&format!("/v2/{}/manifests/{tag}", self.path(repository)))?.status)
    }

    /// What the registry itself lists of a repository.
    pub(crate) fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let answer = self.client.get(&format!("/v2/{}/tags/list", self.path(repository)))?;
        ensure!(matches!(answer.status, 200 | 404), "{} {}", answer.status, answer.text());
        let list = answer.json();
        let tags = list["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect())
    }
}

/// The name of the object of a tag: lower-case base32 without padding.
pub(crate) fn name_of(repository: &str, tag: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (mut out, mut word, mut bits) = (String::new(), 0u32, 0);
    for byte in format!("{repository}:{tag}").bytes() {
        word = (word << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(LETTERS[(word >> bits & 31) as usize]));
        }
        word &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(LETTERS[(word << (5 - bits) & 31) as usize]));
    }
    out
}

#[test]
fn names_are_those_of_the_manual() {
    assert_eq!(name_of("http-echo", "latest"), "nb2hi4bnmvrwq3z2nrqxizltoq");
    assert_eq!(name_of("test/http-echo", "latest"), "orsxg5bpnb2hi4bnmvrwq3z2nrqxizltoq");
}
