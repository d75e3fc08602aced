use super::list::{Binding, Objects, Role};
use super::*;
use serde_json::{Value, json};
use std::path::Path;

fn role(namespace: Option<&str>, name: &str, rules: &Value) -> Role {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let object =
        json!({"kind": kind, "metadata": {"name": name, "namespace": namespace.unwrap_or_default()}, "rules": rules});
    serde_json::from_value(object).unwrap()
}

fn binding(namespace: Option<&str>, role: (&str, &str), subjects: &Value) -> Binding {
    let object = json!({
        "metadata": {"name": "bound", "namespace": namespace.unwrap_or_default()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": subjects,
    });
    serde_json::from_value(object).unwrap()
}

fn accesses(verbs: &[&str], names: &[&str]) -> Value {
    json!([{
        "apiGroups": ["payload-registry.deckhouse.io"],
        "resources": ["payloadrepositoryaccesses"],
        "verbs": verbs,
        "resourceNames": names,
    }])
}

fn question(user: &str, verb: &str, target: &str) -> Question {
    Question::parse(user, &[], verb, target).unwrap()
}

/// In a namespace that is there.
fn ask(rbac: &Rbac, question: &Question) -> Answer {
    judge(rbac, question, Place::Exists)
}

fn frontend() -> Objects {
    Objects {
        roles: vec![
            role(Some("shop"), "frontend", &accesses(&["get", "create"], &["frontend/**"])),
            role(None, "puller", &json!([{"apiGroups": [""], "resources": ["imagestreams/layers"], "verbs": ["get"]}])),
            role(None, "bare", &Value::Null),
        ],
        bindings: vec![
            binding(
                Some("shop"),
                ("Role", "frontend"),
                &json!([{"kind": "ServiceAccount", "name": "ci", "namespace": "shop"}, {"kind": "Robot", "name": "x"}]),
            ),
            binding(
                None,
                ("ClusterRole", "puller"),
                &json!([{"kind": "Group", "name": "system:serviceaccounts:shop"}]),
            ),
            binding(Some("infra"), ("ClusterRole", "bare"), &Value::Null),
        ],
    }
}

#[test]
fn a_granted_right_names_binding_and_rule() {
    let rbac = fill::rbac(frontend());
    let answer = ask(&rbac, &question("shop:ci", "push", "shop/frontend/web"));
    assert!(answer.granted);
    assert!(
        answer.text.starts_with("yes: user \"system:serviceaccount:shop:ci\" may push shop/frontend/web\n"),
        "{}",
        answer.text
    );
    assert!(
        answer.text.contains("groups: system:authenticated, system:serviceaccounts, system:serviceaccounts:shop\n")
    );
    assert!(
        answer.text.contains("RoleBinding shop/bound") && answer.text.contains("\"frontend/**\""),
        "{}",
        answer.text
    );
    assert!(!answer.text.contains("would grant it"));

    // By its group, through OpenShift's rule, everywhere.
    let answer = ask(&rbac, &question("sa/shop/other", "pull", "infra/tools/x"));
    assert!(answer.granted && answer.text.contains("ClusterRoleBinding bound"), "{}", answer.text);
}

#[test]
fn a_missing_right_names_what_is_near_and_what_would_grant_it() {
    let rbac = fill::rbac(frontend());
    let answer = ask(&rbac, &question("shop:ci", "push", "shop/backend"));
    assert!(!answer.granted);
    assert!(answer.text.starts_with("no: "), "{}", answer.text);
    assert!(answer.text.contains("[\"frontend/**\"] does not cover it"), "{}", answer.text);
    assert!(answer.text.contains("resourceNames: [\"backend\"]"), "{}", answer.text);
    // The Role of one namespace says nothing about another.
    assert!(!ask(&rbac, &question("shop:ci", "push", "infra/frontend/web")).granted);
    assert!(!ask(&rbac, &question("alice", "pull", "shop/frontend/web")).granted);
}

#[test]
fn a_right_to_push_is_worth_nothing_without_the_namespace() {
    let rbac = fill::rbac(frontend());
    let push = question("shop:ci", "push", "shop/frontend/web");
    for (place, granted, part) in [
        (Place::Absent, false, "namespace \"shop\" does not exist"),
        (Place::Terminating, false, "namespace \"shop\" is being deleted"),
        (Place::Hidden, true, "may not `get` namespace \"shop\""),
    ] {
        let Answer { granted: found, text } = judge(&rbac, &push, place);
        assert_eq!((found, text.starts_with("yes: ")), (granted, granted), "{text}");
        // The rule is shown as well, and nobody is told to add another one.
        assert!(text.contains(part) && text.contains("RoleBinding shop/bound"), "{text}");
        assert!(!text.contains("would grant it"), "{text}");
    }
    let both = judge(&rbac, &question("shop:ci", "push", "shop/backend"), Place::Absent).text;
    assert!(both.contains("does not exist") && both.contains("would grant it"), "{both}");
}

#[test]
fn a_broken_kubeconfig_shows_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, "users: [{name: admin, user: {token: sesame}}\ncontexts: []\n").unwrap();
    let arguments = CanI {
        user: "alice".to_owned(),
        verb: "pull".to_owned(),
        target: "shop/app".to_owned(),
        groups: Vec::new(),
        kubeconfig: Some(file.clone()),
        context: None,
    };
    let error = answer(arguments).err().unwrap();
    let text = format!("{error:#}");
    assert!(text.contains(&file.display().to_string()), "{text}");
    assert!(!text.contains("sesame") && !text.contains('\n'), "{text}");
}

