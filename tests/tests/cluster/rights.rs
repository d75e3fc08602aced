//! Who may do what: every form of rule, and how soon a change counts. Cases, B-22.

use anyhow::{Context, Result};
use e2e::Client;
use e2e::kube::{Kube, Namespace, accesses, here, layers, until, until_within};
use e2e::site::{Repository, Site, catalog, refused};
use std::process::Command;
use std::time::{Duration, Instant};

/// A change of rights counts within a second where a machine has time: it comes by a watch. Whoever missed it would look
/// again after half a minute.
const SOON: Duration = Duration::from_secs(15);

/// `(resourceNames, path, granted)`; the forms of Deckhouse's page on access, and its traps.
const PATTERNS: &[(&str, &str, bool)] = &[
    ("frontend/*", "frontend/a", true),
    ("frontend/*", "frontend/a/b", false),
    ("frontend/*", "frontend", false),
    ("path/**", "path/x", true),
    ("path/**", "path/x/y/z", true),
    ("path/**", "path", true),
    ("path/**", "pathx", false),
    ("**/app", "app", true),
    ("**/app", "x/y/app", true),
    ("**/app", "x/app/y", false),
    ("a/**/b", "a/b", true),
    ("a/**/b", "a/x/y/b", true),
    ("a/**/b", "a/x/y", false),
    ("path*/**", "pathx/y", true),
    ("path*/**", "other/y", false),
    ("app-?", "app-1", true),
    ("app-?", "app-12", false),
    ("app-[a-c0-9]", "app-b", true),
    ("app-[a-c0-9]", "app-7", true),
    ("app-[a-c0-9]", "app-d", false),
    ("{web,api}/**", "web/x", true),
    ("{web,api}/**", "api/x/y", true),
    ("{web,api}/**", "db/x", false),
    ("APP/Main", "app/main", true),
    ("**", "x/y/z", true),
    ("*", "x", true),
    ("*", "x/y", false),
    // No whole segment: acts as `*`.
    ("path**", "pathx", true),
    ("path**", "path/x", false),
    // Unreadable, and with a slash that no path begins with.
    ("[", "x", false),
    ("/app", "app", false),
    ("app", "app", true),
    ("app", "app/x", false),
];

