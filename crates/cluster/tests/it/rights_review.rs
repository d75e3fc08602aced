//! Rights by asking, compared with what the rules say.

use std::time::Duration;

use access::{Caller, Resource, Rights, Verb, Verdict};
use cluster::{Call, Outcome, RightsReview};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    binding, connect, create, delete, namespace, namespace_path, rbac_path, right, role, unique, until, user,
};

/// Longer than a test takes.
const STALE_FOR: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_what_the_cluster_says() {
    let Some((client, connection)) = connect("rights by review").await else { return };
    let (shop, bob) = (unique("review"), unique("bob"));
    namespace(&client, &shop).await;
    create(&client, &rbac_path(&shop, "roles"), &role("puller", &["get"], &["app/**", "tools"])).await;
    let layers = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "layers"},
        "rules": [{"apiGroups": [""], "resources": ["imagestreams/layers"], "verbs": ["get"], "resourceNames": ["old"]}],
    });
    create(&client, &rbac_path(&shop, "roles"), &layers).await;
    for name in ["puller", "layers"] {
        create(&client, &rbac_path(&shop, "rolebindings"), &binding(name, "Role", name, &bob)).await;
    }
    let anyone = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "anyone"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "layers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}],
    });
    create(&client, &rbac_path(&shop, "rolebindings"), &anyone).await;

    let (bob, eve, nobody) = (user(&bob), user("eve"), Caller::anonymous());
    let (patterns, layers) = (Resource::RepositoryAccesses, Resource::Layers);
    let questions = [
        (&bob, Verb::Get, patterns, "APP/a/b", true),
        (&bob, Verb::Get, patterns, "tools", true),
        (&bob, Verb::Get, patterns, "tools/x", false),
        (&bob, Verb::Create, patterns, "app/web", false),
        (&eve, Verb::Get, patterns, "app/web", false),
        (&nobody, Verb::Get, patterns, "app/web", false),
        (&bob, Verb::Get, layers, "old", true),
        (&bob, Verb::Get, layers, "new", false),
        (&bob, Verb::Update, layers, "old", false),
        (&nobody, Verb::Get, layers, "old", true),
        (&eve, Verb::Get, layers, "old", false),
    ];
    // The API server's own index of rules follows after a moment, and ours believes a no for one more.
    for (caller, verb, resource, name, _) in questions.iter().filter(|(.., expected)| *expected) {
        until(name, || async {
            let fresh = RightsReview::new(&connection, STALE_FOR);
            (fresh.check(caller, right(*verb, *resource, &shop, name)).await == Verdict::Granted).then_some(())
        })
        .await;
    }
    let rights = RightsReview::new(&connection, STALE_FOR);
    for (caller, verb, resource, name, expected) in questions {
        let verdict = rights.check(caller, right(verb, resource, &shop, name)).await;
        let wanted = if expected { Verdict::Granted } else { Verdict::NotGranted };
        assert_eq!(verdict, wanted, "{caller} {verb:?} {resource:?} {name}");
    }
    delete(&client, &namespace_path(&shop)).await;
}

// One thread: all have asked before the answer, which is good for a second, can be read.
#[tokio::test]
async fn who_asks_at_the_same_time_shares_a_question() {
    let Some((_, connection)) = connect("number of reviews of rights").await else { return };
    let (rights, carol) = (RightsReview::new(&connection, STALE_FOR), user(&unique("carol")));
    let questions = (0..50).map(|number| {
        let (rights, carol) = (&rights, &carol);
        async move {
            let path = format!("app/{number}");
            rights.check(carol, right(Verb::Get, Resource::RepositoryAccesses, "default", &path)).await
        }
    });
    let verdicts = join_all(questions).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::NotGranted), "{verdicts:?}");
    assert_eq!(connection.counters().get(Call::RulesReview, Outcome::Ok), 1, "one for all paths of a namespace");
}
