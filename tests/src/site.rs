//! A registry of one test that is part of the cluster.

use crate::front::Front;
use crate::kube::{Kube, Namespace, unique, until};
use crate::manifests::{is, manifests, outlives};
use crate::{Answer, Client, Server};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// A registry on this machine, with its data and its address. Looked through for panics and answers 500 at the end.
pub struct Site<'a> {
    /// Holds the registry's Lease.
    home: Namespace<'a>,
    kube: &'a Kube,
    front: Front,
    server: Option<Server>,
    config: String,
    /// Its data, and the kubeconfigs of registry and operator.
    files: TempDir,
    name: String,
    /// What it has made outside of its namespace.
    wide: Mutex<String>,
}

impl<'a> Site<'a> {
    /// Starts a registry. `settings` are lines of `homeport.kubernetes`, `more` of the rest of the file.
    pub fn start_with(kube: &'a Kube, settings: &str, more: &str) -> Result<Self> {
        let home = kube.namespace()?;
        let front = Front::listen(&kube.host_address())?;
        let name = format!("{}.registry.test:{}", unique("r"), front.address().port());
        let config = format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}}}\nhomeport:\n  kubernetes:\n    kubeconfig: KUBECONFIG\n    \
             namespace: {}\n    hosts: ['{name}']\n{settings}{more}",
            home.name,
        );
        let mut site =
            Self { home, kube, front, server: None, config, files: tempfile::tempdir()?, name, wide: Mutex::default() };
        site.give_rights(settings.contains("authorization: review"))?;
        site.begin()?;
        Ok(site)
    }

    /// Gives registry and operator the identities and rights that `homeport manifests` gives them, and no others.
    pub fn give_rights(&self, review: bool) -> Result<()> {
        let mode = if review { "review" } else { "rbac" };
        let documents = manifests(&["--namespace", &self.home.name, "--without-roles", "--authorization", mode])?;
        let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
        let rights = documents.into_iter().filter(|document| kinds.iter().any(|kind| is(document, kind)));
        let rights: Vec<String> = rights.collect();
        let wide: Vec<String> = rights.iter().filter(|document| outlives(document, &self.home.name)).cloned().collect();
        *self.wide.lock().unwrap_or_else(PoisonError::into_inner) = wide.join("---\n");
        self.kube.install(&rights)?;
        for account in ["homeport", "homeport-operator"] {
            let token = self.home.token(account)?;
            std::fs::write(self.files.path().join(account), self.kube.kubeconfig_with(&token)?)?;
        }
        Ok(())
    }

    /// A registry with short memories, so that tests need not wait for them.
    pub fn start(kube: &'a Kube) -> Result<Self> {
        Self::start_with(kube, "    tokenTTL: 2s\n    negativeTTL: 1s\n", "")
    }

    /// Starts it on the data that are there, and waits until it knows the cluster: before, everybody is refused.
    pub fn begin(&mut self) -> Result<()> {
        self.begin_without_cluster()?;
        let nobody = self.nobody();
        // With TLS there is no answer.
        until("it is ready", || Ok(!nobody.get("/readyz").is_ok_and(|answer| answer.status == 503))).map(drop)
    }

    /// The same while there may be no API server.
    pub fn begin_without_cluster(&mut self) -> Result<()> {
        let config = self.config_of("homeport");
        let server = Server::builder().config(&config).data(&self.files.path().join("data")).start()?;
        self.front.lead_to(Some(server.address()));
        self.server = Some(server);
        Ok(())
    }

    /// Starts another process on the same data, with a configuration of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn beside(&self, change: impl Fn(String) -> String) -> Result<Server> {
        Server::builder().config(&change(self.config_of("homeport"))).data(&self.files.path().join("data")).start()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.front.lead_to(None);
        let server = self.server.take().context("it runs")?;
        check_log(&server.log());
        server.kill().map(drop)
    }

    /// Changes its configuration while it runs, until the returned value is dropped.
    pub fn with_config(&self, change: impl Fn(String) -> String) -> Result<Changed<'_>> {
        let changed = Changed { server: self.server.as_ref().context("it runs")?, config: self.config_of("homeport") };
        changed.server.reload(&change(changed.config.clone()))?;
        Ok(changed)
    }

    /// `HOST:PORT` for clients on this machine. They send nothing elsewhere than to the loopback; new after each start.
    pub fn address(&self) -> Result<String> {
        Ok(self.server.as_ref().context("it runs")?.address().to_owned())
    }

    /// `HOST:PORT` by the name that the cluster knows after [`Site::make_known`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells the node and the pods where the name leads.
    pub fn make_known(&self) -> Result<()> {
        self.kube.script("trust", &[&self.name]).map(drop)
    }

    /// The documents of what it has made outside of its namespace.
    pub fn wide(&self) -> String {
        self.wide.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Its folders.
    pub fn folders(&self) -> Vec<PathBuf> {
        let server = self.server.as_ref().map(|server| server.dir().to_owned());
        server.into_iter().chain([self.files.path().to_owned()]).collect()
    }

    /// The namespace of its Lease.
    pub fn home(&self) -> &Namespace<'a> {
        &self.home
    }

    /// The configuration file of `homeport operator` beside this registry.
    pub fn operator_config(&self) -> Result<PathBuf> {
        let path = self.files.path().join("operator.yml");
        std::fs::write(&path, self.config_of("homeport-operator"))?;
        Ok(path)
    }

    fn config_of(&self, account: &str) -> String {
        self.config.replace("KUBECONFIG", &self.files.path().join(account).display().to_string())
    }

    pub fn log(&self) -> String {
        self.server.as_ref().map(Server::log).unwrap_or_default()
    }

    /// A client without credentials.
    pub fn nobody(&self) -> Client {
        Client::new(&format!("http://{}", self.front.address()))
    }

    /// A client whose password is a token.
    pub fn client(&self, token: &str) -> Client {
        self.nobody().authorization(&basic("token", token))
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        let wide = self.wide();
        if !wide.is_empty() {
            drop(self.kube.feed("delete --ignore-not-found --wait=false -f -", &wide));
        }
        let log = self.log();
        // Shown when the test fails.
        println!("{log}");
        if !std::thread::panicking() {
            check_log(&log);
        }
    }
}

