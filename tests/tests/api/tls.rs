//! TLS, with curl as the client.

use crate::support::{BASE, Raw, Registry, run, until};
use anyhow::{Context, Result};
use e2e::{Server, digest, random};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An authority and what it has signed.
struct Authority(PathBuf);

impl Authority {
    fn new(dir: &Path, name: &str) -> Result<Self> {
        let this = Self(dir.join(name));
        std::fs::create_dir(&this.0)?;
        this.request("ca", &["-addext", "basicConstraints=critical,CA:true"])?;
        Ok(this)
    }

    fn request(&self, name: &str, more: &[&str]) -> Result<()> {
        let (key, certificate, subject) =
            (self.file(name, "key"), self.file(name, "pem"), format!("/O=group/CN={name}"));
        let mut arguments =
            vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        arguments.extend(["-keyout", &key, "-out", &certificate, "-subj", &subject]);
        arguments.extend(more);
        run("openssl", &arguments).map(drop)
    }

    /// Signs a certificate for 127.0.0.1; returns the paths of certificate and key.
    fn sign(&self, name: &str) -> Result<(String, String)> {
        let (ca, key) = (self.file("ca", "pem"), self.file("ca", "key"));
        let more = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:false"];
        self.request(name, &[&["-CA", ca.as_str(), "-CAkey", key.as_str()], more.as_slice()].concat())?;
        Ok((self.file(name, "pem"), self.file(name, "key")))
    }

    fn file(&self, name: &str, extension: &str) -> String {
        self.0.join(format!("{name}.{extension}")).to_string_lossy().into_owned()
    }
}

fn serve(certificate: &str, key: &str, http: &str, tls: &str) -> Result<Registry> {
    let config = format!("{BASE}http:\n{http}  tls:\n    certificate: {certificate}\n    key: {key}\n{tls}");
    Registry::start(Server::builder().config(&config).tls())
}

/// Status and HTTP version, or curl's complaint.
fn curl(server: &Server, authority: &str, arguments: &[&str], path: &str) -> std::result::Result<String, String> {
    let url = format!("https://{}{path}", server.address());
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert", authority])
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text.rsplit('\n').next().unwrap_or_default().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn protocols_and_versions() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let ca = Authority::new(dir.path(), "ca")?;
    let root = ca.file("ca", "pem");
    let (certificate, key) = ca.sign("server")?;
    let server = serve(&certificate, &key, "", "")?;
    let get = |arguments: &[&str]| curl(&server, &root, arguments, "/v2/");
    assert_eq!(get(&["--http1.1"]), Ok("200 1.1".to_owned()));
    assert_eq!(get(&["--http2"]), Ok("200 2".to_owned()));
    assert_eq!(get(&["--tlsv1.2", "--tls-max", "1.2"]), Ok("200 2".to_owned()));
    assert_eq!(get(&["--tlsv1.3"]), Ok("200 2".to_owned()));
    assert!(get(&["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"]).is_err());
    // Without TLS nothing comes, and nothing breaks.
    let mut plain = Raw::connect(server.address())?;
    plain.request("GET /v2/", &[])?;
    assert!(!String::from_utf8_lossy(&plain.rest()?).contains("200 OK"));
    assert_eq!(get(&[]), Ok("200 2".to_owned()));

    let server = serve(&certificate, &key, "  http2: {disabled: true}\n", "    minimumtls: tls1.3\n")?;
    let get = |arguments: &[&str]| curl(&server, &root, arguments, "/v2/");
    assert_eq!(get(&["--http2"]), Ok("200 1.1".to_owned()), "HTTP/2 is switched off");
    assert_eq!(get(&["--tlsv1.3"]), Ok("200 1.1".to_owned()));
    assert!(get(&["--tls-max", "1.2"]).is_err());

    let suite = "    ciphersuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n    minimumtls: VersionTLS12\n";
    let server = serve(&certificate, &key, "", suite)?;
    let get = |arguments: &[&str]| curl(&server, &root, arguments, "/v2/");
    assert!(get(&["--tls-max", "1.2"]).is_ok());
    assert!(get(&["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"]).is_err());
    Ok(())
}

#[test]
fn push_and_pull_with_both_protocols() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let ca = Authority::new(dir.path(), "ca")?;
    let (certificate, key) = ca.sign("server")?;
    let server = serve(&certificate, &key, "", "")?;
    let root = ca.file("ca", "pem");
    let (file, out) = (dir.path().join("layer"), dir.path().join("out"));
    let (data, out) = (format!("@{}", file.display()), out.to_string_lossy().into_owned());
    for (index, version) in ["--http1.1", "--http2"].into_iter().enumerate() {
        let layer = random(index as u64, 5_000_000);
        std::fs::write(&file, &layer)?;
        let post = format!("/v2/a/blobs/uploads/?digest={}", digest(&layer));
        let pushed = curl(&server, &root, &[version, "--data-binary", &data, "-X", "POST"], &post);
        assert!(pushed.as_ref().is_ok_and(|status| status.starts_with("201")), "{version}: {pushed:?}");
        let path = format!("/v2/a/blobs/{}", digest(&layer));
        curl(&server, &root, &[version, "--output", &out], &path).map_err(anyhow::Error::msg)?;
        assert!(std::fs::read(&out)? == layer, "{version}");
        let part = curl(&server, &root, &[version, "--output", &out, "--range", "1000000-4000000"], &path);
        assert!(part.is_ok_and(|status| status.starts_with("206")));
        assert!(std::fs::read(&out)? == layer[1_000_000..=4_000_000], "{version}");
        // Refused while it is being sent.
        let refused = curl(&server, &root, &[version, "--data-binary", &data, "-X", "PUT"], "/v2/a/blobs/uploads/none");
        assert!(refused.as_ref().is_ok_and(|status| status.starts_with("404")), "{version}: {refused:?}");
    }
    // The realm and other addresses follow the request.
    let output =
        run("curl", &["-s", "-i", "--cacert", &root, &format!("https://{}/v2/a/tags/list?n=0", server.address())])?;
    assert!(String::from_utf8_lossy(&output.stdout).contains("docker-distribution-api-version: registry/2.0"));
    Ok(())
}