/// The YAML is put into the rules, and the question again.
#[test]
fn what_is_advised_grants_the_right() {
    for user in ["alice", "user/oidc:al \"i\" ce", "sa/shop/ci", "infra:ci", "system:anonymous"] {
        for verb in ["pull", "push", "delete"] {
            for target in ["shop/app", "shop/a_b/c.d/e-f__g"] {
                let question = question(user, verb, target);
                assert!(!ask(&fill::rbac(Objects::default()), &question).granted);
                let documents: Vec<Value> = serde_saphyr::from_multiple(&advice::yaml(&question)).unwrap();
                let [role, binding]: [Value; 2] = documents.try_into().unwrap();
                let objects = Objects {
                    roles: vec![serde_json::from_value(role).unwrap()],
                    bindings: vec![serde_json::from_value(binding).unwrap()],
                };
                let answer = ask(&fill::rbac(objects), &question);
                assert!(answer.granted, "{user} {verb} {target}: {}", answer.text);
            }
        }
    }
}

#[test]
fn a_kubeconfig_is_looked_for_where_kubectl_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    };
    let home = file("home/.kube/config");
    let other = file("other");
    let at = |variable: Option<&Path>| {
        default_kubeconfig(|name| match name {
            "HOME" => Some(folder.path().join("home")),
            _ => variable.map(Path::to_owned),
        })
    };
    assert_eq!(at(None), Some(home.clone()));
    assert_eq!(at(Some(Path::new(""))), Some(home));
    assert_eq!(at(Some(&other)), Some(other.clone()));
    let missing = folder.path().join("missing");
    assert_eq!(at(Some(&missing)), Some(missing.clone()));
    let both = std::env::join_paths([&missing, &other]).unwrap();
    assert_eq!(at(Some(Path::new(&both))), Some(other));
    assert_eq!(default_kubeconfig(|_| None), None);
}

#[test]
fn the_documented_patterns_cover_what_is_documented() {
    let page = include_str!("../../../../../docs/kubernetes/rights.md");
    let (_, table) = page.split_once("| pattern | covers | does not cover |\n|---|---|---|\n").unwrap();
    let mut rows = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let [pattern, covered, others]: [&str; 3] =
            row.trim_matches('|').splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
        let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let pattern = access::Pattern::parse(&words(pattern)[0]).unwrap();
        assert!(!words(covered).is_empty() && !words(others).is_empty(), "{row}");
        for path in words(covered) {
            assert!(pattern.matches(&path), "{row}: {path}");
        }
        for path in words(others) {
            assert!(!pattern.matches(&path), "{row}: {path}");
        }
        rows += 1;
    }
    assert_eq!(rows, 9);
    let trap = access::Pattern::parse("path**").unwrap();
    assert!(trap.matches("paths") && !trap.matches("path/x"));
}
