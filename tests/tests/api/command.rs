//! The command line.

use crate::support::{BASE, HASH, PASSWORD, Registry, basic, binary, homeport, serve, until};
use anyhow::{Context, Result};
use e2e::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(yaml: &str, env: &[(&str, &str)]) -> Result<Output> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), yaml)?;
    homeport(&["config", "check", &file.path().to_string_lossy()], env, "")
}

#[test]
fn config_check_prints_what_a_file_amounts_to() -> Result<()> {
    let output = check(
        &format!(
            "{BASE}http: {{secret: not to be shown}}\nredis: {{addr: x}}\nhomeport: {{token: {{secrets: [0123456789abcdef]}}, users: {{bob: {{passwordHash: '{HASH}'}}}}}}\n"
        ),
        &[("REGISTRY_HTTP_PREFIX", "/from-env/")],
    )?;
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for part in
        ["prefix: /from-env/", "secret: \"***\"", "bob:", "enabled: true", "# warning: ", "redis: has no effect"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for secret in ["not to be shown", "0123456789abcdef", HASH] {
        assert!(!text.contains(secret) && !stderr(&output).contains(secret), "{secret}");
    }
    // What it prints is a configuration again, but for the secrets.
    let again = check(&text.replace("\"***\"", &format!("'{HASH}'")), &[])?;
    assert!(again.status.success(), "{}", stderr(&again));
    Ok(())
}

#[test]
fn config_check_names_every_mistake_with_its_line() -> Result<()> {
    let output = check(
        "version: 0.1\nstorage:\n  delet: {enabled: true}\nhttp: {addr: x}\nproxy: {remoteurl: http://x}\nhomeport:\n  token: {expiry: 10}\n",
        &[("REGISTRY_LOG_LEVEL", "loud")],
    )?;
    let text = stderr(&output);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    for part in [
        ":3: storage.delet: unknown key; did you mean \"delete\"?",
        ":4: http.addr:",
        ":5: proxy:",
        ":7: homeport.token.expiry",
        "REGISTRY_LOG_LEVEL",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let missing = homeport(&["config", "check", "/does/not/exist"], &[], "")?;
    assert!(missing.status.code() == Some(1) && stderr(&missing).contains("/does/not/exist"));
    let nobody = check(&format!("{BASE}homeport: {{anonymous: none}}\n"), &[])?;
    assert!(nobody.status.code() == Some(1) && stderr(&nobody).contains("nobody could use this registry"));
    let tls = check(&format!("{BASE}http: {{tls: {{certificate: /no/file, key: /no/file}}}}\n"), &[])?;
    assert!(tls.status.code() == Some(1) && stderr(&tls).contains("/no/file"), "{}", stderr(&tls));
    let zero = homeport(&["config", "check"], &[], "")?;
    assert!(zero.status.success() && stdout(&zero).contains("127.0.0.1:5000"), "{}", stdout(&zero));
    Ok(())
}

#[test]
fn passwd_makes_hashes_that_work() -> Result<()> {
    let hash = homeport(&["passwd", "--cost", "5"], &[], "p\u{e4}ss word\n")?;
    assert!(hash.status.success(), "{}", stderr(&hash));
    assert!(stdout(&hash).starts_with("$2") && stdout(&hash).lines().count() == 1);
    let line = homeport(&["passwd", "alice", "--cost", "5"], &[], "p\u{e4}ss word\n")?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &line.stdout)?;
    assert!(stdout(&line).starts_with("alice:$2"));
    let server = serve(&format!(
        "auth: {{htpasswd: {{realm: r, path: {}}}}}\nhomeport: {{users: {{bob: {{passwordHash: '{}'}}}}}}\n",
        file.path().display(),
        stdout(&hash).trim()
    ))?;
    for user in ["alice", "bob"] {
        let client = server.client().authorization(&basic(user, "p\u{e4}ss word"));
        assert_eq!(client.get("/v2/")?.status, 200, "{user}");
    }
    for (arguments, input) in
        [(&["passwd"][..], ""), (&["passwd"], "\n"), (&["passwd", "a:b"], "x\n"), (&["passwd", ""], "x\n")]
    {
        assert_eq!(homeport(arguments, &[], input)?.status.code(), Some(1), "{arguments:?}");
    }
    assert_eq!(homeport(&["passwd", "--cost", "3"], &[], "x\n")?.status.code(), Some(2));
    Ok(())
}

#[test]
fn version_help_and_completion() -> Result<()> {
    for arguments in [&["version"][..], &["--version"], &["-V"]] {
        let output = homeport(arguments, &[], "")?;
        assert!(
            output.status.success() && stdout(&output).starts_with(&format!("homeport {}", env!("CARGO_PKG_VERSION")))
        );
    }
    for arguments in [
        &["--help"][..],
        &["help"],
        &["serve", "--help"],
        &["config", "--help"],
        &["config", "check", "--help"],
        &["passwd", "--help"],
        &["completion", "--help"],
    ] {
        let output = homeport(arguments, &[], "")?;
        let text = stdout(&output);
        assert!(output.status.success() && text.contains("Usage: homeport"), "{arguments:?}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{arguments:?}");
    }
    assert!(stdout(&homeport(&["serve", "--help"], &[], "")?).contains("SIGHUP"));
    for shell in ["bash", "zsh", "fish"] {
        let output = homeport(&["completion", shell], &[], "")?;
        assert!(output.status.success() && stdout(&output).contains("homeport"), "{shell}");
    }
    let script = homeport(&["completion", "bash"], &[], "")?;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn()?;
    bash.stdin.take().context("no input")?.write_all(&script.stdout)?;
    assert!(bash.wait()?.success(), "bash can read it");
    Ok(())
}

#[test]
fn wrong_arguments_end_with_2_and_say_why() -> Result<()> {
    for (arguments, word) in [
        (&[][..], "Usage"),
        (&["sevre"], "serve"),
        (&["serve", "--listen"], "--listen"),
        (&["serve", "--tls-cert", "x"], "--tls-key"),
        (&["serve", "--no-such"], "--no-such"),
        (&["serve", "one.yml", "two.yml"], "two.yml"),
    ] {
        let output = homeport(arguments, &[], "")?;
        assert!(
            output.status.code() == Some(2) && stderr(&output).contains(word),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    for (arguments, word) in [
        (&["serve", "/does/not/exist.yml"][..], "/does/not/exist.yml"),
        (&["serve", "--listen", "nonsense"], "--listen"),
        (&["serve", "--anonymous", "some"], "--anonymous"),
        (&["serve", "--listen", "127.0.0.1:0", "--data", "/proc/no/such"], "/proc/no"),
    ] {
        let output = homeport(arguments, &[], "")?;
        assert!(
            output.status.code() == Some(1) && stderr(&output).contains(word),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    Ok(())
}

/// A server that the harness cannot start, because it does not listen where the harness looks.
struct Child(std::process::Child);

impl Child {
    fn serve(arguments: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.arg("serve").args(arguments).envs(env.iter().copied());
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
    }

    /// SIGTERM; true when it ends with success.
    fn stop(mut self) -> Result<bool> {
        crate::support::run("kill", &["-TERM", &self.0.id().to_string()])?;
        Ok(self.0.wait()?.success())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_unix_socket() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (socket, config) = (dir.path().join("socket"), dir.path().join("config.yml"));
    let text = format!(
        "{}http: {{net: unix, addr: {}}}\n",
        BASE.replace(
            "storage: {",
            &format!("storage: {{filesystem: {{rootdirectory: {}}}, ", dir.path().join("data").display())
        ),
        socket.display()
    );
    std::fs::write(&config, text)?;
    let server = Child::serve(&[&config.to_string_lossy()], &[])?;
    until("the socket is there", || std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
    let mut stream = std::os::unix::net::UnixStream::connect(&socket)?;
    stream.write_all(b"GET /v2/_catalog HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("{\"repositories\":[]}"), "{answer}");
    // A large body leaves another way than small ones.
    let content = e2e::random(1, 3 << 20);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket)?;
    let digest = e2e::digest(&content);
    write!(
        stream,
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        content.len()
    )?;
    stream.write_all(&content)?;
    write!(stream, "GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert!(answer.starts_with(b"HTTP/1.1 201 Created") && answer.ends_with(&content));
    assert!(server.stop()?);
    assert!(!socket.exists(), "it is cleared away");
    Ok(())
}

#[test]
fn without_a_file_it_tells_a_person_what_to_do_next() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data").to_string_lossy().into_owned();
    let mut server = Child::serve(&["--listen", "127.0.0.1:0", "--data", &data], &[])?;
    let mut output = BufReader::new(server.0.stdout.take().context("no output")?);
    let mut text = String::new();
    while !text.contains("docker push") {
        assert!(output.read_line(&mut text)? > 0, "{text}");
    }
    assert!(text.contains("Homeport is listening on http://127.0.0.1:") && text.contains(&data), "{text}");
    assert!(server.stop()?);
    Ok(())
}

#[test]
fn the_images_variable_names_the_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("config.yml");
    std::fs::write(&config, "version: 0.1\nhttp: {prefix: /by-variable/}\n")?;
    let server = Registry::start(Server::builder().env("REGISTRY_CONFIGURATION_PATH", &config.to_string_lossy()))?;
    assert_eq!(server.client().get("/by-variable/v2/")?.status, 200);
    Ok(())
}

#[test]
fn users_from_a_file_by_flag() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("ci: {{passwordHash: '{HASH}', projects: [{{name: p, access: FULL}}]}}\n"))?;
    let server = Registry::start(
        Server::builder().arg("--users").arg(&file.path().to_string_lossy()).arg("--anonymous").arg("pull"),
    )?;
    assert_eq!(server.client().get("/v2/p/a/manifests/x")?.status, 404);
    assert_eq!(server.client().send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?.status, 401);
    let client = server.client().authorization(&basic("ci", PASSWORD));
    assert_eq!(client.send("POST", "/v2/p/a/blobs/uploads/", &[], &[])?.status, 202);
    Ok(())
}
