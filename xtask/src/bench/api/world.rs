//! The cluster that tells who is asking, and the registries that are asked.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::store::Shelf;
use crate::cluster::{Cluster, Extent, Taken, obstacle};
use crate::command::quietly;
use crate::load::{Client, Secure, Trust, stopped};
use crate::server::{Launch, Server, free_port};

const READY_LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "v1alpha1.payload-registry.deckhouse.io";
pub(super) const API: &str = "/apis/payload-registry.deckhouse.io/v1alpha1";

/// Callers of the API.
const ACCOUNTS: usize = 10;

/// A control plane of its own, with an account that may do everything.
pub(super) struct Kubernetes {
    cluster: Taken,
    /// Of several accounts: one alone may not have all the watches.
    pub(super) tokens: Vec<String>,
    pub(super) trust: Trust,
}

impl Kubernetes {
    pub(super) fn start(folder: &Path, namespaces: &[&str]) -> Result<Self> {
        if let Some(why) = obstacle(Extent::ControlPlane) {
            bail!("no cluster: {why}");
        }
        let cluster = Cluster::aside("hp-bench", "10.81")?.take()?;
        // What an aborted run left behind would be measured, too.
        cluster.down()?;
        cluster.up(Extent::ControlPlane)?;
        let trust = Trust::read(&cluster.folder().join("conf/pki/ca.crt"))?;
        let mut this = Self { tokens: Vec::new(), trust, cluster };
        let mut objects = vec![json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "bench" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:default",
            }],
        })];
        let account = |index| format!("bench-{index}");
        objects.extend((0..ACCOUNTS).map(account).map(
            |name| json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": "default" } }),
        ));
        let namespaces = namespaces.iter();
        objects.extend(
            namespaces.map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })),
        );
        this.apply(folder, &objects)?;
        for name in (0..ACCOUNTS).map(account) {
            let token = this.kubectl(&format!("-n default create token {name} --duration=24h"))?;
            this.tokens.push(token.trim().to_owned());
        }
        Ok(this)
    }

    fn kubectl(&self, line: &str) -> Result<String> {
        let mut command = Command::new(self.cluster.folder().join("bin/kubectl"));
        command.arg("--kubeconfig").arg(self.cluster.kubeconfig()).args(line.split(' '));
        quietly(&mut command, READY_LIMIT)
    }

    fn apply(&self, folder: &Path, objects: &[serde_json::Value]) -> Result<()> {
        let file = folder.join("objects.json");
        fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string())?;
        self.kubectl(&format!("apply -f {}", file.display())).map(drop)
    }

    /// Where its API server is.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.cluster.node_address().parse()?, 6443))
    }

    pub(super) fn host(&self) -> Result<IpAddr> {
        Ok(self.cluster.host_address().parse()?)
    }

    /// Makes the cluster lead requests about tags to an instance.
    pub(super) fn lead_to(&self, instance: &Instance) -> Result<()> {
        let (host, port) = (instance.address.ip().to_string(), instance.address.port());
        let ca = fs::read(instance.folder.join("tls.crt"))?;
        let meta = |name: &str| json!({ "name": name, "namespace": "default" });
        let mut slice = meta("homeport-api-1");
        slice["labels"] = json!({ "kubernetes.io/service-name": "homeport-api" });
        let objects = [
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta("homeport-api"),
                "spec": { "ports": [{ "name": "api", "port": 443, "targetPort": port }] } }),
            json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice, "addressType": "IPv4",
                "ports": [{ "name": "api", "port": port, "protocol": "TCP" }],
                "endpoints": [{ "addresses": [host], "conditions": { "ready": true } }] }),
            json!({ "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": NAME },
                "spec": { "group": "payload-registry.deckhouse.io", "version": "v1alpha1", "groupPriorityMinimum": 1000,
                    "versionPriority": 15, "caBundle": base64(&ca),
                    "service": { "name": "homeport-api", "namespace": "default" } } }),
        ];
        self.apply(&instance.folder, &objects)?;
        wait("the cluster leads to the API", || self.kubectl(&format!("get --raw {API}")).is_ok())
    }
}

/// A registry with its API.
pub(super) struct Instance {
    folder: PathBuf,
    launch: Launch,
    debug: u16,
    pub(super) address: SocketAddr,
    pub(super) trust: Trust,
    server: Option<Server>,
}