/// A ServiceAccount for each pattern; asks for every path of the table. A missing repository is 404 to who may read it.
#[test]
fn patterns() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let mut names: Vec<&str> = PATTERNS.iter().map(|(pattern, ..)| *pattern).collect();
    names.dedup();
    let account = |pattern: &str| names.iter().position(|name| *name == pattern).map(|index| format!("p{index}"));
    let mut objects = String::new();
    for name in &names {
        let account = account(name).context("is in the list")?;
        let namespace = &project.name;
        objects += &format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {namespace}}}\n---\n"
        );
        objects += &project.role(&account, &accesses("get", &format!("'{name}'")));
    }
    kube.apply(&objects)?;
    let mut clients = std::collections::BTreeMap::new();
    for name in &names {
        clients.insert(*name, site.client(&project.token(&account(name).context("is in the list")?)?));
    }
    // All of them count once one that was made last does.
    let status = |pattern: &str, path: &str| -> Result<u16> {
        Ok(Repository::new(&clients[pattern], format!("{}/{path}", project.name)).pull()?.status)
    };
    until_within(SOON, "the last Role counts", || Ok(status("app", "app")? == 404))?;
    let mut wrong = Vec::new();
    for (pattern, path, granted) in PATTERNS {
        let (is, wanted) = (status(pattern, path)?, if *granted { 404 } else { 403 });
        if is != wanted {
            wrong.push(format!("{pattern} {path}: {is}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A pattern that does not mean what it looks like is told to whoever wrote it.
#[test]
fn a_trap_becomes_an_event_on_the_role() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (_site, project) = (Site::start(&kube)?, kube.namespace()?);
    project.account("trapped")?;
    project.grant("trapped", &accesses("get", "'/path**'"))?;
    let events = format!("-n {} get events --field-selector involvedObject.kind=Role", project.name);
    let mut said = String::new();
    until("an event tells of the pattern", || {
        said = kube.ok(&format!("{events} -o jsonpath={{.items[*].message}}"))?;
        Ok(!said.is_empty())
    })?;
    assert!(said.contains("/path**"), "{said}");
    Ok(())
}

/// What each verb lets a caller do: `(verbs, pull, push, delete)`.
#[test]
fn verbs() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let table = [
        ("get", true, false, false),
        ("create", false, true, false),
        ("delete", false, false, true),
        ("get, create", true, true, false),
        ("'*'", true, true, true),
        ("list, watch, update, patch", false, false, false),
    ];
    let owner = site.client(&project.owner()?);
    for (index, (verbs, pull, push, delete)) in table.into_iter().enumerate() {
        let (account, repo) = (format!("v{index}"), format!("{}/v{index}", project.name));
        let client = site.client(&project.account(&account)?);
        project.grant(&account, &accesses(verbs, ""))?;
        Repository::new(&owner, &repo).first_push(1)?;
        let repository = Repository::new(&client, &repo);
        if pull || push || delete {
            until_within(SOON, "the Role counts", || {
                Ok(repository.pull()?.status == 200
                    || repository.begin_push()?.status == 202
                    || client.delete(&format!("/v2/{repo}/manifests/missing"))?.status == 404)
            })?;
        }
        let is = (repository.pull()?.status == 200, repository.begin_push()?.status == 202);
        assert_eq!(is, (pull, push), "{verbs}");
        let deleted = client.delete(&format!("/v2/{repo}/manifests/1"))?.status;
        assert_eq!(deleted, if delete { 202 } else { 403 }, "{verbs}");
        assert_eq!(Repository::new(&owner, &repo).pull()?.status, if delete { 404 } else { 200 }, "{verbs}");
    }
    Ok(())
}

/// One ClusterRole, bound in one namespace or in all; made of others by aggregation.
#[test]
fn cluster_roles_and_their_bindings() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, one, two) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let role = ClusterObject::new(&kube, "clusterrole", &one.name);
    let part = ClusterObject::new(&kube, "clusterrole", &format!("{}-part", one.name));
    kube.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {}}}\n\
         aggregationRule: {{clusterRoleSelectors: [{{matchLabels: {{test: {}}}}}]}}\nrules: []\n",
        role.name, one.name
    ))?;
    let tokens = (one.account("single")?, one.account("all")?);
    let (single, all) = (site.client(&tokens.0), site.client(&tokens.1));
    kube.ok(&format!(
        "-n {} create rolebinding single --clusterrole={} --serviceaccount={}:single",
        one.name, role.name, one.name
    ))?;
    let binding = ClusterObject::new(&kube, "clusterrolebinding", &one.name);
    kube.ok(&format!(
        "create clusterrolebinding {} --clusterrole={} --serviceaccount={}:all",
        binding.name, role.name, one.name
    ))?;
    let status = |client: &Client, namespace: &Namespace<'_>| -> Result<u16> {
        Ok(Repository::new(client, format!("{}/app", namespace.name)).pull()?.status)
    };
    assert_eq!(status(&all, &one)?, 403, "the ClusterRole is empty until a part of it is there");
    kube.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {}, labels: {{test: {}}}}}\nrules: [{}]\n",
        part.name,
        one.name,
        accesses("get", "")
    ))?;
    until("the parts are put together", || Ok(status(&all, &two)? == 404))?;
    until_within(SOON, "the RoleBinding counts as well", || Ok(status(&single, &one)? == 404))?;
    assert_eq!((status(&single, &two)?, status(&all, &one)?), (403, 404));
    Ok(())
}

/// Groups: those of ServiceAccounts, of everybody who signed in, and of everybody else.
#[test]
fn groups_and_anonymous_callers() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, one, two) = (Site::start(&kube)?, kube.namespace()?, kube.namespace()?);
    let near = site.client(&one.account("near")?);
    let far = site.client(&two.account("far")?);
    let nobody = site.nobody();
    let bind = |name: &str, path: &str, group: &str| -> Result<()> {
        let role = one.role(name, &accesses("get", path));
        let at = role.find("subjects:").context("a binding")?;
        kube.apply(&format!(
            "{}subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: '{group}'}}]\n",
            &role[..at]
        ))
    };
    bind("accounts-here", "here", &format!("system:serviceaccounts:{}", one.name))?;
    bind("accounts", "accounts", "system:serviceaccounts")?;
    bind("known", "known", "system:authenticated")?;
    bind("unknown", "public", "system:unauthenticated")?;
    // 404 to whom the right is granted, 403 to whom it is not, 401 to whom it could still be.
    for (path, by_near, by_far, by_nobody) in
        [("here", 404, 403, 401), ("accounts", 404, 404, 401), ("known", 404, 404, 401), ("public", 403, 403, 404)]
    {
        let status = |client: &Client| -> Result<u16> {
            Ok(Repository::new(client, format!("{}/{path}", one.name)).pull()?.status)
        };
        let wanted = (by_near, by_far, by_nobody);
        let mut is = (0, 0, 0);
        let settled = until_within(SOON, path, || {
            is = (status(&near)?, status(&far)?, status(&nobody)?);
            Ok(is == wanted)
        });
        assert!(settled.is_ok(), "{path}: {is:?}, not {wanted:?}");
    }
    Ok(())
}

