//! What the tests of the API share.

use anyhow::{Context, Result, ensure};
use e2e::{Answer, Client, Server, ServerBuilder, digest};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Distribution's file with nothing but what every test wants. More is appended.
pub(crate) const BASE: &str = "version: 0.1\nstorage: {delete: {enabled: true}}\n";

/// The hash of `password123` that Deckhouse's documentation prints (case A-13), made with cost 5.
pub(crate) const HASH: &str = "$2y$05$KbQy.oSLGCS.mm0SIkLtIOYu.G1Lcp8iyPMLfK/Id9AO7nJYmdLXa";
pub(crate) const PASSWORD: &str = "password123";

/// A server whose log is looked through at the end.
pub(crate) struct Registry(Option<Server>);

impl Deref for Registry {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let Some(server) = &self.0 else { return };
        if !std::thread::panicking() {
            check_log(&server.log());
        }
    }
}

fn check_log(log: &str) {
    for bad in ["panicked", " status=500", "\"status\":500"] {
        assert!(!log.contains(bad), "{bad:?} in the log:\n{log}");
    }
}

impl Registry {
    pub(crate) fn start(builder: ServerBuilder) -> Result<Self> {
        Ok(Self(Some(builder.start()?)))
    }

    /// Ends it with SIGTERM; returns its log. Fails unless it ends with success.
    pub(crate) fn stop(mut self) -> Result<Stopped> {
        let server = self.0.take().unwrap();
        server.signal("TERM")?;
        server.wait_for_log("stopped")?;
        let log = server.log();
        check_log(&log);
        Ok(Stopped { log, _dir: server.stop()? })
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) -> Result<Option<tempfile::TempDir>> {
        let server = self.0.take().unwrap();
        check_log(&server.log());
        server.kill()
    }

    /// A client that signs in as a user whose password is [`PASSWORD`].
    pub(crate) fn user(&self, name: &str) -> Client {
        self.client().authorization(&basic(name, PASSWORD))
    }
}

/// What is left of a server that was stopped.
pub(crate) struct Stopped {
    pub(crate) log: String,
    _dir: Option<tempfile::TempDir>,
}

/// A server that is open to everybody.
pub(crate) fn open() -> Result<Registry> {
    Registry::start(Server::builder())
}

/// A server with [`BASE`] and more.
pub(crate) fn serve(more: &str) -> Result<Registry> {
    Registry::start(Server::builder().config(&format!("{BASE}{more}")))
}

/// `(project, subPath, access)`
pub(crate) type Project<'a> = (&'a str, &'a str, &'a str);