#[test]
fn client_certificates() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (ca, strangers) = (Authority::new(dir.path(), "ca")?, Authority::new(dir.path(), "strangers")?);
    let (certificate, key) = ca.sign("server")?;
    let (good, good_key) = ca.sign("client")?;
    let (bad, bad_key) = strangers.sign("client")?;
    let root = ca.file("ca", "pem");
    // (mode, none, of ours, of strangers)
    for (mode, none, ours, theirs) in [
        ("", false, true, false),
        ("require-and-verify-client-cert", false, true, false),
        ("verify-client-cert-if-given", true, true, false),
        ("require-any-client-cert", false, true, true),
        ("request-client-cert", true, true, true),
    ] {
        let clients = format!("    clientcas: ['{root}']\n");
        let auth = if mode.is_empty() { String::new() } else { format!("    clientauth: {mode}\n") };
        let server = serve(&certificate, &key, "", &format!("{clients}{auth}"))?;
        for (arguments, expected) in [
            (vec![], none),
            (vec!["--cert", &good, "--key", &good_key], ours),
            (vec!["--cert", &bad, "--key", &bad_key], theirs),
        ] {
            let got = curl(&server, &root, &arguments, "/v2/");
            assert_eq!(got.as_deref() == Ok("200 2"), expected, "{mode} {arguments:?}: {got:?}");
        }
    }
    Ok(())
}

/// A connection that stays open, with `openssl s_client`.
struct Open {
    child: std::process::Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Open {
    fn connect(server: &Server) -> Result<Self> {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-no_ign_eof", "-connect", server.address()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, output })
    }

    fn get(&mut self, path: &str) -> Result<String> {
        let input = self.child.stdin.as_mut().context("no input")?;
        input.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        input.flush()?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            anyhow::ensure!(self.output.read_line(&mut head)? > 0, "the connection is closed: {head}");
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context(head.clone())?;
        let mut body = vec![0; length.parse()?];
        self.output.read_exact(&mut body)?;
        Ok(head)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_new_certificate_comes_into_use_while_connections_are_open() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (old, new) = (Authority::new(dir.path(), "old")?, Authority::new(dir.path(), "new")?);
    // As Kubernetes mounts a secret: the files are links through `..data`, which is exchanged.
    let mounted = dir.path().join("mounted");
    std::fs::create_dir(&mounted)?;
    for (version, (certificate, key)) in [("..1", old.sign("server")?), ("..2", new.sign("server")?)] {
        std::fs::create_dir(mounted.join(version))?;
        std::fs::copy(certificate, mounted.join(version).join("tls.crt"))?;
        std::fs::copy(key, mounted.join(version).join("tls.key"))?;
    }
    let exchange = |version: &str| -> Result<()> {
        std::os::unix::fs::symlink(version, mounted.join("..data_tmp"))?;
        Ok(std::fs::rename(mounted.join("..data_tmp"), mounted.join("..data"))?)
    };
    exchange("..1")?;
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), mounted.join(name))?;
    }
    let file = |name: &str| mounted.join(name).to_string_lossy().into_owned();
    let server = serve(&file("tls.crt"), &file("tls.key"), "", "")?;
    let (old_root, new_root) = (old.file("ca", "pem"), new.file("ca", "pem"));
    let mut open = Open::connect(&server)?;
    assert!(open.get("/v2/")?.starts_with("HTTP/1.1 200"));

    exchange("..2")?;
    until("new connections get the new certificate", || curl(&server, &new_root, &[], "/v2/").is_ok())?;
    assert!(curl(&server, &old_root, &[], "/v2/").is_err());
    assert!(open.get("/v2/_catalog")?.starts_with("HTTP/1.1 200"), "the open one goes on");
    server.wait_for_log("new TLS certificate in use")?;

    // One that is not usable is reported once, and changes nothing.
    std::fs::create_dir(mounted.join("..3"))?;
    std::fs::write(mounted.join("..3/tls.crt"), "nonsense")?;
    std::fs::write(mounted.join("..3/tls.key"), "nonsense")?;
    exchange("..3")?;
    server.signal("HUP")?;
    server.wait_for_log("the new TLS certificate is not usable, the old one stays")?;
    assert!(curl(&server, &new_root, &[], "/v2/").is_ok());
    exchange("..1")?;
    server.signal("HUP")?;
    until("the first one is back", || curl(&server, &old_root, &[], "/v2/").is_ok())?;
    Ok(())
}

#[test]
fn unusable_files_are_named_at_the_start() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (one, two) = (Authority::new(dir.path(), "one")?, Authority::new(dir.path(), "two")?);
    let (certificate, key) = one.sign("server")?;
    let (_, other_key) = two.sign("server")?;
    let missing = dir.path().join("missing").to_string_lossy().into_owned();
    for (certificate, key, word) in [
        (&certificate, &other_key, "do not belong together"),
        (&missing, &key, "missing"),
        (&certificate, &missing, "missing"),
        (&key, &key, "no certificate"),
    ] {
        let error = serve(certificate, key, "", "").err().context("it starts")?;
        assert!(error.to_string().contains(word), "{error}");
    }
    Ok(())
}
