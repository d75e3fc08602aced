//! What kubectl shows, and what it cannot do. Cases.

use crate::direct::Stream;
use crate::golden::{compare, plain, transcript};
use crate::images::shelf;
use crate::world::{API, name_of, shared};
use anyhow::{Context, Result, ensure};
use e2e::kube::until;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn kubectl_shows_tags_in_every_form() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    shelf(&project)?;
    let (latest, index) = (name_of("http-echo", "latest"), name_of("multi/arch", "1"));
    assert_eq!(latest, "nb2hi4bnmvrwq3z2nrqxizltoq");
    let resource = "payloadrepositorytags.payload-registry.deckhouse.io";
    let lines = [
        format!("-n NS get {resource}"),
        format!("-n NS get {resource} -o wide"),
        format!("-n NS get prt {latest}"),
        format!("-n NS get prt {latest} {index} -o wide"),
        "-n NS get prtags -o name".to_owned(),
        "-n NS get payloadrepositorytag --no-headers".to_owned(),
        format!("-n NS get prt {latest} -o yaml"),
        format!("-n NS get prt {index} -o yaml"),
        format!("-n NS get prt {} -o json", name_of("multi/arch", "bill")),
        "-n NS get prt -o 'jsonpath={range .items[*]}{.status.repository} {.status.tag} {.status.digest}{\"\\n\"}{end}'"
            .to_owned(),
        "-n NS get prt -o custom-columns=NAME:.metadata.name,TYPE:.status.mediaType,OF:.status.artifactType,SIZE:.status.size"
            .to_owned(),
        "-n NS get prt -o 'go-template={{range .items}}{{.status.address}}{{\"\\n\"}}{{end}}'".to_owned(),
        "-n NS get prt --chunk-size=2".to_owned(),
        "-n NS get prt --chunk-size=0".to_owned(),
        "-n NS get prt --sort-by=.status.tag".to_owned(),
        "-n NS get prt --show-kind --show-labels".to_owned(),
        "-n NS get prt -L payload-registry.deckhouse.io/tag".to_owned(),
        "get prt -A --field-selector metadata.namespace=NS".to_owned(),
        format!("-n NS get prt --field-selector metadata.name={latest}"),
        "-n NS get prt --field-selector repository=http-echo".to_owned(),
        "-n NS get prt --field-selector repository=multi/arch,tag!=1".to_owned(),
        "-n NS get prt --field-selector tag=latest".to_owned(),
        "-n NS get prt --field-selector status.repository==test/http-echo".to_owned(),
        "-n NS get prt --field-selector tag=nothing".to_owned(),
        "-n NS get prt --field-selector status.digest=x".to_owned(),
        "-n NS get prt -l payload-registry.deckhouse.io/repository=test.http-echo".to_owned(),
        "-n NS get prt -l 'payload-registry.deckhouse.io/tag in (latest, bill)'".to_owned(),
        "-n NS get prt -l 'payload-registry.deckhouse.io/tag notin (latest),payload-registry.deckhouse.io/repository'"
            .to_owned(),
        "-n NS get prt -l '!payload-registry.deckhouse.io/repository'".to_owned(),
        format!("-n NS get {resource} -o name"),
        "-n NS get payloadrepositorytags.v1alpha1.payload-registry.deckhouse.io --no-headers".to_owned(),
        "-n NS get prt --sort-by=.status.size -o custom-columns=TAG:.status.tag,SIZE:.status.size".to_owned(),
        format!("-n NS get prt {latest} --server-print=false"),
        "-n NS get prt -o jsonpath-as-json={.items[*].status.tag}".to_owned(),
        format!("-n NS events --for prt/{latest}"),
        "-n NS describe prt -l payload-registry.deckhouse.io/tag=bill".to_owned(),
        format!("-n NS wait prt/{latest} --for=jsonpath={{.status.tag}}=latest --timeout=60s"),
        "-n NS wait prt --all --for=jsonpath={.status.digest} --timeout=60s".to_owned(),
        format!("-n NS get prt {latest} --subresource=status"),
        format!("-n NS scale prt/{latest} --replicas=2"),
        "-n NS get all".to_owned(),
        format!("-n NS get prt {}", name_of("http-echo", "none")),
        "-n NS get prt no-such-name".to_owned(),
        "get prt -n default".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let said = transcript(world.kube, project.name(), &lines)?;
    compare("get.txt", &plain(&said, &world, &project)?)
}

