//! The certificate of the API: with the rights of the manifests, against an APIService of another name, since there is one
//! of the real name in a cluster. While it is there nothing answers behind it, and no namespace can go: these tests are short.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Call, Outcome};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use operator::api_certificate::{MARK, Metrics, Pair, SECRET, SERVICE, Settings, make, run as keep};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::world::{World, run, until};

struct Registry {
    world: World,
    /// The operator, with its rights.
    operator: World,
    group: String,
}

impl Registry {
    async fn new(world: World) -> Self {
        let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch", "create"]});
        let operator = world.with_rights("operator", json!([secrets])).await;
        let group = format!("{}.homeport.test", world.namespace);
        let registry = Self { world, operator, group };
        let (name, namespace) = (registry.name(), &registry.world.namespace);
        let rule = json!({
            "apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "resourceNames": [name],
            "verbs": ["get", "patch"],
        });
        registry.make::<ClusterRole>(json!({"metadata": {"name": namespace}, "rules": [rule]})).await;
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": namespace});
        let operator = json!({"kind": "ServiceAccount", "name": "operator", "namespace": namespace});
        let binding = json!({"metadata": {"name": namespace}, "roleRef": role, "subjects": [operator]});
        registry.make::<ClusterRoleBinding>(binding).await;
        let services: Api<APIService> = Api::all(registry.operator.client());
        until("the rights are there", async || {
            let (service, secret) =
                (services.get_opt(&registry.name()).await, registry.operator.api::<Secret>().get_opt(SECRET).await);
            (service.is_ok() && secret.is_ok()).then_some(())
        })
        .await;
        registry
    }

    fn name(&self) -> String {
        format!("v1alpha1.{}", self.group)
    }

    fn all<K: kube::Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.world.client())
    }

    async fn make<K>(&self, object: Value)
    where
        K: kube::Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
    {
        self.all::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// The APIService as the manifests have it without a certificate.
    fn registration(&self) -> Value {
        let service = json!({"name": SERVICE, "namespace": self.world.namespace, "port": 443});
        json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": self.name()},
            "spec": {
                "group": self.group, "version": "v1alpha1", "service": service,
                "groupPriorityMinimum": 1000, "versionPriority": 15,
            },
        })
    }

    /// As kubectl does it, with `--server-side`.
    async fn apply(&self) {
        let params = PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() };
        self.all::<APIService>().patch(&self.name(), &params, &Patch::Apply(self.registration())).await.unwrap();
    }

    async fn trusted(&self) -> Option<String> {
        let spec = self.all::<APIService>().get(&self.name()).await.unwrap().spec.unwrap();
        spec.ca_bundle.map(|pem| String::from_utf8(pem.0).unwrap())
    }

    async fn entry(&self, key: &str) -> Option<String> {
        let secret = self.world.api::<Secret>().get_opt(SECRET).await.unwrap()?;
        Some(String::from_utf8(secret.data?.get(key)?.0.clone()).unwrap())
    }

    async fn trusts(&self, certificates: &[&str]) {
        let wanted = certificates.concat();
        until("the API server trusts what is served", async || {
            (self.trusted().await.as_deref() == Some(wanted.as_str())).then_some(())
        })
        .await;
        until("the Secret says so", async || (self.entry("ca.crt").await.as_ref() == Some(&wanted)).then_some(()))
            .await;
    }

    fn start(&self) -> (Arc<Metrics>, watch::Sender<bool>, JoinSet<()>) {
        let metrics = Arc::new(Metrics::default());
        let (leader, leads) = watch::channel(true);
        let settings = Settings {
            api_service: self.name(),
            interval: Duration::from_millis(200),
            ..Settings::new(&self.world.namespace)
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(self.operator.connection.clone(), settings, leads, Arc::clone(&metrics)));
        (metrics, leader, tasks)
    }

    async fn put(&self, pair: &Pair) {
        let data = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        let object = json!({
            "metadata": {"name": SECRET, "annotations": {(MARK.0): MARK.1}},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": data(&pair.certificate), "tls.key": data(&pair.key), "ca.crt": data(&pair.certificate)},
        });
        let _: Secret = self.world.create(object).await;
    }

    async fn remove(&self) {
        let (name, namespace) = (self.name(), &self.world.namespace);
        let _ = self.all::<APIService>().delete(&name, &DeleteParams::default()).await;
        let _ = self.all::<ClusterRole>().delete(namespace, &DeleteParams::default()).await;
        let _ = self.all::<ClusterRoleBinding>().delete(namespace, &DeleteParams::default()).await;
    }
}

