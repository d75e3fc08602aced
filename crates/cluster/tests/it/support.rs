//! What the tests share.

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use access::{Caller, Resource, Right, Source, Verb};
use cluster::{ConnectSettings, Connection, get, post};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// How long anything may take that a test waits for. What ends a namespace tries again after up to a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

const VARIABLE: &str = "HOMEPORT_TEST_KUBECONFIG";

/// The file that names the cluster; says what is skipped if there is none.
pub(crate) fn kubeconfig(what: &str) -> Option<PathBuf> {
    let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    if path.is_none() {
        // Not `eprintln!`, which is not shown for tests that pass.
        let _ = writeln!(std::io::stderr(), "skipped: {what} ({VARIABLE} names no kubeconfig)");
    }
    path
}

/// The cluster of the test run: for what the test itself does, and for what is under test.
pub(crate) async fn connect(what: &str) -> Option<(Client, Connection)> {
    let path = kubeconfig(what)?;
    let client = client(&path).await;
    let settings = ConnectSettings { kubeconfig: Some(path), context: None };
    Some((client, Connection::connect(&settings).await.unwrap()))
}

/// A client with kube's own patience: a [`Connection`] gives up after seconds and tries nothing twice.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Waits until `check` has an answer.
pub(crate) async fn until<T, W: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> W) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `check` holds, and tells how long that took.
pub(crate) async fn until_true(what: &str, mut check: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    until(what, || std::future::ready(check().then_some(()))).await;
    began.elapsed()
}

/// A name that nobody else uses.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

pub(crate) async fn create(client: &Client, path: &str, object: &Value) -> Value {
    client.request(post(path, object).unwrap()).await.unwrap()
}

pub(crate) async fn read(client: &Client, path: &str) -> Value {
    client.request(get(path).unwrap()).await.unwrap()
}

pub(crate) async fn delete(client: &Client, path: &str) {
    let mut request: Request<Vec<u8>> = get(path).unwrap();
    *request.method_mut() = Method::DELETE;
    client.request::<Value>(request).await.unwrap();
}

/// Makes a namespace; its name and UID.
pub(crate) async fn namespace(client: &Client, name: &str) -> String {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let made = create(client, "/api/v1/namespaces", &object).await;
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

pub(crate) fn namespace_path(name: &str) -> String {
    format!("/api/v1/namespaces/{name}")
}

pub(crate) fn rbac_path(namespace: &str, kind: &str) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{kind}")
}

/// A Role over paths of repositories.
pub(crate) fn role(name: &str, verbs: &[&str], patterns: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": [{
            "apiGroups": ["payload-registry.deckhouse.io"],
            "resources": ["payloadrepositoryaccesses"],
            "verbs": verbs,
            "resourceNames": patterns,
        }],
    })
}

/// A RoleBinding of a role to a user.
pub(crate) fn binding(name: &str, role_kind: &str, role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

pub(crate) fn user(name: &str) -> Caller {
    Caller::named(name, Source::Cluster).with_groups(["system:authenticated"])
}

pub(crate) fn right<'a>(verb: Verb, resource: Resource, namespace: &'a str, name: &'a str) -> Right<'a> {
    Right { verb, resource, namespace: Some(namespace), name: Some(name) }
}
