//! The cases of the documented journeys.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Call, Connection, Events, Outcome};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{Event, Pod, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use operator::pull_secrets::{self, Counts, Metrics, Scope, Settings, names};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::world::{World, run, unanswered, until};

const HOSTS: [&str; 2] = ["registry.test", "homeport.homeport.svc:5000"];
const OPERATOR: &str = "homeport";
const AUDIENCE: &str = "registry.test";
const PLACEHOLDER: &str = "eyJhdXRocyI6e319";

struct Controller {
    connection: Connection,
    settings: watch::Sender<Arc<Settings>>,
    leader: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    _tasks: JoinSet<()>,
}

fn settings(operator: &str, hosts: &[&str]) -> Arc<Settings> {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Arc::new(Settings::new(operator, hosts, Some(AUDIENCE.to_owned()), Duration::from_secs(24 * 3600)))
}

fn start(world: &World, leads: bool) -> Controller {
    start_as(world, leads, settings(OPERATOR, &HOSTS))
}

fn start_as(world: &World, leads: bool, first: Arc<Settings>) -> Controller {
    let metrics = Arc::new(Metrics::default());
    let (leader, leader_seen) = watch::channel(leads);
    let (settings, settings_seen) = watch::channel(first);
    let events = Events::new(&world.connection, "homeport-operator", "test");
    let scope = Scope::Namespace(world.namespace.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&events).run());
    let (connection, counted) = (world.connection.clone(), Arc::clone(&metrics));
    tasks.spawn(pull_secrets::run(connection, scope, events, settings_seen, leader_seen, counted));
    Controller { connection: world.connection.clone(), settings, leader, metrics, _tasks: tasks }
}

impl Controller {
    /// So many tokens were written, and no look has failed, as far as calls were answered. Others may see a token before it
    /// is counted.
    async fn has_filled(&self, tokens: u64) -> Counts {
        until("the tokens are counted", async || {
            (self.metrics.counts().filled + unanswered(&self.connection) >= tokens).then_some(())
        })
        .await;
        let counts = self.metrics.counts();
        assert!(counts.filled <= tokens && counts.errors <= unanswered(&self.connection), "{tokens} {counts:?}");
        counts
    }
}

impl World {
    async fn account(&self, name: &str) -> String {
        let account: ServiceAccount = self.create(json!({"metadata": {"name": name}})).await;
        account.metadata.uid.unwrap()
    }

    async fn secret(&self, name: &str, account: &str) {
        let _: Secret = self
            .create(json!({
                "metadata": { "name": name, "annotations": { (names::SERVICE_ACCOUNT): account } },
                "type": names::SECRET_TYPE,
                "data": { (names::DATA_KEY): PLACEHOLDER },
            }))
            .await;
    }

    async fn look(&self, name: &str) -> Option<Seen> {
        self.api::<Secret>().get_opt(name).await.unwrap().map(Seen::of)
    }

    async fn filled(&self, name: &str) -> Seen {
        until("the Secret is filled", async || self.look(name).await.filter(|seen| seen.token().is_some())).await
    }

    async fn reported(&self, name: &str, reason: &str) -> Seen {
        let events = ListParams::default().fields(&format!("involvedObject.name={name},reason={reason},type=Warning"));
        let told = async || (!self.api::<Event>().list(&events).await.unwrap().items.is_empty()).then_some(());
        until("an Event tells", told).await;
        until("the status tells", async || self.look(name).await.filter(|seen| seen.reason() == Some(reason.into())))
            .await
    }

    /// Who the API server says that the token is.
    async fn review(&self, token: &str, audience: &str) -> Option<String> {
        let spec = TokenReviewSpec { token: Some(token.into()), audiences: Some(vec![audience.into()]) };
        let review = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
        let api: Api<TokenReview> = Api::all(self.client());
        let status = api.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
        status.authenticated.unwrap_or_default().then(|| status.user.unwrap().username.unwrap())
    }

