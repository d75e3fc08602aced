//! Every client with credentials: login, pull secrets, wrong passwords, users who may only read.

use crate::containerd::Containerd;
use crate::desk::Desk;
use crate::material;
use crate::view::{referrers, tags};
use anyhow::Result;
use e2e::{Client, Server};

/// `reader:read`, as it stands in a pull secret.
const READER: &str = "cmVhZGVyOnJlYWQ=";
/// `alice:wonderland`
const ALICE: &str = "YWxpY2U6d29uZGVybGFuZA==";

/// `alice` of the htpasswd file may do anything, `reader` may pull from `team`, `writer` may push to `team/app*`.
fn start(desk: &Desk) -> Result<Server> {
    let homeport = desk.homeport()?;
    let hash = |name: &str, password: &str| homeport.feed(&format!("passwd --cost 5 {name}"), &format!("{password}\n"));
    let htpasswd = desk.write("htpasswd", &hash("alice", "wonderland")?.stdout)?;
    let (reader, writer) = (hash("", "read")?.stdout, hash("", "write")?.stdout);
    let users = format!(
        "reader: {{passwordHash: '{}', projects: [{{name: team, access: READ}}]}}\n    \
         writer: {{passwordHash: '{}', projects: [{{name: team, subPath: 'app*', access: FULL}}]}}\n",
        reader.trim(),
        writer.trim()
    );
    let htpasswd = htpasswd.display();
    let auth = format!("auth:\n  htpasswd: {{realm: test, path: {htpasswd}}}\n");
    Server::builder().config(&format!("version: 0.1\n{auth}homeport:\n  users:\n    {users}")).start()
}

/// All rights, without a client.
fn admin(server: &Server) -> Client {
    server.client().authorization(&format!("Basic {ALICE}"))
}

/// The file of a pull secret (`kubernetes.io/dockerconfigjson`).
fn pull_secret(server: &Server, auth: &str) -> String {
    format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", server.address())
}

#[test]
fn crane() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let server = start(&desk)?;
    let host = server.address();
    let image = format!("{host}/team/app:1");
    let line = format!("append --new_layer {} --new_tag {image}", material::layer(&desk, "one")?.display());
    // Nobody.
    assert!(crane.refused(&line)?.contains("UNAUTHORIZED"));
    assert!(crane.refused(&format!("catalog {host}"))?.contains("UNAUTHORIZED"));
    // crane only stores what it is told: a wrong password shows with the first request.
    crane.feed(&format!("auth login -u alice --password-stdin {host}"), "wrong")?;
    let wrong = crane.refused(&line)?;
    crane.feed(&format!("auth login -u nobody --password-stdin {host}"), "wrong")?;
    let nobody = crane.refused(&line)?;
    assert!(wrong.contains("UNAUTHORIZED"), "{wrong}");
    let tail = |text: &str| text.rsplit("UNAUTHORIZED").next().map(str::to_owned);
    assert_eq!(tail(&wrong), tail(&nobody), "the answer does not tell which of the two was wrong");

    crane.feed(&format!("auth login -u alice --password-stdin {host}"), "wonderland")?;
    crane.ok(&line)?;
    assert_eq!(crane.ok(&format!("catalog {host}"))?, "team/app\n");
    crane.ok(&format!("copy {image} {host}/other/app:1"))?;
    // A user of one project.
    crane.feed(&format!("auth login -u reader --password-stdin {host}"), "read")?;
    crane.ok(&format!("validate --remote {image}"))?;
    assert_eq!(crane.ok(&format!("ls {host}/team/app"))?, "1\n");
    let other = format!("append --new_layer {} --new_tag {image}", material::layer(&desk, "two")?.display());
    for refused in
        [&other, &format!("delete {image}"), &format!("copy {image} {host}/team/app:2"), &format!("tag {image} 3")]
    {
        let said = crane.refused(refused)?;
        assert!(said.contains("DENIED") && said.contains("team/app"), "{said}");
    }
    let said = crane.refused(&format!("manifest {host}/other/app:1"))?;
    assert!(said.contains("DENIED"), "{said}");
    // A user who writes to some repositories of a project.
    crane.feed(&format!("auth login -u writer --password-stdin {host}"), "write")?;
    crane.ok(&format!("copy {image} {host}/team/app-2:1"))?;
    let said = crane.refused(&format!("copy {image} {host}/team/web:1"))?;
    // The answer to a HEAD has no text.
    assert!(said.contains("team/web") && said.contains("403"), "{said}");
    assert_eq!(tags(&admin(&server), "team/app")?, ["1"]);
    // After logout.
    crane.ok(&format!("auth logout {host}"))?;
    assert!(crane.refused(&format!("manifest {image}"))?.contains("UNAUTHORIZED"));
    Ok(())
}