impl Instance {
    /// Writes store and configuration.
    pub(super) fn prepare(kubernetes: &Kubernetes, program: &Path, folder: &Path, shelves: &[Shelf]) -> Result<Self> {
        let store = folder.join("store");
        fs::create_dir_all(&store)?;
        shelves.iter().try_for_each(|shelf| shelf.write(&store))?;
        certify(folder, kubernetes.host()?)?;
        Self::configure(kubernetes, program, folder, "first")
    }

    /// Another process on the same store.
    pub(super) fn beside(&self, kubernetes: &Kubernetes) -> Result<Self> {
        Self::configure(kubernetes, &self.launch.program, &self.folder, "second")
    }

    fn configure(kubernetes: &Kubernetes, program: &Path, folder: &Path, name: &str) -> Result<Self> {
        let (port, debug, address) = (free_port()?, free_port()?, SocketAddr::new(kubernetes.host()?, free_port()?));
        let config = folder.join(name).with_extension("config");
        let shown = folder.display();
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
                 storage:\n  filesystem:\n    rootdirectory: {shown}/store\n  delete:\n    enabled: true\n\
                 http:\n  addr: 127.0.0.1:{port}\n  debug:\n    addr: 127.0.0.1:{debug}\n    prometheus: {{enabled: true}}\n\
                 homeport:\n  kubernetes:\n    kubeconfig: {}\n    namespace: default\n    hosts: ['registry.test']\n    \
                 cleanup: {{enabled: false}}\n    \
                 api: {{addr: '{address}', certificate: {shown}/tls.crt, key: {shown}/tls.key}}\n",
                kubernetes.cluster.kubeconfig().display()
            ),
        )?;
        let args = vec!["serve".into(), config.into()];
        let launch = Launch { program: program.to_owned(), args, port, log: folder.join(name).with_extension("log") };
        let trust = Trust::read(&folder.join("tls.crt"))?;
        Ok(Self { folder: folder.to_owned(), launch, debug, address, trust, server: None })
    }

    /// Its process, which is started when it does not run.
    pub(super) fn running(&mut self) -> Result<u32> {
        let server = match self.server.take() {
            Some(server) => server,
            None => self.start()?,
        };
        Ok(self.server.insert(server).pid())
    }

    pub(super) fn restart(&mut self) -> Result<u32> {
        self.server = None;
        self.running()
    }

    fn start(&self) -> Result<Server> {
        let server = Server::start(&self.launch)?;
        let ready = || {
            let answer = Secure::open(self.address, &self.trust).and_then(|mut api| api.get("/readyz", "", |_| {}));
            matches!(answer, Ok(200))
        };
        let waited = wait("the API is ready", ready);
        waited.with_context(|| fs::read_to_string(&self.launch.log).unwrap_or_default())?;
        Ok(server)
    }

    /// How many watches it says that it has.
    pub(super) fn watches(&self) -> Result<usize> {
        let page = Client::new(self.debug).get("/metrics", "")?;
        let page = String::from_utf8_lossy(&page.body).into_owned();
        let line = page.lines().find_map(|line| line.strip_prefix("homeport_api_watches "));
        Ok(line.context("no figure of the watches")?.trim().parse()?)
    }

    /// For its clients, not those of the API.
    pub(super) fn client(&self) -> Client {
        Client::new(self.launch.port)
    }

    pub(super) fn open(&self) -> Result<Secure> {
        Secure::open(self.address, &self.trust)
    }
}

/// A certificate that vouches for itself.
fn certify(folder: &Path, host: IpAddr) -> Result<()> {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=homeport-api", "-keyout", &file("tls.key"), "-out", &file("tls.crt")]);
    command.args(["-addext", "basicConstraints=critical,CA:false", "-addext"]);
    command.arg(format!("subjectAltName=DNS:homeport-api.default.svc,IP:{host}"));
    quietly(command.stdin(Stdio::null()), Duration::from_secs(10)).map(drop)
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < READY_LIMIT && !stopped(), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |index: usize| char::from(LETTERS[((word >> (18 - 6 * index)) & 63) as usize]);
        out.extend((0..4).map(|index| if index <= chunk.len() { letter(index) } else { '=' }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_has_padding() {
        assert_eq!([base64(b""), base64(b"a"), base64(b"ab"), base64(b"abc")], ["", "YQ==", "YWI=", "YWJj"]);
    }
}
