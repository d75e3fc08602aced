//! Roles and bindings of a real cluster in the index.

use std::sync::Arc;
use std::time::Duration;

use access::{Rbac, Reply, Resource, Rights, Verb, Verdict};
use cluster::{Call, Connection, Events, Outcome, RbacSource};
use serde_json::json;

use crate::support::{
    binding, connect, create, delete, namespace, namespace_path, rbac_path, read, right, role, unique, until,
    until_true, user,
};

/// What is promised for a right that is given or taken. A busy machine may keep it now and then only.
const EFFECT_MAX: Duration = Duration::from_secs(1);
/// What the watch does not tell is seen when it is begun anew, after half a minute.
const TOLD_MAX: Duration = Duration::from_secs(20);

async fn started(connection: &Connection, warnings: Option<Arc<Events>>) -> Arc<Rbac> {
    let rbac = Arc::new(Rbac::new());
    let source = RbacSource::new(connection, Arc::clone(&rbac), warnings);
    assert!(!source.is_ready());
    tokio::spawn(Arc::clone(&source).run());
    until_true("first list", || source.is_ready()).await;
    rbac
}

fn granted(rbac: &Rbac, who: &str, verb: Verb, resource: Resource, namespace: &str, path: &str) -> bool {
    match rbac.check(&user(who), right(verb, resource, namespace, path)) {
        Reply::Ready(verdict) => verdict == Verdict::Granted,
        Reply::Pending(_) => panic!("answers from memory"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_takes_effect_and_ends_as_soon_as_the_watch_tells() {
    let Some((client, connection)) = connect("effect of roles and bindings").await else { return };
    let shop = unique("rbac");
    namespace(&client, &shop).await;
    let rbac = started(&connection, None).await;
    let pulls = |path: &str| granted(&rbac, "bob", Verb::Get, Resource::RepositoryAccesses, &shop, path);
    create(&client, &rbac_path(&shop, "roles"), &role("puller", &["get"], &["app/**"])).await;
    let lists = || connection.counters().get(Call::List, Outcome::Ok);
    let (before, mut fastest, mut slowest) = (lists(), Duration::MAX, Duration::ZERO);
    for _ in 0..10 {
        create(&client, &rbac_path(&shop, "rolebindings"), &binding("bob", "Role", "puller", "bob")).await;
        let given = until_true("right", || pulls("App/web")).await;
        assert!(!pulls("tools"));
        delete(&client, &format!("{}/bob", rbac_path(&shop, "rolebindings"))).await;
        let taken = until_true("end of the right", || !pulls("app/web")).await;
        eprintln!("a right: given {given:?} after the answer, taken {taken:?} after the answer");
        fastest = fastest.min(given.max(taken));
        slowest = slowest.max(given).max(taken);
    }
    assert_eq!(lists(), before, "the watch tells it, not another list");
    assert!(fastest < EFFECT_MAX && slowest < TOLD_MAX, "{fastest:?} {slowest:?}");
    delete(&client, &namespace_path(&shop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregated_cluster_role_gives_what_was_added_to_it() {
    let Some((client, connection)) = connect("aggregated cluster roles").await else { return };
    let (shop, name) = (unique("aggregated"), unique("homeport-test"));
    namespace(&client, &shop).await;
    let rbac = started(&connection, None).await;
    // As our registry-viewer does to `view`, but to a role of this test.
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let label = format!("test/{name}");
    let whole = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {&label: "true"}}]}, "rules": [],
    });
    let part = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": format!("{name}-part"), "labels": {&label: "true"}},
        "rules": [{"apiGroups": ["", "image.openshift.io"], "resources": ["imagestreams/layers"], "verbs": ["get"]}],
    });
    create(&client, roles, &whole).await;
    create(&client, &rbac_path(&shop, "rolebindings"), &binding("eve", "ClusterRole", &name, "eve")).await;
    let pulls = |namespace: &str| granted(&rbac, "eve", Verb::Get, Resource::Layers, namespace, "app");
    assert!(!pulls(&shop));
    create(&client, roles, &part).await;
    until_true("aggregated right", || pulls(&shop)).await;
    assert!(!pulls("default"), "a RoleBinding gives nothing elsewhere");
    delete(&client, &format!("{roles}/{name}-part")).await;
    until_true("end of the aggregated right", || !pulls(&shop)).await;
    delete(&client, &format!("{roles}/{name}")).await;
    delete(&client, &namespace_path(&shop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_in_a_role_is_told_once_by_an_event_on_it() {
    let Some((client, connection)) = connect("events on roles").await else { return };
    let shop = unique("traps");
    namespace(&client, &shop).await;
    let events = Events::new(&connection, "homeport", "test");
    tokio::spawn(Arc::clone(&events).run());
    let made = create(&client, &rbac_path(&shop, "roles"), &role("trap", &["get"], &["/path**"])).await;
    // Two replicas see it, one of them twice.
    for _ in 0..2 {
        started(&connection, Some(Arc::clone(&events))).await;
    }
    let other = Events::new(&connection, "homeport", "other");
    tokio::spawn(Arc::clone(&other).run());
    started(&connection, Some(other)).await;
    // Only when the other one has tried, too, is one Event a result.
    until_true("refusal of the same event", || connection.counters().get(Call::Event, Outcome::Refused) > 0).await;
    let path = format!("/api/v1/namespaces/{shop}/events");
    let list = until("event", || async {
        let found = read(&client, &path).await;
        (!found["items"].as_array().unwrap().is_empty()).then_some(found)
    })
    .await;
    let event = &list["items"][0];
    assert_eq!(event["involvedObject"]["uid"], made["metadata"]["uid"]);
    assert_eq!((event["type"].as_str(), event["involvedObject"]["kind"].as_str()), (Some("Warning"), Some("Role")));
    assert!(event["message"].as_str().unwrap().contains("/path**"), "{event}");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    delete(&client, &namespace_path(&shop)).await;
}