#[test]
fn skopeo_podman_buildah() -> Result<()> {
    let desk = Desk::new()?;
    let (Some(skopeo), Some(podman)) = (desk.tool("skopeo"), desk.tool("podman")) else { return Ok(()) };
    let (Some(buildah), Some(crane)) = (desk.tool("buildah"), desk.tool("crane")) else { return Ok(()) };
    let server = start(&desk)?;
    let host = server.address();
    let open = Server::open()?;
    let source = format!("{}/team/app:1", open.address());
    material::image(&desk, &crane, &source, "one")?;
    crane.ok(&format!("mutate {source} --set-platform linux/amd64 --tag {source}"))?;

    for client in [&skopeo, &podman, &buildah] {
        let login = format!("login --tls-verify=false -u alice --password-stdin {host}");
        let said = client.refused_with(&login, "wrong")?;
        assert!(said.contains("invalid username/password"), "{said}");
        client.feed(&login, "wonderland")?;
        assert_eq!(client.ok(&format!("login --get-login {host}"))?, "alice\n");
        client.ok(&format!("logout {host}"))?;
    }
    let plain = "--src-tls-verify=false --dest-tls-verify=false";
    let copy = format!("copy {plain} docker://{source} docker://{host}/team/app:1");
    let said = skopeo.refused(&copy)?;
    assert!(said.contains("unauthorized"), "{said}");
    skopeo.ok(&format!("{copy} --dest-creds alice:wonderland"))?;
    // Pull secrets.
    desk.write("reader.json", &pull_secret(&server, READER))?;
    let image = format!("{host}/team/app:1");
    skopeo.ok(&format!("inspect --tls-verify=false --authfile reader.json docker://{image}"))?;
    for client in [&podman, &buildah] {
        assert!(!client.refused(&format!("pull --tls-verify=false {image}"))?.is_empty());
        client.ok(&format!("pull --tls-verify=false --authfile reader.json {image}"))?;
        let said = client
            .refused(&format!("push --tls-verify=false --authfile reader.json {image} docker://{host}/team/app:2"))?;
        assert!(said.contains("denied"), "{said}");
        client.ok(&format!("push --tls-verify=false --creds writer:write {image} docker://{host}/team/app:2"))?;
        client.ok("rmi --all --force")?;
    }
    let said = skopeo.refused(&format!("delete --tls-verify=false --creds reader:read docker://{image}"))?;
    assert!(said.contains("denied") || said.contains("403"), "{said}");
    Ok(())
}

#[test]
fn oras() -> Result<()> {
    let desk = Desk::new()?;
    let Some(oras) = desk.tool("oras") else { return Ok(()) };
    let server = start(&desk)?;
    let host = server.address();
    desk.write("a.txt", "a")?;
    let login = format!("login --plain-http --password-stdin {host}");
    let said = oras.refused_with(&format!("{login} -u alice"), "wrong")?;
    assert!(said.contains("unauthorized") || said.contains("401"), "{said}");
    oras.feed(&format!("{login} -u alice"), "wonderland")?;
    oras.ok(&format!("push --plain-http --artifact-type application/x-a {host}/team/a:1 a.txt"))?;
    oras.ok(&format!("attach --plain-http --artifact-type application/x-b {host}/team/a:1 a.txt"))?;
    oras.feed(&format!("{login} -u reader"), "read")?;
    oras.ok(&format!("pull --plain-http {host}/team/a:1 -o {}", desk.text("out")))?;
    assert!(oras.ok(&format!("discover --plain-http {host}/team/a:1"))?.contains("application/x-b"));
    let said = oras.refused(&format!("push --plain-http --artifact-type application/x-a {host}/team/a:2 a.txt"))?;
    assert!(said.contains("denied"), "{said}");
    oras.ok(&format!("logout {host}"))?;
    assert!(!oras.refused(&format!("pull --plain-http {host}/team/a:1"))?.is_empty());
    let subject = admin(&server).head("/v2/team/a/manifests/1")?;
    assert_eq!(referrers(&admin(&server), "team/a", subject.header("docker-content-digest"))?.len(), 1);
    Ok(())
}

