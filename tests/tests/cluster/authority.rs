//! A registry whose certificate comes from an authority of its own. Cases.

use crate::desk::{Desk, Tool};
use crate::pods::{Pod, push_image};
use anyhow::{Context, Result};
use e2e::kube::{until, with_pods};
use e2e::site::Site;

/// Makes an authority and a certificate that it signs for the names of registries.
fn certificates(desk: &Desk) -> Result<()> {
    let openssl = desk.program("openssl".into());
    let request = |name: &str, more: &str| {
        let key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        openssl.ok(&format!("{key} -keyout {name}.key -out {name}.pem -subj /O=group/CN={name} {more}"))
    };
    request("ca", "-addext basicConstraints=critical,CA:true")?;
    let server = "-addext basicConstraints=critical,CA:false -addext subjectAltName=DNS:*.registry.test";
    request("server", &format!("-CA ca.pem -CAkey ca.key {server}"))?;
    Ok(())
}

/// Whether a user may begin an upload; nothing here checks certificates.
fn may_push(curl: &Tool<'_>, url: &str, token: &str) -> Result<bool> {
    let ask = "-sk --noproxy '*' -o /dev/null -w %{http_code} --max-time 20 -X POST";
    Ok(curl.ok(&format!("{ask} -u token:{token} {url}/blobs/uploads/"))? == "202")
}

#[test]
fn a_node_pulls_once_it_knows_the_authority() -> Result<()> {
    let Some(kube) = with_pods()? else { return Ok(()) };
    let (desk, project) = (Desk::new()?, kube.namespace()?);
    certificates(&desk)?;
    let tls =
        format!("http: {{tls: {{certificate: {}, key: {}}}}}\n", desk.text("server.pem"), desk.text("server.key"));
    let site = Site::start_with(&kube, "", &tls)?;
    let (token, address) = (project.owner()?, site.address()?);
    let (repo, curl) = (format!("{}/app", project.name), desk.program("curl".into()));
    until("may push", || may_push(&curl, &format!("https://{address}/v2/{repo}"), &token))?;
    if push_image(&desk, &format!("{address}/{repo}:1"), &token, &project.name)?.is_none() {
        return Ok(());
    }

    // The node finds the registry, and knows nothing else about it.
    let host = site.name().split(':').next().context("a name")?;
    let entry = format!("echo {} {host} >/run/hosts.d/{host}", kube.host_address());
    kube.script("in", &["sh", "-c", &entry])?;
    let login = format!("--docker-server={} --docker-username=token --docker-password={token}", site.name());
    kube.ok(&format!("-n {} create secret docker-registry my-pull-secret {login}", project.name))?;
    let image = format!("{}/{repo}:1", site.name());
    let secret = Some("my-pull-secret");
    let pod = Pod { namespace: &project.name, name: "app", image: &image, account: "default", pull_secret: secret };
    pod.create(&kube)?;
    pod.refusal(&kube, "certificate signed by unknown authority")?;

    // The kubelet tries again; nothing is done about the pod.
    kube.script("trust", &[site.name(), &desk.text("ca.pem")])?;
    assert_eq!(pod.output(&kube)?, project.name);
    Ok(())
}