/// A registry with another configuration than usual.
pub struct Changed<'a> {
    server: &'a Server,
    config: String,
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        drop(self.server.reload(&self.config));
    }
}

/// No panic and no answer 500 in a log.
#[track_caller]
pub fn check_log(log: &str) {
    for bad in ["panicked", " status=500", "\"status\":500"] {
        assert!(!log.contains(bad), "{bad:?} in the log:\n{log}");
    }
}

/// What a test asks of a repository with one client.
pub struct Repository<'c> {
    client: &'c Client,
    name: String,
}

impl<'c> Repository<'c> {
    pub fn new(client: &'c Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Reads the manifest of the tag `1`.
    pub fn pull(&self) -> Result<Answer> {
        self.client.get(&format!("/v2/{}/manifests/1", self.name))
    }

    /// Begins an upload.
    pub fn begin_push(&self) -> Result<Answer> {
        self.client.send("POST", &format!("/v2/{}/blobs/uploads/", self.name), &[], &[])
    }

    /// Pushes a small image under the tag `1`; different bytes for each seed.
    pub fn push(&self, seed: u64) -> Result<String> {
        self.client.push_image(&self.name, "1", &crate::Image::new(seed, &[2000]))
    }

    /// The same for who was given the right to push a moment ago.
    pub fn first_push(&self, seed: u64) -> Result<String> {
        until("may push", || Ok(self.begin_push()?.status == 202))?;
        self.push(seed)
    }
}

/// All names in the catalog.
pub fn catalog(client: &Client) -> Result<Vec<String>> {
    let (mut names, mut path) = (Vec::new(), "/v2/_catalog".to_owned());
    loop {
        let answer = client.get(&path)?;
        anyhow::ensure!(answer.status == 200, "catalog: {} {}", answer.status, answer.text());
        let page = answer.json();
        let page = page["repositories"].as_array().map(Vec::as_slice).unwrap_or_default();
        names.extend(page.iter().filter_map(|name| name.as_str().map(str::to_owned)));
        let Some((_, rest)) = answer.header("link").split_once('<') else { return Ok(names) };
        path = rest.split('>').next().unwrap_or_default().to_owned();
    }
}

/// Checks status and error code.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes(), STANDARD, true))
}

/// The letters of base64.
pub const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The same for URLs, which is what tokens are made of.
pub const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn base64(bytes: &[u8], alphabet: &[u8; 64], padded: bool) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            if index <= chunk.len() {
                out.push(char::from(alphabet[((word >> (18 - 6 * index)) & 63) as usize]));
            } else if padded {
                out.push('=');
            }
        }
    }
    out
}