#[test]
fn helm() -> Result<()> {
    let desk = Desk::new()?;
    let Some(helm) = desk.tool("helm") else { return Ok(()) };
    let server = start(&desk)?;
    let host = server.address();
    desk.write("demo/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0\n")?;
    helm.ok("package demo")?;
    let login = format!("registry login --plain-http --password-stdin {host}");
    assert!(helm.refused_with(&format!("{login} -u alice"), "wrong")?.contains("401"));
    helm.feed(&format!("{login} -u reader"), "read")?;
    let push = format!("push demo-1.0.0.tgz oci://{host}/team/charts --plain-http");
    let said = helm.refused(&push)?;
    assert!(said.contains("denied"), "{said}");
    helm.feed(&format!("{login} -u alice"), "wonderland")?;
    helm.ok(&push)?;
    helm.feed(&format!("{login} -u reader"), "read")?;
    assert!(helm.ok(&format!("show chart oci://{host}/team/charts/demo --plain-http"))?.contains("name: demo"));
    helm.ok(&format!("registry logout {host}"))?;
    assert!(!helm.refused(&format!("show chart oci://{host}/team/charts/demo --plain-http"))?.is_empty());
    Ok(())
}

#[test]
fn regctl() -> Result<()> {
    let desk = Desk::new()?;
    let Some(regctl) = desk.tool("regctl") else { return Ok(()) };
    let server = start(&desk)?;
    let host = server.address();
    regctl.ok(&format!("registry set {host} --tls disabled --skip-check"))?;
    assert!(!regctl.refused_with(&format!("registry login {host} -u alice --pass-stdin"), "wrong")?.is_empty());
    regctl.feed(&format!("registry login {host} -u alice --pass-stdin"), "wonderland")?;
    let put = |tag: &str| format!("artifact put --artifact-type application/x-a {host}/team/a:{tag}");
    regctl.feed(&put("1"), "content")?;
    regctl.feed(&format!("registry login {host} -u reader --pass-stdin"), "read")?;
    assert_eq!(regctl.ok(&format!("artifact get {host}/team/a:1"))?, "content");
    assert_eq!(regctl.ok(&format!("tag ls {host}/team/a"))?, "1\n");
    let said = regctl.refused_with(&put("2"), "content")?;
    assert!(said.contains("cannot push repository"), "{said}");
    let said = regctl.refused(&format!("tag delete {host}/team/a:1"))?;
    assert!(said.contains("DENIED"), "{said}");
    Ok(())
}

/// The pull secret in docker's configuration is what cosign reads.
#[test]
fn cosign() -> Result<()> {
    let desk = Desk::new()?;
    let Some(cosign) = desk.tool("cosign") else { return Ok(()) };
    let server = start(&desk)?;
    let digest = admin(&server).push_image("team/app", "1", &e2e::Image::new(1, &[1000]))?;
    let image = format!("{}/team/app@{digest}", server.address());
    cosign.ok("generate-key-pair")?;
    let sign = format!("sign --yes --use-signing-config=false --tlog-upload=false --key cosign.key {image}");
    assert!(cosign.refused(&sign)?.contains("UNAUTHORIZED"));
    desk.write("home/.docker/config.json", &pull_secret(&server, READER))?;
    let said = cosign.refused(&sign)?;
    assert!(said.contains("DENIED"), "{said}");
    desk.write("home/.docker/config.json", &pull_secret(&server, ALICE))?;
    cosign.ok(&sign)?;
    desk.write("home/.docker/config.json", &pull_secret(&server, READER))?;
    cosign.ok(&format!("verify --key cosign.pub --insecure-ignore-tlog=true {image}"))?;
    Ok(())
}

#[test]
fn containerd() -> Result<()> {
    let desk = Desk::new()?;
    let Some(crane) = desk.tool("crane") else { return Ok(()) };
    let Some(containerd) = Containerd::start(&desk)? else { return Ok(()) };
    let server = start(&desk)?;
    let image = format!("{}/team/app:1", server.address());
    desk.write("home/.docker/config.json", &pull_secret(&server, ALICE))?;
    material::image(&desk, &crane, &image, "one")?;
    let pull = format!("content fetch --plain-http {image}");
    assert!(!containerd.refused(&pull)?.is_empty());
    assert!(!containerd.refused(&format!("content fetch --plain-http --user reader:wrong {image}"))?.is_empty());
    containerd.ctr(&format!("content fetch --plain-http --user reader:read {image}"))?;
    let copy = format!("{}/team/app:2", server.address());
    containerd.ctr(&format!("images tag {image} {copy}"))?;
    let said = containerd.refused(&format!("images push --plain-http --user reader:read {copy}"))?;
    assert!(said.contains("403") || said.contains("denied"), "{said}");
    containerd.ctr(&format!("images push --plain-http --user writer:write {copy}"))?;
    assert_eq!(tags(&admin(&server), "team/app")?, ["1", "2"]);
    Ok(())
}
