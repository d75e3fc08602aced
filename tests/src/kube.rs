//! The cluster of the tests, through kubectl.

use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};
use xtask::cluster::Cluster;

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How long the end of a namespace may take: no namespace ends while an APIService of another test has nothing behind it, and
/// then the cluster tries again after up to a minute.
pub const NAMESPACE_END: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// A cluster and how to talk to it as its administrator.
pub struct Kube {
    kubeconfig: PathBuf,
    /// Removes the kubeconfig where it was made for this value.
    _made: Option<tempfile::TempPath>,
    kubectl: PathBuf,
    /// When it is the one of this machine, of which more than the API can be reached.
    cluster: Option<Cluster>,
}

/// A namespace that goes away with this value, and all that is in it.
pub struct Namespace<'a> {
    kube: &'a Kube,
    /// Its name.
    pub name: String,
}

/// The cluster that the environment names. `None`, with a line that says what is not tested.
pub fn here() -> Result<Option<Kube>> {
    let Some(path) = std::env::var_os("HOMEPORT_TEST_KUBECONFIG").filter(|path| !path.is_empty()) else {
        not_tested("no cluster; `cargo xtask test` brings one up, HOMEPORT_TEST_KUBECONFIG names one");
        return Ok(None);
    };
    let kubeconfig = std::fs::canonicalize(&path).with_context(|| path.display().to_string())?;
    let ours = Cluster::from_env()?;
    let same = std::fs::canonicalize(ours.kubeconfig()).is_ok_and(|path| path == kubeconfig);
    let kube = Kube::new(kubeconfig, same.then_some(ours))?;
    let ready = || kube.ok("get --raw /readyz");
    // An API server with much to do may say no for a moment.
    if until("it is ready", || Ok(ready().is_ok())).is_err() {
        ready().context("the cluster that HOMEPORT_TEST_KUBECONFIG names")?;
    }
    Ok(Some(kube))
}

/// The same where pods run and can reach this machine.
pub fn with_pods() -> Result<Option<Kube>> {
    let Some(kube) = here()? else { return Ok(None) };
    if kube.cluster.as_ref().is_some_and(Cluster::has_node) {
        return Ok(Some(kube));
    }
    not_tested("this cluster runs no pods that reach this machine");
    Ok(None)
}

/// Says that the test of this thread did not test anything.
pub fn not_tested(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    drop(writeln!(std::io::stderr(), "not tested: {test}: {why}"));
}

impl Kube {
    /// By the path of a kubeconfig.
    ///
    /// # Errors
    /// There is no kubectl.
    pub fn new(kubeconfig: PathBuf, cluster: Option<Cluster>) -> Result<Self> {
        let own = cluster.as_ref().map(|cluster| cluster.folder().join("bin/kubectl"));
        let kubectl = own.or_else(|| xtask::places::on_path("kubectl")).context("kubectl is not here")?;
        Ok(Self { kubeconfig, _made: None, kubectl, cluster })
    }

    /// Where its kubeconfig is.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig for the same cluster with a token in place of the administrator's certificate.
    pub fn kubeconfig_with(&self, token: &str) -> Result<String> {
        let text = self.ok("config view --raw --minify --flatten -o json")?;
        let mut config: serde_json::Value = serde_json::from_str(&text)?;
        config["users"][0]["user"] = serde_json::json!({ "token": token });
        Ok(config.to_string())
    }

    /// The same cluster for whoever has this token.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn with_token(&self, token: &str) -> Result<Self> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(self.kubeconfig_with(token)?.as_bytes())?;
        let path = file.into_temp_path();
        let (kubeconfig, cluster) = (path.to_path_buf(), self.cluster.clone());
        Ok(Self { kubeconfig, _made: Some(path), kubectl: self.kubectl.clone(), cluster })
    }

    /// kubectl with the words of a command line, not yet started.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig).args(words(line)).stdin(Stdio::null());
        command
    }

    /// This machine's address for the cluster; the loopback where the cluster cannot reach this machine.
    pub fn host_address(&self) -> String {
        self.cluster.as_ref().map_or_else(|| "127.0.0.1".to_owned(), Cluster::host_address)
    }

    /// The cluster of this machine.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("not a cluster of this machine")
    }

    /// Runs a command of `xtask/cluster`; its standard output.
    pub fn script(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.cluster()?.command(name).args(arguments).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the words of a kubectl command line; `'` quotes. Its standard output; an error when it fails.
    pub fn ok(&self, line: &str) -> Result<String> {
        self.feed(line, "")
    }

    /// The same with standard input.
    pub fn feed(&self, line: &str, input: &str) -> Result<String> {
        let output = self.run(line, input)?;
        ensure!(output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Expects kubectl to fail; what it said.
    pub fn refused(&self, line: &str, input: &str) -> Result<String> {
        let output = self.run(line, input)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(!output.status.success(), "kubectl {line}\nsucceeds: {said}");
        Ok(said)
    }

    /// Runs it, whether it succeeds or not.
    ///
    /// # Errors
    /// It does not start.
    pub fn run(&self, line: &str, input: &str) -> Result<Output> {
        // A file, because a pipe would have to be fed while the output is read.
        let mut stdin = tempfile::tempfile()?;
        stdin.write_all(input.as_bytes())?;
        stdin.seek(SeekFrom::Start(0))?;
        self.command(line).stdin(stdin).output().with_context(|| self.kubectl.display().to_string())
    }

    /// Applies YAML documents.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.feed("apply -f -", yaml).map(drop)
    }

    /// Applies documents of `homeport manifests` as its manual says: on the server, where two that make one object at once both
    /// succeed.
    pub fn install(&self, documents: &[String]) -> Result<()> {
        self.feed("apply --server-side -f -", &documents.join("---\n")).map(drop)
    }

    /// A field of an object by JSON path; empty when there is none.
    pub fn field(&self, object: &str, path: &str) -> Result<String> {
        self.ok(&format!("get {object} -o jsonpath={{{path}}}"))
    }

    /// A new namespace with a name that nothing else has.
    pub fn namespace(&self) -> Result<Namespace<'_>> {
        let namespace = Namespace { kube: self, name: unique("t") };
        self.ok(&format!("create namespace {}", namespace.name))?;
        Ok(namespace)
    }

    /// Deletes a namespace and waits until it is gone.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        self.ok(&format!("delete namespace {name} --timeout={}s", NAMESPACE_END.as_secs())).map(drop)
    }
}