    async fn set_data(&self, name: &str, document: &Value) {
        let data = data_encoding::BASE64.encode(document.to_string().as_bytes());
        let change = json!({"data": { (names::DATA_KEY): data }});
        self.api::<Secret>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    async fn annotate(&self, name: &str, key: &str, value: Option<&str>) {
        let change = json!({"metadata": {"annotations": { (key): value }}});
        self.api::<Secret>().patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }
}

/// A Secret as it was at one moment.
#[derive(Clone, Debug)]
struct Seen {
    annotations: BTreeMap<String, String>,
    owners: Vec<String>,
    document: Value,
}

impl Seen {
    fn of(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default();
        let document = data.get(names::DATA_KEY).map(|data| serde_json::from_slice(&data.0).unwrap());
        let owners = secret.metadata.owner_references.unwrap_or_default();
        Self {
            annotations: secret.metadata.annotations.unwrap_or_default(),
            owners: owners.into_iter().map(|owner| owner.uid).collect(),
            document: document.unwrap_or_default(),
        }
    }

    fn token(&self) -> Option<&str> {
        self.document["auths"][HOSTS[0]]["password"].as_str()
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    fn reason(&self) -> Option<String> {
        let status: Value = serde_json::from_str(self.get(names::STATUS)?).unwrap();
        status["reason"].as_str().map(str::to_owned)
    }

    fn hosts(&self) -> Vec<&String> {
        self.document["auths"].as_object().unwrap().keys().collect()
    }
}

#[test]
fn a_secret_is_filled_with_a_token_for_the_registry_alone() {
    run("a_secret_is_filled_with_a_token_for_the_registry_alone", async |world| {
        let controller = start(&world, true);
        let uid = world.account("my-pull-sa").await;
        let before = Timestamp::now();
        world.secret("my-pull-secret", "my-pull-sa").await;
        let seen = world.filled("my-pull-secret").await;
        let after = Timestamp::now();
        assert_eq!(seen.hosts(), ["homeport.homeport.svc:5000", "registry.test"]);
        let token = seen.token().unwrap();
        let auth = data_encoding::BASE64.encode(format!("token:{token}").as_bytes());
        for host in HOSTS {
            let wanted = json!({"username": "token", "password": token, "auth": auth});
            assert_eq!(seen.document["auths"][host], wanted);
        }
        assert_eq!(seen.get(names::SERVICE_ACCOUNT_UID), Some(uid.as_str()));
        assert_eq!((seen.owners.clone(), seen.reason().as_deref()), (vec![uid], Some("Filled")));
        let hash = seen.get(names::HASH).unwrap();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        let end = seen.get(names::EXPIRES_AT).unwrap();
        assert!(end.len() == 20 && end.ends_with('Z'), "{end}");
        // The token was made between the two.
        let life = |since| end.parse::<Timestamp>().unwrap().duration_since(since).as_secs();
        let (longest, shortest) = (life(before), life(after));
        assert!(longest >= 24 * 3600 - 5 && shortest < 24 * 3600 + 60, "{shortest} to {longest}");
        let user = format!("system:serviceaccount:{}:my-pull-sa", world.namespace);
        assert_eq!(world.review(token, AUDIENCE).await, Some(user));
        assert_eq!(world.review(token, "https://kubernetes.default.svc.cluster.local").await, None);
        assert_eq!(controller.has_filled(1).await.managed, 1);
    });
}

#[test]
fn foreign_changes_are_put_right_and_foreign_entries_stay() {
    run("foreign_changes_are_put_right_and_foreign_entries_stay", async |world| {
        let _controller = start(&world, true);
        world.account("my-pull-sa").await;
        world.secret("my-pull-secret", "my-pull-sa").await;
        let first = world.filled("my-pull-secret").await;
        world.set_data("my-pull-secret", &json!({"auths": {"docker.io": {"auth": "eDp5"}}})).await;
        let second = world.filled("my-pull-secret").await;
        assert_ne!(first.get(names::HASH), second.get(names::HASH));
        assert_eq!(second.hosts(), ["docker.io", "homeport.homeport.svc:5000", "registry.test"]);
        world.annotate("my-pull-secret", names::HASH, None).await;
        let third = async || world.look("my-pull-secret").await.filter(|seen| seen.get(names::HASH).is_some());
        let third = until("the hash is back", third).await;
        assert_eq!(third.document["auths"]["docker.io"], json!({"auth": "eDp5"}));
    });
}

#[test]
fn other_hosts_change_all_secrets() {
    run("other_hosts_change_all_secrets", async |world| {
        let controller = start(&world, true);
        world.account("my-pull-sa").await;
        world.secret("my-pull-secret", "my-pull-sa").await;
        world.filled("my-pull-secret").await;
        controller.settings.send_replace(settings(OPERATOR, &[HOSTS[0], "new.test"]));
        let new =
            async || world.look("my-pull-secret").await.filter(|seen| seen.hosts() == ["new.test", "registry.test"]);
        until("the hosts are the new ones", new).await;
    });
}

#[test]
fn a_secret_goes_with_its_account_also_while_nobody_leads() {
    run("a_secret_goes_with_its_account_also_while_nobody_leads", async |world| {
        let controller = start(&world, true);
        world.account("one").await;
        world.account("two").await;
        world.secret("first", "one").await;
        world.secret("second", "two").await;
        let token = world.filled("first").await.token().unwrap().to_owned();
        world.filled("second").await;
        world.api::<ServiceAccount>().delete("one", &DeleteParams::default()).await.unwrap();
        let gone = async |name: &str| world.look(name).await.is_none().then_some(());
        until("the Secret is gone", async || gone("first").await).await;
        assert_eq!(world.review(&token, AUDIENCE).await, None);
        controller.leader.send_replace(false);
        until("nobody leads", async || (controller.metrics.counts().managed == 0).then_some(())).await;
        world.api::<ServiceAccount>().delete("two", &DeleteParams::default()).await.unwrap();
        controller.leader.send_replace(true);
        until("the other Secret is gone", async || gone("second").await).await;
    });
}

#[test]
fn a_secret_may_come_before_its_account() {
    run("a_secret_may_come_before_its_account", async |world| {
        let _controller = start(&world, true);
        world.secret("my-pull-secret", "no-such-sa").await;
        let seen = world.reported("my-pull-secret", "ServiceAccountNotFound").await;
        assert_eq!((seen.token(), seen.get(names::EXPIRES_AT)), (None, None));
        world.account("no-such-sa").await;
        assert_eq!(world.filled("my-pull-secret").await.reason().as_deref(), Some("Filled"));
    });
}

#[test]
fn an_account_made_again_never_appears_with_the_old_token() {
    run("an_account_made_again_never_appears_with_the_old_token", async |world| {
        let _controller = start(&world, true);
        let old_uid = world.account("my-pull-sa").await;
        world.secret("my-pull-secret", "my-pull-sa").await;
        let old = world.filled("my-pull-secret").await;
        world.api::<ServiceAccount>().delete("my-pull-sa", &DeleteParams::default()).await.unwrap();
        let new_uid = world.account("my-pull-sa").await;
        assert_ne!(old_uid, new_uid);
        until("the Secret is gone or has a new token", async || {
            let Some(seen) = world.look("my-pull-secret").await else { return Some(()) };
            let (same_uid, same_token) =
                (seen.get(names::SERVICE_ACCOUNT_UID) == Some(&old_uid), seen.token() == old.token());
            assert_eq!(same_uid, same_token, "{:?}", seen.annotations);
            (!same_uid).then_some(())
        })
        .await;
    });
}

#[test]
fn what_cannot_be_had_is_told_and_not_given() {
    run("what_cannot_be_had_is_told_and_not_given", async |world| {
        let controller = start(&world, true);
        world.account("ci").await;
        let invalid = ["kube-system/default", "system:serviceaccount:kube-system:default", "../default", "CI"];
        for (number, account) in invalid.iter().enumerate() {
            let name = format!("invalid-{number}");
            world.secret(&name, account).await;
            assert_eq!(world.reported(&name, "ServiceAccountNameInvalid").await.token(), None, "{account}");
        }
        let opaque = json!({
            "metadata": { "name": "opaque", "annotations": { (names::SERVICE_ACCOUNT): "ci" } },
            "type": "Opaque",
            "data": { (names::DATA_KEY): PLACEHOLDER },
        });
        let _: Secret = world.create(opaque).await;
        assert_eq!(world.reported("opaque", "SecretTypeUnsupported").await.token(), None);
        controller.has_filled(0).await;
        // The name is corrected.
        world.annotate("invalid-0", names::SERVICE_ACCOUNT, Some("ci")).await;
        world.filled("invalid-0").await;
    });
}

#[test]
fn only_annotated_secrets_are_touched() {
    run("only_annotated_secrets_are_touched", async |world| {
        let _controller = start(&world, true);
        world.account("ci").await;
        let plain = json!({
            "metadata": {"name": "plain"}, "type": names::SECRET_TYPE, "data": { (names::DATA_KEY): PLACEHOLDER },
        });
        let plain: Secret = world.create(plain).await;
        world.secret("mine", "ci").await;
        world.filled("mine").await;
        // Given up: it stays as it is, whatever happens to it.
        world.annotate("mine", names::SERVICE_ACCOUNT, None).await;
        world.set_data("mine", &json!({"auths": {}})).await;
        world.secret("other", "ci").await;
        world.filled("other").await;
        assert_eq!(world.look("mine").await.unwrap().token(), None);
        let now = world.api::<Secret>().get("plain").await.unwrap();
        assert_eq!(now.metadata.resource_version, plain.metadata.resource_version);
    });
}

#[test]
fn many_secrets_are_filled() {
    const SECRETS: usize = 200;
    run("many_secrets_are_filled", async |world| {
        world.account("ci").await;
        for number in 0..SECRETS {
            world.secret(&format!("s{number}"), "ci").await;
        }
        let controller = start(&world, true);
        controller.has_filled(SECRETS as u64).await;
        let all = async || {
            let secrets = world.api::<Secret>().list(&ListParams::default()).await.unwrap();
            secrets.items.into_iter().map(Seen::of).all(|seen| seen.token().is_some()).then_some(())
        };
        until("all Secrets are filled", all).await;
        assert_eq!(controller.has_filled(SECRETS as u64).await.managed, SECRETS as u64);
        until("the first end is known", async || controller.metrics.counts().soonest_end).await;
    });
}

#[test]
fn the_rights_in_the_manifests_are_enough() {
    run("the_rights_in_the_manifests_are_enough", async |world| {
        let rules = json!([
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "patch", "delete"]},
            {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]);
        let operator = world.with_rights("operator", rules).await;
        let controller = start(&operator, true);
        world.secret("my-pull-secret", "my-pull-sa").await;
        world.reported("my-pull-secret", "ServiceAccountNotFound").await;
        world.account("my-pull-sa").await;
        world.filled("my-pull-secret").await;
        world.api::<ServiceAccount>().delete("my-pull-sa", &DeleteParams::default()).await.unwrap();
        until("the Secret is gone", async || world.look("my-pull-secret").await.is_none().then_some(())).await;
        controller.has_filled(1).await;
    });
}

#[test]
fn a_missing_right_is_told() {
    run("a_missing_right_is_told", async |world| {
        let rules = json!([
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "patch", "delete"]},
            {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]);
        let operator = world.with_rights("operator", rules).await;
        let controller = start(&operator, true);
        world.account("my-pull-sa").await;
        world.secret("my-pull-secret", "my-pull-sa").await;
        let seen = world.reported("my-pull-secret", "TokenRequestFailed").await;
        assert!(seen.get(names::STATUS).unwrap().contains("serviceaccounts/token"), "{:?}", seen.annotations);
        assert_eq!((seen.token(), controller.metrics.counts().filled), (None, 0));
    });
}

