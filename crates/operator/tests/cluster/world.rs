//! A namespace of a real cluster for one test.

use std::fmt::Debug;
use std::io::Write;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use cluster::{Call, ConnectSettings, Connection, Outcome};
use futures_util::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// Whatever a test waits for has happened by then. What ends a namespace tries again after up to a minute.
const PATIENCE: Duration = Duration::from_secs(300);

/// Held by whoever ends namespaces, and by one test alone that keeps the cluster from ending any.
static NAMESPACES_END: RwLock<()> = RwLock::new(());

#[derive(Clone)]
pub(crate) struct World {
    /// For what is under test.
    pub(crate) connection: Connection,
    /// For what a test itself does, with kube's own patience: the connection gives up after seconds and tries nothing twice.
    client: Client,
    pub(crate) namespace: String,
}

/// Runs a test in a namespace of its own, and removes that whatever the test did.
pub(crate) fn run(name: &str, test: impl AsyncFnOnce(World)) {
    let _end = NAMESPACES_END.read().unwrap_or_else(PoisonError::into_inner);
    run_in_namespace(name, test);
}

/// The same when all other tests that are running have ended: meanwhile no namespace can go.
pub(crate) fn run_alone(name: &str, test: impl AsyncFnOnce(World)) {
    let _none_ends = NAMESPACES_END.write().unwrap_or_else(PoisonError::into_inner);
    run_in_namespace(name, test);
}

fn run_in_namespace(name: &str, test: impl AsyncFnOnce(World)) {
    let Some(kubeconfig) = std::env::var_os("HOMEPORT_TEST_KUBECONFIG").filter(|path| !path.is_empty()) else {
        // Not `eprintln!`, which is not shown for tests that pass.
        let _ = writeln!(std::io::stderr(), "skipped: {name}: HOMEPORT_TEST_KUBECONFIG does not name a cluster");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new(Path::new(&kubeconfig), format!("operator-{}", uuid::Uuid::new_v4())).await;
        world.create_namespace().await;
        let outcome = AssertUnwindSafe(test(world.clone())).catch_unwind().await;
        world.delete_namespace().await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
}

impl World {
    async fn new(kubeconfig: &Path, namespace: String) -> Self {
        let settings = ConnectSettings { kubeconfig: Some(kubeconfig.to_owned()), context: None };
        let connection = Connection::connect(&settings).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { connection, client: Client::try_from(config).unwrap(), namespace }
    }

    /// The same world for a ServiceAccount of the namespace that may do what `rules` say, there and nowhere else.
    pub(crate) async fn with_rights(&self, account: &str, rules: serde_json::Value) -> Self {
        let named = |rest: serde_json::Value| {
            let mut object = serde_json::json!({"metadata": {"name": account}});
            object.as_object_mut().unwrap().extend(rest.as_object().cloned().unwrap_or_default());
            object
        };
        let _: ServiceAccount = self.create(named(serde_json::json!({}))).await;
        let _: Role = self.create(named(serde_json::json!({ "rules": rules }))).await;
        let subject = serde_json::json!({"kind": "ServiceAccount", "name": account, "namespace": self.namespace});
        let role = serde_json::json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account});
        let binding = serde_json::json!({"subjects": [subject], "roleRef": role});
        let _: RoleBinding = self.create(named(binding)).await;
        let mut kubeconfig = Kubeconfig::read_from(std::env::var_os("HOMEPORT_TEST_KUBECONFIG").unwrap()).unwrap();
        for user in kubeconfig.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
            user.impersonate = Some(format!("system:serviceaccount:{}:{account}", self.namespace));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        serde_json::to_writer(&file, &kubeconfig).unwrap();
        Self::new(file.path(), self.namespace.clone()).await
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.namespace)
    }

    pub(crate) async fn create<K>(&self, object: serde_json::Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Serialize
            + DeserializeOwned
            + Clone
            + Debug,
    {
        self.api().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    /// Makes the namespace, and waits until one that had its name before is gone.
    pub(crate) async fn create_namespace(&self) -> String {
        let api: Api<Namespace> = Api::all(self.client());
        let metadata = ObjectMeta { name: Some(self.namespace.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let made = until("the namespace is made", async || api.create(&PostParams::default(), &namespace).await.ok());
        made.await.metadata.uid.unwrap()
    }

    pub(crate) async fn delete_namespace(&self) {
        let api: Api<Namespace> = Api::all(self.client());
        let deleted = api.delete(&self.namespace, &DeleteParams::default()).await;
        assert!(deleted.is_ok() || api.get_opt(&self.namespace).await.unwrap().is_none(), "{deleted:?}");
    }

    pub(crate) async fn is_gone(&self) {
        let api: Api<Namespace> = Api::all(self.client());
        let gone = async || api.get_opt(&self.namespace).await.unwrap().is_none().then_some(());
        until("the namespace is gone", gone).await;
    }
}

/// Calls that had no answer in time: each may have failed what it was made for, or done it unseen.
pub(crate) fn unanswered(connection: &Connection) -> u64 {
    Call::ALL.into_iter().map(|call| connection.counters().get(call, Outcome::Unavailable)).sum()
}

/// Looks until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
    }
}