/// Without a golden file: kubectl prints them in any order.
#[test]
fn kubectl_lists_the_labels_of_a_tag() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("http-echo", "latest", 1)?;
    let said = world.kube.ok(&format!("-n {} label --list prt/{}", project.name(), name_of("http-echo", "latest")))?;
    let mut labels: Vec<&str> = said.lines().collect();
    labels.sort_unstable();
    let group = "payload-registry.deckhouse.io";
    assert_eq!(labels, [format!("{group}/repository=http-echo"), format!("{group}/tag=latest")]);
    Ok(())
}

#[test]
fn kubectl_deletes_tags_in_every_form() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    shelf(&project)?;
    let (latest, index) = (name_of("http-echo", "latest"), name_of("multi/arch", "1"));
    let lines = [
        format!("-n NS delete prt {latest} --dry-run=client"),
        format!("-n NS delete prt {latest} --dry-run=server"),
        "-n NS delete prt -l payload-registry.deckhouse.io/tag=latest --dry-run=server".to_owned(),
        "-n NS delete prt --field-selector repository=multi/arch,tag!=1 --dry-run=server -o name".to_owned(),
        "-n NS delete prt -l a=b".to_owned(),
        "-n NS delete prt --field-selector status.digest=x".to_owned(),
        "-n NS get prt -o name".to_owned(),
        format!("-n NS delete prt {latest} --wait=false"),
        format!("-n NS delete prt {latest} {index} --now"),
        "-n NS delete prt -l payload-registry.deckhouse.io/tag=bill --cascade=foreground".to_owned(),
        "-n NS delete prt -l payload-registry.deckhouse.io/tag=bill".to_owned(),
        "-n NS delete prt --field-selector tag=1.0 --force".to_owned(),
        format!("-n NS delete prt {} --cascade=orphan", name_of("test/http-echo", "latest")),
        "-n NS get prt".to_owned(),
        "-n NS delete prt --all --dry-run=server".to_owned(),
        "-n NS delete prt --all".to_owned(),
        "-n NS get prt".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let said = transcript(world.kube, project.name(), &lines)?;
    compare("delete.txt", &plain(&said, &world, &project)?)
}

#[test]
fn kubectl_describes_and_explains_tags() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    shelf(&project)?;
    let one = format!("-n NS describe prt {}", name_of("multi/arch", "1"));
    let lines = [
        one.as_str(),
        "explain prt",
        "explain prt.status.platforms",
        "explain payloadrepositorytags --recursive",
        "api-resources --api-group=payload-registry.deckhouse.io -o wide",
        "get --raw /apis/payload-registry.deckhouse.io",
        "get --raw /apis/payload-registry.deckhouse.io/v1alpha1",
    ];
    let said = transcript(world.kube, project.name(), &lines)?;
    compare("describe.txt", &plain(&said, &world, &project)?)?;
    assert!(world.kube.ok("api-versions")?.contains("payload-registry.deckhouse.io/v1alpha1"));
    // Not one of those that `get all` shows.
    let all = world.kube.ok("api-resources --categories=all -o name")?;
    assert!(all.contains("pods") && !all.contains("payloadrepositorytags"), "{all}");
    Ok(())
}

