use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::api_certificate::Pair;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn inputs() -> Inputs {
    Inputs {
        namespace: "homeport".to_owned(),
        image: "registry.example/infra/homeport:1".to_owned(),
        hosts: vec!["registry.example".to_owned()],
        storage: Storage::Claim { size: "10Gi".to_owned(), class: None },
        replicas: 1,
        audiences: Vec::new(),
        tls_secret: None,
        service_type: ServiceType::ClusterIp,
        authorization: Authorization::Rbac,
        secret: Some(Secret(SECRET.to_owned())),
        roles: true,
        api: Some(Api { certificate: Some(pair()) }),
    }
}

fn pair() -> Pair {
    Pair { certificate: "the certificate".to_owned(), key: "the private key".to_owned() }
}

fn objects(inputs: &Inputs) -> Vec<Value> {
    desired(inputs).unwrap().iter().map(|object| serde_json::to_value(object).unwrap()).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn pods(objects: &[Value]) -> Vec<&Value> {
    let pods: Vec<&Value> = objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
        .map(|object| &object["spec"]["template"]["spec"])
        .collect();
    assert_eq!(pods.len(), 2);
    pods
}

/// Everything that a ServiceAccount is bound to, as `verb group/resource`.
fn rights(objects: &[Value], account: &str) -> BTreeSet<String> {
    let bound = |object: &&Value| {
        object["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(|subject| subject["name"] == account))
    };
    let roles = objects.iter().filter(bound).map(|binding| &binding["roleRef"]);
    let rules = roles.flat_map(|role| {
        let kind = role["kind"].as_str().unwrap();
        let name = role["name"].as_str().unwrap();
        // The cluster's own are not ours to print.
        let printed = !["system:auth-delegator", "extension-apiserver-authentication-reader"].contains(&name);
        printed.then(|| find(objects, kind, name)["rules"].as_array().unwrap()).into_iter().flatten()
    });
    let words = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut all = BTreeSet::new();
    for rule in rules {
        for verb in words(rule, "verbs") {
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    all.insert(format!("{verb} {group}/{resource}"));
                }
            }
        }
    }
    all
}

#[test]
fn every_object_has_a_name_of_its_own() {
    let objects = objects(&Inputs { audiences: vec!["registry".to_owned()], ..inputs() });
    let names: BTreeSet<String> = objects
        .iter()
        .map(|object| {
            let metadata = &object["metadata"];
            assert!(object["apiVersion"].is_string() && metadata["name"].is_string(), "{object}");
            format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
        })
        .collect();
    assert_eq!(names.len(), objects.len());
}

#[test]
fn only_the_operator_reads_secrets_and_nobody_has_everything() {
    let objects = objects(&inputs());
    let registry = rights(&objects, "homeport");
    let operator = rights(&objects, "homeport-operator");
    for rule in find(&objects, "ClusterRole", "homeport:operator")["rules"].as_array().unwrap() {
        // One APIService, one Namespace.
        if ["apiservices", "namespaces"].iter().any(|resource| rule["resources"] == json!([resource])) {
            assert_eq!(rule["resourceNames"].as_array().unwrap().len(), 1, "{rule}");
        }
    }
    assert!(operator.contains("delete apiregistration.k8s.io/apiservices"));
    assert!(operator.contains("get /namespaces") && !operator.contains("list /namespaces"), "{operator:?}");
    assert!(registry.iter().all(|right| !right.contains("secrets") && !right.contains("impersonate")), "{registry:?}");
    assert!(registry.contains("create authentication.k8s.io/tokenreviews"));
    assert!(registry.contains("watch rbac.authorization.k8s.io/clusterrolebindings"));
    assert!(registry.contains("update coordination.k8s.io/leases"));
    assert!(operator.contains("patch /secrets") && operator.contains("create /serviceaccounts/token"));
    assert!(find(&objects, "ClusterRole", "homeport:operator")["rules"].as_array().unwrap().iter().all(|rule| {
        rule["resources"] != json!(["secrets"]) || !rule["verbs"].as_array().unwrap().contains(&json!("create"))
    }));
    for right in registry.iter().chain(&operator) {
        assert!(!right.contains('*'), "{right}");
    }
}

