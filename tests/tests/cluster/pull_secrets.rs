//! Pull secrets that `homeport operator` fills. Cases.

use crate::desk::Desk;
use crate::pods::{Pod, push_image};
use crate::tokens::{claims, now};
use anyhow::{Context, Result, ensure};
use e2e::kube::{Kube, Namespace, accesses, collect, here, until, until_within, with_pods};
use e2e::site::{Repository, Site};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PREFIX: &str = "payload-registry.deckhouse.io";
/// What the manual puts in place of credentials: `{"auths":{}}`.
const PLACEHOLDER: &str = "eyJhdXRocyI6e319";

/// One registry at a time has an operator: each looks after all annotated Secrets of the cluster, for hosts of its own.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `homeport operator` beside a registry; killed when dropped.
struct Operator {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Operator {
    fn start(site: &Site<'_>) -> Result<Self> {
        let mut command = Command::new(e2e::binary()?);
        command.arg("operator").arg(site.operator_config()?).args(["--listen", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = collect(child.stderr.take().context("no standard error")?);
        Ok(Self { child, log })
    }

    fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // Shown when the test fails.
        println!("{}", self.log());
        assert!(std::thread::panicking() || !self.log().contains("panicked"));
    }
}

/// The Secret of the manual, in a namespace.
struct PullSecret<'a> {
    kube: &'a Kube,
    namespace: String,
}

impl<'a> PullSecret<'a> {
    const NAME: &'static str = "my-pull-secret";

    fn create(kube: &'a Kube, namespace: &Namespace<'_>, account: &str) -> Result<Self> {
        Self::with_type(kube, namespace, account, "kubernetes.io/dockerconfigjson")
    }

