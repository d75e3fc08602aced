//! The registry in a pod, from its own image, with what `homeport manifests` prints.

use crate::desk::Desk;
use crate::pods::{self, Pod, push_image};
use anyhow::{Context, Result};
use e2e::Client;
use e2e::front::Front;
use e2e::kube::{Kube, Namespace, accesses, not_tested, until, until_within, with_pods};
use e2e::manifests::{is, manifests, outlives};
use e2e::mourner::Mourner;
use e2e::site::{Repository, basic};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const API_SERVICE: &str = "v1alpha1.payload-registry.deckhouse.io";
/// How long its pods may take to start.
const READY_MAX: Duration = Duration::from_secs(300);

/// The image that `cargo xtask image` made.
pub(crate) fn image() -> Option<PathBuf> {
    let path = std::env::var_os("HOMEPORT_TEST_IMAGE").map(PathBuf::from).filter(|path| path.is_file());
    if path.is_none() {
        not_tested("no image; `cargo xtask test` makes one, HOMEPORT_TEST_IMAGE names one");
    }
    path
}

/// The registry in the cluster.
pub(crate) struct Hosted<'a> {
    kube: &'a Kube,
    pub(crate) home: Namespace<'a>,
    /// What belongs to the cluster and not to the namespace.
    wide: String,
    /// An APIService without its server blocks the deletion of every namespace.
    mourner: Mourner,
}

impl<'a> Hosted<'a> {
    pub(crate) fn start(kube: &'a Kube, image: &PathBuf) -> Result<Self> {
        let name = import(kube, image)?;
        let home = kube.namespace()?;
        let host = format!("homeport.{}.svc:5000", home.name);
        let documents =
            manifests(&["--namespace", &home.name, "--image", &name, "--host", &host, "--storage", "pvc:1Gi"])?;
        // The namespace is there; roles of people are shared with other tests and stay.
        let wide: Vec<String> = documents.iter().filter(|d| outlives(d, &home.name)).cloned().collect();
        let hosted = Self { kube, home, wide: wide.join("---\n"), mourner: Mourner::new()? };
        hosted.mourner.shall(&hosted.mourner.deleting(kube, &hosted.wide)?)?;
        let documents = documents.into_iter().filter(|document| !document.trim().is_empty());
        let (api, rest): (Vec<String>, Vec<String>) = documents.partition(|document| is(document, "APIService"));
        kube.install(&rest)?;
        let ready = kube.ok(&format!("-n {} rollout status deployment --timeout=300s", hosted.home.name));
        if let Err(error) = ready {
            let seen = kube.ok(&format!("-n {} describe pods", hosted.home.name)).unwrap_or_default();
            let logs =
                kube.ok(&format!("-n {} logs -l app.kubernetes.io/name=homeport --all-containers", hosted.home.name));
            anyhow::bail!("{error}\n{seen}\n{}", logs.unwrap_or_default());
        }
        kube.install(&api)?;
        Ok(hosted)
    }

    /// Waits until the API server is answered.
    fn wait_for_api(&self) -> Result<()> {
        let path = ".status.conditions[?(@.type==\"Available\")].status";
        until("the API of tags answers", || Ok(self.kube.field(&format!("apiservice {API_SERVICE}"), path)? == "True"))
            .map(drop)
    }

    /// Waits until registry and operator are ready. By their pods: the status of a Deployment follows later.
    fn wait_for_pods(&self) -> Result<()> {
        let pods = format!("-n {} pods", self.home.name);
        let path = ".items[*].status.conditions[?(@.type==\"Ready\")].status";
        until_within(READY_MAX, "its pods are ready", || Ok(self.kube.field(&pods, path)? == "True True")).map(drop)
    }

    /// A way to the Service over the loopback, which is where clients send to.
    pub(crate) fn front(&self) -> Result<Front> {
        let ip = self.kube.field(&format!("-n {} service homeport", self.home.name), ".spec.clusterIP")?;
        let front = Front::listen("127.0.0.1")?;
        front.lead_to(Some(&format!("{ip}:5000")));
        Ok(front)
    }
}

impl Drop for Hosted<'_> {
    fn drop(&mut self) {
        if !self.wide.is_empty() {
            drop(self.kube.feed("delete --ignore-not-found --wait=false -f -", &self.wide));
        }
        drop(self.mourner.shall(""));
    }
}