/// OpenShift's rules, in both API groups, for all streams or one.
#[test]
fn rules_of_openshift() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let owner = site.client(&project.owner()?);
    for path in ["app", "other"] {
        Repository::new(&owner, format!("{}/{path}", project.name)).first_push(1)?;
    }
    let table = [
        ("viewer", layers("image.openshift.io", "get", ""), [true, false, true, false]),
        ("pusher", layers("image.openshift.io", "'get', 'update'", ""), [true, true, true, true]),
        ("legacy", layers("", "get", ""), [true, false, true, false]),
        ("single", layers("image.openshift.io", "'get', 'update'", "app"), [true, true, false, false]),
        ("foreign", layers("example.test", "'*'", ""), [false; 4]),
        ("streams", layers("image.openshift.io", "get", "").replace("/layers", ""), [false; 4]),
        ("everything", "{apiGroups: ['*'], resources: ['*'], verbs: ['*']}".to_owned(), [true; 4]),
    ];
    for (account, rule, wanted) in table {
        let client = site.client(&project.account(account)?);
        project.grant(account, &rule)?;
        let mut is = [false; 4];
        let settled = until_within(SOON, account, || {
            let app = Repository::new(&client, format!("{}/app", project.name));
            let other = Repository::new(&client, format!("{}/other", project.name));
            is = [
                app.pull()?.status == 200,
                app.begin_push()?.status == 202,
                other.pull()?.status == 200,
                other.begin_push()?.status == 202,
            ];
            Ok(is == wanted)
        });
        assert!(settled.is_ok(), "{account}: {is:?}, not {wanted:?}");
    }
    Ok(())
}

/// A binding made, and taken away between two pulls.
#[test]
fn a_change_counts_soon() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start_with(&kube, "", "")?, kube.namespace()?);
    let repo = format!("{}/app", project.name);
    Repository::new(&site.client(&project.owner()?), &repo).first_push(1)?;
    let client = site.client(&project.account("caller")?);
    let repository = Repository::new(&client, &repo);
    refused(&repository.pull()?, 403, "DENIED");
    for round in 0..3 {
        project.grant("caller", &accesses("get", "app"))?;
        until_within(SOON, &format!("granted, round {round}"), || Ok(repository.pull()?.status == 200))?;
        kube.ok(&format!("-n {} delete rolebinding caller", project.name))?;
        let deleted = Instant::now();
        until_within(SOON, &format!("revoked, round {round}"), || Ok(repository.pull()?.status == 403))?;
        println!("revoked after {:?}", deleted.elapsed());
    }
    // The Role instead of the binding, and a Role that changes.
    project.grant("caller", &accesses("get", "app"))?;
    until_within(SOON, "granted", || Ok(repository.pull()?.status == 200))?;
    project.grant("caller", &accesses("get", "other"))?;
    until_within(SOON, "the Role names another path", || Ok(repository.pull()?.status == 403))?;
    project.grant("caller", &accesses("get", "app"))?;
    until_within(SOON, "granted", || Ok(repository.pull()?.status == 200))?;
    kube.ok(&format!("-n {} delete role caller", project.name))?;
    until_within(SOON, "the Role is gone", || Ok(repository.pull()?.status == 403))?;
    Ok(())
}

/// A refusal tells what to ask an administrator for.
#[test]
fn a_refusal_names_verb_resource_namespace_and_path() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let client = site.client(&project.account("caller")?);
    let repository = Repository::new(&client, format!("{}/folder/app", project.name));
    for (answer, verb) in [(repository.pull()?, "get"), (repository.begin_push()?, "create")] {
        refused(&answer, 403, "DENIED");
        let message = answer.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
        for part in [verb, "payloadrepositoryaccesses", &project.name, "folder/app", &project.user("caller")] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
    Ok(())
}

/// What the API server says about plain names is what the registry does. (`kubectl auth can-i` takes the group for a part
/// of the resource's name as long as no API serves the group, hence the review itself.)
#[test]
fn the_api_server_agrees_about_plain_names() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start(&kube)?, kube.namespace()?);
    let client = site.client(&project.account("caller")?);
    project.grant("caller", &accesses("get", "app"))?;
    for path in ["app", "other"] {
        let review = serde_json::json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": { "user": project.user("caller"), "resourceAttributes": {
                "group": "payload-registry.deckhouse.io", "resource": "payloadrepositoryaccesses",
                "verb": "get", "namespace": project.name, "name": path } },
        });
        let allowed = path == "app";
        // Its own view of the rules follows after a moment.
        until("the API server says so", || {
            let create = "create --raw /apis/authorization.k8s.io/v1/subjectaccessreviews -f -";
            let said: serde_json::Value = serde_json::from_str(&kube.feed(create, &review.to_string())?)?;
            Ok(said["status"]["allowed"] == allowed)
        })?;
        let repository = Repository::new(&client, format!("{}/{path}", project.name));
        until_within(SOON, path, || Ok(repository.pull()?.status == if allowed { 404 } else { 403 }))?;
    }
    // There are no objects of this kind.
    let said = kube.refused("get payloadrepositoryaccesses.payload-registry.deckhouse.io", "")?;
    assert!(said.contains("doesn't have a resource type"), "{said}");
    Ok(())
}

