//! The listener of the Kubernetes API, next to a cluster that does not answer. What it serves is tested with a real one.

use crate::support::{BASE, Registry, run, until};
use anyhow::{Context, Result};
use e2e::Server;
use std::path::Path;
use std::process::Command;

/// Nobody listens there.
const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}"#;

fn serve(dir: &Path, address: &str) -> Result<Registry> {
    std::fs::write(dir.join("kubeconfig"), KUBECONFIG)?;
    let dir = dir.display();
    let config = format!(
        "{BASE}homeport:\n  metrics: {{access: open}}\n  kubernetes:\n    kubeconfig: {dir}/kubeconfig\n    hosts: [registry.example.com]\n    \
         api: {{addr: '{address}', certificate: {dir}/tls.crt, key: {dir}/tls.key}}\n"
    );
    Registry::start(Server::builder().config(&config))
}

/// Puts a self-signed pair in place, in the order in which nothing fits for a moment.
fn certificate(dir: &Path, name: &str) -> Result<String> {
    let file = |extension: &str| dir.join(format!("{name}.{extension}")).display().to_string();
    let (pem, key) = (file("pem"), file("key"));
    let subject = format!("/CN={name}");
    let arguments =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj"];
    let more = [&subject, "-keyout", &key, "-out", &pem, "-addext", "subjectAltName=IP:127.0.0.1"];
    run("openssl", &[arguments.as_slice(), more.as_slice()].concat())?;
    std::fs::copy(&key, dir.join("tls.key"))?;
    std::fs::copy(&pem, dir.join("tls.crt"))?;
    Ok(pem)
}

fn address(server: &Server) -> Result<String> {
    const SAID: &str = "kubernetes API listening on ";
    server.wait_for_log(SAID)?;
    let log = server.log();
    let rest = log.split_once(SAID).map(|(_, rest)| rest).context("no address")?;
    Ok(rest.split(['"', ' ', '\n']).next().unwrap_or_default().to_owned())
}

/// The status, under a certificate that `authority` vouches for.
fn get(address: &str, authority: &str, path: &str) -> Option<String> {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--cacert", authority, "--output", "/dev/null"])
        .args(["--write-out", "%{http_code}", &format!("https://{address}{path}")])
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn it_begins_when_its_certificate_is_there_and_follows_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = serve(dir.path(), "127.0.0.1:0")?;
    server.wait_for_log("the kubernetes API waits for its certificate")?;
    assert!(server.log().contains("tls.crt"), "it says what it waits for:\n{}", server.log());
    assert_eq!(server.client().get("/livez")?.status, 200, "the registry does not wait");

    let old = certificate(dir.path(), "old")?;
    let address = address(&server)?;
    assert_eq!(get(&address, &old, "/livez").as_deref(), Some("200"));
    assert_eq!(get(&address, &old, "/readyz").as_deref(), Some("503"), "nothing is known of the cluster yet");
    let metrics = server.client().get("/extensions/v2/metrics")?.text();
    assert!(metrics.contains("homeport_api_requests_total{"), "{metrics}");

    let new = certificate(dir.path(), "new")?;
    until("new connections get the new certificate", || get(&address, &new, "/livez").is_some())?;
    assert_eq!(get(&address, &old, "/livez"), None);

    let log = server.stop()?.log;
    assert!(log.contains("kubernetes API stopped"), "{log}");
    Ok(())
}

#[test]
fn an_address_that_is_taken_ends_the_start() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let error = format!("{:#}", serve(dir.path(), &address).err().context("it started")?);
    assert!(error.contains(&format!("homeport.kubernetes.api.addr: cannot listen on {address}")), "{error}");
    Ok(())
}