/// Static users of [`HASH`] with their projects.
pub(crate) fn users(users: &[(&str, &[Project<'_>])]) -> String {
    let mut text = String::from("  users:\n");
    for (name, projects) in users {
        text += &format!("    {name}:\n      passwordHash: '{HASH}'\n      projects:\n");
        for (project, path, access) in *projects {
            text += &format!("        - {{name: {project}, subPath: '{path}', access: {access}}}\n");
        }
    }
    text
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let sextet = (word >> (18 - 6 * index)) & 63;
            out.push(if index <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}

/// Waits until something is true.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        ensure!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The path of an address, without scheme and host.
pub(crate) fn path(location: &str) -> &str {
    let rest = location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').unwrap_or(rest.len())..]);
    if rest.is_empty() { "/" } else { rest }
}

/// `location` with one more query parameter.
pub(crate) fn with(location: &str, parameter: &str) -> String {
    format!("{location}{}{parameter}", if location.contains('?') { '&' } else { '?' })
}

pub(crate) fn begin(client: &Client, repo: &str) -> Result<String> {
    let begun = client.send("POST", &format!("/v2/{repo}/blobs/uploads/"), &[], &[])?;
    ensure!(begun.status == 202, "POST: {} {}", begun.status, begun.text());
    Ok(begun.header("location").to_owned())
}

pub(crate) fn blob_path(repo: &str, content: &[u8]) -> String {
    format!("/v2/{repo}/blobs/{}", digest(content))
}

pub(crate) fn sha512(content: &[u8]) -> String {
    use sha2::Digest;
    let hash = sha2::Sha512::digest(content);
    hash.iter().fold(String::from("sha512:"), |text, byte| text + &format!("{byte:02x}"))
}

/// Checks status and error code.
#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    let message = answer.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(!message.is_empty(), "no message: {}", answer.text());
}

/// A connection on which every byte is ours.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.0.get_mut().write_all(bytes.as_ref())?)
    }

    /// Request line and headers; the body follows.
    pub(crate) fn request(&mut self, line: &str, headers: &[(&str, &str)]) -> Result<()> {
        let mut head = format!("{line} HTTP/1.1\r\nhost: registry.test\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.send(head + "\r\n")
    }

    /// No more bytes from us; answers can still be read.
    pub(crate) fn half_close(&self) -> Result<()> {
        Ok(self.0.get_ref().shutdown(Shutdown::Write)?)
    }

    /// Reads one head, also of 100.
    pub(crate) fn head(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.with_context(|| format!("no answer but {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// Reads an answer with its body, which must have a `Content-Length` or be chunked.
    pub(crate) fn answer(&mut self) -> Result<Answer> {
        let mut answer = self.head()?;
        if answer.status == 100 {
            answer = self.head()?;
        }
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line)?;
                let length = usize::from_str_radix(line.trim(), 16)?;
                let mut chunk = vec![0; length + 2];
                self.0.read_exact(&mut chunk)?;
                if length == 0 {
                    break;
                }
                answer.body.extend_from_slice(&chunk[..length]);
            }
        } else {
            let length = answer.header("content-length").parse().unwrap_or(0);
            answer.body.resize(length, 0);
            self.0.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads on; for bodies that a test takes in parts.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        Ok(self.0.read_exact(buffer)?)
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => Err(error.into()),
            _ => Ok(bytes),
        }
    }
}

/// One raw request without a body on a connection of its own.
pub(crate) fn raw(address: &str, line: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut raw = Raw::connect(address)?;
    raw.request(line, headers)?;
    if line.starts_with("HEAD ") { raw.head() } else { raw.answer() }
}

/// The program, run to its end.
pub(crate) fn homeport(arguments: &[&str], env: &[(&str, &str)], input: &str) -> Result<Output> {
    let mut command = Command::new(binary()?);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGISTRY_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(env.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

/// The program under test, found as the harness finds it.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOMEPORT_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let found = test.ancestors().map(|dir| dir.join("homeport")).find(|path| path.is_file());
    found.context("the program homeport is not built")
}

/// Runs an external program; fails unless it succeeds.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Output> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// A mounted folder; unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// `None`, with a line on standard error, where mounting is not allowed.
    pub(crate) fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        let at_text = at.to_string_lossy();
        let arguments = [arguments, &[&*at_text]].concat();
        match run("mount", &arguments) {
            Ok(_) => Some(Self(at.to_owned())),
            Err(error) => {
                drop(writeln!(std::io::stderr(), "not tested: {error:#}"));
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(run("umount", &["--lazy", &self.0.to_string_lossy()]));
    }
}

/// A manifest over blobs that are in the repository.
pub(crate) fn manifest(config: &[u8], layers: &[&[u8]], more: serde_json::Value) -> Vec<u8> {
    let descriptor =
        |kind: &str, blob: &[u8]| serde_json::json!({"mediaType": kind, "digest": digest(blob), "size": blob.len()});
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect::<Vec<_>>(),
    });
    if let (Some(into), serde_json::Value::Object(more)) = (manifest.as_object_mut(), more) {
        into.extend(more);
    }
    manifest.to_string().into_bytes()
}

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The empty config of artifacts, two bytes.
pub(crate) const EMPTY: &[u8] = b"{}";

pub(crate) fn index(children: &[serde_json::Value]) -> Vec<u8> {
    serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).to_string().into_bytes()
}

pub(crate) fn child(media_type: &str, content: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

pub(crate) fn put(client: &Client, repo: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Result<Answer> {
    client.send("PUT", &format!("/v2/{repo}/manifests/{reference}"), &[("content-type", media_type)], bytes)
}

/// Pushes an artifact that refers to `subject`; returns its bytes.
pub(crate) fn push_referrer(client: &Client, repo: &str, subject: &[u8], artifact_type: &str) -> Result<Vec<u8>> {
    client.push_blob(repo, EMPTY)?;
    let more = serde_json::json!({
        "artifactType": artifact_type,
        "annotations": {"of": artifact_type},
        "subject": child(OCI_MANIFEST, subject),
    });
    let bytes = manifest(EMPTY, &[EMPTY], more);
    let put = put(client, repo, &digest(&bytes), OCI_MANIFEST, &bytes)?;
    ensure!(put.status == 201, "{} {}", put.status, put.text());
    ensure!(put.header("oci-subject") == digest(subject), "OCI-Subject: {:?}", put.header("oci-subject"));
    Ok(bytes)
}