#[test]
fn two_operators_with_other_hosts_leave_each_other_in_peace() {
    run("two_operators_with_other_hosts_leave_each_other_in_peace", async |world| {
        let one = start(&world, true);
        world.account("ci").await;
        world.secret("first", "ci").await;
        let filled = world.filled("first").await;
        assert_eq!(filled.get(names::OPERATOR), Some(OPERATOR));
        let other = start_as(&world, true, settings("second", &["second.test"]));
        let told = async || {
            let events = ListParams::default().fields("involvedObject.name=first,reason=HeldByAnotherOperator");
            (!world.api::<Event>().list(&events).await.unwrap().items.is_empty()).then_some(())
        };
        until("the second one tells why it does nothing", told).await;
        until("it is counted", async || (other.metrics.counts().elsewhere == 1).then_some(())).await;
        // Given to the second one by name, before it is filled.
        let annotations = json!({ (names::SERVICE_ACCOUNT): "ci", (names::OPERATOR): "second" });
        let assigned = json!({
            "metadata": { "name": "assigned", "annotations": annotations },
            "type": names::SECRET_TYPE,
            "data": { (names::DATA_KEY): PLACEHOLDER },
        });
        let _: Secret = world.create(assigned).await;
        let hosts = async |name: &str, wanted: &str| {
            let seen = async || world.look(name).await.filter(|seen| seen.document["auths"].get(wanted).is_some());
            until("the hosts are those of the operator", seen).await
        };
        assert_eq!(hosts("assigned", "second.test").await.hosts(), ["second.test"]);
        // Both have looked at both, and nothing has moved.
        until("it is counted", async || (one.metrics.counts().elsewhere == 1).then_some(())).await;
        assert_eq!(world.look("first").await.unwrap().document, filled.document);
        one.has_filled(1).await;
        other.has_filled(1).await;
        // Handed over.
        world.annotate("first", names::OPERATOR, Some("second")).await;
        assert_eq!(hosts("first", "second.test").await.hosts(), ["second.test"]);
        until("the first one sees it", async || (one.metrics.counts().elsewhere == 2).then_some(())).await;
        one.has_filled(1).await;
    });
}

