//! Roles and bindings of a cluster, as far as one question needs them.

use anyhow::bail;
use cluster::{ApiError, Call, Connection, Meta, get};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const GROUP: &str = "/apis/rbac.authorization.k8s.io/v1";
const PAGE: usize = 500;
/// A cluster with more objects of one kind than this is not asked to its end.
const PAGES_MAX: usize = 400;

/// A Role or ClusterRole.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Role {
    pub(super) metadata: Meta,
    #[serde(default)]
    pub(super) rules: Option<Vec<Rule>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    pub(super) api_groups: Option<Vec<String>>,
    pub(super) resources: Option<Vec<String>>,
    pub(super) verbs: Option<Vec<String>>,
    pub(super) resource_names: Option<Vec<String>>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Binding {
    pub(super) metadata: Meta,
    pub(super) role_ref: RoleRef,
    #[serde(default)]
    pub(super) subjects: Option<Vec<Subject>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RoleRef {
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Subject {
    pub(super) kind: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: Option<String>,
}

/// What can matter for a repository of one namespace.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) roles: Vec<Role>,
    pub(super) bindings: Vec<Binding>,
}

pub(super) async fn list(connection: &Connection, namespace: &str) -> anyhow::Result<Objects> {
    let mut roles = all(connection, "clusterroles", None).await?;
    let mut bindings = all(connection, "clusterrolebindings", None).await?;
    roles.extend(all(connection, "roles", Some(namespace)).await?);
    bindings.extend(all(connection, "rolebindings", Some(namespace)).await?);
    Ok(Objects { roles, bindings })
}

#[derive(Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

async fn all<T: DeserializeOwned>(
    connection: &Connection,
    kind: &str,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<T>> {
    let folder = namespace.map_or_else(|| GROUP.to_owned(), |namespace| format!("{GROUP}/namespaces/{namespace}"));
    let mut found = Vec::new();
    let mut next = String::new();
    for _ in 0..PAGES_MAX {
        let path = format!("{folder}/{kind}?limit={PAGE}{next}");
        let page: Page<T> =
            connection.call(Call::List, get(&path)?).await.map_err(|error| explain(error, kind, namespace))?;
        found.extend(page.items.unwrap_or_default());
        match page.metadata.next.filter(|token| !token.is_empty()) {
            Some(token) => next = format!("&continue={}", encode(&token)),
            None => return Ok(found),
        }
    }
    bail!("the cluster has more than {} {kind}", PAGES_MAX * PAGE)
}

fn explain(error: ApiError, kind: &str, namespace: Option<&str>) -> anyhow::Error {
    let place =
        namespace.map_or_else(|| "in all namespaces".to_owned(), |namespace| format!("in namespace {namespace:?}"));
    match error.code() {
        Some(401) => anyhow::anyhow!("the API server does not accept the credentials of the kubeconfig; log in again"),
        Some(403) => anyhow::anyhow!(
            "your credentials may not read {kind}; the right `list {kind}.rbac.authorization.k8s.io` {place} is needed"
        ),
        Some(410) => anyhow::anyhow!("the {kind} {place} changed while they were read; try again"),
        _ => anyhow::Error::new(error).context(format!("cannot read {kind} {place}")),
    }
}

/// A token to go on with, fit for a query.
fn encode(token: &str) -> String {
    token.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}