/// Gives the image to the node; its name there.
fn import(kube: &Kube, image: &PathBuf) -> Result<String> {
    let mut command = kube.cluster()?.command("in");
    command.args(["ctr", "-n", "k8s.io", "images", "import", "-"]);
    let output = command.stdin(Stdio::from(std::fs::File::open(image)?)).output()?;
    anyhow::ensure!(output.status.success(), "import: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = said.split_whitespace().find(|word| word.contains("localhost/homeport")).context("the image's name")?;
    Ok(name.trim_end_matches(':').to_owned())
}

#[test]
fn the_registry_runs_in_a_pod_and_hosts_its_own_image() -> Result<()> {
    let Some(kube) = with_pods()? else { return Ok(()) };
    let Some(image) = image() else { return Ok(()) };
    let _turn = crate::pull_secrets::turn();
    let (desk, hosted) = (Desk::new()?, Hosted::start(&kube, &image)?);
    let (project, front) = (kube.namespace()?, hosted.front()?);
    let address = front.address();
    let token = project.owner()?;
    let client = Client::new(&format!("http://{address}")).authorization(&basic("token", &token));
    let repo = format!("{}/homeport", project.name);
    until("the Service leads to it, and the owner may push", || {
        Ok(Repository::new(&client, &repo).begin_push().is_ok_and(|answer| answer.status == 202))
    })?;
    // Unprivileged, by its own word: nothing of root, no capability, a root file system that it cannot write.
    let pod =
        kube.field(&format!("-n {} pods -l app.kubernetes.io/component=registry", hosted.home.name), ".items[0].spec")?;
    assert!(pod.contains("\"runAsUser\":1001") && pod.contains("\"readOnlyRootFilesystem\":true"), "{pod}");

    // Its own image, pushed to itself, pulled back by the node, and it runs.
    let Some(skopeo) = desk.tool("skopeo") else { return Ok(()) };
    skopeo.feed(&format!("login --tls-verify=false -u token --password-stdin {address}"), &token)?;
    skopeo.ok(&format!("copy --dest-tls-verify=false oci-archive:{} docker://{address}/{repo}:1", image.display()))?;
    let name = format!("homeport.{}.svc:5000", hosted.home.name);
    let hosts = format!("[host.\"http://{name}\"]\n");
    let folder = format!("/etc/containerd/certs.d/{name}");
    write_on_node(&kube, &folder, "hosts.toml", &hosts)?;
    project.account("my-pull-sa")?;
    project.grant("my-pull-sa", &accesses("get", "homeport, hello"))?;
    kube.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: my-pull-secret, namespace: {}, annotations: {{payload-registry.deckhouse.io/service-account.name: my-pull-sa}}}}\n\
         type: kubernetes.io/dockerconfigjson\ndata: {{.dockerconfigjson: eyJhdXRocyI6e319}}\n",
        project.name
    ))?;
    until("its operator fills the Secret", || {
        let secret = kube.ok(&format!("-n {} get secret my-pull-secret -o yaml", project.name))?;
        Ok(secret.contains("payload-registry.deckhouse.io/hash"))
    })?;
    if push_image(&desk, &format!("{address}/{}/hello:1", project.name), &token, "hello")?.is_some() {
        let image = format!("{name}/{}/hello:1", project.name);
        let pod = Pod {
            namespace: &project.name,
            name: "hello",
            image: &image,
            account: "default",
            pull_secret: Some("my-pull-secret"),
        };
        pod.create(&kube)?;
        assert_eq!(pod.output(&kube)?, "hello");
        // Its tags are objects of the cluster, with what the manifests say of the API.
        until("the cluster shows the tag", || {
            let tags = kube.run(&format!("-n {} get payloadrepositorytags -o wide", project.name), "")?;
            Ok(String::from_utf8_lossy(&tags.stdout).contains(&format!("{name}/{}/hello:1", project.name)))
        })?;
    }
    kube.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: itself, namespace: {}}}\nspec: {{restartPolicy: Never, imagePullSecrets: [{{name: my-pull-secret}}], \
         containers: [{{name: main, image: '{name}/{repo}:1', imagePullPolicy: Always, args: [version]}}]}}\n",
        project.name
    ))?;
    let itself = Pod { namespace: &project.name, name: "itself", image: "", account: "", pull_secret: None };
    assert!(itself.output(&kube)?.contains("homeport"));

    // Registry and API server killed: what was pushed is there, and pushes go on.
    kube.ok(&format!("-n {} delete pods --all --grace-period=0 --force", hosted.home.name))?;
    until("it serves again", || Ok(Repository::new(&client, &repo).pull().is_ok_and(|answer| answer.status == 200)))?;
    // The old process still answers for a moment.
    let after = Repository::new(&client, format!("{}/after", project.name));
    until("it takes images again", || Ok(after.push(1).is_ok()))?;

    // The API of tags ends with the registry: behind it nothing answers, and no namespace could be deleted any more. The
    // operator sees to that, and was killed as well.
    hosted.wait_for_pods()?;
    hosted.wait_for_api()?;
    kube.delete_namespace(&hosted.home.name)?;
    let said = kube.refused(&format!("get apiservice {API_SERVICE}"), "")?;
    assert!(said.contains("NotFound"), "{said}");
    kube.delete_namespace(&project.name)
}