#[test]
fn each_may_change_its_own_lease_and_no_other() {
    let objects = objects(&Inputs { api: None, ..inputs() });
    for (name, lease) in [("homeport", "homeport-namespaces"), ("homeport-operator", "homeport-operator")] {
        let group = json!(["coordination.k8s.io"]);
        let expected = json!([
            {"apiGroups": group, "resources": ["leases"], "verbs": ["create"]},
            {"apiGroups": group, "resources": ["leases"], "resourceNames": [lease], "verbs": ["get", "update"]},
        ]);
        assert_eq!(find(&objects, "Role", name)["rules"], expected);
    }
}

#[test]
fn asking_the_api_server_needs_other_rights_than_following_roles() {
    let objects = objects(&Inputs { authorization: Authorization::Review, ..inputs() });
    let registry = rights(&objects, "homeport");
    assert!(registry.contains("create authorization.k8s.io/subjectaccessreviews"));
    assert!(registry.contains("impersonate /users"));
    assert!(registry.iter().all(|right| !right.contains("rolebindings") && !right.contains("secrets")), "{registry:?}");
    assert!(
        config::text(&Inputs { authorization: Authorization::Review, ..inputs() }).contains("authorization: review")
    );
}

#[test]
fn pods_are_unprivileged() {
    for pod in pods(&objects(&inputs())) {
        let expected = json!({
            "runAsNonRoot": true, "runAsUser": 1001, "runAsGroup": 1001, "fsGroup": 1001,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(pod["securityContext"], expected);
        for container in pod["containers"].as_array().unwrap() {
            let expected = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(container["securityContext"], expected);
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
}

#[test]
fn the_secret_is_in_one_object_only() {
    let with = objects(&inputs());
    let holders: Vec<&Value> = with.iter().filter(|object| object.to_string().contains(SECRET)).collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0]["kind"], "Secret");
    assert!(!format!("{:?}", inputs()).contains(SECRET));

    let without = objects(&Inputs { secret: None, api: Some(Api { certificate: None }), ..inputs() });
    assert_eq!(without.len() + 2, with.len());
    assert!(without.iter().all(|object| object["kind"] != "Secret"));
}

#[test]
fn selectors_select_the_pods_of_one_component() {
    let objects = objects(&inputs());
    for name in ["homeport", "homeport-operator"] {
        let deployment = find(&objects, "Deployment", name);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
        let policy = find(&objects, "NetworkPolicy", name);
        assert_eq!(&policy["spec"]["podSelector"]["matchLabels"], labels);
    }
    let registry = &find(&objects, "Deployment", "homeport")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&find(&objects, "Service", "homeport")["spec"]["selector"], registry);
    assert_eq!(&find(&objects, "PodDisruptionBudget", "homeport")["spec"]["selector"]["matchLabels"], registry);
    for (name, port) in [("homeport", 5000), ("homeport-operator", 8080)] {
        let open = find(&objects, "NetworkPolicy", name)["spec"]["ingress"][0]["ports"].as_array().unwrap();
        assert_eq!(open[0], json!({"port": port, "protocol": "TCP"}));
        let container = &find(&objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["ports"][0]["containerPort"], port);
        let ports = container["ports"].as_array().unwrap().iter().map(|port| &port["containerPort"]);
        assert!(ports.eq(open.iter().map(|port| &port["port"])), "{name}");
        for probe in ["livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
        }
    }
}

#[test]
fn several_pods_share_a_volume_and_leave_one_by_one() {
    let one = objects(&inputs());
    let deployment = find(&one, "Deployment", "homeport");
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(find(&one, "PersistentVolumeClaim", "homeport-data")["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(find(&one, "PodDisruptionBudget", "homeport")["spec"]["minAvailable"], 0);

    let three = objects(&Inputs { replicas: 3, ..inputs() });
    let deployment = find(&three, "Deployment", "homeport");
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["lifecycle"], json!({"preStop": {"sleep": {"seconds": 5}}}));
    assert_eq!(find(&three, "PersistentVolumeClaim", "homeport-data")["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(find(&three, "PodDisruptionBudget", "homeport")["spec"]["minAvailable"], 1);
}

#[test]
fn tls_changes_the_probes_the_volumes_and_the_configuration() {
    let plain = objects(&inputs());
    let tls = objects(&Inputs { tls_secret: Some("registry-tls".to_owned()), ..inputs() });
    let registry = |objects: &[Value]| find(objects, "Deployment", "homeport")["spec"]["template"].clone();
    let probe = |template: &Value| template["spec"]["containers"][0]["readinessProbe"]["httpGet"]["scheme"].clone();
    let (plain, tls) = (registry(&plain), registry(&tls));
    assert_eq!((probe(&plain), probe(&tls)), (json!("HTTP"), json!("HTTPS")));
    assert!(tls["spec"]["volumes"].to_string().contains("registry-tls"));
    // Another configuration starts new pods.
    assert_ne!(plain["metadata"]["annotations"], tls["metadata"]["annotations"]);
}

#[test]
fn the_api_server_finds_the_api_and_trusts_it() {
    let with = objects(&inputs());
    assert_eq!(with.last().unwrap()["kind"], "APIService");
    let registration = find(&with, "APIService", "v1alpha1.payload-registry.deckhouse.io");
    let ByteString(certificate) = serde_json::from_value(registration["spec"]["caBundle"].clone()).unwrap();
    assert_eq!(certificate, pair().certificate.as_bytes());
    let reference = &registration["spec"]["service"];
    assert_eq!(reference, &json!({"name": "homeport-api", "namespace": "homeport", "port": 443}));
    let service = &find(&with, "Service", "homeport-api")["spec"];
    assert_eq!((&service["ports"][0]["port"], &service["publishNotReadyAddresses"]), (&json!(443), &json!(true)));
    let template = &find(&with, "Deployment", "homeport")["spec"]["template"];
    assert_eq!(&service["selector"], &template["metadata"]["labels"]);
    let container = &template["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == service["ports"][0]["targetPort"]).unwrap();
    let text = config::text(&inputs());
    assert!(text.contains(&format!("addr: \":{}\"", port["containerPort"])), "{text}");
    let volume = template["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "api-tls");
    let expected = json!({"secretName": "homeport-api-tls", "optional": true, "defaultMode": 0o440});
    assert_eq!(volume.unwrap()["secret"], expected);
    let mount = container["volumeMounts"].as_array().unwrap().iter().find(|mount| mount["name"] == "api-tls").unwrap();
    assert!(text.contains(&format!("certificate: {}/tls.crt", mount["mountPath"].as_str().unwrap())), "{text}");
    let secret = find(&with, "Secret", "homeport-api-tls");
    assert_eq!(secret["data"]["ca.crt"], registration["spec"]["caBundle"]);
}

#[test]
fn without_the_api_nothing_of_it_is_left() {
    let with: BTreeSet<String> = objects(&inputs()).iter().map(name).collect();
    let without = objects(&Inputs { api: None, ..inputs() });
    let gone: BTreeSet<String> = with.difference(&without.iter().map(name).collect()).cloned().collect();
    let expected = [
        "APIService v1alpha1.payload-registry.deckhouse.io",
        "ClusterRole payload-registry-tags",
        "ClusterRoleBinding homeport:auth-delegator",
        "ClusterRoleBinding payload-registry-tags",
        "RoleBinding homeport:authentication-reader",
        "Secret homeport-api-tls",
        "Service homeport-api",
    ];
    assert_eq!(gone.into_iter().collect::<Vec<_>>(), expected);
    for object in &without {
        let text = object.to_string();
        assert!(!["6443", "api-tls", "apiservices", "homeport-api"].iter().any(|word| text.contains(word)), "{text}");
    }
}

fn name(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

#[test]
fn kubelets_may_ask_for_the_audience_of_the_registry() {
    assert!(desired(&inputs()).unwrap().iter().all(|object| !format!("{object:?}").contains("system:nodes")));
    let objects = objects(&Inputs { audiences: vec!["registry".to_owned()], ..inputs() });
    let role = find(&objects, "ClusterRole", "homeport:kubelet-audience");
    let expected =
        json!([{"apiGroups": [""], "resources": ["registry"], "verbs": ["request-serviceaccounts-token-audience"]}]);
    assert_eq!(role["rules"], expected);
    let binding = find(&objects, "ClusterRoleBinding", "homeport:kubelet-audience");
    assert_eq!(binding["subjects"][0]["name"], "system:nodes");
}

#[test]
fn two_registries_share_only_the_roles_for_users() {
    let names = |namespace: &str| -> BTreeSet<String> {
        objects(&Inputs { namespace: namespace.to_owned(), ..inputs() })
            .iter()
            .filter(|object| object["metadata"]["namespace"].is_null() && object["kind"] != "Namespace")
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (one, other) = (names("one"), names("other"));
    let shared: Vec<&String> = one.intersection(&other).collect();
    let apis = ["payload-registry-tags", "v1alpha1.payload-registry.deckhouse.io"];
    assert_eq!(shared.len(), 12 + apis.len(), "{shared:?}");
    assert!(apis.iter().all(|name| shared.iter().any(|shared| shared == name)), "{shared:?}");
    assert!(one.contains("one:registry") && !other.contains("one:registry"));

    let without = objects(&Inputs { roles: false, ..inputs() });
    assert!(without.iter().all(|object| object["metadata"]["name"] != "registry-viewer"));
}

#[test]
fn roles_for_users_say_what_they_say_in_openshift() {
    let objects = objects(&inputs());
    let layers = |role: &str| {
        let rules = find(&objects, "ClusterRole", role)["rules"].as_array().unwrap().clone();
        let rule = rules.into_iter().find(|rule| rule["resources"] == json!(["imagestreams/layers"])).unwrap();
        assert_eq!(rule["apiGroups"], json!(["", "image.openshift.io"]), "{role}");
        rule["verbs"].clone()
    };
    for role in ["registry-viewer", "system:image-puller"] {
        assert_eq!(layers(role), json!(["get"]), "{role}");
    }
    for role in ["registry-editor", "registry-admin", "system:image-pusher", "system:image-builder"] {
        assert_eq!(layers(role), json!(["get", "update"]), "{role}");
    }
    for (role, into) in [
        ("registry-viewer", "view"),
        ("registry-editor", "edit"),
        ("registry-admin", "admin"),
        ("payload-registry-viewer", "view"),
        ("payload-registry-editor", "edit"),
        ("payload-registry-admin", "admin"),
    ] {
        let labels = &find(&objects, "ClusterRole", role)["metadata"]["labels"];
        assert_eq!(labels[format!("rbac.authorization.k8s.io/aggregate-to-{into}")], "true", "{role}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let claim = |size: &str| Storage::Claim { size: size.to_owned(), class: None };
    let cases: Vec<(Inputs, &str)> = vec![
        (Inputs { namespace: "Home".to_owned(), ..inputs() }, "namespace \"Home\""),
        (Inputs { namespace: String::new(), ..inputs() }, "namespace \"\""),
        (Inputs { namespace: "a".repeat(64), ..inputs() }, "namespace"),
        (Inputs { image: "two words".to_owned(), ..inputs() }, "image \"two words\""),
        (Inputs { hosts: vec!["https://registry.example".to_owned()], ..inputs() }, "host \"https:"),
        (Inputs { hosts: vec!["a".to_owned(); 61], ..inputs() }, "61 hosts"),
        (Inputs { audiences: vec![String::new()], ..inputs() }, "audience \"\""),
        (Inputs { audiences: vec!["a\nb".to_owned()], ..inputs() }, "audience"),
        (Inputs { tls_secret: Some("No".to_owned()), ..inputs() }, "TLS secret \"No\""),
        (Inputs { replicas: 101, ..inputs() }, "101 replicas"),
        (Inputs { replicas: 2, storage: Storage::EmptyDir { limit: None }, ..inputs() }, "2 replicas cannot share"),
        (Inputs { storage: claim("10GB"), ..inputs() }, "size \"10GB\""),
        (Inputs { storage: claim("0Gi"), ..inputs() }, "size \"0Gi\""),
        (Inputs { storage: claim("Gi"), ..inputs() }, "size \"Gi\""),
        (Inputs { storage: Storage::EmptyDir { limit: Some("x".to_owned()) }, ..inputs() }, "size \"x\""),
        (
            Inputs { storage: Storage::Claim { size: "1Gi".to_owned(), class: Some("-".to_owned()) }, ..inputs() },
            "storage class \"-\"",
        ),
        (Inputs { secret: Some(Secret("short".to_owned())), ..inputs() }, "has 5 bytes"),
    ];
    for (inputs, part) in cases {
        let text = desired(&inputs).expect_err(part).to_string();
        assert!(text.contains(part), "{text}");
    }
    for size in ["1", "512Mi", "100Gi", "2T"] {
        desired(&Inputs { storage: claim(size), ..inputs() }).unwrap();
    }
}

#[test]
fn free_text_cannot_leave_its_place_in_the_configuration() {
    let audience = "a\":\"\\b#c:d".to_owned();
    let text = config::text(&Inputs { audiences: vec![audience.clone()], ..inputs() });
    let line = text.lines().find_map(|line| line.trim().strip_prefix("- ")).unwrap();
    assert_eq!(serde_json::from_str::<String>(line).unwrap(), audience);
}