    fn with_type(kube: &'a Kube, namespace: &Namespace<'_>, account: &str, kind: &str) -> Result<Self> {
        let namespace = namespace.name.clone();
        kube.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n  namespace: {namespace}\n  annotations: {{{PREFIX}/service-account.name: '{account}'}}\n\
             type: {kind}\ndata: {{.dockerconfigjson: {PLACEHOLDER}}}\n",
            Self::NAME
        ))?;
        Ok(Self { kube, namespace })
    }

    fn object(&self) -> Result<serde_json::Value> {
        let line = format!("-n {} get secret {} -o json --ignore-not-found", self.namespace, Self::NAME);
        let text = self.kube.ok(&line)?;
        if text.trim().is_empty() { Ok(serde_json::Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    fn annotation(&self, name: &str) -> Result<String> {
        Ok(self.object()?["metadata"]["annotations"][format!("{PREFIX}/{name}")]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    fn config(&self) -> Result<serde_json::Value> {
        let line = format!("-n {} get secret {} -o go-template", self.namespace, Self::NAME);
        let text = self.kube.ok(&format!("{line}='{{{{index .data \".dockerconfigjson\" | base64decode}}}}'"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until it holds a token other than `before`; the token.
    fn token(&self, host: &str, before: &str) -> Result<String> {
        let mut token = String::new();
        until("the Secret is filled", || {
            if self.object()?.is_null() {
                return Ok(false);
            }
            self.config()?["auths"][host]["password"].as_str().unwrap_or_default().clone_into(&mut token);
            Ok(!token.is_empty() && token != before)
        })?;
        Ok(token)
    }

    /// Messages of the events about it.
    fn events(&self) -> Result<String> {
        let about = format!("involvedObject.kind=Secret,involvedObject.name={}", Self::NAME);
        self.kube.ok(&format!(
            "-n {} get events --field-selector {about} -o jsonpath='{{range .items[*]}}{{.reason}}:{{.message}};{{end}}'",
            self.namespace
        ))
    }
}

#[test]
fn an_annotated_secret_is_filled_and_kept_so() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let _turn = turn();
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let operator = Operator::start(&site)?;
    project.account("my-pull-sa")?;
    project.grant("my-pull-sa", &accesses("get", ""))?;
    let uid = kube.field(&format!("-n {} serviceaccount my-pull-sa", project.name), ".metadata.uid")?;
    let secret = PullSecret::create(&kube, &project, "my-pull-sa")?;
    let token = secret.token(site.name(), "")?;

    let entry = secret.config()?["auths"][site.name()].clone();
    assert_eq!(entry["username"], "token");
    assert_eq!(entry["auth"].as_str().map(|auth| format!("Basic {auth}")), Some(e2e::site::basic("token", &token)));
    until("the caller may pull", || {
        Ok(Repository::new(&site.client(&token), format!("{}/app", project.name)).pull()?.status == 404)
    })?;
    // The annotations of the manual.
    assert_eq!(secret.annotation("service-account.uid")?, uid);
    let hash = secret.annotation("hash")?;
    assert!(hash.len() == 64 && hash.bytes().all(|c| c.is_ascii_hexdigit()), "{hash}");
    let expires = secret.annotation("expires-at")?;
    assert!(expires.len() == 20 && expires.ends_with('Z'), "{expires}");
    let claims = claims(&token)?;
    assert_eq!(claims["sub"], project.user("my-pull-sa"));
    let life = claims["exp"].as_i64().unwrap_or_default() - now()?;
    assert!((23 * 3600..=24 * 3600 + 60).contains(&life), "{life} s");
    assert_eq!(claims["kubernetes.io"]["secret"]["name"], PullSecret::NAME, "ends with the Secret");

    // Somebody overwrites it.
    let line = format!("-n {} patch secret {} --type=merge", project.name, PullSecret::NAME);
    kube.ok(&format!("{line} -p '{{\"data\":{{\".dockerconfigjson\":\"{PLACEHOLDER}\"}}}}'"))?;
    let again = secret.token(site.name(), "")?;
    assert!(!operator.log().contains(&token) && !operator.log().contains(&again), "a token is in the log");

    // The ServiceAccount is replaced: never the new UID with the old token.
    kube.ok(&format!("-n {} delete serviceaccount my-pull-sa", project.name))?;
    kube.ok(&format!("-n {} create serviceaccount my-pull-sa", project.name))?;
    let new_uid = kube.field(&format!("-n {} serviceaccount my-pull-sa", project.name), ".metadata.uid")?;
    until("the Secret is gone or has a token of the new account", || {
        let object = secret.object()?;
        if object.is_null() {
            return Ok(true);
        }
        let uid = object["metadata"]["annotations"][format!("{PREFIX}/service-account.uid")].clone();
        let data = object["data"][".dockerconfigjson"].clone();
        let old = e2e::site::base64(format!("token:{again}").as_bytes(), e2e::site::STANDARD, true);
        let holds_old = secret_text(&data).contains(&again) || secret_text(&data).contains(&old);
        ensure!(uid != new_uid.as_str() || !holds_old, "the new UID with the old token");
        Ok(uid == new_uid.as_str())
    })?;
    Ok(())
}

/// The decoded text of a member of `data`, by way of openssl.
fn secret_text(data: &serde_json::Value) -> String {
    let text = data.as_str().unwrap_or_default();
    let decoded = crate::tokens::openssl(&["base64", "-d", "-A"], text.as_bytes());
    decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[test]
fn a_secret_goes_with_its_account() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let _turn = turn();
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    for while_away in [false, true] {
        let operator = Operator::start(&site)?;
        project.account("my-pull-sa")?;
        let secret = PullSecret::create(&kube, &project, "my-pull-sa")?;
        secret.token(site.name(), "")?;
        let _operator = if while_away {
            drop(operator);
            kube.ok(&format!("-n {} delete serviceaccount my-pull-sa", project.name))?;
            Operator::start(&site)?
        } else {
            kube.ok(&format!("-n {} delete serviceaccount my-pull-sa", project.name))?;
            operator
        };
        until(&format!("the Secret is gone (operator away: {while_away})"), || Ok(secret.object()?.is_null()))?;
    }
    Ok(())
}

/// The Secret first, its ServiceAccount later; and names that mean somebody else's.
#[test]
fn a_wrong_account_is_reported() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let _turn = turn();
    let (site, project, other) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let _operator = Operator::start(&site)?;
    other.account("victim")?;
    let secret = PullSecret::create(&kube, &project, "later")?;
    until("an event tells of the missing account", || Ok(secret.events()?.contains("later")))?;
    // Written after the event.
    until("the status tells of it", || Ok(!secret.annotation("status")?.is_empty()))?;
    assert!(!secret.object()?.is_null(), "it is not deleted for an account that never was");
    project.account("later")?;
    secret.token(site.name(), "")?;

    for name in [format!("{}/victim", other.name), format!("{}:victim", other.name), other.user("victim")] {
        let third = kube.namespace()?;
        let secret = PullSecret::create(&kube, &third, &name)?;
        until(&format!("an event tells of {name}"), || Ok(!secret.events()?.is_empty()))?;
        assert_eq!(secret.config()?["auths"], serde_json::json!({}), "{name}");
        until(&format!("the status tells of {name}"), || Ok(!secret.annotation("status")?.is_empty()))?;
    }
    let third = kube.namespace()?;
    third.account("my-pull-sa")?;
    let opaque = PullSecret::with_type(&kube, &third, "my-pull-sa", "Opaque")?;
    let right = kube.namespace()?;
    right.account("my-pull-sa")?;
    PullSecret::create(&kube, &right, "my-pull-sa")?.token(site.name(), "")?;
    assert_eq!(opaque.config()?["auths"], serde_json::json!({}), "the wrong type is left alone");
    Ok(())
}

/// The manual's pod, with the manual's Secret; before and after the account may pull.
#[test]
fn a_pod_runs_with_a_filled_secret() -> Result<()> {
    let Some(kube) = with_pods()? else { return Ok(()) };
    let _turn = turn();
    let (desk, site, project) = (Desk::new()?, Site::start(&kube)?, kube.namespace()?);
    let _operator = Operator::start(&site)?;
    site.make_known()?;
    let repo = format!("{}/app", project.name);
    let owner = project.owner()?;
    until("may push", || Ok(Repository::new(&site.client(&owner), &repo).begin_push()?.status == 202))?;
    let says = format!("hello from {}", project.name);
    if push_image(&desk, &format!("{}/{repo}:1", site.address()?), &owner, &says)?.is_none() {
        return Ok(());
    }
    project.account("my-pull-sa")?;
    PullSecret::create(&kube, &project, "my-pull-sa")?.token(site.name(), "")?;
    let image = format!("{}/{repo}:1", site.name());
    let pod = |name: &'static str, pull_secret| Pod {
        namespace: &project.name,
        name,
        image: &image,
        account: "default",
        pull_secret,
    };
    let without = pod("without", None);
    without.create(&kube)?;
    let with = pod("with", Some(PullSecret::NAME));
    with.create(&kube)?;
    // Not signed in is one thing, not allowed another.
    without.refusal(&kube, "401 Unauthorized")?;
    with.refusal(&kube, "403 Forbidden")?;
    project.grant("my-pull-sa", &accesses("get", "app"))?;
    assert_eq!(with.output(&kube)?, says);
    Ok(())
}

/// A pull secret of a static user, made with the manual's command, and one with a wrong password.
#[test]
fn a_pod_runs_with_the_secret_of_a_static_user() -> Result<()> {
    const HASH: &str = "$2y$05$KbQy.oSLGCS.mm0SIkLtIOYu.G1Lcp8iyPMLfK/Id9AO7nJYmdLXa";
    let Some(kube) = with_pods()? else { return Ok(()) };
    let (desk, project) = (Desk::new()?, kube.namespace()?);
    let user = format!(
        "user-1: {{passwordHash: '{HASH}', projects: [{{name: {}, subPath: '*', access: READ}}]}}",
        project.name
    );
    let site = Site::start_with(&kube, "", &format!("  users:\n    {user}\n"))?;
    site.make_known()?;
    let (name, repo, owner) = (&project.name, format!("{}/ubuntu", project.name), project.owner()?);
    until("may push", || Ok(Repository::new(&site.client(&owner), &repo).begin_push()?.status == 202))?;
    if push_image(&desk, &format!("{}/{repo}:1", site.address()?), &owner, "ubuntu")?.is_none() {
        return Ok(());
    }
    for (secret, password) in [("right", "password123"), ("wrong", "wrong")] {
        kube.ok(&format!(
            "create secret docker-registry {secret} --docker-server=https://{} --docker-username=user-1 --docker-password={password} --namespace={name}",
            site.name()
        ))?;
    }
    let image = format!("{}/{repo}:1", site.name());
    let pod = |name: &'static str| Pod {
        namespace: &project.name,
        name,
        image: &image,
        account: "default",
        pull_secret: Some(name),
    };
    let (right, wrong) = (pod("right"), pod("wrong"));
    right.create(&kube)?;
    wrong.create(&kube)?;
    assert_eq!(right.output(&kube)?, "ubuntu");
    wrong.refusal(&kube, "")?;
    // The pod as it is printed in the manual, with a bare string in the list.
    let printed = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: printed, namespace: {name}}}\nspec: {{imagePullSecrets: [right], containers: [{{name: a, image: '{image}'}}]}}\n"
    );
    assert!(!kube.refused("apply -f -", &printed)?.is_empty());
    Ok(())
}

