//! A registry of one test that is part of the cluster.

use crate::front::Front;
use crate::kube::{Kube, Namespace, unique, until};
use crate::shipped_roles::{is, manifests};
use anyhow::{Context, Result};
use e2e::{Answer, Client, Server};
use std::path::PathBuf;
use tempfile::TempDir;

/// A registry on this machine, with its data and its address. Looked through for panics and answers 500 at the end.
pub(crate) struct Site<'a> {
    /// Holds the registry's Lease.
    home: Namespace<'a>,
    kube: &'a Kube,
    front: Front,
    server: Option<Server>,
    config: String,
    /// Its data, and the kubeconfigs of registry and operator.
    files: TempDir,
    name: String,
}

impl<'a> Site<'a> {
    /// Starts a registry. `settings` are lines of `homeport.kubernetes`, `more` of the rest of the file.
    pub(crate) fn start_with(kube: &'a Kube, settings: &str, more: &str) -> Result<Self> {
        let home = kube.namespace()?;
        let front = Front::listen(&kube.host_address())?;
        let name = format!("{}.registry.test:{}", unique("r"), front.address().port());
        let config = format!(
            "version: 0.1\nstorage: {{delete: {{enabled: true}}}}\nhomeport:\n  kubernetes:\n    kubeconfig: KUBECONFIG\n    \
             namespace: {}\n    hosts: ['{name}']\n{settings}{more}",
            home.name,
        );
        let mut site = Self { home, kube, front, server: None, config, files: tempfile::tempdir()?, name };
        site.give_rights(settings.contains("authorization: review"))?;
        site.begin()?;
        Ok(site)
    }

    /// Gives registry and operator the identities and rights that `homeport manifests` gives them, and no others.
    pub(crate) fn give_rights(&self, review: bool) -> Result<()> {
        let mode = if review { "review" } else { "rbac" };
        let documents = manifests(&["--namespace", &self.home.name, "--without-roles", "--authorization", mode])?;
        let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
        let rights = documents.into_iter().filter(|document| kinds.iter().any(|kind| is(document, kind)));
        self.kube.apply(&rights.collect::<Vec<_>>().join("---\n"))?;
        for account in ["homeport", "homeport-operator"] {
            let token = self.home.token(account)?;
            std::fs::write(self.files.path().join(account), self.kube.kubeconfig_with(&token)?)?;
        }
        Ok(())
    }

    /// A registry with short memories, so that tests need not wait for them.
    pub(crate) fn start(kube: &'a Kube) -> Result<Self> {
        Self::start_with(kube, "    tokenTTL: 2s\n    negativeTTL: 1s\n", "")
    }

    /// Starts it on the data that are there.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let config = self.config_of("homeport");
        let server = Server::builder().config(&config).data(&self.files.path().join("data")).start()?;
        self.front.lead_to(Some(server.address()));
        self.server = Some(server);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.front.lead_to(None);
        let server = self.server.take().context("it runs")?;
        check_log(&server.log());
        server.kill().map(drop)
    }

    /// `HOST:PORT` for clients on this machine. They send nothing elsewhere than to the loopback; new after each start.
    pub(crate) fn address(&self) -> Result<String> {
        Ok(self.server.as_ref().context("it runs")?.address().to_owned())
    }

    /// `HOST:PORT` by the name that the cluster knows after [`Site::make_known`].
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells the node and the pods where the name leads.
    pub(crate) fn make_known(&self) -> Result<()> {
        self.kube.script("trust", &[&self.name]).map(drop)
    }

    pub(crate) fn home(&self) -> &Namespace<'a> {
        &self.home
    }

    /// The configuration file of `homeport operator` beside this registry.
    pub(crate) fn operator_config(&self) -> Result<PathBuf> {
        let path = self.files.path().join("operator.yml");
        std::fs::write(&path, self.config_of("homeport-operator"))?;
        Ok(path)
    }

    fn config_of(&self, account: &str) -> String {
        self.config.replace("KUBECONFIG", &self.files.path().join(account).display().to_string())
    }

    pub(crate) fn log(&self) -> String {
        self.server.as_ref().map(Server::log).unwrap_or_default()
    }

    /// A client without credentials.
    pub(crate) fn nobody(&self) -> Client {
        Client::new(&format!("http://{}", self.front.address()))
    }

    /// A client whose password is a token.
    pub(crate) fn client(&self, token: &str) -> Client {
        self.nobody().authorization(&basic("token", token))
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        // What `homeport manifests` makes outside of the namespace.
        let names = format!("{0}:registry {0}:operator", self.home.name);
        for kind in ["clusterrolebinding", "clusterrole"] {
            drop(self.kube.ok(&format!("delete {kind} {names} --ignore-not-found --wait=false")));
        }
        let log = self.log();
        // Shown when the test fails.
        println!("{log}");
        if !std::thread::panicking() {
            check_log(&log);
        }
    }
}

fn check_log(log: &str) {
    for bad in ["panicked", " status=500", "\"status\":500"] {
        assert!(!log.contains(bad), "{bad:?} in the log:\n{log}");
    }
}

/// What a test asks of a repository with one client.
pub(crate) struct Repository<'c> {
    client: &'c Client,
    name: String,
}

impl<'c> Repository<'c> {
    pub(crate) fn new(client: &'c Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Reads the manifest of the tag `1`.
    pub(crate) fn pull(&self) -> Result<Answer> {
        self.client.get(&format!("/v2/{}/manifests/1", self.name))
    }

    /// Begins an upload.
    pub(crate) fn begin_push(&self) -> Result<Answer> {
        self.client.send("POST", &format!("/v2/{}/blobs/uploads/", self.name), &[], &[])
    }

    /// Pushes a small image under the tag `1`; different bytes for each seed.
    pub(crate) fn push(&self, seed: u64) -> Result<String> {
        self.client.push_image(&self.name, "1", &e2e::Image::new(seed, &[2000]))
    }

    /// The same for who was given the right to push a moment ago.
    pub(crate) fn first_push(&self, seed: u64) -> Result<String> {
        until("may push", || Ok(self.begin_push()?.status == 202))?;
        self.push(seed)
    }
}

/// All names in the catalog.
pub(crate) fn catalog(client: &Client) -> Result<Vec<String>> {
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
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes(), STANDARD, true))
}

/// The letters of base64.
pub(crate) const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The same for URLs, which is what tokens are made of.
pub(crate) const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(crate) fn base64(bytes: &[u8], alphabet: &[u8; 64], padded: bool) -> String {
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
