//! The certificate of the API: with the rights of the manifests, against an APIService of another name, since there is one
//! of the real name in a cluster. While it is there nothing answers behind it, and no namespace can go: these tests are
//! short, and alone.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use access::{Clock, ManualClock, SystemClock};
use cluster::{Call, Outcome};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use operator::api_certificate::{MARK, Metrics, Pair, SECRET, SERVICE, Settings, make, retire, run as keep};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::world::{World, run_alone, unanswered, until};

struct Registry {
    world: World,
    /// The operator, with its rights.
    operator: World,
    group: String,
}

impl Registry {
    async fn new(world: World, verbs: &[&str]) -> Self {
        let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": verbs});
        let operator = world.with_rights("operator", json!([secrets])).await;
        let group = format!("{}.homeport.test", world.namespace);
        let registry = Self { world, operator, group };
        let (name, namespace) = (registry.name(), &registry.world.namespace);
        let rule = json!({
            "apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "resourceNames": [name],
            "verbs": ["get", "patch", "delete"],
        });
        let home = json!({
            "apiGroups": [""], "resources": ["namespaces"], "resourceNames": [namespace], "verbs": ["get"],
        });
        registry.make::<ClusterRole>(json!({"metadata": {"name": namespace}, "rules": [rule, home]})).await;
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

    async fn is_told(&self, certificates: &[&str]) {
        let wanted = certificates.concat();
        until("the API server trusts what is served", async || {
            (self.trusted().await.as_deref() == Some(wanted.as_str())).then_some(())
        })
        .await;
    }

    async fn trusts(&self, certificates: &[&str]) {
        let wanted = certificates.concat();
        self.is_told(certificates).await;
        until("the Secret says so", async || (self.entry("ca.crt").await.as_ref() == Some(&wanted)).then_some(()))
            .await;
    }

    /// Several looks have come to their end since now.
    async fn is_looked_at(&self) {
        let looks = || self.operator.connection.counters().get(Call::ApiService, Outcome::Ok);
        let before = looks();
        until("it was looked at", async || (looks() > before + 6).then_some(())).await;
    }

    /// So many certificates were made, and no look has failed, as far as calls were answered. Others may see a certificate
    /// before it is counted.
    async fn have_renewed(&self, keepers: &[&Metrics], certificates: u64) {
        let unanswered = || unanswered(&self.operator.connection);
        let renewed = || keepers.iter().map(|metrics| metrics.counts().renewed).sum::<u64>();
        until("the certificates are counted", async || (renewed() + unanswered() >= certificates).then_some(())).await;
        let errors: u64 = keepers.iter().map(|metrics| metrics.counts().errors).sum();
        assert!(renewed() <= certificates && errors <= unanswered(), "{} of {certificates}, {errors}", renewed());
    }

    async fn change(&self, change: Value) {
        let secrets = self.world.api::<Secret>();
        secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    fn start(&self) -> (Arc<Metrics>, watch::Sender<bool>, JoinSet<()>) {
        self.start_with(Arc::new(SystemClock::new()), Duration::from_millis(500))
    }

    fn start_with(&self, clock: Arc<dyn Clock>, settle: Duration) -> (Arc<Metrics>, watch::Sender<bool>, JoinSet<()>) {
        let metrics = Arc::new(Metrics::default());
        let (leader, leads) = watch::channel(true);
        let settings = Settings {
            api_service: self.name(),
            interval: Duration::from_millis(200),
            settle,
            ..Settings::new(&self.world.namespace)
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(self.operator.connection.clone(), settings, clock, leads, Arc::clone(&metrics)));
        (metrics, leader, tasks)
    }

    async fn put(&self, pair: &Pair) {
        let data = |text: &String| base64(&[text]);
        let object = json!({
            "metadata": {"name": SECRET, "annotations": {(MARK.0): MARK.1}},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": data(&pair.certificate), "tls.key": data(&pair.key), "ca.crt": data(&pair.certificate)},
        });
        let _: Secret = self.world.create(object).await;
    }

    async fn remove(&self) {
        let (name, namespace) = (self.name(), &self.world.namespace);
        let services = self.all::<APIService>();
        // One that stays keeps every namespace of the cluster from ending.
        until("the APIService is gone", async || match services.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Some(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Some(()),
            Err(_) => None,
        })
        .await;
        let _ = self.all::<ClusterRole>().delete(namespace, &DeleteParams::default()).await;
        let _ = self.all::<ClusterRoleBinding>().delete(namespace, &DeleteParams::default()).await;
    }
}

fn base64(texts: &[&str]) -> String {
    data_encoding::BASE64.encode(texts.concat().as_bytes())
}

fn with_registry(name: &str, test: impl AsyncFnOnce(&Registry)) {
    with_rights(name, &["get", "patch", "create"], test);
}

/// Whatever the test does, its APIService goes.
fn with_rights(name: &str, verbs: &[&str], test: impl AsyncFnOnce(&Registry)) {
    run_alone(name, async |world| {
        let registry = Registry::new(world, verbs).await;
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
        assert_eq!(registry.entry("tls.crt").await, None);
        registry.have_renewed(&[&metrics], 0).await;

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
        registry.have_renewed(&[&metrics], 2).await;
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
        let [one, other] = keepers.each_ref().map(|(metrics, ..)| &**metrics);
        until("both know it", async || (one.counts().end.is_some() && other.counts().end.is_some()).then_some(()))
            .await;
        registry.have_renewed(&[one, other], 1).await;
        // Taken out by hand: no longer trusted.
        registry.change(json!({"data": {"ca.crt": base64(&[&new])}})).await;
        registry.trusts(&[&new]).await;
        assert_eq!(registry.entry("tls.crt").await.as_ref(), Some(&new));
        // Somebody else's from now on, who says something wrong, and then something right.
        let unmarked = json!({"annotations": { (MARK.0): null }});
        registry.change(json!({"metadata": unmarked, "data": {"ca.crt": base64(&[&old.certificate])}})).await;
        registry.is_looked_at().await;
        assert_eq!(registry.trusted().await, Some(new.clone()));
        registry.change(json!({"data": {"ca.crt": base64(&[&new, &old.certificate])}})).await;
        registry.trusts(&[&new, &old.certificate]).await;
        registry.have_renewed(&[one, other], 1).await;
    });
}

#[test]
fn an_exchanged_certificate_takes_nothing_from_pods_that_show_the_one_before() {
    with_registry("an_exchanged_certificate_takes_nothing_from_pods_that_show_the_one_before", async |registry| {
        let make = || make(&registry.world.namespace, Timestamp::now()).unwrap();
        let (first, second) = (make(), make());
        registry.put(&first).await;
        registry.apply().await;
        let (metrics, leader, _tasks) = registry.start_with(Arc::new(SystemClock::new()), Duration::from_secs(3600));
        registry.trusts(&[&first.certificate]).await;
        // As the manifests do it that are applied once more with another certificate.
        let data = json!({"tls.key": base64(&[&second.key]), "tls.crt": base64(&[&second.certificate])});
        registry.change(json!({ "data": data })).await;
        registry.change(json!({"data": {"ca.crt": base64(&[&second.certificate])}})).await;
        registry.is_told(&[&first.certificate, &second.certificate]).await;
        registry.is_looked_at().await;
        registry.is_told(&[&first.certificate, &second.certificate]).await;
        leader.send_replace(false);
        until("nobody leads", async || metrics.counts().end.is_none().then_some(())).await;
        let (settled, _leader, _others) = registry.start();
        registry.is_told(&[&second.certificate]).await;
        assert_eq!((metrics.counts().renewed, settled.counts().renewed), (0, 0));
    });
}

#[test]
fn a_clock_that_is_years_ahead_replaces_nothing() {
    with_registry("a_clock_that_is_years_ahead_replaces_nothing", async |registry| {
        let pair = make(&registry.world.namespace, Timestamp::now()).unwrap();
        registry.put(&pair).await;
        registry.apply().await;
        let ahead = Timestamp::now().as_second() + 10 * 366 * 86_400;
        let (metrics, _leader, _tasks) = registry.start_with(Arc::new(ManualClock::new(ahead)), Duration::ZERO);
        registry.trusts(&[&pair.certificate]).await;
        registry.is_looked_at().await;
        registry.have_renewed(&[&metrics], 0).await;
        assert_eq!(registry.entry("tls.crt").await, Some(pair.certificate));
    });
}

#[test]
fn the_api_service_goes_with_the_namespace_and_no_other() {
    with_registry("the_api_service_goes_with_the_namespace_and_no_other", async |registry| {
        registry.apply().await;
        let settings = Settings { api_service: registry.name(), ..Settings::new(&registry.world.namespace) };
        let services = registry.all::<APIService>();
        let stays_after_a_stop = async || {
            retire(&registry.operator.connection, &settings).await;
            services.get_opt(&registry.name()).await.unwrap().is_some()
        };
        assert!(stays_after_a_stop().await, "the namespace stays");
        registry.world.delete_namespace().await;
        let lead_to = async |name: &str| {
            let change = Patch::Merge(json!({"spec": {"service": {"name": name}}}));
            services.patch(&registry.name(), &PatchParams::default(), &change).await.unwrap();
            // What the API server finds there it writes into the APIService, and a deletion applies only to what was read.
            let wanted = format!("service/{name} in ");
            until("the API server has looked there", async || {
                let conditions = services.get(&registry.name()).await.unwrap().status?.conditions?;
                let available = conditions.into_iter().find(|condition| condition.type_ == "Available")?;
                available.message?.contains(&wanted).then_some(())
            })
            .await;
        };
        lead_to("another").await;
        assert!(stays_after_a_stop().await, "it is another's");
        lead_to(SERVICE).await;
        assert!(!stays_after_a_stop().await);
    });
}

#[test]
fn attempts_that_cannot_be_stored_do_not_add_up() {
    with_rights("attempts_that_cannot_be_stored_do_not_add_up", &["get", "patch"], async |registry| {
        registry.apply().await;
        let (metrics, _leader, _tasks) = registry.start();
        let trusted = until("a certificate is trusted", async || registry.trusted().await).await;
        let failed = metrics.counts().errors;
        until("it is tried again", async || (metrics.counts().errors > failed + 3).then_some(())).await;
        assert_eq!((registry.trusted().await, metrics.counts().renewed), (Some(trusted), 0));
    });
}
