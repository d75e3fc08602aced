//! Who is believed to be whom, and the certificate of the API.

use crate::certificates::Authority;
use crate::world::{API, alone, shared};
use anyhow::{Context, Result, ensure};
use e2e::kube::until;
use std::process::{Command, Stdio};

/// Arguments for curl: a client certificate.
fn certificate<'a>(certificate: &'a str, key: &'a str) -> [&'a str; 4] {
    ["--cert", certificate, "--key", key]
}

#[test]
fn forged_names_are_refused() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let paths =
        [format!("{API}/namespaces/{}/payloadrepositorytags", project.name()), API.to_owned(), "/version".to_owned()];
    let headers = ["-H", "X-Remote-User: admin", "-H", "X-Remote-Group: system:masters"];
    let forged = world.direct().with(&headers);
    let folder = tempfile::tempdir()?;
    let foreign = Authority::new(folder.path(), "foreign")?.client("proxy", "front-proxy-client")?;
    let foreign = (foreign.certificate.display().to_string(), foreign.key.display().to_string());
    let pki = world.kube.cluster()?.folder().join("conf/pki");
    let of_cluster = |name: &str| {
        let file = |ending: &str| pki.join(format!("{name}.{ending}")).display().to_string();
        (file("crt"), file("key"))
    };
    // Of the cluster, and by the name of somebody; but the front proxy has an authority of its own.
    let admin = of_cluster("admin");
    // The right authority, the wrong name.
    let wrong = sign_by_front_proxy(&pki, folder.path(), "somebody-else")?;
    for path in &paths {
        forged.get(path)?.is_failure(401, "Unauthorized");
        forged.token(&project.token).get(path)?.is_failure(401, "Unauthorized");
        for (pem, key) in [&foreign, &admin, &wrong] {
            forged.with(&certificate(pem, key)).get(path)?.is_failure(401, "Unauthorized");
        }
    }
    // A certificate is no name, either.
    let path = &paths[0];
    let reply = world.direct().with(&certificate(&admin.0, &admin.1)).get(path)?;
    assert!(reply.status == 401 || reply.json()["items"].as_array().is_some_and(Vec::is_empty), "{}", reply.text);
    // Who has the proxy's own key is the proxy.
    let proxy = of_cluster("front-proxy-client");
    let proxied = forged.with(&certificate(&proxy.0, &proxy.1)).get(path)?;
    assert_eq!(proxied.json()["items"].as_array().map(Vec::len), Some(1), "{}", proxied.text);
    let nobody =
        world.direct().with(&certificate(&proxy.0, &proxy.1)).with(&["-H", "X-Remote-User: nobody"]).get(path)?;
    assert_eq!(nobody.json()["items"].as_array().map(Vec::len), Some(0), "{}", nobody.text);
    Ok(())
}

/// A client certificate of the proxy's authority.
fn sign_by_front_proxy(pki: &std::path::Path, folder: &std::path::Path, name: &str) -> Result<(String, String)> {
    let file = |ending: &str| folder.join(format!("{name}.{ending}")).display().to_string();
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "basicConstraints=critical,CA:false"])
        .args(["-addext", "extendedKeyUsage=clientAuth", "-keyout", &file("key"), "-out", &file("crt")])
        .arg("-CA")
        .arg(pki.join("front-proxy-ca.crt"))
        .arg("-CAkey")
        .arg(pki.join("front-proxy-ca.key"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((file("crt"), file("key")))
}

#[test]
fn callers_with_a_token_of_their_own() -> Result<()> {
    let Some(world) = shared()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let path = format!("{API}/namespaces/{}/payloadrepositorytags", project.name());
    let direct = world.direct();
    let own = direct.token(&project.token);
    assert_eq!(own.get(&path)?.json()["items"].as_array().map(Vec::len), Some(1));
    // Whole groups of requests that are not about tags are decided by the cluster.
    for path in ["/version", "/apis", "/openapi/v2", "/openapi/v3", API] {
        assert_eq!(own.get(path)?.status, 200, "{path}");
    }
    // The cluster is not asked about what is not there, and strangers are not told.
    own.get("/metrics")?.is_failure(404, "NotFound");
    direct.get("/metrics")?.is_failure(403, "Forbidden");
    for token in ["nonsense", &project.token[..project.token.len() - 4], "a.b.c"] {
        direct.token(token).get(&path)?.is_failure(401, "Unauthorized");
    }
    // Without a name there is nothing to see, and health is for everybody.
    let nobody = direct.get(&path)?;
    assert!(
        matches!(nobody.status, 401 | 403) || nobody.json()["items"].as_array().is_some_and(Vec::is_empty),
        "{}",
        nobody.text
    );
    direct.get("/openapi/v2")?.is_failure(403, "Forbidden");
    for path in ["/livez", "/readyz", "/healthz"] {
        let reply = direct.get(path)?;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
    // A token that ends with its account.
    let name = project.name();
    world.kube.ok(&format!("-n {name} delete serviceaccount owner"))?;
    until("the token is refused", || Ok(own.get(&path)?.status == 401))?;
    Ok(())
}

/// The serial number of the certificate that new connections see.
fn serial(address: &str) -> Result<String> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-showcerts"])
        .stdin(Stdio::null())
        .output()
        .context("openssl s_client")?;
    let mut child = Command::new("openssl")
        .args(["x509", "-noout", "-serial"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    std::io::Write::write_all(&mut child.stdin.take().context("input")?, &output.stdout)?;
    Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).trim().to_owned())
}

/// In the order of the operator: the cluster trusts both authorities, the certificate is exchanged, the old one is forgotten.
#[test]
fn a_certificate_exchanged_during_a_watch() -> Result<()> {
    let Some(mut world) = alone()? else { return Ok(()) };
    let project = world.project()?;
    project.push("app", "1", 1)?;
    let watches = [
        format!("-n {} get prt --watch -o name", project.name()),
        format!("get --raw {API}/namespaces/{}/payloadrepositorytags?watch=1", project.name()),
    ];
    let watches = watches.map(|line| crate::direct::Stream::start(&mut world.kube.command(&line)));
    let mut watches = watches.into_iter().collect::<Result<Vec<_>>>()?;
    let name = crate::world::name_of;
    until("they have begun", || Ok(watches.iter().all(|watch| watch.text().contains(&name("app", "1")))))?;
    let before = serial(&world.api)?;
    let next = Authority::new(&world.folder(), &e2e::kube::unique("next"))?;
    world.trust(&[&world.authority, &next])?;
    next.server("server", &world.names)?.install(&world.folder())?;
    until("new connections see the new certificate", || Ok(serial(&world.api)? != before))?;
    world.trust(&[&next])?;
    world.authority = next;
    world.wait_for_api()?;
    project.push("app", "2", 1)?;
    until("both have seen what came later", || {
        Ok(watches.iter().all(|watch| watch.text().contains(&name("app", "2"))))
    })?;
    for watch in &mut watches {
        assert!(!watch.has_ended()?, "{}", watch.complaints());
    }
    assert_eq!(world.kube.ok(&format!("-n {} get prt -o name", project.name()))?.lines().count(), 2);
    // Half a pair is not taken.
    let good = serial(&world.api)?;
    std::fs::write(world.folder().join("tls.crt"), "no certificate")?;
    until("the log tells what is wrong", || Ok(world.site.log().contains("certificate")))?;
    assert_eq!(serial(&world.api)?, good);
    world.authority.server("again", &world.names)?.install(&world.folder())?;
    until("the next one is taken", || Ok(serial(&world.api)? != good))?;
    Ok(())
}