/// Whatever the test does, its APIService goes.
fn with_registry(name: &str, test: impl AsyncFnOnce(&Registry)) {
    run(name, async |world| {
        let registry = Registry::new(world).await;
        let outcome = AssertUnwindSafe(test(&registry)).catch_unwind().await;
        registry.remove().await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
}

#[test]
fn a_certificate_is_made_and_stays_trusted_whatever_is_applied() {
    with_registry("a_certificate_is_made_and_stays_trusted_whatever_is_applied", async |registry| {
        let (metrics, _leader, _tasks) = registry.start();
        let looks = || registry.operator.connection.counters().get(Call::ApiService, Outcome::Refused);
        // Without an APIService there is nothing to do.
        until("it was looked for", async || (looks() > 2).then_some(())).await;
        assert_eq!((registry.entry("tls.crt").await, metrics.counts().errors), (None, 0));

        registry.apply().await;
        let made = until("a certificate is made", async || registry.entry("tls.crt").await).await;
        registry.trusts(&[&made]).await;
        let end = until("its end is known", async || metrics.counts().end).await;
        let life = end - Timestamp::now().as_second();
        assert!((363 * 86_400..=365 * 86_400).contains(&life), "{life}");

        // Whoever applies the manifests without a certificate takes nothing away.
        registry.apply().await;
        assert_eq!(registry.trusted().await, Some(made.clone()));
        // And with another one it is refused.
        let mut other = registry.registration();
        other["spec"]["caBundle"] = json!(data_encoding::BASE64.encode(b"another"));
        let params = PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() };
        let services = registry.all::<APIService>();
        let refused = services.patch(&registry.name(), &params, &Patch::Apply(other)).await;
        assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 409), "{refused:?}");
        let none = Patch::Merge(json!({"spec": {"caBundle": null}}));
        registry.all::<APIService>().patch(&registry.name(), &PatchParams::default(), &none).await.unwrap();
        registry.trusts(&[&made]).await;

        // What pods may still show stays trusted.
        registry.world.api::<Secret>().delete(SECRET, &DeleteParams::default()).await.unwrap();
        let again = until("another one is made", async || registry.entry("tls.crt").await).await;
        assert_ne!(made, again);
        registry.trusts(&[&made, &again]).await;
        assert_eq!((metrics.counts().renewed, metrics.counts().errors), (2, 0));
    });
}

#[test]
fn a_certificate_is_renewed_once_by_however_many() {
    with_registry("a_certificate_is_renewed_once_by_however_many", async |registry| {
        let old = make(&registry.world.namespace, Timestamp::now() - SignedDuration::from_hours(24 * 300)).unwrap();
        registry.put(&old).await;
        registry.apply().await;
        // Two that both believe to lead: the state that a change was made for decides.
        let keepers = [registry.start(), registry.start()];
        let new = until("it is renewed", async || {
            registry.entry("tls.crt").await.filter(|certificate| *certificate != old.certificate)
        })
        .await;
        registry.trusts(&[&old.certificate, &new]).await;
        let renewed = || keepers.iter().map(|(metrics, ..)| metrics.counts().renewed).sum::<u64>();
        until("both know it", async || {
            keepers.iter().all(|(metrics, ..)| metrics.counts().end.is_some()).then_some(())
        })
        .await;
        assert_eq!(renewed(), 1);
        // Taken out by hand: no longer trusted.
        let only = data_encoding::BASE64.encode(new.as_bytes());
        let change = Patch::Merge(json!({"data": {"ca.crt": only}}));
        registry.world.api::<Secret>().patch(SECRET, &PatchParams::default(), &change).await.unwrap();
        registry.trusts(&[&new]).await;
        assert_eq!((renewed(), registry.entry("tls.crt").await), (1, Some(new)));
        // Somebody else's from now on.
        let others = data_encoding::BASE64.encode(old.certificate.as_bytes());
        let unmarked = json!({"annotations": { (MARK.0): null }});
        let change = Patch::Merge(json!({"metadata": unmarked, "data": {"ca.crt": others}}));
        registry.world.api::<Secret>().patch(SECRET, &PatchParams::default(), &change).await.unwrap();
        registry.trusts(&[&old.certificate]).await;
        assert!(keepers.iter().all(|(metrics, ..)| metrics.counts().errors == 0));
    });
}