#[test]
fn an_operator_without_hosts_leaves_secrets_to_others() {
    run("an_operator_without_hosts_leaves_secrets_to_others", async |world| {
        let _none = start_as(&world, true, settings("second", &[]));
        world.account("ci").await;
        world.secret("my-pull-secret", "ci").await;
        let told = world.reported("my-pull-secret", "NoRegistryHosts").await;
        assert_eq!(told.get(names::OPERATOR), None);
        let _one = start(&world, true);
        assert_eq!(world.filled("my-pull-secret").await.get(names::OPERATOR), Some(OPERATOR));
    });
}

#[test]
fn a_namespace_that_ends_is_left_in_peace() {
    run("a_namespace_that_ends_is_left_in_peace", async |world| {
        let version = world.client().apiserver_version().await.unwrap();
        if version.minor.trim_end_matches('+').parse::<u32>().unwrap() < 33 {
            // Not `eprintln!`, which is not shown for tests that pass.
            let _ = writeln!(std::io::stderr(), "not tested: a namespace that ends, on {}", version.git_version);
            return;
        }
        let controller = start(&world, true);
        world.account("ci").await;
        let plain = json!({
            "metadata": {"name": "late"}, "type": names::SECRET_TYPE, "data": { (names::DATA_KEY): PLACEHOLDER },
        });
        let _: Secret = world.create(plain).await;
        // While there is a Pod, the cluster takes nothing else out of a namespace that ends, from Kubernetes 1.33 on. This
        // one never starts.
        let pod = json!({
            "metadata": {"name": "hold", "finalizers": ["homeport.test/hold"]},
            "spec": {
                "serviceAccountName": "ci", "automountServiceAccountToken": false,
                "schedulingGates": [{"name": "homeport.test/hold"}],
                "containers": [{"name": "none", "image": "none.test/none"}],
            },
        });
        let _: Pod = world.create(pod).await;
        let refused = || world.connection.counters().get(Call::TokenRequest, Outcome::Refused);
        // From here on nothing can be made in it.
        world.delete_namespace().await;
        world.annotate("late", names::SERVICE_ACCOUNT, Some("ci")).await;
        until("a token is refused", async || (refused() > 0).then_some(())).await;
        for change in ["one", "two", "three"] {
            world.annotate("late", "homeport.test/change", Some(change)).await;
        }
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        world.api::<Pod>().patch("hold", &PatchParams::default(), &free).await.unwrap();
        world.is_gone().await;
        until("the Secrets are forgotten", async || (controller.metrics.counts().managed == 0).then_some(())).await;
        assert_eq!((refused(), controller.has_filled(0).await.refused), (1, 0));
    });
}