/// Filled at once and in numbers, by one operator of two.
#[test]
fn many_secrets_and_two_operators() -> Result<()> {
    const COUNT: usize = 60;
    let Some(kube) = here()? else { return Ok(()) };
    let _turn = turn();
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let operators = [Operator::start(&site)?, Operator::start(&site)?];
    project.account("my-pull-sa")?;
    let mut objects = String::new();
    for index in 0..COUNT {
        objects += &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s{index}, namespace: {}, annotations: {{{PREFIX}/service-account.name: my-pull-sa}}}}\n\
             type: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: {PLACEHOLDER}}}\n---\n",
            project.name
        );
    }
    kube.apply(&objects)?;
    let filled = || -> Result<usize> {
        let hashes = kube.ok(&format!(
            "-n {} get secrets -o jsonpath='{{range .items[*]}}{{.metadata.annotations.payload-registry\\.deckhouse\\.io/hash}};{{end}}'",
            project.name
        ))?;
        Ok(hashes.split(';').filter(|hash| hash.len() == 64).count())
    };
    let took = until("all of them are filled", || Ok(filled()? == COUNT))?;
    println!("{COUNT} Secrets in {took:?}");
    // Nothing is written twice: what is right stays as it is.
    let versions =
        || kube.ok(&format!("-n {} get secrets -o jsonpath={{.items[*].metadata.resourceVersion}}", project.name));
    let before = versions()?;
    // The one that leads ends; the other one takes over and finds nothing to do.
    let [first, second] = operators;
    drop(first);
    project.account("another")?;
    let late = kube.namespace()?;
    late.account("my-pull-sa")?;
    PullSecret::create(&kube, &late, "my-pull-sa")?.token(site.name(), "")?;
    assert_eq!(versions()?, before);
    drop(second);
    until_within(Duration::from_secs(5), "they stay", || Ok(versions()? == before))?;
    Ok(())
}
