//! A running `homeport serve`.

use crate::Client;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(40);

/// How to start a server.
#[derive(Default)]
pub struct ServerBuilder {
    config: Option<String>,
    data: Option<PathBuf>,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    tls: bool,
    no_folder: bool,
}

/// A server process with a folder of its own; killed when dropped.
pub struct Server {
    child: Child,
    address: String,
    tls: bool,
    dir: Option<tempfile::TempDir>,
    data: PathBuf,
    log: Arc<Mutex<String>>,
}

impl ServerBuilder {
    /// A configuration file. `{dir}` stands for the server's folder. Address and data folder are set by the harness unless
    /// the text names them.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.config = Some(yaml.to_owned());
        self
    }

    /// Serves an existing folder, which is kept.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// The configuration says where content is kept.
    #[must_use]
    pub fn no_folder(mut self) -> Self {
        self.no_folder = true;
        self
    }

    /// One more command line argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The configuration switches TLS on: readiness is then only a line in the log.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// The binary is missing or does not come up; the error holds its log.
    pub fn start(self) -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let data = self.data.clone().unwrap_or_else(|| dir.path().join("data"));
        let mut command = Command::new(binary()?);
        command.arg("serve").current_dir(dir.path());
        if let Some(config) = &self.config {
            let path = dir.path().join("config.yml");
            std::fs::write(&path, config.replace("{dir}", &dir.path().to_string_lossy()))?;
            command.arg(path);
        }
        command.args(["--listen", "127.0.0.1:0"]);
        if !self.no_folder {
            command.arg("--data").arg(&data);
        }
        command.args(&self.arguments);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGISTRY_")) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("homeport")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let log = collect(stderr);
        let mut server = Server { child, address: String::new(), tls: self.tls, dir: Some(dir), data, log };
        server.address = server.wait_for_address()?;
        Ok(server)
    }
}

impl Server {
    /// A builder.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// A server without a configuration: open to everybody.
    ///
    /// # Errors
    /// See [`ServerBuilder::start`].
    pub fn open() -> Result<Self> {
        Self::builder().start()
    }

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A client without credentials.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&format!("{}://{}", if self.tls { "https" } else { "http" }, self.address))
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of this server: its configuration is `config.yml` in it.
    ///
    /// # Panics
    /// Never: the folder is only given away by [`Server::kill`] and [`Server::stop`], which take the server.
    #[must_use]
    #[expect(clippy::expect_used, reason = "see above")]
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("a running server has its folder").path()
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the log holds `text`.
    ///
    /// # Errors
    /// It does not within some seconds.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        let until = Instant::now() + START_MAX;
        while !self.log().contains(text) {
            ensure!(Instant::now() < until, "no {text:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Sends a signal by name, such as `HUP`.
    ///
    /// # Errors
    /// `kill` fails.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// SIGKILL; the folder stays until the returned value is dropped.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn kill(mut self) -> Result<Option<tempfile::TempDir>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.dir.take())
    }

    /// SIGTERM; waits for the clean end.
    ///
    /// # Errors
    /// It does not end in time, or not with success.
    pub fn stop(mut self) -> Result<Option<tempfile::TempDir>> {
        self.signal("TERM")?;
        let until = Instant::now() + STOP_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "ended with {status}:\n{}", self.log());
                return Ok(self.dir.take());
            }
            ensure!(Instant::now() < until, "does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_address(&mut self) -> Result<String> {
        let until = Instant::now() + START_MAX;
        loop {
            let log = self.log();
            if let Some(address) = address_in(&log) {
                return Ok(address.to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                // What it said last may still be on its way.
                std::thread::sleep(Duration::from_millis(50));
                bail!("homeport ended with {status}:\n{}", self.log());
            }
            ensure!(Instant::now() < until, "homeport does not come up:\n{log}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The registry's own address; the Kubernetes API has another one, and may be first to say so.
fn address_in(log: &str) -> Option<&str> {
    const SAID: &str = "listening on ";
    let (at, _) = log.match_indices(SAID).find(|(at, _)| !log[..*at].ends_with("kubernetes API "))?;
    log[at + SAID.len()..].split(['"', ' ', '\n']).next()
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(stderr: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
            let mut log = sink.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
    log
}

/// The program under test: `HOMEPORT_BIN`, or the one built beside this test.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOMEPORT_BIN") {
        return Ok(path.into());
    }
    let mut dir = std::env::current_exe()?;
    while dir.pop() {
        let candidate = dir.join("homeport");
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("the program homeport is not built; run `cargo xtask test`, or `cargo build -p homeport` first")
}