/// `homeport access can-i` says yes or no, and why.
#[test]
fn homeport_can_i_explains() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let project = kube.namespace()?;
    project.account("caller")?;
    project.grant("caller", &accesses("get", "'folder/*'"))?;
    let ask = |user: &str, verb: &str, path: &str| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(e2e::binary()?);
        command.args(["access", "can-i", user, verb, &format!("{}/{path}", project.name), "--kubeconfig"]);
        let output = command.arg(kube.kubeconfig()).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    };
    let short = format!("{}:caller", project.name);
    for user in [project.user("caller"), short] {
        let (code, said) = ask(&user, "pull", "folder/app")?;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("yes") && said.contains("caller") && said.contains("folder/*"), "{said}");
        let (code, said) = ask(&user, "pull", "other")?;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("no") && said.contains("folder/*"), "the near miss is named: {said}");
        assert_eq!(ask(&user, "push", "folder/app")?.0, Some(1));
    }
    Ok(())
}

/// The catalog shows what the caller may pull, where that is set.
#[test]
fn a_filtered_catalog() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let site = Site::start_with(&kube, "    catalog: filtered\n", "")?;
    let (one, two) = (kube.namespace()?, kube.namespace()?);
    let (owner, other) = (site.client(&one.owner()?), site.client(&two.owner()?));
    let mut ours = vec![format!("{}/a", one.name), format!("{}/folder/b", one.name)];
    for repo in &ours {
        Repository::new(&owner, repo).first_push(1)?;
    }
    let theirs = format!("{}/c", two.name);
    Repository::new(&other, &theirs).first_push(2)?;
    ours.sort();
    assert_eq!(catalog(&owner)?, ours);
    assert_eq!(catalog(&other)?, [theirs.as_str()]);
    let half = site.client(&one.account("half")?);
    assert_eq!(catalog(&half)?, Vec::<String>::new());
    one.grant("half", &accesses("get", "'folder/*'"))?;
    until_within(SOON, "one of them", || Ok(catalog(&half)? == [format!("{}/folder/b", one.name)]))?;
    // Names of others are not in the address of the next page either.
    let page = other.get("/v2/_catalog?n=1")?;
    assert!(!page.header("link").contains(&one.name), "{}", page.header("link"));
    Ok(())
}

/// The same questions, answered by the API server.
#[test]
fn the_review_mode_decides_alike() -> Result<()> {
    let Some(kube) = here()? else { return Ok(()) };
    let (site, project) = (Site::start_with(&kube, "    authorization: review\n", "")?, kube.namespace()?);
    let patterned = site.client(&project.account("patterned")?);
    project.grant("patterned", &accesses("get, create", "'folder/*'"))?;
    let layered = site.client(&project.account("layered")?);
    project.grant("layered", &layers("image.openshift.io", "get", "app"))?;
    let table = [
        (&patterned, "folder/app", 404, 202),
        (&patterned, "app", 403, 403),
        (&layered, "app", 404, 403),
        (&layered, "folder/app", 403, 403),
    ];
    for (client, path, pull, push) in table {
        let repository = Repository::new(client, format!("{}/{path}", project.name));
        let mut is = (0, 0);
        // Answers are remembered for some seconds here.
        let settled = until(path, || {
            is = (repository.pull()?.status, repository.begin_push()?.status);
            Ok(is == (pull, push))
        });
        assert!(settled.is_ok(), "{path}: {is:?}, not {:?}", (pull, push));
    }
    Ok(())
}

/// An object outside of namespaces, deleted with this value.
struct ClusterObject<'a> {
    kube: &'a Kube,
    kind: &'static str,
    name: String,
}

impl<'a> ClusterObject<'a> {
    fn new(kube: &'a Kube, kind: &'static str, name: &str) -> Self {
        Self { kube, kind, name: name.to_owned() }
    }
}

impl Drop for ClusterObject<'_> {
    fn drop(&mut self) {
        drop(self.kube.ok(&format!("delete {} {} --ignore-not-found --wait=false", self.kind, self.name)));
    }
}