/// Everything that is printed is accepted by the API server, for each storage and with TLS.
#[test]
fn the_manifests_are_accepted() -> Result<()> {
    let Some(kube) = e2e::kube::here()? else { return Ok(()) };
    let home = kube.namespace()?;
    let variants: [&[&str]; 3] =
        [&[], &["--storage", "emptydir"], &["--storage", "pvc:1Gi", "--tls-secret", "tls", "--host", "registry.test"]];
    for variant in variants {
        let documents = manifests(&[&["--namespace", &home.name], variant].concat())?;
        let said = kube.feed("apply --server-side --dry-run=server -f -", &documents.join("---\n"))?;
        for kind in ["deployment.apps/", "service/", "networkpolicy.networking.k8s.io/", "poddisruptionbudget.policy/"]
        {
            assert!(said.contains(kind), "{variant:?}: no {kind} in\n{said}");
        }
    }
    Ok(())
}

/// The static program resolves names in an image that has nothing beside it.
#[test]
fn the_program_of_the_image_resolves_names() -> Result<()> {
    let Some(kube) = with_pods()? else { return Ok(()) };
    let Some(image) = image() else { return Ok(()) };
    let name = import(&kube, &image)?;
    let project = kube.namespace()?;
    let token = project.account("reader")?;
    let ca = kube.field("-n kube-system configmap kube-root-ca.crt", ".data.ca\\.crt")?;
    let config = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'https://kubernetes.default.svc', certificate-authority-data: {}}}}}], \
         users: [{{name: u, user: {{token: {token}}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}",
        e2e::site::base64(ca.as_bytes(), e2e::site::STANDARD, true)
    );
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("config"), config)?;
    kube.ok(&format!("-n {} create configmap config --from-file={}/config", project.name, folder.path().display()))?;
    kube.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: names, namespace: {}}}\nspec: {{restartPolicy: Never, volumes: [{{name: c, configMap: {{name: config}}}}], \
         containers: [{{name: main, image: '{name}', imagePullPolicy: Never, args: [access, can-i, nobody, pull, a/b, --kubeconfig, /c/config], \
         volumeMounts: [{{name: c, mountPath: /c}}]}}]}}\n",
        project.name
    ))?;
    let pod = format!("-n {} pod names", project.name);
    until("it has ended", || Ok(matches!(kube.field(&pod, ".status.phase")?.as_str(), "Succeeded" | "Failed")))?;
    // It got through to the API server, which does not let it list Roles.
    let said = pods::log(&kube, &project.name, "names")?;
    assert!(said.contains("may not read clusterroles"), "{said}");
    Ok(())
}

fn write_on_node(kube: &Kube, folder: &str, name: &str, content: &str) -> Result<()> {
    kube.script("in", &["mkdir", "-p", folder])?;
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, content.as_bytes())?;
    let mut command: Command = kube.cluster()?.command("in");
    let output =
        command.args(["tee", &format!("{folder}/{name}")]).stdin(std::fs::File::open(file.path())?).output()?;
    anyhow::ensure!(output.status.success(), "write {name} on the node");
    Ok(())
}
