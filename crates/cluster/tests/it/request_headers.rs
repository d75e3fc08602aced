//! The front proxy of a real cluster, and who may see its paths.

use std::path::Path;
use std::sync::Arc;

use access::{Caller, Source};
use cluster::{Call, ConnectSettings, Connection, Outcome, PathReviews, RequestHeaders};
use http::HeaderMap;
use kube::config::Kubeconfig;
use net::ClientCertificate;
use serde_json::json;

use crate::support::{
    connect, create, delete, kubeconfig, namespace, namespace_path, rbac_path, read, unique, until, until_true, user,
};

const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

#[tokio::test(flavor = "multi_thread")]
async fn the_front_proxy_is_the_one_that_the_cluster_names() {
    let Some((client, connection)) = connect("trust in the front proxy").await else { return };
    let published = read(&client, CONFIG_MAP).await;
    let source = RequestHeaders::new(&connection);
    tokio::spawn(Arc::clone(&source).run());
    until_true("trust", || source.is_ready()).await;
    let current = source.current();
    let trust = current.as_ref().as_ref().unwrap();
    let list = |names: &[http::HeaderName]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    for (key, ours) in [
        ("requestheader-allowed-names", trust.allowed_names.clone()),
        ("requestheader-username-headers", list(&trust.user_headers)),
        ("requestheader-uid-headers", list(&trust.uid_headers)),
        ("requestheader-group-headers", list(&trust.group_headers)),
        ("requestheader-extra-headers-prefix", trust.extra_prefixes.clone()),
    ] {
        let theirs: Vec<String> = serde_json::from_str(published["data"][key].as_str().unwrap_or("[]")).unwrap();
        let names = key == "requestheader-allowed-names";
        let theirs: Vec<_> =
            theirs.into_iter().map(|text| if names { text } else { text.to_ascii_lowercase() }).collect();
        assert_eq!(ours, theirs, "{key}");
    }
    let headers: HeaderMap = [(trust.user_headers[0].clone(), "root".parse().unwrap())].into_iter().collect();
    // As a stranger makes it: of the right name, and of nobody.
    let name = trust.allowed_names.first().map_or("x", String::as_str);
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let forged = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let forged = ClientCertificate::new(forged.der().to_vec(), Vec::new(), false);
    assert_eq!(forged.common_name.as_deref(), Some(name));
    assert!(trust.caller(Some(&forged), &headers).is_err());
    assert!(trust.caller(None, &headers).is_err());
}

/// The same cluster, with nothing but this token.
async fn with_token(token: &str, dir: &Path) -> Connection {
    let admin = Kubeconfig::read_from(kubeconfig("a token of its own").unwrap()).unwrap();
    let mut config = serde_json::to_value(&admin).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({"token": token});
    }
    let path = dir.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    Connection::connect(&ConnectSettings { kubeconfig: Some(path), context: None }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_that_clusters_have_for_it_is_enough_and_may_come_later() {
    let Some((client, _)) = connect("reading the front proxy's trust with little rights").await else { return };
    let (space, dir) = (unique("extension"), tempfile::tempdir().unwrap());
    namespace(&client, &space).await;
    let accounts = format!("{}/serviceaccounts", namespace_path(&space));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "homeport"}});
    create(&client, &accounts, &account).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = create(&client, &format!("{accounts}/homeport/token"), &request).await;
    let ours = with_token(made["status"]["token"].as_str().unwrap(), dir.path()).await;

    let source = RequestHeaders::new(&ours);
    tokio::spawn(Arc::clone(&source).run());
    until_true("refusals", || ours.counters().get(Call::List, Outcome::Refused) >= 2).await;
    assert!(!source.is_ready());
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": space},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "namespace": space, "name": "homeport"}],
    });
    let bindings = rbac_path("kube-system", "rolebindings");
    create(&client, &bindings, &binding).await;
    until_true("trust", || source.is_ready()).await;
    until_true("watch", || ours.counters().get(Call::Watch, Outcome::Ok) > 0).await;
    delete(&client, &format!("{bindings}/{space}")).await;
    delete(&client, &namespace_path(&space)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_a_path_is_what_the_cluster_says() {
    let Some((client, connection)) = connect("reviews of paths").await else { return };
    let (name, bob) = (unique("paths"), unique("bob"));
    let (roles, bindings) = ("clusterroles", "clusterrolebindings");
    let path = |kind: &str| format!("/apis/rbac.authorization.k8s.io/v1/{kind}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [{"nonResourceURLs": ["/homeport-test/*"], "verbs": ["get"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": bob}],
    });
    create(&client, &path(roles), &role).await;
    create(&client, &path(bindings), &binding).await;
    let (bob, eve) = (user(&bob), user("eve"));
    let nobody = Caller::anonymous();
    let root = Caller::named("root", Source::Cluster).with_groups(["system:masters"]);
    // The API server's own index of rules follows after a moment, and ours believes a no for ten seconds.
    until("first right", || async {
        let fresh = PathReviews::new(&connection);
        (fresh.allowed(&bob, "/homeport-test/first", "get").await == Ok(true)).then_some(())
    })
    .await;
    let reviews = PathReviews::new(&connection);
    let before = connection.counters().get(Call::PathReview, Outcome::Ok);
    for (caller, path, verb, expected) in [
        (&bob, "/homeport-test/a", "get", true),
        (&bob, "/homeport-test/a", "post", false),
        (&bob, "/homeport-other", "get", false),
        (&eve, "/homeport-test/a", "get", false),
        (&nobody, "/homeport-test/a", "get", false),
        (&root, "/homeport-other", "post", true),
        // What every cluster grants: discovery to everybody who is somebody.
        (&eve, "/apis", "get", true),
        (&nobody, "/apis", "get", false),
    ] {
        // The second time at once, since answers are believed for seconds only.
        for _ in 0..2 {
            assert_eq!(reviews.allowed(caller, path, verb).await, Ok(expected), "{caller} {verb} {path}");
        }
    }
    assert_eq!(connection.counters().get(Call::PathReview, Outcome::Ok) - before, 7, "each once, one not at all");
    delete(&client, &format!("{}/{name}", path(bindings))).await;
    delete(&client, &format!("{}/{name}", path(roles))).await;
}