impl Namespace<'_> {
    /// Makes a ServiceAccount; a token of it.
    pub fn account(&self, name: &str) -> Result<String> {
        self.kube.ok(&format!("-n {} create serviceaccount {name}", self.name))?;
        self.token(name)
    }

    /// A token as `kubectl create token` gives it.
    pub fn token(&self, account: &str) -> Result<String> {
        Ok(self.kube.ok(&format!("-n {} create token {account}", self.name))?.trim().to_owned())
    }

    /// Binds a Role of these rules to a ServiceAccount; both have the account's name. Rules are in YAML's flow style.
    pub fn grant(&self, account: &str, rules: &str) -> Result<()> {
        self.kube.apply(&self.role(account, rules))
    }

    /// Takes the binding of [`Namespace::grant`] away.
    pub fn revoke(&self, account: &str) -> Result<()> {
        self.kube.ok(&format!("-n {} delete rolebinding {account} --ignore-not-found", self.name)).map(drop)
    }

    /// The objects of [`Namespace::grant`].
    pub fn role(&self, account: &str, rules: &str) -> String {
        let name = &self.name;
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {account}, namespace: {name}}}\nrules: [{rules}]\n\
             ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}, namespace: {name}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {account}}}\n\
             subjects: [{{kind: ServiceAccount, name: {account}, namespace: {name}}}]\n---\n"
        )
    }

    /// A ServiceAccount that may do anything to the repositories of this namespace; its token.
    pub fn owner(&self) -> Result<String> {
        let token = self.account("owner")?;
        self.grant("owner", &accesses("'*'", ""))?;
        Ok(token)
    }

    /// The user name of a ServiceAccount.
    pub fn user(&self, account: &str) -> String {
        format!("system:serviceaccount:{}:{account}", self.name)
    }

    /// Its UID.
    ///
    /// # Errors
    /// It is not there.
    pub fn uid(&self) -> Result<String> {
        self.kube.field(&format!("namespace {}", self.name), ".metadata.uid")
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // Nobody waits for it: the next test has a name of its own.
        drop(self.kube.ok(&format!("delete namespace {} --wait=false --ignore-not-found", self.name)));
    }
}

/// A rule on `payloadrepositoryaccesses`; verbs and names separated by commas, no names stand for all.
pub fn accesses(verbs: &str, names: &str) -> String {
    let names = if names.is_empty() { String::new() } else { format!(", resourceNames: [{names}]") };
    format!(
        "{{apiGroups: [payload-registry.deckhouse.io], resources: [payloadrepositoryaccesses], verbs: [{verbs}]{names}}}"
    )
}

/// A rule on OpenShift's `imagestreams/layers` in an API group.
pub fn layers(group: &str, verbs: &str, names: &str) -> String {
    let names = if names.is_empty() { String::new() } else { format!(", resourceNames: [{names}]") };
    format!("{{apiGroups: ['{group}'], resources: [imagestreams/layers], verbs: [{verbs}]{names}}}")
}

/// A name that no other test has, in this run or in another one on the same cluster.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:x}-{:x}-{count}", since.as_secs() & 0xff_ffff, std::process::id())
}

/// Waits until a condition holds; an error of it ends the wait.
pub fn until(what: &str, condition: impl FnMut() -> Result<bool>) -> Result<Duration> {
    until_within(PATIENCE, what, condition)
}

/// The same with a limit of its own; how long it took.
pub fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let begun = Instant::now();
    while !condition()? {
        ensure!(begun.elapsed() < limit, "waited in vain until {what}");
        std::thread::sleep(POLL);
    }
    Ok(begun.elapsed())
}

/// Words of a command line. `'` quotes.
fn words(line: &str) -> Vec<OsString> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for character in line.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            _ if character.is_whitespace() && !quoted => words.extend(word.take().map(OsString::from)),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word.map(OsString::from));
    words
}

/// Everything a program says, in the background.
pub fn collect(mut stream: impl Read + Send + 'static) -> std::sync::Arc<std::sync::Mutex<String>> {
    let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let sink = std::sync::Arc::clone(&log);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut log = sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            log.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    log
}