/// The address that is shown is one that a client pulls.
#[test]
fn the_address_is_fit_for_a_pull() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let digest = project.push("deep/er/app", "v1", 1)?;
    let object = format!("-n {} prt {}", project.name(), name_of("deep/er/app", "v1"));
    let (address, shown) =
        (world.kube.field(&object, ".status.address")?, world.kube.field(&object, ".status.digest")?);
    assert_eq!(shown, digest);
    let (name, tag) = address.rsplit_once(':').context("a tag")?;
    let (host, repo) = name.split_once('/').context("a host")?;
    assert_eq!(host, world.site.name());
    let pulled = project.client.get(&format!("/v2/{repo}/manifests/{tag}"))?;
    assert_eq!((pulled.status, e2e::digest(&pulled.body)), (200, digest));
    Ok(())
}

#[test]
fn kubectl_makes_and_changes_no_tags() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let digest = project.push("app", "1", 1)?;
    let (kube, ns, name) = (world.kube, project.name(), name_of("app", "1"));
    let object = kube.ok(&format!("-n {ns} get prt {name} -o json"))?;
    let mut changed: Value = serde_json::from_str(&object)?;
    changed["metadata"]["labels"]["a"] = json!("b");
    let mut other = changed.clone();
    other["metadata"] = json!({ "namespace": ns, "name": name_of("app", "2") });
    let tries = [
        ("create -f -".to_owned(), other.to_string()),
        ("apply -f -".to_owned(), other.to_string()),
        ("apply -f -".to_owned(), changed.to_string()),
        ("apply --server-side -f -".to_owned(), other.to_string()),
        ("replace -f -".to_owned(), changed.to_string()),
        (format!("-n {ns} annotate prt {name} a=b"), String::new()),
        (format!("-n {ns} label prt {name} a=b"), String::new()),
        (format!("-n {ns} patch prt {name} --type=merge -p '{{\"status\":{{\"tag\":\"2\"}}}}'"), String::new()),
        (format!("-n {ns} patch prt {name} --type=json -p '[]'"), String::new()),
    ];
    for (line, input) in tries {
        let said = kube.refused(&line, &input)?;
        assert!(said.contains("MethodNotAllowed") && said.contains("pushing an image"), "{line}: {said}");
    }
    let editor = tempfile::NamedTempFile::new()?;
    std::fs::write(editor.path(), "sed -i 's/^  labels:/  labels:\\n    a: b/' \"$1\"\n")?;
    let mut edit = kube.command(&format!("-n {ns} edit prt {name}"));
    let edit = edit.env("KUBE_EDITOR", format!("sh {}", editor.path().display())).output()?;
    let said = String::from_utf8_lossy(&[edit.stdout, edit.stderr].concat()).into_owned();
    assert!(!edit.status.success() && said.contains("pushing an image"), "{said}");
    assert_eq!(kube.field(&format!("-n {ns} prt {name}"), ".status.digest")?, digest);
    assert_eq!(project.tags("app")?, ["1"]);
    Ok(())
}

#[test]
fn other_clients_read_tags() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    let digest = project.push("app", "1", 1)?;
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let raw: Value = serde_json::from_str(&world.kube.ok(&format!("get --raw {path}"))?)?;
    assert_eq!(
        (&raw["kind"], &raw["items"][0]["status"]["digest"]),
        (&"PayloadRepositoryTagList".into(), &digest.clone().into())
    );

    let proxy = Stream::start(&mut world.kube.command("proxy --port=0"))?;
    until("kubectl proxy listens", || Ok(proxy.text().contains('\n')))?;
    let address = proxy.text().trim().rsplit(' ').next().context("an address")?.to_owned();
    let curl = |arguments: &[&str]| -> Result<Value> {
        let output = Command::new("curl").args(["--silent", "--show-error"]).args(arguments).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let one = format!("http://{address}{path}/{}", name_of("app", "1"));
    assert_eq!(curl(&[&one])?["status"]["digest"], digest.as_str());
    assert_eq!(curl(&["--compressed", &format!("http://{address}{path}?limit=1")])?["items"][0]["status"]["tag"], "1");
    assert_eq!(curl(&["-X", "DELETE", &one])?["status"], "Success");
    assert_eq!(project.status("app", "1")?, 404);
    Ok(())
}
